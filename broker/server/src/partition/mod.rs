//! Partitions as the broker serves them: one owner each, acknowledgements parked until their records are safe, readers
//! woken when the high watermark moves.
//!
//! Each partition is one mutex around its log and its leader's progress. The mutex is never held over an await or over
//! an fsync: flusher threads take a ticket under the lock, sync without it, and come back to release what waited.
//! Not here: wire types, topics' names, or who may do what.

mod append;
mod flusher;
mod flushing;
mod looks;
mod outcome;
mod owner;
mod reads;
mod replica;
mod role;
mod scrub;
mod surroundings;
mod table;
mod throttles;
mod watch;

pub use outcome::{
    AckedBatch, DeleteRecordsError, EpochError, FetchError, Fetched, LeaderError, ListOffsetsError,
    NotLeader, ProduceError, ReplicaError,
};
pub use owner::{Ack, Partition};
pub use reads::ServedBy;
pub(crate) use reads::warm;
pub use replica::{Next, Share, Standing};
pub use role::{Duty, Wish};
pub use surroundings::{Attention, Lease, Surroundings};
pub(crate) use table::PartitionTable;
pub use table::{CloseError, OpenError};
pub use watch::{Watch, Watcher};
