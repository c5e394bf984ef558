//! The Kafka wire protocol over the same use cases as gRPC.
//!
//! Frames come in, responses go out in the order of their requests. Which APIs are served in which versions stands in
//! one list ([`apis`]); each has a handler file of its own in [`api`], which turns a decoded request into calls of the
//! services and their answers into a response. No decision about topics, records or offsets is made here.

mod answer;
mod api;
mod apis;
mod broker_settings;
mod brokers;
mod connection;
mod context;
mod frame;
mod guard;
mod header;
mod operations;
mod outbox;
mod pins;
mod serve;
mod settings;

pub(crate) use context::Context;
#[cfg(fuzzing)]
pub use guard::kafka_request;
pub(crate) use serve::{Bound, Shared, bind, endpoints, serve};
