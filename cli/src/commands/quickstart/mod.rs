//! `highwater quickstart`: everything once, on real text, every byte checked; then a leader is killed in mid-stream.

mod command;
mod failover;
mod story;
mod text;

pub(crate) use command::{Args, run};
