//! The consumer's settings, with Kafka's names where the meaning is the same.

use std::time::Duration;

use crate::error::ConfigError;

/// What to do when a position is no longer, or not yet, in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OffsetReset {
    /// Say so: [`ConsumeError::OffsetOutOfRange`](crate::ConsumeError::OffsetOutOfRange). Nothing is skipped silently.
    #[default]
    Fail,
    /// Go on at the first offset the log still has.
    Earliest,
    /// Go on at the end.
    Latest,
}

/// Whether every batch's CRC is checked on arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// Yes: the sum was made by the producer, so this covers every disk and wire in between.
    #[default]
    Checksum,
    /// No.
    Skip,
}

/// How a consumer fetches.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// Cap of one response; a larger single batch still comes whole. Default: 1 MiB.
    pub fetch_max_bytes: usize,
    /// The broker answers once this much is there. Default: 1 byte, for the least delay.
    pub fetch_min_bytes: usize,
    /// Or after this long. Default: 500 ms.
    pub fetch_max_wait: Duration,
    /// Bytes asked for ahead of the caller, on each leader's connection; rounded down to whole responses, at least
    /// one. Default: 8 MiB.
    pub prefetch_bytes: usize,
    /// Default: [`OffsetReset::Fail`].
    pub offset_reset: OffsetReset,
    /// Default: [`Verification::Checksum`].
    pub verification: Verification,
    /// Most bytes that one batch may decompress to. Default: 256 MiB.
    pub max_decompressed_bytes: usize,
}

impl Default for ConsumerConfig {
    fn default() -> ConsumerConfig {
        ConsumerConfig {
            fetch_max_bytes: 1 << 20,
            fetch_min_bytes: 1,
            fetch_max_wait: Duration::from_millis(500),
            prefetch_bytes: 8 << 20,
            offset_reset: OffsetReset::default(),
            verification: Verification::default(),
            max_decompressed_bytes: 256 << 20,
        }
    }
}

impl ConsumerConfig {
    /// How many fetch requests are on their way at once.
    pub(crate) fn pipeline(&self) -> usize {
        (self.prefetch_bytes / self.fetch_max_bytes.max(1)).clamp(1, 64)
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let in_bounds = |key, value: usize, bounds: std::ops::RangeInclusive<usize>, remedy| {
            if bounds.contains(&value) {
                return Ok(());
            }
            let problem = format!("{value} is not in {}..={}", bounds.start(), bounds.end());
            Err(ConfigError { key, problem, remedy })
        };
        in_bounds("fetch_max_bytes", self.fetch_max_bytes, 1..=64 << 20, "use up to 64 MiB")?;
        in_bounds(
            "fetch_min_bytes",
            self.fetch_min_bytes,
            0..=self.fetch_max_bytes,
            "keep it at or below fetch_max_bytes",
        )?;
        in_bounds("max_decompressed_bytes", self.max_decompressed_bytes, 1..=1 << 30, "use up to 1 GiB")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pipeline_is_what_the_byte_budget_holds_and_at_least_one() {
        let config = ConsumerConfig::default();
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(config.pipeline(), 8);
        assert_eq!(ConsumerConfig { prefetch_bytes: 0, ..config.clone() }.pipeline(), 1);
        assert_eq!(ConsumerConfig { fetch_max_bytes: 16 << 20, ..config }.pipeline(), 1);
    }

    #[test]
    fn settings_out_of_bounds_are_named() {
        let config = ConsumerConfig { fetch_max_bytes: 0, ..ConsumerConfig::default() };
        assert_eq!(config.validate().expect_err("refused").key, "fetch_max_bytes");
        let config = ConsumerConfig { fetch_min_bytes: 2 << 20, ..ConsumerConfig::default() };
        assert_eq!(config.validate().expect_err("refused").key, "fetch_min_bytes");
    }
}
