//! E7 and E8: a consumer reads one record after the other, each once.

use std::collections::BTreeMap;

use super::anomaly::{Anomaly, Findings};
use super::book::{Event, KeyBook, PollRow};

/// Where a consumer stands.
#[derive(Clone, Copy, Debug)]
enum Position {
    /// It was given this offset last, by this poll.
    After { offset: i64, poll: u32 },
    /// It went to this offset.
    At { offset: i64 },
}

/// E7 and E8: between two records that one consumer was given there is no other, unless it went elsewhere between; and
/// the first record after it went to an offset is the first one there.
pub(super) fn consumers_walk_step_by_step(book: &KeyBook, polls: &[PollRow], findings: &mut Findings) {
    let kept = book.deletable_end();
    let mut positions: BTreeMap<u32, Position> = BTreeMap::new();
    for event in &book.events {
        match event {
            Event::Assign { proc, from: Some(offset) } => {
                positions.insert(*proc, Position::At { offset: *offset });
            }
            Event::Assign { proc, from: None } => {
                positions.remove(proc);
            }
            Event::Read { read, poll } => {
                let PollRow { proc, idx, .. } = polls[*poll as usize];
                let offset = read.offset.0;
                let before = positions.insert(proc, Position::After { offset, poll: *poll });
                let Some(before) = before else { continue };
                let (due, inner) = match before {
                    // Offsets of which no value is known hold nothing for consumers.
                    Position::After { offset, poll: last } => (book.index(offset) + 1, last == *poll),
                    Position::At { offset } => (book.index(offset), false),
                };
                let index = book.index(offset);
                let missed = book.dense.get(due).copied().unwrap_or(i64::MAX);
                // What was deleted on request may be passed over.
                if index > due && book.dense[index - 1] >= kept {
                    let anomaly = if inner { Anomaly::InnerSkip } else { Anomaly::Skip };
                    findings.flag(anomaly, || {
                        format!("{} op {idx}: process {proc} went to {offset} and missed {missed}", book.key)
                    });
                } else if index < due {
                    let anomaly = if inner { Anomaly::InnerBackwards } else { Anomaly::Backwards };
                    findings.flag(anomaly, || {
                        format!("{} op {idx}: process {proc} was given {offset}, {before:?}", book.key)
                    });
                }
            }
        }
    }
}
