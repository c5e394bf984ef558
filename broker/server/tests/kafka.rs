//! The Kafka listener, spoken to frame by frame: versions, order, sessions, sizes, what bad input gets, and what three brokers answer.
#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "kafka/cluster.rs"]
mod cluster;
#[path = "kafka/hostile.rs"]
mod hostile;
#[path = "kafka/order.rs"]
mod order;
#[path = "kafka/reads.rs"]
mod reads;
#[path = "kafka/sendfile.rs"]
mod sendfile;
#[path = "support/cluster.rs"]
mod support;
#[path = "kafka/wire.rs"]
mod wire;
