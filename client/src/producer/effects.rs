//! What a partition's queue tells the outside: where it wants to be listed, whom to settle, what to recover from.
//!
//! Values only. The queue returns them with its lock released; `shared.rs` carries them out.

use std::sync::Arc;

use highwater_proto::{TopicId, grpc};
use tokio::time::Instant;

use crate::error::ProduceError;
use crate::producer::delivery::{BatchOutcome, Delivery, Written};
use crate::producer::sender::BrokerSender;

/// Where batches go: which topic, by identity, and over which connection.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) topic_id: TopicId,
    /// `None` while the partition has no leader.
    pub(crate) sender: Option<Arc<BrokerSender>>,
    /// Version of the metadata it came from.
    pub(crate) version: u64,
}

/// What must be done before the partition's batches are sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// Failures in a row; sets the back-off.
    pub(crate) failures: u32,
    /// Metadata of this version turned out wrong.
    pub(crate) stale_version: Option<u64>,
    /// The broker refuses the sequence although nothing before it is missing: start over under a new identity.
    pub(crate) new_identity: bool,
}

/// What the caller has to do after the queue's lock is released.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Bytes of `buffer_memory` to give back.
    pub(crate) released_bytes: usize,
    pub(crate) settled: Vec<(Arc<BatchOutcome>, Result<Written, ProduceError>)>,
    pub(crate) schedule: Option<Schedule>,
    pub(crate) recover: Option<Recovery>,
    /// The whole producer is fenced.
    pub(crate) fenced: Option<ProduceError>,
}

/// What became of an append.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) delivery: Delivery,
    /// The batch before this record became full.
    pub(crate) sealed: bool,
    /// A batch is as large as it will get: full, or leaving.
    pub(crate) completes: bool,
    pub(crate) schedule: Option<Schedule>,
}

/// When the queue has a batch to send next, and over which connection.
#[derive(Debug)]
pub(crate) enum Schedule {
    Now(Arc<BrokerSender>),
    At(Instant, Arc<BrokerSender>),
    /// At once, but the partition has no leader: [`PartitionQueue::reroute`] it.
    Nowhere,
}

/// A batch leaving.
#[derive(Debug)]
pub(crate) struct Drained {
    pub(crate) id: u64,
    pub(crate) part: grpc::ProducePartition,
}
