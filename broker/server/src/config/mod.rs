//! The broker's configuration: a TOML file, the environment and flags, merged raw, checked once, and passed down in
//! parts. There are no globals, and nothing reads a setting by name after [`BrokerConfig::from_sources`].
//!
//! Every key has one dotted name, used alike in the file (`[listener]` with `grpc = …` is `listener.grpc`), in the
//! environment (`HIGHWATER_LISTENER_GRPC`) and with `--set listener.grpc=…`. Later sources win: file, environment, flags.

mod cluster;
mod kafka;
mod keys;
mod sources;
mod values;

pub use cluster::ClusterConfig;
pub use kafka::{Advertised, IfTaken, KafkaListener};
pub use keys::{KEYS, Key};
pub use sources::{ConfigError, Sources};
pub use values::BrokerConfig;
