//! Every command, one file each.

pub(crate) mod bench;
pub(crate) mod broker;
pub(crate) mod cluster;
pub(crate) mod completions;
pub(crate) mod consume;
pub(crate) mod dev;
mod dispatch;
pub(crate) mod dump;
pub(crate) mod health;
pub(crate) mod offsets;
pub(crate) mod produce;
pub(crate) mod quickstart;
mod reasons;
pub(crate) mod reassign;
mod stalled;
pub(crate) mod topic;

pub(crate) use dispatch::run;
