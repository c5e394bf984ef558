//! Work that nobody waits for: retention, compaction, checkpoints, deleted files, partitions opened ahead, and a look at
//! everything that is stored for rot.
//!
//! A few threads, each of which goes through the open partitions at an interval and takes each one's lock for a short piece
//! of work at a time. What fails is logged and tried again on the next round; it never stops the broker.

mod keeper;
mod opener;
mod scrubber;

pub(crate) use keeper::Housekeeper;
