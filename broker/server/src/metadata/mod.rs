//! Where a single broker keeps its metadata: a checksummed journal of records, folded into a snapshot now and then.
//!
//! Until the cluster brings Raft, this is the metadata log. A change is decided against the image, written and fsynced,
//! and only then applied, so what a client was told is on disk. Not here: what the records mean (`core/metadata`).

mod journal;
mod store;

pub use store::{ChangeError, MetadataStore};
