//! Bytes and names, no I/O: record batches, ids, error codes and the gRPC messages.
//!
//! Floor 0 of the house. Knows nothing of files, sockets, clocks or runtimes; everything above speaks its types.

pub mod error_code;
pub mod grpc;
pub mod ids;
pub mod museum;
pub mod record;

pub use error_code::ErrorCode;
pub use ids::{
    BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch, PartitionIndex, ProducerId, TopicId,
    TopicPartition,
};
