//! The leader's view of its own and its followers' progress.
//!
//! Invariants: the high watermark never falls (I8), and with `durability=fsync` it never passes the flushed end (I9,
//! M-12).

use highwater_proto::Offset;
use thiserror::Error;

use crate::settings::Durability;

/// Progress of a partition whose only counted replica is its leader.
#[derive(Clone, Debug)]
pub struct LeaderProgress {
    durability: Durability,
    log_end: Offset,
    flushed_end: Offset,
    high_watermark: Offset,
}

impl LeaderProgress {
    /// Takes a partition over as its leader, with everything recovered from disk counted as flushed.
    #[must_use]
    pub fn new(durability: Durability, recovered_end: Offset) -> LeaderProgress {
        LeaderProgress {
            durability,
            log_end: recovered_end,
            flushed_end: recovered_end,
            high_watermark: recovered_end,
        }
    }

    /// The first offset readers must not see.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The log grew. Returns the new high watermark if it rose.
    pub fn appended(&mut self, log_end: Offset) -> Option<Offset> {
        assert!(log_end >= self.log_end, "the log end fell from {} to {log_end}", self.log_end);
        self.log_end = log_end;
        self.advance()
    }

    /// A flush completed. Returns the new high watermark if it rose.
    pub fn flushed(&mut self, flushed_end: Offset) -> Option<Offset> {
        assert!(flushed_end <= self.log_end, "flushed to {flushed_end}, past the log end {}", self.log_end);
        self.flushed_end = self.flushed_end.max(flushed_end);
        self.advance()
    }

    /// The topic's durability changed. What was shown stays shown.
    pub fn set_durability(&mut self, durability: Durability) -> Option<Offset> {
        self.durability = durability;
        self.advance()
    }

    fn advance(&mut self) -> Option<Offset> {
        let counted = match self.durability {
            Durability::Fsync => self.flushed_end,
            Durability::Replicated => self.log_end,
        };
        if counted <= self.high_watermark {
            return None;
        }
        self.high_watermark = counted;
        Some(counted)
    }
}

/// Why `acks` cannot be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AcksError {
    /// Neither 0, 1 nor -1.
    #[error("acks={acks} is not legal: it must be 0, 1 or -1 (all)")]
    Illegal {
        /// As asked.
        acks: i32,
    },
    /// M-10: too few replicas, and nothing is written.
    #[error("{in_sync} in-sync replicas, and min.insync.replicas is {min}")]
    NotEnoughReplicas {
        /// How many there are.
        in_sync: usize,
        /// How many there must be.
        min: i64,
    },
}

/// The check before an append (M-10): may this be written at all?
///
/// # Errors
/// [`AcksError`]; nothing may be written then.
pub fn check_acks(acks: i32, in_sync: usize, min_insync_replicas: i64) -> Result<(), AcksError> {
    match acks {
        0 | 1 => Ok(()),
        -1 if i64::try_from(in_sync).unwrap_or(i64::MAX) < min_insync_replicas => {
            Err(AcksError::NotEnoughReplicas { in_sync, min: min_insync_replicas })
        }
        -1 => Ok(()),
        _ => Err(AcksError::Illegal { acks }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_durable_topic_shows_only_what_is_flushed() {
        let mut progress = LeaderProgress::new(Durability::Fsync, Offset(3));
        assert_eq!(progress.appended(Offset(9)), None);
        assert_eq!(progress.high_watermark(), Offset(3));
        assert_eq!(progress.flushed(Offset(7)), Some(Offset(7)));
        assert_eq!(progress.flushed(Offset(7)), None);
        assert_eq!(progress.set_durability(Durability::Replicated), Some(Offset(9)));
        assert_eq!(progress.set_durability(Durability::Fsync), None);
        assert_eq!(progress.high_watermark(), Offset(9), "what was shown stays shown");
    }

    #[test]
    fn acks_all_needs_min_insync_replicas_before_anything_is_written() {
        assert_eq!(check_acks(-1, 1, 2), Err(AcksError::NotEnoughReplicas { in_sync: 1, min: 2 }));
        assert_eq!(check_acks(1, 1, 2), Ok(()));
        assert_eq!(check_acks(2, 3, 1), Err(AcksError::Illegal { acks: 2 }));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn the_high_watermark_never_falls_and_never_passes_what_counts(
            steps in proptest::collection::vec((any::<bool>(), 0_i64..50), 1..60),
        ) {
            let mut progress = LeaderProgress::new(Durability::Fsync, Offset(0));
            let (mut end, mut flushed, mut shown) = (0, 0, Offset(0));
            for (append, amount) in steps {
                if append {
                    end += amount;
                    progress.appended(Offset(end));
                } else {
                    flushed = (flushed + amount).min(end);
                    progress.flushed(Offset(flushed));
                }
                prop_assert!(progress.high_watermark() >= shown);
                prop_assert_eq!(progress.high_watermark(), Offset(flushed));
                shown = progress.high_watermark();
            }
        }
    }
}
