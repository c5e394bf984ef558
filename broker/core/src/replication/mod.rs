//! What a leader may acknowledge and show, and how a follower's log becomes its leader's: decisions without a log.
//!
//! [`Leader`] counts what its replicas have made safe, moves the high watermark and says when the in-sync replicas should
//! change; [`Follower`] says where its log must be cut and what of the leader's high watermark is its own; [`answer`] finds
//! where two logs part ways. Everything comes in as arguments: offsets, epochs, a monotonic time. Not here: who waits, how
//! bytes travel, and who decides on leaders and in-sync replicas (`metadata`).
//!
//! The rules M-01 to M-18 are those of the reliability specification; each is named where it is kept.

mod acks;
mod divergence;
mod follower;
mod invariants;
mod leader;
mod reports;
mod throttle;

pub use acks::{AcksError, check_acks};
pub use divergence::{FollowAnswer, LogView, Position, answer};
pub use follower::{Follower, Truncation};
pub use leader::{Leader, LeaderStart, ProposalOutcome};
pub use reports::{Assignment, EpochError, IsrProposal, Progress, Rules, StreamError};
pub use throttle::Throttle;
