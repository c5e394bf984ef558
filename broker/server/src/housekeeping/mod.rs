//! Work that nobody waits for: retention, compaction, checkpoints, deleted files,
//! and partitions opened ahead.
//!
//! One thread, which goes through the open partitions at an interval and takes each one's lock for a short piece of
//! work at a time. What fails is logged and tried again on the next round; it never stops the broker.

mod keeper;
mod opener;

pub(crate) use keeper::Housekeeper;
