//! One partition of the commit log on disk, and the directory that holds them all.
//!
//! A partition is a run of segments, each a file of whole RecordBatch v2 batches with a sparse index beside it. This
//! crate appends, makes durable, reads, recovers, truncates, retains and compacts. It knows nothing of leaders,
//! groups or sockets, starts no thread and waits for nobody: every slow piece of work is a value (a ticket, a plan)
//! that the caller takes out of the partition's lock, runs where it likes and brings back.
//!
//! Invariant: what was once reported as [`Durable`] is there after any crash, whole and in order, or the log says
//! that it is not. Formats are documented byte by byte in [`state`], [`index`], [`snapshot`], [`epochs`], [`meta`] and
//! `attest`.

mod append;
mod attest;
mod checkpoint;
mod compaction;
mod config;
mod counters;
pub mod epochs;
mod error;
mod flush;
mod handles;
mod holders;
pub mod index;
pub mod inspect;
mod log;
mod log_dir;
mod lookup;
pub mod meta;
mod open;
mod pool;
mod producers;
mod read;
mod rebuild;
mod recovery;
mod retention;
mod scan;
mod scrub;
mod segment;
mod segment_walk;
pub mod snapshot;
pub mod state;
mod truncate;
mod warmth;

pub use append::{AppendError, Appended, Novelty};
pub use checkpoint::{CheckpointError, CheckpointTicket, CloseError, WrittenCheckpoint};
pub use compaction::{CleanedSegments, Compacted, CompactionError, CompactionTicket};
pub use config::{CleanupPolicy, LogConfig, LogDirConfig};
pub use counters::Counters;
pub use error::IoFault;
pub use flush::{Durable, FlushError, FlushTicket, SyncedFlush};
pub use log::{Health, PartitionLog, RottenRange};
pub use log_dir::{LastShutdown, LogDir, LogDirError, PartitionEntry};
pub use lookup::{TimedOffset, TimestampPlan};
pub use open::{OpenError, RecoveryReport};
pub use producers::{BATCHES_REMEMBERED, ProducerBatch, ProducerEntry, ProducerError};
pub use read::{FileSlice, LocatedRead, ReadError, ReadPlan, ReadSlice, SegmentPin};
pub use retention::{Removed, RetentionError};
pub use scrub::{ScrubPlan, Scrubbed};
pub use truncate::TruncateError;
