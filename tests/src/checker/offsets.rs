//! E1 and E2: one value for each offset, one offset for each value.

use super::anomaly::{Anomaly, Findings};
use super::book::KeyBook;
use crate::history::Value;

/// E1: no offset has had two values, in any answer to anybody.
pub(super) fn one_value_for_each_offset(book: &KeyBook, findings: &mut Findings) {
    let mut by_offset: Vec<(i64, Value)> =
        book.placed.iter().map(|(value, offset)| (*offset, *value)).collect();
    by_offset.sort_unstable();
    for pair in by_offset.windows(2) {
        if pair[0].0 == pair[1].0 {
            findings.flag(Anomaly::InconsistentOffsets, || {
                format!("{} offset {}: {:?} and {:?}", book.key, pair[0].0, pair[0].1, pair[1].1)
            });
        }
    }
}

/// E2: no value is at two offsets. Returns how many are.
pub(super) fn duplicates(book: &KeyBook) -> impl Iterator<Item = (Value, i64, i64)> {
    book.placed.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| {
        let [(value, first), (_, second)] = [pair[0], pair[1]];
        (value, first, second)
    })
}
