//! A whole cluster in one thread: real logs on simulated disks, the broker's own partitions, feeds and tails, the real
//! metadata decisions, and clients, joined by a network, a clock and a fate that come from one seed.
//!
//! Every fault that a run installs, every message and every answer is an event; the same seed gives the same events. After each
//! step the touched broker's invariants are checked, at the end the cluster must converge, and the clients' history goes to the
//! checker. Simplified: the metadata log is one list that a majority has (what Raft promises), and a flush takes effect
//! at one moment. Not here: sockets, threads, the Raft log (it has tests of its own).
//!
//! Invariant: nothing in a run depends on anything but its [`Plan`].

mod broker;
mod checks;
mod clients;
mod consumers;
mod controller;
mod drain;
mod events;
mod nemesis;
mod network;
mod plan;
mod run;
mod streams;
mod world;

pub use plan::Plan;
pub use run::{Finished, run};
