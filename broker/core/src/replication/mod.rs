//! What a leader may acknowledge and show: the high watermark over the counted replicas.
//!
//! With one broker there is one counted replica, the leader itself; the rules are the cluster's all the same. Not here:
//! how progress is learnt (flushes, followers), and who waits for it.

mod progress;

pub use progress::{AcksError, LeaderProgress, check_acks};
