//! The replication core as a model whose every state is visited: the production step functions of `highwater-core`, over logs
//! that are vectors and a network that delays, reorders and loses.
//!
//! Three brokers hold one partition. They produce, flush, ask, answer, cut, copy, report, propose, crash (and lose what was
//! not flushed, or everything), are fenced, come back and are elected, in every order that the [`Bounds`] allow. Not here:
//! time (whatever waits for a time may happen at any time), bytes, and liveness.
//!
//! Invariant: a step that production would not take is not taken here; whatever decides is called, not copied.

mod controller;
mod node;
mod properties;
mod run;
mod state;
mod step;
mod walk;

pub use run::{Depth, Explored, explore};
pub use state::{Bounds, World};
pub use step::Action;
pub use walk::{walk, walk_for};
