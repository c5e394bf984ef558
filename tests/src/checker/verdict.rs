//! Runs every check over a history and draws the conclusion.

use std::io::BufRead;

use super::anomaly::{Anomaly, Findings};
use super::book::Book;
use super::report::{Report, Verdict};
use super::{
    aborted, answers, fidelity, liveness, log_start, lost, offsets, order, polls, recency, timestamps,
};
use crate::history::{Fault, Header, History, HistoryError, Key, Kind, Op, Outcome, Phase, Stall};

/// Checks a recorded history.
///
/// # Errors
/// [`HistoryError`]: it cannot be read, so nothing is known.
pub fn check<R: BufRead>(mut history: History<R>) -> Result<Report, HistoryError> {
    let mut audit = Audit::new(history.header().clone());
    for op in &mut history {
        audit.enter(op?);
    }
    Ok(audit.conclude())
}

/// Checks operations that are in memory, in the order in which they ended.
pub fn check_ops(header: &Header, ops: impl IntoIterator<Item = Op>) -> Report {
    let mut audit = Audit::new(header.clone());
    for op in ops {
        audit.enter(op);
    }
    audit.conclude()
}

struct Audit {
    header: Header,
    book: Book,
    findings: Findings,
    report: Report,
    began: Option<u64>,
    ended: u64,
}

impl Audit {
    fn new(header: Header) -> Audit {
        let mut book = Book::default();
        for (name, topic) in &header.topics {
            for partition in 0..topic.partitions {
                book.key(&Key::new(name, partition));
            }
        }
        Audit {
            header,
            book,
            findings: Findings::default(),
            report: Report::default(),
            began: None,
            ended: 0,
        }
    }

    fn enter(&mut self, op: Op) {
        answers::is_answered(&op, &self.header.limits, &mut self.findings);
        self.began = Some(self.began.unwrap_or(op.t_invoke).min(op.t_invoke));
        self.ended = self.ended.max(op.t_complete.unwrap_or(op.t_invoke));
        let kind = match &op.kind {
            Kind::Send { .. } => {
                self.report.records_acknowledged += u64::from(op.outcome == Outcome::Ok);
                "send"
            }
            Kind::Poll { reads, .. } => {
                self.report.records_read += reads.values().map(|reads| reads.len() as u64).sum::<u64>();
                "poll"
            }
            Kind::Assign { .. } => "assign",
            Kind::ListOffsets { .. } => "list_offsets",
            Kind::DeleteRecords { .. } => "delete_records",
            Kind::Nemesis { class, installed, .. } => {
                self.report.faults.entry(class.clone()).or_default().add(*installed);
                "nemesis"
            }
            Kind::Phase { .. } => "phase",
        };
        self.report.ops.entry(kind.to_owned()).or_default().add(op.outcome);
        self.book.enter(op);
    }

    fn conclude(mut self) -> Report {
        self.book.close();
        let drain = self.book.phase(Phase::FinalDrain);
        let (book, found, report) = (&self.book, &mut self.findings, &mut self.report);
        for key in &book.keys {
            offsets::one_value_for_each_offset(key, found);
            for (value, first, second) in offsets::duplicates(key) {
                if self.header.limits.duplicates_allowed {
                    report.duplicates_allowed += 1;
                } else {
                    found.flag(Anomaly::Duplicate, || {
                        format!("{}: {value:?} at {first} and {second}", key.key)
                    });
                }
            }
            lost::nothing_is_lost(key, &book.polls, drain, found);
            lost::everything_is_seen(key, book, found);
            aborted::failures_stay_unread(key, found);
            polls::consumers_walk_step_by_step(key, &book.polls, found);
            order::sends_keep_their_order(key, found);
            recency::ends_are_recent(key, found);
            fidelity::records_are_what_was_sent(key, found);
            log_start::the_log_start_only_rises(key, &book.polls, found);
            timestamps::lookups_by_time_are_exact(key, found);
            let worst = liveness::stalls(key).into_iter().map(Stall::micros).max().unwrap_or(0);
            report.worst_unavailability_us.insert(key.key.to_string(), worst);
        }
        liveness::heals(book, &self.header.limits, found);
        liveness::minorities_do_not_stop_it(book, &self.header.limits, found);
        self.fill_report()
    }

    fn fill_report(self) -> Report {
        let Audit { header, book, findings, mut report, began, ended } = self;
        report.anomalies = findings.found;
        report.commit.clone_from(&header.commit);
        report.seed = header.seed;
        report.replay.clone_from(&header.replay);
        report.kernel_features_missing.clone_from(&header.kernel_features_missing);
        report.duration_us = ended.saturating_sub(began.unwrap_or(ended));
        report.invalid_because = invalid_because(&header, &book, &report);
        report.verdict = match (report.anomalies.is_empty(), report.invalid_because.is_empty()) {
            (false, _) => Verdict::Failed,
            (true, false) => Verdict::Invalid,
            (true, true) => Verdict::Passed,
        };
        report
    }
}

/// Why a run without anomalies still shows nothing.
fn invalid_because(header: &Header, book: &Book, report: &Report) -> Vec<String> {
    let mut reasons = Vec::new();
    let limits = &header.limits;
    if report.records_acknowledged < limits.ok_ops_min {
        let (ok, min) = (report.records_acknowledged, limits.ok_ops_min);
        reasons.push(format!("{ok} sends were acknowledged, {min} must be"));
    }
    for class in &header.faults_asked {
        if report.faults.get(class).is_none_or(|count| count.installed == 0) {
            reasons.push(format!("the fault {class} was asked for and never installed"));
        }
    }
    for phase in [Phase::Healed, Phase::FinalDrain] {
        if book.phase(phase).is_none() {
            reasons.push(format!("the run never reached {phase:?}"));
        }
    }
    let unknown = book.nemesis.iter().filter(|row| row.installed == Fault::Indeterminate).count();
    if unknown * 10 > book.nemesis.len() {
        reasons.push(format!(
            "of {unknown} faults out of {} nobody knows whether they took",
            book.nemesis.len()
        ));
    }
    reasons
}
