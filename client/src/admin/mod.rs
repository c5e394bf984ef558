//! Topics, settings, offsets, the cluster: the control plane as a library.

mod calls;
mod cluster;
mod cluster_types;
mod types;

pub use calls::Admin;
pub use cluster_types::{
    BrokerChange, BrokerState, BrokerStatus, ClusterStatus, Election, Move, NodeRole, OngoingMove,
    PartitionOutcome,
};
pub use types::{
    ClusterDescription, ConfigValue, CreatedTopic, NewTopic, PartitionDescription, ReplicaDescription,
    TopicDescription,
};
