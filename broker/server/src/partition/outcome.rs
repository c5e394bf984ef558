//! What a partition answers: an error enum per operation, cloneable because an answer may go to several who wait.

use std::sync::Arc;

pub use highwater_core::replication::EpochError;
use highwater_core::replication::{AcksError, StreamError};
use highwater_log::{ReadError, RetentionError};
use highwater_proto::record::BatchError;
use highwater_proto::{BrokerId, LeaderEpoch, Offset};
use thiserror::Error;

/// A batch that is as safe as its producer asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckedBatch {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The broker's time it was stamped with, on LogAppendTime topics; milliseconds since the Unix epoch.
    pub append_time_ms: Option<i64>,
    /// The first offset that is still there.
    pub log_start: Offset,
}

/// This broker does not lead the partition, or may not say that it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this broker does not lead the partition{}", hint(.leader))]
pub struct NotLeader {
    /// Who does, as far as this broker knows.
    pub leader: Option<BrokerId>,
    /// In which epoch.
    pub epoch: LeaderEpoch,
}

fn hint(leader: &Option<BrokerId>) -> String {
    match leader {
        Some(id) => format!("; broker {id} does"),
        None => "; nobody does at the moment".to_owned(),
    }
}

/// Why a request is not for this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LeaderError {
    /// The client believes in another epoch.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// This replica does not lead.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
}

/// Why a batch was refused or not acknowledged.
#[derive(Clone, Debug, Error)]
pub enum ProduceError {
    /// The topic was deleted.
    #[error("the topic was deleted")]
    Gone,
    /// Another broker leads, or has come to lead before the records were safe: then they may have been written.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// The acknowledgement asked for cannot be given.
    #[error(transparent)]
    Acks(#[from] AcksError),
    /// The batch breaks a rule.
    #[error(transparent)]
    Batch(#[from] Arc<BatchError>),
    /// The log refused.
    #[error(transparent)]
    Append(#[from] Arc<highwater_log::AppendError>),
    /// It was written, but then replicas left, and too few are in sync to make it safe (M-10). It may become visible all the
    /// same, when they come back.
    #[error("written, but {in_sync} replicas are in sync since, and min.insync.replicas is {min}")]
    TooFewAfterAppend {
        /// How many there are.
        in_sync: usize,
        /// How many there must be.
        min: usize,
    },
    /// It was written, but the disk failed before it was safe.
    #[error("the disk failed before the records were safe; they may be lost")]
    FlushFailed,
}

/// What a fetch gave: the batches themselves (`Bytes`), or where they lie (`Option<FileSlice>`).
#[derive(Clone, Debug)]
pub struct Fetched<R> {
    /// Whole batches as stored; empty or `None` when there is nothing new.
    pub records: R,
    /// Where the next fetch goes on.
    pub next_offset: Offset,
    /// The first offset that readers must not see.
    pub high_watermark: Offset,
    /// The first offset that is still there.
    pub log_start: Offset,
    /// The leader's epoch.
    pub epoch: LeaderEpoch,
}

/// Why a fetch was refused.
#[derive(Clone, Debug, Error)]
pub enum FetchError {
    /// The topic was deleted.
    #[error("the topic was deleted")]
    Gone,
    /// Nothing is there, or not yet.
    #[error("offset {offset} is not in the log: it goes from {log_start} to {end}")]
    OutOfRange {
        /// As asked.
        offset: Offset,
        /// The first offset that is there.
        log_start: Offset,
        /// The first that readers must not see.
        end: Offset,
    },
    /// A follower does not have it, or does not know yet that it is committed; the leader may.
    #[error(
        "offset {offset} is not in this follower's log, which goes from {log_start} to {end}; ask the leader"
    )]
    NotHere {
        /// As asked.
        offset: Offset,
        /// The first offset that is there.
        log_start: Offset,
        /// Where its log ends.
        end: Offset,
    },
    /// The client believes in another leader, or should.
    #[error(transparent)]
    Leader(#[from] LeaderError),
    /// The log refused.
    #[error(transparent)]
    Storage(#[from] Arc<ReadError>),
}

/// Why an offset was not found.
#[derive(Clone, Debug, Error)]
pub enum ListOffsetsError {
    /// The topic was deleted.
    #[error("the topic was deleted")]
    Gone,
    /// The client believes in another leader, or should.
    #[error(transparent)]
    Leader(#[from] LeaderError),
    /// The leader is new and does not know yet how far its predecessor had come (M-13).
    #[error("the leader is new and does not know yet what is committed; ask again")]
    NotYet,
    /// The log refused.
    #[error(transparent)]
    Storage(#[from] Arc<ReadError>),
}

/// Why records were not deleted.
#[derive(Clone, Debug, Error)]
pub enum DeleteRecordsError {
    /// The topic was deleted.
    #[error("the topic was deleted")]
    Gone,
    /// Another broker leads.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// Not every in-sync replica has deleted them in time; they may be deleted all the same.
    #[error("not every in-sync replica has deleted the records yet")]
    NotEverywhere,
    /// Beyond what is safe.
    #[error("offset {offset} is beyond the high watermark {high_watermark}")]
    OutOfRange {
        /// As asked.
        offset: Offset,
        /// The first offset that readers must not see.
        high_watermark: Offset,
    },
    /// The log refused.
    #[error(transparent)]
    Storage(#[from] Arc<RetentionError>),
}

/// Why a follower's request, or a leader's word, was not taken.
#[derive(Clone, Debug, Error)]
pub enum ReplicaError {
    /// The topic was deleted.
    #[error("the topic was deleted")]
    Gone,
    /// This replica plays another part.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// It is for another epoch, or from somebody who is not a replica.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// What the leader sent is damaged (M-18).
    #[error("a batch from the leader is damaged: {0}")]
    Damaged(Arc<BatchError>),
    /// The batch does not follow the log's end: the follower has to ask again.
    #[error("a batch of offset {base_offset} does not follow the log's end {log_end}")]
    NotNext {
        /// The batch's first offset.
        base_offset: Offset,
        /// Where the log ends.
        log_end: Offset,
    },
    /// The log refused to grow.
    #[error(transparent)]
    Append(#[from] Arc<highwater_log::AppendError>),
    /// The log could not be cut.
    #[error(transparent)]
    Truncate(#[from] Arc<highwater_log::TruncateError>),
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] Arc<ReadError>),
    /// The log's start could not be moved.
    #[error(transparent)]
    Retention(#[from] Arc<RetentionError>),
}
