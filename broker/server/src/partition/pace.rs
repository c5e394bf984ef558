//! How fast the logs grow, so that retired segments are zeroed while the disk has time to spare.
//!
//! Preparing a segment means writing it with zeros first. While writers are fast that would take the disk's bandwidth from
//! them, which is what they wait for.

use std::time::Duration;

/// Faster than this, in bytes per second, the disk is left to the writers.
const FAST_BYTES_PER_SECOND: u64 = 24 << 20;
/// The shortest time over which a rate means anything.
const WINDOW: Duration = Duration::from_millis(100);

/// A rate over the last window.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    began: Duration,
    bytes_at_begin: u64,
    bytes_per_second: u64,
}

impl Pace {
    /// Takes note of how many bytes were written in all by `now` (monotonic time).
    pub(crate) fn note(&mut self, now: Duration, bytes_in_all: u64) {
        let elapsed = now.saturating_sub(self.began);
        if elapsed < WINDOW {
            return;
        }
        let bytes = bytes_in_all.saturating_sub(self.bytes_at_begin);
        self.bytes_per_second = (bytes as f64 / elapsed.as_secs_f64()) as u64;
        (self.began, self.bytes_at_begin) = (now, bytes_in_all);
    }

    /// Whether the disk has time to spare.
    pub(crate) fn is_slow(&self) -> bool {
        self.bytes_per_second < FAST_BYTES_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_fast_and_a_trickle_is_slow_again_one_window_later() {
        let mut pace = Pace::default();
        assert!(pace.is_slow());
        pace.note(Duration::from_millis(200), 50 << 20);
        assert!(!pace.is_slow());
        pace.note(Duration::from_millis(250), 50 << 20);
        assert!(!pace.is_slow(), "half a window says nothing");
        pace.note(Duration::from_millis(400), 51 << 20);
        assert!(pace.is_slow());
    }
}
