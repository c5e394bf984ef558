//! Settings as Kafka's tools see them: whose they are, who set them, their type, and the names they go by on the broker.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use highwater_core::settings::{ACCEPTED, Bounds, KEYS, Key};
use highwater_proto::{BrokerId, ErrorCode};

use super::api::problem::{Problem, shown};

/// What settings belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Topic,
    /// This broker.
    Broker,
    /// What all brokers have in common.
    AllBrokers,
}

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

impl Resource {
    /// Reads Kafka's number and name of a resource.
    pub(super) fn of(kind: i8, name: &str, broker: BrokerId) -> Result<Resource, Problem> {
        match kind {
            TOPIC => Ok(Resource::Topic),
            BROKER if name.is_empty() => Ok(Resource::AllBrokers),
            BROKER if name.parse() == Ok(broker.0) => Ok(Resource::Broker),
            BROKER => Err(Problem::invalid(format_args!("this is broker {broker}, not '{}'", shown(name)))),
            _ => Err(Problem::invalid(format_args!("resources of type {kind} have no settings here"))),
        }
    }

    /// Refuses to change what a request cannot change.
    pub(super) fn check_alterable<'a>(self, names: impl Iterator<Item = &'a str>) -> Result<(), Problem> {
        if self == Resource::Topic {
            return Ok(());
        }
        let names: Vec<String> = names.map(|name| shown(name).to_string()).collect();
        let text = format!(
            "a broker's settings are read when it starts, from its file, environment and flags; not changed: {}",
            names.join(", ")
        );
        Err(Problem::new(ErrorCode::InvalidRequest, text))
    }
}

/// Who set a setting, in Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(super) enum Source {
    Topic = 1,
    BrokerFile = 4,
    Default = 5,
}

/// The type of a value, in Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(super) enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// A topic's setting and how it came to its value.
#[derive(Clone, Copy, Debug)]
pub(super) struct TopicSetting<'a> {
    pub(super) key: &'static Key,
    pub(super) value: &'a str,
    pub(super) source: Source,
    /// The broker's default, if it has one of its own.
    broker: Option<&'a str>,
}

/// A name by which a setting goes on some level, with its value there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Synonym {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) source: Source,
}

/// Settings that Kafka's own list does not have any more: shown where somebody set them.
const RETIRED: [&str; 2] = ["message.downconversion.enable", "message.timestamp.difference.max.ms"];

static ALL: LazyLock<Vec<&Key>> = LazyLock::new(|| {
    let mut all: Vec<&Key> = KEYS.iter().chain(ACCEPTED).collect();
    all.sort_unstable_by_key(|key| key.name);
    all
});

/// Every setting of a topic, by name.
pub(super) fn of_topic<'a>(
    overrides: &'a BTreeMap<String, String>,
    broker_defaults: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = TopicSetting<'a>> {
    let current = |key: &&Key| !RETIRED.contains(&key.name) || overrides.contains_key(key.name);
    ALL.iter().copied().filter(move |key| current(key)).map(move |key| {
        let broker = broker_defaults.get(key.name).map(String::as_str);
        let (value, source) = match (overrides.get(key.name), broker) {
            (Some(value), _) => (value.as_str(), Source::Topic),
            (None, Some(value)) => (value, Source::BrokerFile),
            (None, None) => (key.default, Source::Default),
        };
        TopicSetting { key, value, source, broker }
    })
}

/// The values that a setting has on every level, the one in force first.
pub(super) fn synonyms(setting: &TopicSetting<'_>) -> Vec<Synonym> {
    let key = setting.key;
    let mut found = Vec::with_capacity(3);
    let mut add = |name: &str, value: &str, source| {
        found.push(Synonym { name: name.to_owned(), value: value.to_owned(), source });
    };
    if setting.source == Source::Topic {
        add(key.name, setting.value, Source::Topic);
    }
    let Some(name) = broker_name(key) else { return found };
    if let Some(value) = setting.broker {
        add(name, value, Source::BrokerFile);
    }
    // Kafka's default of these is set in hours, by other names; it shows none.
    if !["flush.ms", "retention.ms", "segment.jitter.ms", "segment.ms"].contains(&key.name) {
        add(name, key.default, Source::Default);
    }
    found
}

/// The name by which a topic's setting goes in a broker's file, in Kafka's words where Kafka has any.
pub(super) fn broker_name(key: &Key) -> Option<&'static str> {
    Some(match key.name {
        "cleanup.policy" => "log.cleanup.policy",
        "compression.gzip.level" => "compression.gzip.level",
        "compression.lz4.level" => "compression.lz4.level",
        "compression.type" => "compression.type",
        "compression.zstd.level" => "compression.zstd.level",
        "delete.retention.ms" => "log.cleaner.delete.retention.ms",
        "durability" => "topic.default.durability",
        "file.delete.delay.ms" => "log.segment.delete.delay.ms",
        "flush.messages" => "log.flush.interval.messages",
        "flush.ms" => "log.flush.interval.ms",
        "index.interval.bytes" => "log.index.interval.bytes",
        "local.retention.bytes" => "log.local.retention.bytes",
        "local.retention.ms" => "log.local.retention.ms",
        "max.compaction.lag.ms" => "log.cleaner.max.compaction.lag.ms",
        "max.message.bytes" => "message.max.bytes",
        "message.timestamp.after.max.ms" => "log.message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms" => "log.message.timestamp.before.max.ms",
        "message.timestamp.type" => "log.message.timestamp.type",
        "min.cleanable.dirty.ratio" => "log.cleaner.min.cleanable.ratio",
        "min.compaction.lag.ms" => "log.cleaner.min.compaction.lag.ms",
        "min.insync.replicas" => "min.insync.replicas",
        "preallocate" => "log.preallocate",
        "retention.bytes" => "log.retention.bytes",
        "retention.ms" => "log.retention.ms",
        "segment.bytes" => "log.segment.bytes",
        "segment.index.bytes" => "log.index.size.max.bytes",
        "segment.jitter.ms" => "log.roll.jitter.ms",
        "segment.ms" => "log.roll.ms",
        "unclean.leader.election.enable" => "unclean.leader.election.enable",
        _ => return None,
    })
}

/// The type of a setting's values.
pub(super) fn kind(key: &Key) -> Kind {
    let long = key.name.ends_with(".ms") || key.name.ends_with("retention.bytes");
    match key.bounds {
        _ if long => Kind::Long,
        Bounds::Number { max, .. } if max <= i64::from(i32::MAX) => Kind::Int,
        Bounds::Number { .. } => Kind::Long,
        Bounds::Ratio => Kind::Double,
        Bounds::Words(_) => Kind::List,
        Bounds::Word(words) if words.iter().all(|word| ["true", "false"].contains(word)) => Kind::Boolean,
        Bounds::Word(_) => Kind::String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn told(name: &str, topic: &[(&str, &str)], broker: &[(&str, &str)]) -> (Source, Vec<String>) {
        let (topic, broker) = (map(topic), map(broker));
        let setting = of_topic(&topic, &broker).find(|setting| setting.key.name == name).unwrap();
        let text = |s: Synonym| format!("{:?}:{}={}", s.source, s.name, s.value);
        (setting.source, synonyms(&setting).into_iter().map(text).collect())
    }

    #[test]
    fn synonyms_go_from_the_topic_to_the_brokers_file_to_the_default() {
        let (source, synonyms) =
            told("segment.bytes", &[("segment.bytes", "20000")], &[("segment.bytes", "30000")]);
        assert_eq!(source, Source::Topic);
        assert_eq!(
            synonyms,
            [
                "Topic:segment.bytes=20000",
                "BrokerFile:log.segment.bytes=30000",
                "Default:log.segment.bytes=1073741824"
            ]
        );
        let (source, synonyms) = told("retention.ms", &[], &[("retention.ms", "5")]);
        assert_eq!(
            (source, synonyms),
            (Source::BrokerFile, vec!["BrokerFile:log.retention.ms=5".to_owned()])
        );
        assert_eq!(told("retention.ms", &[], &[]), (Source::Default, Vec::new()));
    }

    #[test]
    fn the_list_is_kafkas_and_our_own() {
        let (nothing, retired) = (BTreeMap::new(), map(&[("message.downconversion.enable", "false")]));
        let names: Vec<&str> = of_topic(&nothing, &nothing).map(|setting| setting.key.name).collect();
        assert!(names.is_sorted() && names.contains(&"unclean.leader.election.enable"));
        assert!(names.contains(&"durability") && !names.contains(&"message.downconversion.enable"));
        assert_eq!(of_topic(&retired, &nothing).count(), names.len() + 1);
    }

    #[test]
    fn types_are_kafkas() {
        let kind_of = |name: &str| kind(ALL.iter().find(|key| key.name == name).unwrap());
        for (name, expected) in [
            ("cleanup.policy", Kind::List),
            ("compression.type", Kind::String),
            ("compression.zstd.level", Kind::Int),
            ("follower.replication.throttled.replicas", Kind::List),
            ("flush.messages", Kind::Long),
            ("local.retention.bytes", Kind::Long),
            ("max.message.bytes", Kind::Int),
            ("min.cleanable.dirty.ratio", Kind::Double),
            ("min.insync.replicas", Kind::Int),
            ("preallocate", Kind::Boolean),
            ("retention.bytes", Kind::Long),
            ("segment.bytes", Kind::Int),
            ("segment.index.bytes", Kind::Int),
            ("segment.jitter.ms", Kind::Long),
            ("segment.ms", Kind::Long),
            ("unclean.leader.election.enable", Kind::Boolean),
        ] {
            assert_eq!(kind_of(name), expected, "{name}");
        }
    }
}
