//! How long writes stand still when a broker dies or stops: real processes, real signals, a steady idempotent load.
//!
//! A measurement and no test: nothing here asserts how fast anything is. What it does check is that no client saw an error
//! and that every acknowledged record is in its partition once.

mod brokers;
pub mod figures;
mod load;
mod report;
mod rounds;

pub use brokers::{Brokers, SIGCONT, SIGKILL, SIGSTOP};
pub use load::Load;
pub use report::{table, timeline};
pub use rounds::{Class, Plan, Round, Rounds};
