//! A cluster on this machine, one process per broker: what `dev --brokers` and `quickstart` run.
//!
//! Not a supervisor: a broker that ends stays ended unless the command says otherwise. No broker outlives the command, however
//! that ends: each reads a pipe whose other end the command holds.

mod child;
mod cluster;
mod plan;

pub(crate) use cluster::LocalCluster;
pub(crate) use plan::{Plan, Wishes};
