//! The broker: everything that waits.
//!
//! Floor 3. It wires the pure decisions of `core`, the bytes of `log` and the seams of `env` to sockets, threads and
//! timers. [`Broker::start`] runs the whole in any Tokio runtime; the command line, the tests and programs that embed a
//! broker all use it.

mod broker;
pub mod config;
mod controller;
#[cfg(fuzzing)]
pub mod fuzzing;
mod housekeeping;
mod listener;
mod member;
mod metadata;
mod metrics;
mod partition;
mod peer;
mod replication;
pub mod service;
#[doc(hidden)]
pub mod simulation;

pub use broker::{Broker, Environment, StartError, StopError};
pub use config::{Advertised, BrokerConfig, ConfigError, IfTaken, KafkaListener, Sources};
pub use controller::{DoorError, Forgotten, JoinError, LifeFailure, RecallError, SubmitError};
pub use metrics::Metrics;
pub use partition::{
    CloseError, DeleteRecordsError, EpochError, FetchError, Fetched, LeaderError, ListOffsetsError,
    NotLeader, OpenError, ProduceError,
};
pub use service::Services;
