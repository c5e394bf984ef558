//! E3 and E4: what was acknowledged, or shown to anybody, stays.

use super::anomaly::{Anomaly, Findings};
use super::book::{Book, KeyBook, PollRow};
use crate::history::{Outcome, Phase, Value};

/// The values in `reads`, sorted.
fn sorted(reads: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut values: Vec<Value> = reads.collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// E3: an acknowledged value that nobody ever read, though somebody read past it; or one that was read once and is
/// not there when everything is read at the end.
pub(super) fn nothing_is_lost(book: &KeyBook, polls: &[PollRow], drained: Option<u64>, found: &mut Findings) {
    let seen = sorted(book.reads().map(|(read, _)| read.value));
    let kept = book.deletable_end();
    let end = book.reads().map(|(read, _)| read.offset.0).max().unwrap_or(-1);
    for send in book.sends.iter().filter(|send| send.outcome == Outcome::Ok) {
        let below = book.offsets_of(send.value).max().filter(|offset| (kept..=end).contains(offset));
        if let Some(offset) = below
            && seen.binary_search(&send.value).is_err()
        {
            found.flag(Anomaly::LostWrite, || {
                let (key, idx, value) = (&book.key, send.idx, send.value);
                format!("{key} op {idx}: {value:?}, acknowledged at {offset}: {end} was read, it never was")
            });
        }
    }
    let Some(drained) = drained else { return };
    let last = sorted(book.reads().filter(|(_, poll)| polls[*poll as usize].invoke >= drained).map(value));
    let mut gone: Vec<(i64, Value)> = book
        .reads()
        .filter(|(read, _)| read.offset.0 >= kept && last.binary_search(&read.value).is_err())
        .map(|(read, _)| (read.offset.0, read.value))
        .collect();
    gone.sort_unstable();
    gone.dedup();
    for (offset, value) in gone {
        found.flag(Anomaly::LostWrite, || {
            format!("{}: {value:?} was read at {offset}, and is not there at the end", book.key)
        });
    }
}

/// E4: after the last heal, reading everything from the beginning finds every acknowledged value.
pub(super) fn everything_is_seen(book: &KeyBook, whole: &Book, findings: &mut Findings) {
    let Some(drained) = whole.phase(Phase::FinalDrain) else { return };
    let late = book.reads().filter(|(_, poll)| whole.polls[*poll as usize].invoke >= drained);
    let last = sorted(late.map(value));
    let kept = book.deletable_end();
    for send in book.sends.iter().filter(|send| send.outcome == Outcome::Ok) {
        let deleted = book.offsets_of(send.value).any(|offset| offset < kept);
        if !deleted && last.binary_search(&send.value).is_err() {
            findings.flag(Anomaly::Unseen, || {
                let offset = send.offset.map_or("no offset".to_owned(), |offset| offset.to_string());
                format!("{} op {}: {:?}, acknowledged at {offset}", book.key, send.idx, send.value)
            });
        }
    }
}

fn value((read, _): (&crate::history::Read, u32)) -> Value {
    read.value
}
