//! What a run amounts to: written as `report.json`, read by people and by CI.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::anomaly::Found;
use crate::history::{Fault, Outcome};

/// Whether the run shows that all is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was found, and the run was a real one.
    Passed,
    /// Something was found.
    Failed,
    /// Nothing was found, and nothing can be concluded.
    #[default]
    Invalid,
}

/// How often a class of faults was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultCount {
    /// It took.
    pub installed: u64,
    /// It could not be.
    pub skipped: u64,
    /// Nobody knows.
    pub indeterminate: u64,
    /// It was taken back.
    pub healed: u64,
}

impl FaultCount {
    pub(super) fn add(&mut self, fault: Fault) {
        *match fault {
            Fault::Installed => &mut self.installed,
            Fault::Skipped => &mut self.skipped,
            Fault::Indeterminate => &mut self.indeterminate,
            Fault::Healed => &mut self.healed,
        } += 1;
    }
}

/// How operations of a kind ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpCount {
    /// Well.
    pub ok: u64,
    /// Without effect.
    pub fail: u64,
    /// Nobody knows.
    pub info: u64,
}

impl OpCount {
    pub(super) fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Ok => &mut self.ok,
            Outcome::Fail => &mut self.fail,
            Outcome::Info => &mut self.info,
        } += 1;
    }
}

/// What a run amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The conclusion.
    pub verdict: Verdict,
    /// Why nothing can be concluded.
    pub invalid_because: Vec<String>,
    /// What was found, by name.
    pub anomalies: BTreeMap<String, Found>,
    /// The commit that ran.
    pub commit: String,
    /// What the run was made from.
    pub seed: u64,
    /// The command that makes it again.
    pub replay: String,
    /// From the first operation to the last answer, in microseconds.
    pub duration_us: u64,
    /// Operations by kind.
    pub ops: BTreeMap<String, OpCount>,
    /// Faults by class.
    pub faults: BTreeMap<String, FaultCount>,
    /// Values that were acknowledged.
    pub records_acknowledged: u64,
    /// Records that were read, each time counted.
    pub records_read: u64,
    /// Values at two offsets, where that is allowed.
    pub duplicates_allowed: u64,
    /// Per partition the longest time in which writes were tried and none was acknowledged, in microseconds.
    pub worst_unavailability_us: BTreeMap<String, u64>,
    /// What the machine lacked.
    pub kernel_features_missing: Vec<String>,
}

impl Report {
    /// A few lines for people.
    pub fn summary(&self) -> String {
        use std::fmt::Write;
        let mut text = String::new();
        let sends = self.ops.get("send").copied().unwrap_or_default();
        let _ = writeln!(
            text,
            "{:?}: {} records acknowledged, {} read, {:.1} s, sends {} ok {} fail {} info",
            self.verdict,
            self.records_acknowledged,
            self.records_read,
            std::time::Duration::from_micros(self.duration_us).as_secs_f64(),
            sends.ok,
            sends.fail,
            sends.info
        );
        for reason in &self.invalid_because {
            let _ = writeln!(text, "  invalid: {reason}");
        }
        for (name, found) in &self.anomalies {
            let _ = writeln!(text, "  {} {name}: {} times", found.code, found.count);
            for example in &found.examples {
                let _ = writeln!(text, "    {example}");
            }
        }
        for (class, count) in &self.faults {
            let FaultCount { installed, skipped, indeterminate, .. } = count;
            let _ = writeln!(
                text,
                "  fault {class}: {installed} installed, {skipped} skipped, {indeterminate} unclear"
            );
        }
        if let Some((key, worst)) = self.worst_unavailability_us.iter().max_by_key(|(_, micros)| **micros) {
            let _ =
                writeln!(text, "  longest time without an acknowledged write: {} ms ({key})", worst / 1000);
        }
        text
    }
}
