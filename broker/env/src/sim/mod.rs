//! A simulated machine: everything in memory, everything from a seed, and everything able to fail.
//!
//! [`SimDisk`] keeps, for each file and directory, what a reader sees and what a power cut would leave. It is harsher
//! than a journaling file system where that is cheap (unsynced sectors survive in any combination, directories lose
//! names independently of each other) and never kinder. The same seed and the same calls give the same bytes.

mod disk;
mod fault;
mod file;
mod node;
mod time;

pub use disk::{Resident, SimDisk};
pub use fault::{CallKind, Fault, FaultKind};
pub use time::{SimClock, SimRandom};
