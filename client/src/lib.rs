//! The client library of Highwater: a producer, a consumer and an admin client over gRPC.
//!
//! Everything starts from a [`Client`], which knows the brokers and the topics' leaders:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use highwater_client::{Client, ClientConfig, ConsumerConfig, Position, ProducerConfig, Record};
//!
//! let client = Client::connect(ClientConfig::new(["127.0.0.1:9094"])).await?;
//! let producer = client.producer(ProducerConfig::default()).await?;
//! let delivery = producer.send(Record::new("orders").key(b"42").value(b"paid")).await?;
//! println!("written at offset {:?}", delivery.await?.offset);
//!
//! let mut consumer = client.consumer(ConsumerConfig::default());
//! consumer.assign_all("orders", Position::Beginning).await?;
//! while let Some(record) = consumer.next().await? {
//!     println!("{} {:?}", record.offset, record.value);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What this crate is not: it knows nothing of disks, replication or the broker's insides; it depends on
//! `highwater-proto` alone. Nothing it does can lose an acknowledged record or write one twice: the producer is
//! idempotent unless told otherwise, and the consumer checks every batch's checksum.

mod admin;
mod backoff;
mod client;
mod config;
mod connection;
mod consumer;
mod error;
mod leaders;
mod metadata;
mod producer;
mod time;

pub use admin::{
    Admin, BrokerChange, BrokerState, BrokerStatus, ClusterDescription, ClusterStatus, ConfigValue,
    CreatedTopic, Election, Move, NewTopic, NodeRole, OngoingMove, PartitionDescription, PartitionOutcome,
    ReplicaDescription, TopicDescription,
};
pub use client::Client;
pub use config::ClientConfig;
pub use consumer::{
    Consumer, ConsumerConfig, ConsumerRecord, FetchedBatch, OffsetReset, Position, RecordStream, Records,
    Verification,
};
pub use error::{AdminError, ConfigError, ConnectError, ConsumeError, ProduceError};
pub use highwater_proto::record::{Compression, Header};
pub use highwater_proto::{BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicId};
pub use producer::{
    Acks, Delivery, Idempotence, Producer, ProducerConfig, Record, RecordMetadata, partition_for_key,
};
