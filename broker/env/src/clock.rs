//! The clock seam: wall time for what people see, monotonic time for what the broker waits for.

use std::fmt;
use std::time::Duration;

/// Where time comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Milliseconds since the Unix epoch. May jump in either direction; never use it to measure a wait.
    fn unix_ms(&self) -> i64;

    /// Time since an arbitrary fixed point; never goes back.
    fn monotonic(&self) -> Duration;
}
