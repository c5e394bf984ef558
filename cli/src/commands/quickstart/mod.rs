//! `highwater quickstart`: everything once, on real text, every byte checked.

mod command;
mod story;
mod text;

pub(crate) use command::{Args, run};
