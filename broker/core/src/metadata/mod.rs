//! The metadata: the cluster, its brokers, its topics and who holds, leads and follows each partition of them.
//!
//! A state machine: [`decide`] turns a [`Command`] into records or a [`Refusal`] without changing anything,
//! [`Image::apply_entry`] carries records out, live and at start-up alike. Apply is deterministic: equal entries, equal
//! [`Image::digest`] (I17). Time and fresh ids come with the request and are written into the record. Not here: where
//! records are kept, who hears from whom, and what a leader does with its partition.

mod apply;
pub mod balance;
mod broker;
pub mod cluster;
mod command;
mod decide;
mod digest;
pub mod drain;
pub mod election;
pub mod fencing;
mod image;
mod invariants;
pub mod isr;
mod liveness;
mod partition;
pub mod placement;
#[cfg(test)]
mod random_tests;
pub mod reassign;
mod record;
mod refusal;
pub mod registration;
mod snapshot;
#[cfg(test)]
mod testing;
mod topic;
pub mod topics;
mod transition;

pub use apply::{Applied, ApplyError};
pub use balance::{BalanceFacts, BalanceRules};
pub use broker::{Broker, Cluster, ClusterId, Endpoints, Incarnation, KafkaEndpoint};
pub use command::{
    AlterPartition, Command, ConfigEdit, ElectionKind, LastStop, Mode, NewTopic, Outcome, PartitionResult,
    Reassignment, Registration, TopicRef,
};
pub use decide::{Batch, Context, decide};
pub use image::Image;
pub use liveness::{Heard, Sessions};
pub use partition::Partition;
pub use record::{
    BrokerIds, ConfigValue, Entry, KafkaAddress, METADATA_VERSION, PartitionState, Record, change,
};
pub use refusal::{
    AlterPartitionError, ClusterError, ElectionError, LifeError, MetadataError, PlacementError,
    ReassignError, Refusal, RegistrationError, RemovalError,
};
pub use topic::Topic;
