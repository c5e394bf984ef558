//! `highwater dump`: what stands in segments and indexes on disk, every checksum verified. Reads only, and needs no
//! broker; beside a running one the end of the last segment may be in motion.

mod command;
mod partition;
mod segment;

pub(crate) use command::{Args, run};
