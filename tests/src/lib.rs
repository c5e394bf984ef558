//! The test bench: brokers as real processes, started, killed and read from.
//!
//! The scenarios are in `tests/tests/`. Not here: anything that the product needs.

mod process;

pub use process::{BrokerProcess, highwater_binary};
