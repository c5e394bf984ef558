//! The parts of a broker that run without a runtime, for deterministic simulation of a whole cluster: partitions that are
//! flushed when the simulation says so, and both ends of a replication stream.

pub use crate::metrics::Metrics;
pub use crate::partition::{
    Ack, AckedBatch, Attention, Duty, Lease, Next, Partition, ReplicaError, Share, Standing, Surroundings,
    Watch, Watcher, Wish,
};
pub use crate::replication::message;
pub use crate::replication::{Feed, FollowerMessage, LeaderMessage, Outgoing, Refusal, Tail, is_sound};
