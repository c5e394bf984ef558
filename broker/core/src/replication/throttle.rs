//! How fast replicas that are catching up are fed: a bucket that fills at a rate and is emptied by what was sent.
//!
//! Time comes in as an argument. The bucket never holds more than a quarter of a second's worth, so an idle time earns no burst
//! that would starve live traffic, and it may go below zero: a piece is sent whole, and paid for by the pause after it.
//! Invariant: over any time `t`, no more than `rate * (t + 1/4 s)` and one piece passes.

use std::time::Duration;

/// The bucket holds what flows in within this time.
const BURST: Duration = Duration::from_millis(250);

/// A bucket; without a rate it lets everything pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Throttle {
    /// Bytes per second.
    rate: Option<u64>,
    /// Bytes that may pass; below zero, bytes that passed already and are not paid for.
    level: f64,
    /// When `level` was that.
    at: Duration,
}

impl Throttle {
    /// A bucket that fills with `rate` bytes per second, and is full at `now`; `None` is no limit.
    #[must_use]
    pub fn new(rate: Option<u64>, now: Duration) -> Throttle {
        let mut throttle = Throttle { rate, level: 0.0, at: now };
        throttle.level = throttle.most();
        throttle
    }

    /// The rate in force, in bytes per second.
    #[must_use]
    pub fn rate(&self) -> Option<u64> {
        self.rate
    }

    /// Changes the rate; what is owed stays owed.
    pub fn set_rate(&mut self, rate: Option<u64>, now: Duration) {
        if rate != self.rate {
            self.fill(now);
            self.rate = rate;
            self.level = self.level.min(self.most());
        }
    }

    /// How long to wait before the next piece may be sent; zero is at once.
    pub fn wait(&mut self, now: Duration) -> Duration {
        self.fill(now);
        match self.rate {
            None => Duration::ZERO,
            Some(_) if self.level > 0.0 => Duration::ZERO,
            // A byte's worth more than nothing, so that the wait is never too short by rounding.
            Some(rate) => Duration::from_secs_f64((1.0 - self.level) / rate.max(1) as f64),
        }
    }

    /// This many bytes were sent.
    pub fn sent(&mut self, bytes: usize, now: Duration) {
        if self.rate.is_some() {
            self.fill(now);
            self.level -= bytes as f64;
        }
    }

    /// Whether it holds all that it can: forgetting it changes nothing.
    pub fn is_full(&mut self, now: Duration) -> bool {
        self.fill(now);
        self.level >= self.most()
    }

    fn most(&self) -> f64 {
        self.rate.unwrap_or(0).max(1) as f64 * BURST.as_secs_f64()
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        let earned = passed * self.rate.unwrap_or(0) as f64;
        self.level = (self.level + earned).min(self.most());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_a_rate_nothing_waits() {
        let mut throttle = Throttle::new(None, Duration::ZERO);
        throttle.sent(1 << 40, Duration::ZERO);
        assert_eq!(throttle.wait(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_piece_passes_whole_and_is_paid_for_by_the_pause_after_it() {
        let second = Duration::from_secs(1);
        let mut throttle = Throttle::new(Some(1000), second);
        assert_eq!(throttle.wait(second), Duration::ZERO);
        throttle.sent(10_250, second);
        let wait = throttle.wait(second);
        assert!(wait >= Duration::from_secs(10) && wait < Duration::from_secs(11), "{wait:?}");
        assert_eq!(throttle.wait(second + wait), Duration::ZERO);
        // A higher rate pays sooner, and no rate at once.
        throttle.sent(10_000, second + wait);
        throttle.set_rate(Some(1_000_000), second + wait);
        assert!(throttle.wait(second + wait) < Duration::from_millis(20));
        throttle.set_rate(None, second + wait);
        assert_eq!(throttle.wait(second + wait), Duration::ZERO);
    }

    proptest! {
        /// Whoever sends whenever it may, in pieces and at times of any size, keeps to the rate, and comes near to it.
        #[test]
        fn no_more_passes_than_the_rate_and_not_much_less(
            rate in 1_000_u64..100_000_000,
            pieces in proptest::collection::vec((1_usize..2_000_000, 0_u64..2_000), 1..200),
        ) {
            let (mut now, mut sent, mut largest) = (Duration::ZERO, 0_u64, 0);
            let mut throttle = Throttle::new(Some(rate), now);
            let mut idle = Duration::ZERO;
            for (bytes, pause_us) in pieces {
                let pause = Duration::from_micros(pause_us);
                (now, idle) = (now + pause, idle + pause);
                now += throttle.wait(now);
                prop_assert_eq!(throttle.wait(now), Duration::ZERO, "it was long enough");
                throttle.sent(bytes, now);
                (sent, largest) = (sent + bytes as u64, largest.max(bytes as u64));
            }
            let allowed = rate as f64 * (now.as_secs_f64() + 0.25) + largest as f64 + 1.0;
            prop_assert!(sent as f64 <= allowed, "{sent} of {allowed}");
            let busy = now.saturating_sub(idle).as_secs_f64() * rate as f64 * 0.99;
            prop_assert!(sent as f64 + 200.0 >= busy, "{sent} of {busy}");
        }
    }
}
