//! The test bench: brokers as real processes, histories of what clients saw, and the checker that judges them.
//!
//! The scenarios are in `tests/tests/`. Not here: anything that the product needs.

pub mod checker;
pub mod failover;
pub mod history;
pub mod model;
#[cfg(feature = "museum")]
pub mod museum;
mod ports;
mod process;
pub mod sim;
pub mod soak;

pub use process::{BrokerProcess, highwater_binary};
