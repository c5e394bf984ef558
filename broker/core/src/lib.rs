//! The broker's pure decisions: (state, event, now) in, (state, effects) out.
//!
//! Floor 1. Knows no clock, disk, socket or runtime: whoever calls passes the time and fresh ids in, and carries the
//! effects out. That is what lets the same code run in production, in property tests and in simulation.

pub mod metadata;
pub mod replication;
pub mod settings;
pub mod topic_name;
