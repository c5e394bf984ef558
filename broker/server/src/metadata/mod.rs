//! The metadata as every broker keeps it: the state machine under Raft, and its newest image for whoever reads.
//!
//! Entries come from Raft, in order, and are carried out by `core/metadata`; nothing here decides. What was decided where,
//! and how a change gets into the log, is the controller's business.

mod store;

pub(crate) use store::{MetadataStore, Verdict};
