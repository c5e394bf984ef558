//! E9: a producer's values lie in the order in which it sent them.

use super::anomaly::{Anomaly, Findings};
use super::book::KeyBook;
use crate::history::{Outcome, Value};

/// E9: among one producer's acknowledged sends to the partition, offsets rise with the sequence.
pub(super) fn sends_keep_their_order(book: &KeyBook, findings: &mut Findings) {
    let acknowledged = book.sends.iter().filter(|send| send.outcome == Outcome::Ok);
    let mut sent: Vec<(Value, i64)> =
        acknowledged.filter_map(|send| Some((send.value, send.offset?))).collect();
    sent.sort_unstable();
    for pair in sent.windows(2) {
        let [(first, first_offset), (second, second_offset)] = [pair[0], pair[1]];
        if first.producer == second.producer && second_offset < first_offset {
            findings.flag(Anomaly::SendsReordered, || {
                format!("{}: {first:?} at {first_offset}, then {second:?} at {second_offset}", book.key)
            });
        }
    }
}
