//! The Kafka listener, spoken to frame by frame: versions, order, sessions, sizes, and what bad input gets.
#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "kafka/hostile.rs"]
mod hostile;
#[path = "kafka/order.rs"]
mod order;
#[path = "kafka/reads.rs"]
mod reads;
#[path = "kafka/sendfile.rs"]
mod sendfile;
#[path = "kafka/wire.rs"]
mod wire;
