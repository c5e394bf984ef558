//! What came out of a run: one structure, written as JSON for machines and as Markdown for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::Options;
use super::acknowledged::Acknowledged;
use super::cluster::UnaskedEnd;
use super::load::ClientError;
use super::nemesis::{Deeds, Struck};
use crate::checker::{Report, Verdict};

/// A stall that is longer is told by itself.
const OUTLIER_US: u64 = 5_000_000;
/// One that lasts so long although a minority is disturbed at most, or nobody at all, is a failure.
pub(super) const STUCK_US: u64 = 30_000_000;
const EXAMPLES: usize = 12;
/// A run with fewer says too little.
const FAULTS_MIN_PER_MINUTE: usize = 5;

/// Everything a report is made from.
pub(super) struct Findings {
    pub(super) checked: Report,
    pub(super) deeds: Deeds,
    pub(super) ends: Vec<UnaskedEnd>,
    pub(super) errors: (BTreeMap<String, u64>, Vec<ClientError>),
    pub(super) questions: u64,
    pub(super) acknowledged: Vec<Acknowledged>,
    /// When sending ended.
    pub(super) wrote_until_us: u64,
}

/// A distribution, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spread {
    pub(super) count: usize,
    pub(super) p50_ms: u64,
    pub(super) p99_ms: u64,
    pub(super) worst_ms: u64,
}

impl Spread {
    fn of(mut micros: Vec<u64>) -> Spread {
        micros.sort_unstable();
        let at = |percent: usize| {
            let rank = (micros.len() * percent).div_ceil(100).max(1) - 1;
            micros.get(rank).map_or(0, |micros| micros / 1000)
        };
        Spread { count: micros.len(), p50_ms: at(50), p99_ms: at(99), worst_ms: at(100) }
    }
}

/// What became of a class of faults.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct ClassReport {
    pub(super) installed: usize,
    pub(super) skipped: usize,
    /// Of each partition and fault: the longest time without an acknowledged write from the installation until everything
    /// was in sync again.
    pub(super) unavailable: Spread,
    /// The same for the faults that struck alone.
    pub(super) unavailable_alone: Spread,
    /// From the heal until every replica was in sync.
    pub(super) in_sync: Spread,
}

/// A partition that could not be written to for long.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Outlier {
    pub(super) class: String,
    pub(super) detail: String,
    pub(super) joined: bool,
    pub(super) at_us: u64,
    pub(super) partition: usize,
    pub(super) ms: u64,
    /// So much of it came after everything was in sync.
    pub(super) after_in_sync_ms: u64,
}

/// What came out of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SoakReport {
    pub(super) verdict: Verdict,
    pub(super) seed: u64,
    pub(super) minutes: u64,
    pub(super) commit: String,
    pub(super) version: String,
    pub(super) replay: String,
    pub(super) duration_s: f64,
    pub(super) faults_installed: usize,
    pub(super) classes_installed: usize,
    pub(super) records_acknowledged: u64,
    pub(super) records_read: u64,
    pub(super) metadata_questions: u64,
    /// What the cluster must not do, beyond the history's anomalies.
    pub(super) problems: Vec<String>,
    /// Brokers that ended without being told to, and without excuse, are among the problems too.
    pub(super) unasked_ends: Vec<UnaskedEnd>,
    /// Errors that reached callers of the client library, by call.
    pub(super) client_errors: BTreeMap<String, u64>,
    pub(super) client_error_examples: Vec<ClientError>,
    pub(super) classes: BTreeMap<String, ClassReport>,
    pub(super) skipped: Vec<(String, String)>,
    pub(super) outliers: Vec<Outlier>,
    pub(super) faults: Vec<Struck>,
    /// The checker's own report: operations, anomalies, reasons why it would be invalid.
    pub(super) history: Report,
}

impl SoakReport {
    pub(super) fn new(options: &Options, findings: Findings) -> SoakReport {
        let (classes, outliers) = classes(&findings);
        let Findings { checked, deeds, ends, errors, questions, .. } = findings;
        let mut problems = deeds.problems;
        for end in ends.iter().filter(|end| end.excuse.is_none()) {
            let (at, host) = (end.at_us as f64 / 1e6, end.host);
            problems.push(format!("at {at:.1} s: the broker on host {host} ended by itself: {}", end.how));
        }
        let (client_errors, client_error_examples) = errors;
        let writes = ["send", "delivery"].iter().filter_map(|call| client_errors.get(*call)).sum::<u64>();
        if writes > 0 {
            problems
                .push(format!("{writes} records were given up: no fault lasts as long as the library tries"));
        }
        for stuck in outliers.iter().filter(|one| one.after_in_sync_ms > STUCK_US / 1000) {
            let Outlier { class, partition, after_in_sync_ms, .. } = stuck;
            let at = stuck.at_us as f64 / 1e6;
            problems.push(format!(
                "after {class} at {at:.1} s no write to partition {partition} was acknowledged for {after_in_sync_ms} ms, \
                 with everything in sync"
            ));
        }
        let faults_min = FAULTS_MIN_PER_MINUTE * usize::try_from(options.minutes).unwrap_or(usize::MAX);
        let mut checked = checked;
        if deeds.struck.len() < faults_min {
            let few = format!("{} faults were installed, {faults_min} must be", deeds.struck.len());
            checked.invalid_because.push(few);
        }
        let verdict = match (problems.is_empty(), checked.invalid_because.is_empty(), checked.verdict) {
            (false, ..) => Verdict::Failed,
            (true, false, Verdict::Passed) => Verdict::Invalid,
            (true, _, verdict) => verdict,
        };
        let skipped = deeds.skipped.into_iter().map(|(class, why)| (class.name().to_owned(), why));
        SoakReport {
            verdict,
            seed: options.seed,
            minutes: options.minutes,
            commit: options.commit.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            replay: options.replay(),
            duration_s: checked.duration_us as f64 / 1e6,
            faults_installed: deeds.struck.len(),
            classes_installed: classes.values().filter(|class| class.installed > 0).count(),
            records_acknowledged: checked.records_acknowledged,
            records_read: checked.records_read,
            metadata_questions: questions,
            problems,
            unasked_ends: ends,
            client_errors,
            client_error_examples,
            classes,
            skipped: skipped.collect(),
            outliers,
            faults: deeds.struck,
            history: checked,
        }
    }

    /// For people.
    pub(super) fn markdown(&self) -> String {
        let mut text = String::new();
        let anomalies: u64 = self.history.anomalies.values().map(|found| found.count).sum();
        let _ = writeln!(text, "# Soak: {:?}\n", self.verdict);
        let _ = writeln!(text, "`{}`, commit {}, version {}\n", self.replay, self.commit, self.version);
        let _ = writeln!(
            text,
            "{:.0} s, {} faults of {} classes, {} records acknowledged, {} read, {} anomalies, {} client errors, {} problems.",
            self.duration_s,
            self.faults_installed,
            self.classes_installed,
            self.records_acknowledged,
            self.records_read,
            anomalies,
            self.client_errors.values().sum::<u64>(),
            self.problems.len()
        );
        self.write_classes(&mut text);
        self.write_findings(&mut text);
        text
    }

    fn write_classes(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "\nMilliseconds without an acknowledged write, per fault and partition, from the installation until all is in \
             sync; and from the heal until all is in sync. The machine is shared with the load: upper bounds.\n"
        );
        let _ = writeln!(
            text,
            "| class | installed | skipped | p50 | p99 | worst | alone: p50 | p99 | worst | in sync: p50 | worst |"
        );
        let _ = writeln!(text, "|---|---|---|---|---|---|---|---|---|---|---|");
        for (name, class) in &self.classes {
            let (all, alone, sync) = (class.unavailable, class.unavailable_alone, class.in_sync);
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                class.installed,
                class.skipped,
                all.p50_ms,
                all.p99_ms,
                all.worst_ms,
                alone.p50_ms,
                alone.p99_ms,
                alone.worst_ms,
                sync.p50_ms,
                sync.worst_ms
            );
        }
    }

    fn write_findings(&self, text: &mut String) {
        let _ = writeln!(text, "\n## Operations\n");
        for (kind, count) in &self.history.ops {
            let _ = writeln!(text, "- {kind}: {} ok, {} fail, {} info", count.ok, count.fail, count.info);
        }
        let _ = writeln!(text, "- questions about metadata: {}", self.metadata_questions);
        let mut section = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                let _ = writeln!(text, "\n## {title}\n");
                for line in lines {
                    let _ = writeln!(text, "- {line}");
                }
            }
        };
        section("Invalid", self.history.invalid_because.clone());
        let anomaly = |(name, found): (&String, &crate::checker::Found)| {
            format!("{} {name}: {} times; {}", found.code, found.count, found.examples.join("; "))
        };
        section("Anomalies", self.history.anomalies.iter().map(anomaly).collect());
        section("Problems", self.problems.clone());
        let end = |end: &UnaskedEnd| {
            let excuse = end.excuse.as_deref().unwrap_or("nothing excuses it");
            format!("{:.1} s, host {}: {} ({excuse})", end.at_us as f64 / 1e6, end.host, end.how)
        };
        section("Brokers that ended by themselves", self.unasked_ends.iter().map(end).collect());
        let error = |error: &ClientError| {
            format!("{:.1} s, {}: {}", error.at_us as f64 / 1e6, error.call, error.error)
        };
        let errors = self.client_error_examples.iter().take(EXAMPLES).map(error);
        section(&format!("Client errors {:?}", self.client_errors), errors.collect());
        let outlier = |one: &Outlier| {
            let joined = if one.joined { ", with another fault" } else { "" };
            let Outlier { class, detail, partition, ms, after_in_sync_ms, .. } = one;
            let at = one.at_us as f64 / 1e6;
            format!(
                "{at:.1} s, {class} {detail}{joined}: partition {partition}, {ms} ms, {after_in_sync_ms} of them in sync"
            )
        };
        let outliers =
            self.outliers.iter().filter(|one| !one.joined || one.after_in_sync_ms > 0).map(outlier);
        section("More than 5 s without an acknowledged write", outliers.collect());
        let skipped = self.skipped.iter().map(|(class, why)| format!("{class}: {why}"));
        section("Skipped", skipped.collect());
    }
}

/// What each class did to the partitions, and the stalls to be told by themselves.
fn classes(findings: &Findings) -> (BTreeMap<String, ClassReport>, Vec<Outlier>) {
    let mut samples: BTreeMap<String, [Vec<u64>; 3]> = BTreeMap::new();
    let mut reports: BTreeMap<String, ClassReport> = BTreeMap::new();
    let mut outliers = Vec::new();
    for struck in &findings.deeds.struck {
        let [all, alone, sync] = samples.entry(struck.class.clone()).or_default();
        let end = struck.settled_us.unwrap_or(findings.wrote_until_us);
        for (partition, acknowledged) in findings.acknowledged.iter().enumerate() {
            let stall = acknowledged.longest_stall(struck.installed_us, end, findings.wrote_until_us);
            all.push(stall.micros());
            if !struck.joined {
                alone.push(stall.micros());
            }
            if stall.micros() > OUTLIER_US {
                outliers.push(Outlier {
                    class: struck.class.clone(),
                    detail: struck.detail.clone(),
                    joined: struck.joined,
                    at_us: struck.installed_us,
                    partition,
                    ms: stall.micros() / 1000,
                    after_in_sync_ms: stall.end.saturating_sub(end.max(stall.from)) / 1000,
                });
            }
        }
        if let Some(settled) = struck.settled_us {
            sync.push(settled.saturating_sub(struck.healed_us));
        }
        reports.entry(struck.class.clone()).or_default().installed += 1;
    }
    for (class, _) in &findings.deeds.skipped {
        reports.entry(class.name().to_owned()).or_default().skipped += 1;
    }
    for (class, [all, alone, sync]) in samples {
        let report = reports.entry(class).or_default();
        report.unavailable = Spread::of(all);
        report.unavailable_alone = Spread::of(alone);
        report.in_sync = Spread::of(sync);
    }
    (reports, outliers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_names_the_middle_the_nearly_worst_and_the_worst() {
        let spread = Spread::of((1..=200).map(|ms| ms * 1000).collect());
        assert_eq!(spread, Spread { count: 200, p50_ms: 100, p99_ms: 198, worst_ms: 200 });
        assert_eq!(Spread::of(vec![7000]), Spread { count: 1, p50_ms: 7, p99_ms: 7, worst_ms: 7 });
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }
}
