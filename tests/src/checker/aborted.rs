//! E5: what definitely failed is never read.

use super::anomaly::{Anomaly, Findings};
use super::book::KeyBook;
use crate::history::{Outcome, Value};

/// E5: no poll returned a value whose every send definitely failed.
pub(super) fn failures_stay_unread(book: &KeyBook, findings: &mut Findings) {
    let failed = book.sends.iter().filter(|send| send.outcome == Outcome::Fail);
    let mut failed: Vec<(Value, u64)> = failed.map(|send| (send.value, send.idx)).collect();
    failed.sort_unstable();
    for (read, _) in book.reads() {
        let at = failed.partition_point(|(value, _)| *value < read.value);
        if let Some((_, idx)) = failed.get(at).filter(|(value, _)| *value == read.value) {
            findings.flag(Anomaly::AbortedRead, || {
                format!("{} offset {}: {:?}, whose send (op {idx}) failed", book.key, read.offset, read.value)
            });
        }
    }
}
