//! Judges a history: which of the anomalies E1 to E25 are in it, and whether the run says anything at all.
//!
//! One file per family of anomalies; each looks at one partition's `book` and sorts at most once, so ten million records
//! take seconds. Anomalies of transactions, groups and compaction are not here: nothing makes such histories yet.
//!
//! Invariant: a run with too few answers, or where a fault that was asked for never took, is invalid, never passed.

mod aborted;
mod anomaly;
mod answers;
mod book;
mod fidelity;
mod liveness;
mod log_start;
mod lost;
mod offsets;
mod order;
mod polls;
mod recency;
mod report;
mod timestamps;
mod verdict;

#[cfg(test)]
mod tests;

pub use anomaly::{Anomaly, Findings, Found};
pub use report::{FaultCount, OpCount, Report, Verdict};
pub use verdict::{check, check_ops};
