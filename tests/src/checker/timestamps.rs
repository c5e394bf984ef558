//! E21: a lookup by time finds the first record that is new enough, as reading everything would.

use super::anomaly::{Anomaly, Findings};
use super::book::KeyBook;
use crate::history::{ListSpec, Outcome};

/// E21, against every record that was read. The log only grows at its end, so an early answer that names a record is as
/// final as a late one; an answer that names none is wrong only if such a record was acknowledged before the question.
pub(super) fn lookups_by_time_are_exact(book: &KeyBook, findings: &mut Findings) {
    let lookups = book.lookups.iter().filter_map(|row| match row.spec {
        ListSpec::Timestamp(timestamp_ms) => Some((row, timestamp_ms)),
        _ => None,
    });
    let mut lookups: Vec<_> = lookups.collect();
    if lookups.is_empty() {
        return;
    }
    let mut log: Vec<(i64, i64)> = book.reads().map(|(read, _)| (read.offset.0, read.timestamp_ms)).collect();
    log.sort_unstable();
    log.dedup();
    let kept = book.deletable_end();
    log.retain(|(offset, _)| *offset >= kept);
    // The first record of each new maximum is the answer for every time up to it.
    let mut firsts: Vec<(i64, i64)> = Vec::new();
    for (offset, timestamp_ms) in log {
        if firsts.last().is_none_or(|(newest, _)| timestamp_ms > *newest) {
            firsts.push((timestamp_ms, offset));
        }
    }
    lookups.sort_by_key(|(row, _)| row.idx);
    for (row, wanted_ms) in lookups {
        let expected = firsts.get(firsts.partition_point(|(newest, _)| *newest < wanted_ms));
        let right = match (row.offset, expected) {
            (Some(offset), _) if offset < kept => true,
            (Some(offset), Some((timestamp_ms, first))) => {
                offset == *first && row.timestamp_ms.is_none_or(|told| told == *timestamp_ms)
            }
            (Some(_), None) => false,
            (None, None) => true,
            (None, Some((_, first))) => !book.sends.iter().any(|send| {
                let before = send.complete.is_some_and(|complete| complete < row.invoke);
                send.outcome == Outcome::Ok && before && send.offset == Some(*first)
            }),
        };
        if !right {
            findings.flag(Anomaly::WrongTimestamp, || {
                let (key, idx, told) = (&book.key, row.idx, (row.offset, row.timestamp_ms));
                format!(
                    "{key} op {idx}: from {wanted_ms} ms on the answer was {told:?}, right is {expected:?}"
                )
            });
        }
    }
}
