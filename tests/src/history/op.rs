//! The lines of a history: a header, then one line for each operation, in the order in which they ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use highwater_proto::Offset;
use serde::{Deserialize, Serialize};

use super::outcome::{Fault, Outcome};
use super::value::Value;

/// Of the header; a reader refuses any other.
pub const SCHEMA_VERSION: u32 = 1;

/// A partition as clients name it; written `topic/partition`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The topic's name.
    pub topic: String,
    /// Which of its partitions.
    pub partition: i32,
}

impl Key {
    /// The partition with this number.
    pub fn new(topic: &str, partition: i32) -> Key {
        Key { topic: topic.to_owned(), partition }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Key, String> {
        let (topic, partition) =
            text.rsplit_once('/').ok_or_else(|| format!("{text:?} is not topic/partition"))?;
        let partition = partition.parse().map_err(|_| format!("{partition:?} is not a partition"))?;
        Ok(Key { topic: topic.to_owned(), partition })
    }
}

impl Serialize for Key {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A topic the run used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// How many partitions it has.
    pub partitions: i32,
}

/// What the run is held to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// With fewer operations that went well, the run says nothing: invalid.
    pub ok_ops_min: u64,
    /// After the last heal every partition accepts and serves within this time, in microseconds.
    pub heal_us: u64,
    /// While a minority is faulty, no partition refuses writes for longer, in microseconds; not checked if absent.
    pub minority_stall_us: Option<u64>,
    /// Over its own deadline an operation may end this much later, in microseconds: the client's own delays.
    pub answer_slack_us: u64,
    /// The producers are not idempotent: a value may be there twice.
    pub duplicates_allowed: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            ok_ops_min: 1,
            heal_us: 30_000_000,
            minority_stall_us: None,
            answer_slack_us: 5_000_000,
            duplicates_allowed: false,
        }
    }
}

/// The first line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`SCHEMA_VERSION`].
    pub highwater_history: u32,
    /// The commit that ran.
    #[serde(default)]
    pub commit: String,
    /// What the run was made from.
    #[serde(default)]
    pub seed: u64,
    /// The command that makes the run again.
    #[serde(default)]
    pub replay: String,
    /// The classes of faults that must have been installed, or the run is invalid.
    #[serde(default)]
    pub faults_asked: BTreeSet<String>,
    /// The topics, by name.
    #[serde(default)]
    pub topics: BTreeMap<String, Topic>,
    /// What the run is held to.
    #[serde(default)]
    pub limits: Limits,
    /// What this machine lacked, so that faults were not even tried.
    #[serde(default)]
    pub kernel_features_missing: Vec<String>,
}

/// One operation. Times are microseconds on the recorder's monotonic clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Op {
    /// Counts the operations in the order in which they began.
    pub idx: u64,
    /// When it was asked.
    pub t_invoke: u64,
    /// When it was answered; absent if it never was.
    pub t_complete: Option<u64>,
    /// Who asked. One process does one thing at a time, except for sends, which may overlap.
    pub proc: u32,
    /// How it ended.
    #[serde(rename = "type")]
    pub outcome: Outcome,
    /// What was said when it did not go well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// By when it had to be answered, in microseconds after it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_us: Option<u64>,
    /// What was asked, and what was answered.
    #[serde(flatten)]
    pub kind: Kind,
}

/// Which records a poll may return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PollMode {
    /// From the leader.
    #[default]
    Leader,
    /// From any replica: exempt from recency.
    Follower,
}

/// A record that was read: offset, timestamp in milliseconds, producer, sequence. An array in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(i64, i64, u32, u64)", from = "(i64, i64, u32, u64)")]
pub struct Read {
    /// Where.
    pub offset: Offset,
    /// Stamped on it.
    pub timestamp_ms: i64,
    /// What.
    pub value: Value,
}

impl From<Read> for (i64, i64, u32, u64) {
    fn from(read: Read) -> Self {
        (read.offset.0, read.timestamp_ms, read.value.producer, read.value.sequence)
    }
}

impl From<(i64, i64, u32, u64)> for Read {
    fn from((offset, timestamp_ms, producer, sequence): (i64, i64, u32, u64)) -> Read {
        Read { offset: Offset(offset), timestamp_ms, value: Value { producer, sequence } }
    }
}

/// A record that was read and is not what was sent there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRead {
    /// Where.
    pub offset: i64,
    /// What is wrong with it.
    pub problem: String,
}

/// How far a partition could be read, as an answer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The high watermark that came with the answer.
    pub high_watermark: i64,
}

/// What an offset was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListSpec {
    /// Where the log starts.
    Earliest,
    /// The high watermark.
    Latest,
    /// The first record with at least this timestamp, in milliseconds.
    Timestamp(i64),
}

/// Where the run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The last fault was healed; nothing is disturbed from here on.
    Healed,
    /// No more sends; new consumers read everything from the beginning.
    FinalDrain,
    /// The drain reached the end of every partition.
    Drained,
}

/// The kinds of operations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    /// A value was sent, with `acks=all`.
    Send {
        /// Where to.
        key: Key,
        /// Who sent it.
        producer: u32,
        /// As its how-manieth.
        sequence: u64,
        /// The offset it got, if that was said.
        offset: Option<i64>,
    },
    /// Records were asked for.
    Poll {
        /// Of whom.
        #[serde(default)]
        mode: PollMode,
        /// What came, partition by partition, in the order of the answer.
        reads: BTreeMap<Key, Vec<Read>>,
        /// What came and was not what was sent there.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        bad: BTreeMap<Key, Vec<BadRead>>,
        /// How far each partition could be read, where that was said.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        ends: BTreeMap<Key, End>,
    },
    /// A consumer goes to an offset of a partition: what it reads next need not follow what it read before.
    Assign {
        /// Of which.
        key: Key,
        /// To where; absent if the consumer does not know the number (the start, the end).
        from: Option<i64>,
    },
    /// An offset was asked for.
    ListOffsets {
        /// Of which partition.
        key: Key,
        /// Which one.
        spec: ListSpec,
        /// What was said; absent if there is no such record.
        offset: Option<i64>,
        /// The timestamp at that offset, in milliseconds.
        timestamp_ms: Option<i64>,
    },
    /// Records below an offset were to be deleted.
    DeleteRecords {
        /// Of which partition.
        key: Key,
        /// The first offset to be kept.
        before: i64,
    },
    /// Something was done to the cluster, or undone.
    Nemesis {
        /// The class of the fault.
        class: String,
        /// What exactly.
        detail: String,
        /// Whether it took.
        installed: Fault,
        /// Fewer than half of the brokers are disturbed while it lasts.
        #[serde(default)]
        minority: bool,
    },
    /// The run went on to its next part.
    Phase {
        /// Which.
        phase: Phase,
    },
}
