//! The seams between Highwater and the world: disk, clock and randomness.
//!
//! Everything above takes these traits as `Arc<dyn ..>` and touches the world in no other way, so that one build runs
//! on a real machine ([`os`]) and the same code runs in a simulated one ([`sim`]) that forgets unsynced bytes, fills
//! up, fails any call and replays from a seed. Not here: the network, and any policy on retries.

pub mod clock;
pub mod disk;
pub mod os;
pub mod random;
pub mod sim;

pub use clock::Clock;
pub use disk::{DirEntry, DirectoryLock, Disk, DiskFile, EntryKind, LockError};
pub use random::Random;
