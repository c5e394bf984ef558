//! The check of `acks` before an append.

use thiserror::Error;

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
        min: usize,
    },
}

/// The check before an append (M-10): may this be written at all? `in_sync` is the size of the committed set of in-sync
/// replicas, `min` how many there must be.
///
/// # Errors
/// [`AcksError`]; nothing may be written then.
pub fn check_acks(acks: i32, in_sync: usize, min: usize) -> Result<(), AcksError> {
    match acks {
        0 | 1 => Ok(()),
        -1 if in_sync < min => Err(AcksError::NotEnoughReplicas { in_sync, min }),
        -1 => Ok(()),
        _ => Err(AcksError::Illegal { acks }),
    }
}
