//! The producer: records in, acknowledged offsets out, in order, once.
//!
//! A record is encoded straight into its partition's open batch (`queue.rs`, `batch.rs`); the request stream of the
//! leader's connection (`sender.rs`) takes batches as HTTP/2 has room for them and `body.rs` puts
//! them on the wire uncopied; answers come back through `link.rs`.
//! What a failure means is decided in `queue.rs` alone; waiting, dialling and asking happen in `shared.rs` and `link.rs`.

mod batch;
mod body;
mod config;
mod delivery;
mod effects;
mod handle;
mod link;
mod partitioner;
mod queue;
mod record;
mod sender;
mod shared;
mod topic;

pub use config::{Acks, Idempotence, ProducerConfig};
pub use delivery::{Delivery, RecordMetadata};
pub use handle::Producer;
pub use partitioner::partition_for_key;
pub use record::Record;
