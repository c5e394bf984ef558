//! Known bugs, put back one at a time: does anything notice?
//!
//! Each is hunted by walks through the model, then by simulated clusters, then by a scenario made for it. Only built with the
//! feature `museum`. Not here: where the bugs are; each is one line at its place, named in `highwater_proto::museum`.

mod directed;
mod hunt;

pub use hunt::{Catch, hunt};
