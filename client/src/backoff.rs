//! Exponential back-off with jitter: how long to wait before attempt n.
//!
//! Pure apart from the seed of the jitter, which the process takes once.

use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// First and longest wait between two attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Backoff {
    /// The wait before attempt `attempt` (0 is the first retry): doubled each time, capped, and spread over
    /// [0.5, 1.0) of itself, so that clients that lost the same broker do not come back in step.
    pub(crate) fn wait(self, attempt: u32) -> Duration {
        let full = self.first.saturating_mul(1_u32 << attempt.min(16)).min(self.longest);
        full / 2 + full.mul_f64(0.5 * fraction(next_random()))
    }
}

fn fraction(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

/// A number from a process-wide splitmix64 sequence; good for jitter and for choosing partitions, not for secrets.
pub(crate) fn next_random() -> u64 {
    static STATE: OnceLock<AtomicU64> = OnceLock::new();
    let state = STATE.get_or_init(|| AtomicU64::new(seed()));
    let mut z = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[expect(clippy::disallowed_methods, reason = "the one place where the client takes a random seed")]
fn seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_keep_at_least_half() {
        let backoff = Backoff { first: Duration::from_millis(10), longest: Duration::from_millis(100) };
        for (attempt, full_ms) in [(0, 10), (1, 20), (3, 80), (4, 100), (40, 100), (u32::MAX, 100)] {
            let full = Duration::from_millis(full_ms);
            for _ in 0..50 {
                let wait = backoff.wait(attempt);
                assert!(wait >= full / 2 && wait <= full, "attempt {attempt}: {wait:?}");
            }
        }
    }

    #[test]
    fn fractions_stay_below_one() {
        assert!(fraction(u64::MAX) < 1.0);
        assert_eq!(fraction(0), 0.0);
    }
}
