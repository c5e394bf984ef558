//! The real machine: the file system through positional system calls, the kernel's clocks and its random source.

mod clock;
mod disk;
mod file;
mod random;

pub use clock::OsClock;
pub use disk::OsDisk;
pub use random::OsRandom;
