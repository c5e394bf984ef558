//! E12 and E13: a leader's answer knows every write that was acknowledged before the question, and never unlearns.

use super::anomaly::{Anomaly, Findings};
use super::book::{EndSource, KeyBook};
use crate::history::Outcome;

/// E12: after an acknowledged send to offset o, a leader's latest offset is above o.
/// E13: the latest offset does not fall from one question to a later one.
pub(super) fn ends_are_recent(book: &KeyBook, findings: &mut Findings) {
    let mut acknowledged: Vec<(u64, i64)> = book
        .sends
        .iter()
        .filter(|send| send.outcome == Outcome::Ok)
        .filter_map(|send| Some((send.complete?, send.offset?)))
        .collect();
    acknowledged.sort_unstable();
    let mut asked = book.ends.clone();
    asked.sort_by_key(|row| row.invoke);
    let mut answered = book.ends.clone();
    answered.sort_by_key(|row| row.complete);
    let (mut acks, mut answers) = (acknowledged.iter().peekable(), answered.iter().peekable());
    let (mut ack_max, mut end_max) = (-1, -1);
    for row in &asked {
        while let Some((_, offset)) = acks.next_if(|(complete, _)| *complete < row.invoke) {
            ack_max = ack_max.max(*offset);
        }
        while let Some(before) = answers.next_if(|before| before.complete < row.invoke) {
            if before.source == EndSource::Listed {
                end_max = end_max.max(before.end);
            }
        }
        if row.end <= ack_max {
            findings.flag(Anomaly::StaleEnd, || {
                format!("{} op {}: the end is {}, and {ack_max} was acknowledged", book.key, row.idx, row.end)
            });
        }
        if row.source == EndSource::Listed && row.end < end_max {
            findings.flag(Anomaly::EndFell, || {
                format!("{} op {}: the end is {}, and was {end_max}", book.key, row.idx, row.end)
            });
        }
    }
}
