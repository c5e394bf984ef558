//! The broker's use cases, one file each, without wire types: what every listener calls.

mod cluster;
mod delete_records;
mod fetch;
mod list_offsets;
mod looks;
mod pending;
mod produce;
mod producer_id;
mod services;
mod topics;

pub use cluster::{BrokerOverview, ClusterOverview, NodeRole};
pub use delete_records::DeleteRecordsFailure;
pub use fetch::{FetchAnswer, FetchDemand, FetchFailure, FetchSession, PartitionNews, Position, Records};
pub use highwater_core::metadata::{Image, Mode};
pub use list_offsets::{FoundOffset, ListOffsetsFailure, OffsetQuery};
pub use looks::{ProducerDetails, Space};
pub use pending::{BatchOutcome, PendingProduce};
pub use produce::{ProduceFailure, ProduceItem};
pub use producer_id::ProducerIds;
pub use services::{PartitionError, Services};
pub use topics::{FollowerDetails, PartitionDetails, TopicDetails, TopicFailure};
