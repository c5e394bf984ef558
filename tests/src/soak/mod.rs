//! The soak: real broker processes on hosts and disks of their own, real clients, and everything that goes wrong with such
//! machines, for as long as one likes.
//!
//! `guardian` makes the bed (network namespaces, images of file systems), runs the rest of the program inside the clients'
//! namespace and takes everything away again, however that ended. Inside, `run` starts the `cluster` and the `load`, lets the
//! `nemesis` work through a `schedule` that a seed decides, heals, reads everything back and has the history judged by the
//! checker. `report` says what came out.
//!
//! Not here: simulated time or disks (that is `sim`), and containers (that is `tests/compose`).
//!
//! Invariant: a fault counts as installed only after its effect was seen, and a run in which a class of the plan was never
//! installed is invalid, not passed.
#![expect(clippy::disallowed_methods, reason = "the test bench runs on real time and real files")]

mod acknowledged;
mod admin;
mod class;
mod cluster;
mod cuts;
mod disk;
mod faults;
mod guardian;
mod host;
mod load;
mod lost_disk;
mod member;
mod nemesis;
mod network;
mod options;
mod procedures;
mod process;
mod readers;
mod report;
mod run;
mod schedule;

pub use class::class_names;
pub use guardian::{Ending, soak};
pub use options::{INSIDE, Options};
pub use run::run_inside;
