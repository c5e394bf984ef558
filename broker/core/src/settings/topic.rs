//! A topic's settings as numbers, made from its overrides over the broker's defaults.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::accepted::{ACCEPTED, accepted_key};
use super::keys::{Bounds, KEYS, Key, closest_key, key};

/// What happens to old data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Old segments go by time and size.
    pub delete: Toggle,
    /// Only the last record of each key stays.
    pub compact: Toggle,
}

/// On or off, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toggle {
    /// It is done.
    On,
    /// It is not.
    Off,
}

impl CleanupPolicy {
    /// Whether old segments are deleted by time and size.
    #[must_use]
    pub fn deletes(self) -> bool {
        self.delete == Toggle::On
    }

    /// Whether the log is compacted by key.
    #[must_use]
    pub fn compacts(self) -> bool {
        self.compact == Toggle::On
    }
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Durability {
    /// On the disk of every counted replica.
    Fsync,
    /// In the memory of every counted replica: a power cut of all of them loses it.
    Replicated,
}

/// Whose time a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampKind {
    /// The producer's.
    CreateTime,
    /// The broker's, at append.
    LogAppendTime,
}

/// Why a setting is refused; the text names the key and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum SettingError {
    /// No such key.
    #[error("'{name}' is not a topic setting{}", suggestion(.closest))]
    Unknown {
        /// As it was written.
        name: String,
        /// What was probably meant.
        closest: Option<String>,
    },
    /// The value doesn't fit.
    #[error("{name}={value} is not legal: it must be {expected}")]
    Illegal {
        /// The key.
        name: String,
        /// As it was written.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// A setting of Kafka's that this broker has in one way only.
    #[error("{name}={value} is not possible here: {reason}; it must be {expected}")]
    Fixed {
        /// The key.
        name: String,
        /// As it was written.
        value: String,
        /// Why not.
        reason: String,
        /// What would be right.
        expected: String,
    },
}

fn suggestion(closest: &Option<String>) -> String {
    closest.as_ref().map(|name| format!("; did you mean '{name}'?")).unwrap_or_default()
}

/// All settings of a topic. Times are milliseconds, sizes bytes; `None` is "no limit".
#[derive(Clone, Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "each field carries the name of its setting, which the table of keys explains"
)]
pub struct TopicSettings {
    pub cleanup_policy: CleanupPolicy,
    pub delete_retention_ms: i64,
    pub durability: Durability,
    pub index_interval_bytes: i64,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: i64,
    pub message_timestamp_after_max_ms: i64,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_type: TimestampKind,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: i64,
    pub replication_throttle_rate: Option<u64>,
    pub retention_bytes: Option<i64>,
    pub retention_ms: Option<i64>,
    pub segment_bytes: i64,
    pub segment_ms: i64,
}

impl TopicSettings {
    /// Builds the settings: a topic's own value, else the broker's default for it, else the table's.
    ///
    /// # Errors
    /// The first [`SettingError`] in the overrides or the defaults.
    pub fn resolve(
        overrides: &BTreeMap<String, String>,
        broker_defaults: &BTreeMap<String, String>,
    ) -> Result<TopicSettings, SettingError> {
        for (name, value) in overrides.iter().chain(broker_defaults) {
            check(name, value)?;
        }
        check_flushes(overrides, broker_defaults)?;
        let values = Values { overrides, broker_defaults };
        let policy = values.text("cleanup.policy");
        let has = |word| if policy.split(',').any(|w| w.trim() == word) { Toggle::On } else { Toggle::Off };
        Ok(TopicSettings {
            cleanup_policy: CleanupPolicy { delete: has("delete"), compact: has("compact") },
            delete_retention_ms: values.number("delete.retention.ms"),
            durability: match values.text("durability") {
                "replicated" => Durability::Replicated,
                _ => Durability::Fsync,
            },
            index_interval_bytes: values.number("index.interval.bytes"),
            max_compaction_lag_ms: values.number("max.compaction.lag.ms"),
            max_message_bytes: values.number("max.message.bytes"),
            message_timestamp_after_max_ms: values.number("message.timestamp.after.max.ms"),
            message_timestamp_before_max_ms: values.number("message.timestamp.before.max.ms"),
            message_timestamp_type: match values.text("message.timestamp.type") {
                "LogAppendTime" => TimestampKind::LogAppendTime,
                _ => TimestampKind::CreateTime,
            },
            min_cleanable_dirty_ratio: values.text("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
            min_compaction_lag_ms: values.number("min.compaction.lag.ms"),
            min_insync_replicas: values.number("min.insync.replicas"),
            replication_throttle_rate: u64::try_from(values.number("replication.throttle.rate")).ok(),
            retention_bytes: Some(values.number("retention.bytes")).filter(|bytes| *bytes >= 0),
            retention_ms: Some(values.number("retention.ms")).filter(|ms| *ms >= 0),
            segment_bytes: values.number("segment.bytes"),
            segment_ms: values.number("segment.ms"),
        })
    }

    /// The settings of a topic with no overrides on a broker with none.
    #[must_use]
    pub fn defaults() -> TopicSettings {
        TopicSettings::resolve(&BTreeMap::new(), &BTreeMap::new())
            .expect("the table's defaults are within its bounds")
    }
}

/// Values already checked.
struct Values<'a> {
    overrides: &'a BTreeMap<String, String>,
    broker_defaults: &'a BTreeMap<String, String>,
}

impl<'a> Values<'a> {
    fn text(&self, name: &str) -> &'a str {
        let default = key(name).expect("only names of the table are asked for").default;
        self.overrides.get(name).or_else(|| self.broker_defaults.get(name)).map_or(default, |v| v.trim())
    }

    fn number(&self, name: &str) -> i64 {
        self.text(name).parse().expect("numbers were checked against their bounds")
    }
}

/// Checks one name and value against the tables.
fn check(name: &str, value: &str) -> Result<(), SettingError> {
    let accepted = accepted_key(name);
    let Some(key) = key(name).or(accepted) else {
        return Err(SettingError::Unknown {
            name: name.to_owned(),
            closest: closest_key(name).map(str::to_owned),
        });
    };
    if fits(key, value.trim()) {
        return Ok(());
    }
    let (name, value, expected) = (key.name.to_owned(), value.escape_default().to_string(), key.expected());
    Err(match accepted {
        Some(key) => SettingError::Fixed { name, value, reason: key.text.to_owned(), expected },
        None => SettingError::Illegal { name, value, expected },
    })
}

/// Who asks for a flush every so often must not get less: with `durability=replicated` nothing promises one.
fn check_flushes(
    overrides: &BTreeMap<String, String>,
    broker_defaults: &BTreeMap<String, String>,
) -> Result<(), SettingError> {
    let values = Values { overrides, broker_defaults };
    if values.text("durability") != "replicated" {
        return Ok(());
    }
    for key in ["flush.messages", "flush.ms"].into_iter().filter_map(accepted_key) {
        match overrides.get(key.name) {
            Some(value) if value.trim() != key.default => {
                return Err(SettingError::Fixed {
                    name: key.name.to_owned(),
                    value: value.escape_default().to_string(),
                    reason: "durability=replicated flushes about once a second, whatever is asked".to_owned(),
                    expected: format!("{} with it", key.default),
                });
            }
            _ => {}
        }
    }
    Ok(())
}

fn fits(key: &Key, value: &str) -> bool {
    match key.bounds {
        Bounds::Number { min, max } => value.parse().is_ok_and(|n: i64| (min..=max).contains(&n)),
        Bounds::Ratio => value.parse().is_ok_and(|n: f64| (0.0..=1.0).contains(&n)),
        Bounds::Words(words) => value.split(',').all(|word| words.contains(&word.trim())),
        Bounds::Word(words) => words.contains(&value),
    }
}

/// The names of all settings, for those who list them with their values.
impl TopicSettings {
    /// Every setting as `(key, value, who set it)`; the last is `"topic"`, `"broker"` or `"default"`. Settings that
    /// change nothing are among them where somebody set them.
    pub fn explain<'a>(
        overrides: &'a BTreeMap<String, String>,
        broker_defaults: &'a BTreeMap<String, String>,
    ) -> impl Iterator<Item = (&'static Key, &'a str, &'static str)> {
        let accepted = ACCEPTED.iter().filter(|key| overrides.contains_key(key.name));
        KEYS.iter().chain(accepted).map(move |key| {
            match (overrides.get(key.name), broker_defaults.get(key.name)) {
                (Some(value), _) => (key, value.as_str(), "topic"),
                (None, Some(value)) => (key, value.as_str(), "broker"),
                (None, None) => (key, key.default, "default"),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Result<TopicSettings, SettingError> {
        TopicSettings::resolve(&BTreeMap::from([(name.to_owned(), value.to_owned())]), &BTreeMap::new())
    }

    #[test]
    fn the_defaults_are_kafkas() {
        let settings = TopicSettings::defaults();
        assert_eq!(settings.retention_ms, Some(604_800_000));
        assert_eq!(settings.retention_bytes, None);
        assert_eq!(settings.segment_bytes, 1 << 30);
        assert_eq!(settings.durability, Durability::Fsync);
        assert!(settings.cleanup_policy.deletes() && !settings.cleanup_policy.compacts());
    }

    #[test]
    fn a_value_out_of_bounds_names_the_key_and_what_would_be_right() {
        let error = with("segment.bytes", "5").unwrap_err().to_string();
        assert_eq!(error, "segment.bytes=5 is not legal: it must be a whole number from 16384 to 2147483647");
        let error = with("retention.mss", "5").unwrap_err().to_string();
        assert_eq!(error, "'retention.mss' is not a topic setting; did you mean 'retention.ms'?");
        for (name, value) in
            [("cleanup.policy", "delete,shred"), ("durability", "hope"), ("min.cleanable.dirty.ratio", "NaN")]
        {
            assert!(with(name, value).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn a_topics_value_wins_over_the_brokers() {
        let broker = BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]);
        let topic = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
        assert_eq!(TopicSettings::resolve(&topic, &broker).unwrap().retention_ms, None);
        assert_eq!(TopicSettings::resolve(&BTreeMap::new(), &broker).unwrap().retention_ms, Some(5));
        let policy = with("cleanup.policy", "compact, delete").unwrap().cleanup_policy;
        assert!(policy.deletes() && policy.compacts());
    }

    #[test]
    fn settings_that_change_nothing_are_taken_where_they_mean_what_is_done_anyway() {
        for key in ACCEPTED {
            assert!(with(key.name, key.default).is_ok(), "{}={}", key.name, key.default);
        }
        for (name, value) in [("flush.messages", "1"), ("flush.ms", "1000"), ("compression.zstd.level", "19")]
        {
            assert_eq!(with(name, value), Ok(TopicSettings::defaults()), "{name}={value}");
        }
        let error = with("unclean.leader.election.enable", "true").unwrap_err().to_string();
        assert_eq!(
            error,
            "unclean.leader.election.enable=true is not possible here: no leader is elected that lacks \
             acknowledged records; it must be 'false'"
        );
        for (name, value) in [
            ("leader.replication.throttled.replicas", "*"),
            ("remote.storage.enable", "true"),
            ("segment.jitter.ms", "1"),
            ("segment.index.bytes", "4"),
            ("compression.gzip.level", "10"),
        ] {
            assert!(with(name, value).unwrap_err().to_string().contains(name), "{name}={value}");
        }
    }

    #[test]
    fn a_promise_to_flush_is_refused_where_it_would_not_be_kept() {
        let both = |name: &str, value: &str| {
            BTreeMap::from([
                ("durability".to_owned(), "replicated".to_owned()),
                (name.to_owned(), value.to_owned()),
            ])
        };
        let nothing = BTreeMap::new();
        let error = TopicSettings::resolve(&both("flush.messages", "1"), &nothing).unwrap_err().to_string();
        assert!(error.contains("flush.messages=1") && error.contains("durability=replicated"), "{error}");
        assert!(TopicSettings::resolve(&both("flush.ms", "9223372036854775807"), &nothing).is_ok());
    }
}
