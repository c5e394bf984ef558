//! E19: a record is what was sent to this partition.

use super::anomaly::{Anomaly, Findings};
use super::book::KeyBook;
use crate::history::Value;

/// E19: nothing that was read was damaged or belonged elsewhere, and all of it was sent.
pub(super) fn records_are_what_was_sent(book: &KeyBook, findings: &mut Findings) {
    for (idx, offset, problem) in &book.bad {
        findings.flag(Anomaly::Unfaithful, || format!("{} op {idx} offset {offset}: {problem}", book.key));
    }
    let mut sent: Vec<Value> = book.sends.iter().map(|send| send.value).collect();
    sent.sort_unstable();
    for (read, _) in book.reads() {
        if sent.binary_search(&read.value).is_err() {
            findings.flag(Anomaly::Unfaithful, || {
                format!("{} offset {}: nobody sent {:?}", book.key, read.offset, read.value)
            });
        }
    }
}
