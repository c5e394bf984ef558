//! The kernel's clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Clock;

/// Reads the real clocks. Monotonic time counts from when this value was made.
#[derive(Debug)]
pub struct OsClock {
    start: Instant,
}

impl OsClock {
    /// A clock whose monotonic time starts at zero now.
    #[expect(clippy::disallowed_methods, reason = "this is the seam the rule points to")]
    pub fn new() -> OsClock {
        OsClock { start: Instant::now() }
    }
}

impl Default for OsClock {
    fn default() -> Self {
        OsClock::new()
    }
}

impl Clock for OsClock {
    #[expect(clippy::disallowed_methods, reason = "this is the seam the rule points to")]
    fn unix_ms(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        }
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}
