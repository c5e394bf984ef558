//! The durable log: segment files, vote, and the marker of what is known to be durable, behind openraft's log traits.
//!
//! One thread owns the files and carries out what it is handed in order ([`thread`]); readers are served from memory,
//! which holds every entry that is not purged ([`store`]). The log is a journal that only grows: a truncation is a record
//! of its own ([`record`]), so no byte that was durable is ever written over.
//!
//! ```text
//! directory/
//!   identity                  whose directory this is               (start.rs)
//!   vote                      two equal slots, synced               (vote.rs)
//!   marker                    two slots in turn, synced at the end  (marker.rs)
//!   {number, 20 digits}.log   segments, contiguous numbers          (segment.rs, record.rs)
//!   snapshot-{index}-{term}   state machine                         (../snapshot.rs)
//!   *.tmp                     unfinished, without meaning
//! ```

pub(crate) mod files;
mod journal;
mod marker;
mod record;
mod recovery;
mod segment;
mod slots;
mod store;
mod thread;
mod vote;

pub(crate) use recovery::{Recovered, open};
pub(crate) use store::LogStore;
pub(crate) use thread::IoThread;

#[cfg(test)]
pub(crate) mod pinned;
