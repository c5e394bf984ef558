//! Newtypes for the numbers that must never be mixed up: an offset is not an epoch is not a partition.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A record's position in its partition: dense, starting at 0, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Offset(pub i64);

impl Offset {
    /// The first offset of every log.
    pub const ZERO: Offset = Offset(0);

    /// The offset `count` records further on. Saturates, so hostile input cannot wrap it.
    #[must_use]
    pub fn advance(self, count: i64) -> Offset {
        Offset(self.0.saturating_add(count))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the leaders a partition has had. A batch carries the epoch of the leader that appended it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaderEpoch(pub i32);

impl LeaderEpoch {
    /// "Not known", as clients send it.
    pub const UNKNOWN: LeaderEpoch = LeaderEpoch(-1);
}

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A broker's number in its cluster; allocated once, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BrokerId(pub i32);

impl fmt::Display for BrokerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the lives of a broker in its cluster: the place of its registration in the metadata log, so that a later life has
/// the larger one. Requests of an earlier life are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BrokerEpoch(pub i64);

impl BrokerEpoch {
    /// Not registered yet.
    pub const UNKNOWN: BrokerEpoch = BrokerEpoch(-1);
}

impl fmt::Display for BrokerEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the changes of a partition's leader, replicas and in-sync replicas: what a compare-and-set compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionEpoch(pub i32);

impl fmt::Display for PartitionEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which partition of a topic, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionIndex(pub i32);

impl fmt::Display for PartitionIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An idempotent producer's identity. Its epoch fences older incarnations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProducerId(pub i64);

impl ProducerId {
    /// The batch comes from a producer without idempotence.
    pub const NONE: ProducerId = ProducerId(-1);
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A topic's identity: 16 random bytes. A topic that is deleted and created again under its old name is another one.
///
/// Shown as Kafka shows it (22 characters of URL-safe base64); directories carry [`TopicId::hex`].
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl TopicId {
    /// All zero: "no id given".
    pub const NIL: TopicId = TopicId([0; 16]);

    /// Reads the 16 bytes of a wire field; `None` for any other length.
    pub fn from_wire(bytes: &[u8]) -> Option<TopicId> {
        bytes.try_into().ok().map(TopicId)
    }

    /// The 16 bytes for a wire field.
    pub fn to_wire(self) -> bytes::Bytes {
        bytes::Bytes::copy_from_slice(&self.0)
    }

    /// 32 lower-case hexadecimal digits, safe in a file name on every file system.
    pub fn hex(self) -> String {
        use fmt::Write;
        self.0.iter().fold(String::with_capacity(32), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Reads what [`TopicId::hex`] wrote.
    pub fn from_hex(text: &str) -> Option<TopicId> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(TopicId(id))
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; 22];
        let bits = u128::from_be_bytes(self.0);
        for (i, slot) in text.iter_mut().enumerate() {
            // 22 characters are 132 bits: the last one carries two bits of the id and four zeros.
            let index = if i < 21 { (bits >> (122 - 6 * i)) & 63 } else { (bits << 4) & 63 };
            *slot = BASE64_URL[index as usize];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or("?"))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// As [`TopicId::hex`] writes it.
impl Serialize for TopicId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.hex())
    }
}

impl<'de> Deserialize<'de> for TopicId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TopicId, D::Error> {
        let text = String::deserialize(deserializer)?;
        TopicId::from_hex(&text).ok_or_else(|| de::Error::custom("a topic id is 32 hexadecimal digits"))
    }
}

/// One partition of one topic, by identity and not by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition in it.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// Pairs the two.
    pub fn new(topic: TopicId, partition: PartitionIndex) -> TopicPartition {
        TopicPartition { topic, partition }
    }

    /// The partition's directory name: `{topic id in hex}-{partition}`.
    pub fn directory_name(self) -> String {
        format!("{}-{}", self.topic.hex(), self.partition)
    }

    /// Reads what [`TopicPartition::directory_name`] wrote.
    pub fn from_directory_name(name: &str) -> Option<TopicPartition> {
        let (topic, partition) = name.split_at_checked(32)?;
        let partition = partition.strip_prefix('-')?;
        let index: i32 = partition.parse().ok().filter(|p| *p >= 0)?;
        (partition == index.to_string())
            .then(|| TopicId::from_hex(topic).map(|t| TopicPartition::new(t, PartitionIndex(index))))
            .flatten()
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_id_is_shown_as_kafka_shows_it() {
        // java: new Uuid(0x1234567890abcdefL, 0xfedcba0987654321L).toString()
        let id = TopicId(0x1234_5678_90ab_cdef_fedc_ba09_8765_4321_u128.to_be_bytes());
        assert_eq!(id.to_string(), "EjRWeJCrze_-3LoJh2VDIQ");
        assert_eq!(TopicId([0xff; 16]).to_string(), "_____________________w");
    }

    #[test]
    fn directory_names_round_trip_and_strays_are_refused() {
        let tp = TopicPartition::new(TopicId([7; 16]), PartitionIndex(42));
        assert_eq!(TopicPartition::from_directory_name(&tp.directory_name()), Some(tp));
        for stray in [
            "",
            "lost+found",
            "0707",
            &format!("{}-042", "07".repeat(16)),
            &format!("{}--1", "07".repeat(16)),
        ] {
            assert_eq!(TopicPartition::from_directory_name(stray), None, "{stray}");
        }
    }
}
