//! E20: what was deleted stays deleted, over fail-overs and restarts.

use super::anomaly::{Anomaly, Findings};
use super::book::{KeyBook, LookupRow, PollRow};
use crate::history::{ListSpec, Outcome};

/// E20: after an acknowledged deletion up to o nothing below o is read, and the earliest offset never falls.
pub(super) fn the_log_start_only_rises(book: &KeyBook, polls: &[PollRow], findings: &mut Findings) {
    let acknowledged = book.deletes.iter().filter(|delete| delete.outcome == Outcome::Ok);
    let mut floors: Vec<(u64, i64)> =
        acknowledged.filter_map(|delete| Some((delete.complete?, delete.before))).collect();
    let earliest = |row: &&LookupRow| row.spec == ListSpec::Earliest;
    let answers = book.lookups.iter().filter(earliest);
    floors.extend(answers.filter_map(|row| Some((row.complete, row.offset?))));
    floors.sort_unstable();
    let mut highest = -1;
    for floor in &mut floors {
        highest = floor.1.max(highest);
        floor.1 = highest;
    }
    let floor_at = |at: u64| {
        let before = floors.partition_point(|(complete, _)| *complete < at);
        before.checked_sub(1).map_or(-1, |last| floors[last].1)
    };
    for (read, poll) in book.reads() {
        let PollRow { invoke, idx, .. } = polls[poll as usize];
        let floor = floor_at(invoke);
        if read.offset.0 < floor {
            findings.flag(Anomaly::BelowLogStart, || {
                format!("{} op {idx}: offset {} was read, the log started at {floor}", book.key, read.offset)
            });
        }
    }
    for row in book.lookups.iter().filter(earliest) {
        let floor = floor_at(row.invoke);
        if row.offset.is_some_and(|offset| offset < floor) {
            findings.flag(Anomaly::LogStartFell, || {
                format!("{} op {}: the log starts at {:?}, it was {floor}", book.key, row.idx, row.offset)
            });
        }
    }
}
