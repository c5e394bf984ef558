//! The one table of topic settings: name, default, bounds, and a sentence for a person.

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Bounds {
    /// A whole number, both ends included.
    Number {
        /// The smallest legal value.
        min: i64,
        /// The largest legal value.
        max: i64,
    },
    /// A decimal number from 0 to 1.
    Ratio,
    /// One of these words, or several of them with commas between.
    Words(&'static [&'static str]),
    /// Exactly one of these words.
    Word(&'static [&'static str]),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Kafka's name.
    pub name: &'static str,
    /// What holds when nobody set it.
    pub default: &'static str,
    /// What it may be.
    pub bounds: Bounds,
    /// For a person.
    pub text: &'static str,
}

impl Key {
    /// What a value must be, in words.
    #[must_use]
    pub fn expected(&self) -> String {
        match self.bounds {
            Bounds::Number { min, max: i64::MAX } => format!("a whole number of at least {min}"),
            Bounds::Number { min, max } => format!("a whole number from {min} to {max}"),
            Bounds::Ratio => "a number from 0 to 1".to_owned(),
            Bounds::Words([""]) => "empty".to_owned(),
            Bounds::Words(words) => format!("one or more of {}", words.join(", ")),
            Bounds::Word([word]) => format!("'{word}'"),
            Bounds::Word(words) => format!("one of {}", words.join(", ")),
        }
    }
}

const MS_MAX: i64 = i64::MAX;

const fn number(name: &'static str, default: &'static str, min: i64, max: i64, text: &'static str) -> Key {
    Key { name, default, bounds: Bounds::Number { min, max }, text }
}

/// Every setting, by name.
pub const KEYS: &[Key] = &[
    Key {
        name: "cleanup.policy",
        default: "delete",
        bounds: Bounds::Words(&["delete", "compact"]),
        text: "delete old segments, compact by key, or both",
    },
    Key {
        name: "compression.type",
        default: "producer",
        bounds: Bounds::Word(&["producer"]),
        text: "batches are kept as the producer compressed them; nothing re-encodes",
    },
    number(
        "delete.retention.ms",
        "86400000",
        0,
        MS_MAX,
        "how long a tombstone stays after its first cleaning",
    ),
    Key {
        name: "durability",
        default: "fsync",
        bounds: Bounds::Word(&["fsync", "replicated"]),
        text: "what an acknowledgement means: on the disk of every counted replica, or only in its memory",
    },
    number(
        "index.interval.bytes",
        "4096",
        64,
        1 << 30,
        "bytes of log between two entries of the offset index",
    ),
    number(
        "max.compaction.lag.ms",
        "9223372036854775807",
        1,
        MS_MAX,
        "a record waits no longer than this for cleaning",
    ),
    number("max.message.bytes", "1048588", 61, 1 << 30, "largest record batch, in bytes, as it arrives"),
    number(
        "message.timestamp.after.max.ms",
        "3600000",
        0,
        MS_MAX,
        "how far a record's time may be in the future",
    ),
    number(
        "message.timestamp.before.max.ms",
        "9223372036854775807",
        0,
        MS_MAX,
        "how far it may be in the past",
    ),
    Key {
        name: "message.timestamp.type",
        default: "CreateTime",
        bounds: Bounds::Word(&["CreateTime", "LogAppendTime"]),
        text: "whose time a record carries: the producer's or the broker's",
    },
    Key {
        name: "min.cleanable.dirty.ratio",
        default: "0.5",
        bounds: Bounds::Ratio,
        text: "compaction starts when this share of the log is not yet cleaned",
    },
    number("min.compaction.lag.ms", "0", 0, MS_MAX, "a record stays uncompacted at least this long"),
    number("min.insync.replicas", "1", 1, i32::MAX as i64, "fewest in-sync replicas for acks=all"),
    number(
        "replication.throttle.rate",
        "-1",
        -1,
        i64::MAX,
        "bytes per second that a broker sends to replicas that are catching up; -1 is no limit",
    ),
    number("retention.bytes", "-1", -1, i64::MAX, "bytes kept per partition; -1 is no limit"),
    number("retention.ms", "604800000", -1, MS_MAX, "how long records are kept; -1 is for ever"),
    number("segment.bytes", "1073741824", 16 << 10, 2_147_483_647, "size at which a segment is closed"),
    number("segment.ms", "604800000", 1, MS_MAX, "age at which a segment is closed"),
];

/// Looks a setting up by its name.
#[must_use]
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The name a typo was probably meant to be: the nearest by edit distance, if it is near at all.
#[must_use]
pub fn closest_key(name: &str) -> Option<&'static str> {
    KEYS.iter()
        .map(|key| (edit_distance(name, key.name), key.name))
        .min()
        .filter(|(distance, best)| *distance * 3 <= best.len())
        .map(|(_, best)| best)
}

/// Levenshtein's distance, by the two-row method.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.bytes().enumerate() {
            let kept = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = kept.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_key_and_nonsense_finds_none() {
        assert_eq!(closest_key("retention.m"), Some("retention.ms"));
        assert_eq!(closest_key("cleanup_policy"), Some("cleanup.policy"));
        assert_eq!(closest_key("zzz"), None);
    }

    #[test]
    fn the_table_is_sorted_and_has_no_name_twice() {
        assert!(KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
}
