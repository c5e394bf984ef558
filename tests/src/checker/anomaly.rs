//! The names of what can be wrong, and where findings are gathered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Of each anomaly this many are described; the rest are counted.
const EXAMPLES_MAX: usize = 8;

macro_rules! anomalies {
    ($($name:ident = $code:literal, $text:literal, $says:literal;)+) => {
        /// What can be wrong with a history.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Anomaly {
            $(#[doc = $says] $name,)+
        }

        impl Anomaly {
            /// All of them.
            pub const ALL: &[Anomaly] = &[$(Anomaly::$name),+];

            /// Its name in reports.
            pub fn name(self) -> &'static str {
                match self { $(Anomaly::$name => $text,)+ }
            }

            /// Its number in the list of external invariants.
            pub fn code(self) -> &'static str {
                match self { $(Anomaly::$name => $code,)+ }
            }

            /// What it means.
            pub fn says(self) -> &'static str {
                match self { $(Anomaly::$name => $says,)+ }
            }
        }
    };
}

anomalies! {
    InconsistentOffsets = "E1", "inconsistent-offsets", "An offset has had two values.";
    Duplicate = "E2", "duplicate", "A value that was sent once is at two offsets.";
    LostWrite = "E3", "lost-write", "A value is gone, though later ones were read.";
    Unseen = "E4", "unseen", "An acknowledged value is not there when everything is read at the end.";
    AbortedRead = "E5", "G1a", "A value was read whose send definitely failed.";
    InnerSkip = "E7", "int-poll-skip", "Inside one answer a value is missing.";
    Skip = "E7", "poll-skip", "Between two answers to one consumer a value is missing.";
    InnerBackwards = "E8", "int-nonmonotonic-poll", "One answer goes backwards.";
    Backwards = "E8", "nonmonotonic-poll", "A consumer was given again what it had, or less.";
    SendsReordered = "E9", "nonmonotonic-send", "A producer's values are not in the order of its sends.";
    StaleEnd = "E12", "recency", "An answer doesn't know a write that was acknowledged before the question.";
    EndFell = "E13", "end-offset-fell", "The latest offset went backwards.";
    Unfaithful = "E19", "payload-fidelity", "A record is not what was sent there.";
    BelowLogStart = "E20", "below-log-start", "A deleted record was read.";
    LogStartFell = "E20", "log-start-fell", "The earliest offset went backwards.";
    WrongTimestamp = "E21", "timestamp-lookup", "A lookup by time missed the first record.";
    NotServed = "E24", "not-served-after-heal", "A partition did not accept a write in time after the last heal.";
    NotConverged = "E24", "not-converged", "The final drain did not reach the end.";
    Stalled = "E24", "stalled", "A partition refused writes for too long while only a minority was faulty.";
    Unanswered = "E25", "unanswered", "A request was never answered, or long after its deadline.";
}

/// How often an anomaly was found, and the first few places.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its number in the list of external invariants.
    pub code: String,
    /// How often.
    pub count: u64,
    /// The first ones, in words.
    pub examples: Vec<String>,
}

/// What was found so far.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub(super) found: BTreeMap<String, Found>,
}

impl Findings {
    /// Takes note of one.
    pub fn flag(&mut self, anomaly: Anomaly, describe: impl FnOnce() -> String) {
        let found = self.found.entry(anomaly.name().to_owned()).or_default();
        anomaly.code().clone_into(&mut found.code);
        found.count += 1;
        if found.examples.len() < EXAMPLES_MAX {
            found.examples.push(describe());
        }
    }

    /// How often this one was found.
    pub fn count(&self, anomaly: Anomaly) -> u64 {
        self.found.get(anomaly.name()).map_or(0, |found| found.count)
    }
}
