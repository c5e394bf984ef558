//! E24: the cluster serves again in time, and goes on while only a minority is in trouble.

use super::anomaly::{Anomaly, Findings};
use super::book::{Book, KeyBook, NemesisRow};
use crate::history::{Fault, Limits, Outcome, Phase, Stall};

/// Every time of a partition in which sends were tried and none was acknowledged, in order.
pub(super) fn stalls(book: &KeyBook) -> Vec<Stall> {
    let mut sends: Vec<_> = book.sends.iter().collect();
    let last = sends.iter().map(|send| send.complete.unwrap_or(send.invoke)).max().unwrap_or(0);
    sends.sort_by_key(|send| send.complete.unwrap_or(last));
    let mut found = Vec::new();
    let (mut acknowledged, mut tried) = (0, u64::MAX);
    for send in sends {
        tried = tried.min(send.invoke);
        if send.outcome == Outcome::Ok
            && let Some(complete) = send.complete
        {
            found.push(Stall { from: acknowledged.max(tried).min(complete), end: complete });
            (acknowledged, tried) = (complete, u64::MAX);
        }
    }
    if tried < last {
        found.push(Stall { from: acknowledged.max(tried).min(last), end: last });
    }
    found
}

/// After the last heal every partition accepts a write within the limit, and the drain reaches the end.
pub(super) fn heals(book: &Book, limits: &Limits, findings: &mut Findings) {
    let Some(healed) = book.phase(Phase::Healed) else { return };
    let due = healed.saturating_add(limits.heal_us);
    for key in &book.keys {
        let served = key.sends.iter().any(|send| {
            send.outcome == Outcome::Ok
                && send.invoke >= healed
                && send.complete.is_some_and(|complete| complete <= due)
        });
        if !served {
            findings.flag(Anomaly::NotServed, || {
                format!("{}: no write was acknowledged within {} us of the heal", key.key, limits.heal_us)
            });
        }
    }
    if book.phase(Phase::Drained).is_none() {
        findings.flag(Anomaly::NotConverged, || {
            "the history ends before everything was read to the end".to_owned()
        });
    }
}

/// While only a minority is faulty no partition stalls longer than the limit.
pub(super) fn minorities_do_not_stop_it(book: &Book, limits: &Limits, findings: &mut Findings) {
    let Some(limit) = limits.minority_stall_us else { return };
    let end = book.phase(Phase::Healed).unwrap_or(u64::MAX);
    let majorities = majority_faults(&book.nemesis);
    for key in &book.keys {
        for stall in stalls(key) {
            let excused = stall.from >= end
                || majorities.iter().any(|(from, to)| *from < stall.end && stall.from < *to);
            if stall.micros() > limit && !excused {
                findings.flag(Anomaly::Stalled, || {
                    let micros = stall.micros();
                    format!("{}: nothing acknowledged for {micros} us from {} on", key.key, stall.from)
                });
            }
        }
    }
}

/// When more than a minority was faulty: from the fault to its heal, and as long again as recovery takes is not added.
fn majority_faults(nemesis: &[NemesisRow]) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    for (i, row) in nemesis.iter().enumerate() {
        if row.minority || !matches!(row.installed, Fault::Installed | Fault::Indeterminate) {
            continue;
        }
        let same = |later: &&NemesisRow| {
            later.installed == Fault::Healed && later.class == row.class && later.detail == row.detail
        };
        let healed = nemesis[i..].iter().find(same).map_or(u64::MAX, |later| later.at);
        found.push((row.at, healed));
    }
    found
}
