//! The consumer: batches or records of assigned partitions, from any offset or time, in order, each once.
//!
//! It has no background task: polling it drives its connections, so a record reaches the caller on the thread that
//! read the socket. What is prefetched waits in the HTTP/2 stream's window, whose size bounds it. One session stream
//! per leader (`session.rs`) carries several fetch requests at once; `assignment.rs` knows where each partition stands;
//! `handle.rs` decides, `failures.rs` when something went wrong; `records.rs` is what comes out.

mod assignment;
mod config;
mod failures;
mod handle;
mod position;
mod records;
mod repair;
mod session;
mod stream;

pub use config::{ConsumerConfig, OffsetReset, Verification};
pub use handle::Consumer;
pub use position::Position;
pub(crate) use position::resolve;
pub use records::{ConsumerRecord, FetchedBatch, Records};
pub use stream::RecordStream;
