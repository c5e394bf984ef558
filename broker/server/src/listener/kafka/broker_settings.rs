//! The broker's settings under the names that Kafka's tools look for. All are read-only: they come from its file,
//! environment and flags.

use highwater_core::settings::KEYS;

use super::settings::{Kind, Source, broker_name, kind};
use crate::config::{Advertised, BrokerConfig};

/// One setting.
#[derive(Clone, Debug)]
pub(super) struct BrokerSetting {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) source: Source,
    pub(super) kind: Kind,
    /// For a person.
    pub(super) text: &'static str,
}

/// Every setting that Kafka has a name for, by that name.
pub(super) fn of_broker(config: &BrokerConfig, advertised: &Advertised) -> Vec<BrokerSetting> {
    let mut all = own(config, advertised);
    for key in KEYS {
        let Some(name) = broker_name(key) else { continue };
        let set = config.topic_defaults.get(key.name);
        all.push(BrokerSetting {
            name: name.to_owned(),
            value: set.map_or(key.default, String::as_str).to_owned(),
            source: if set.is_some() { Source::BrokerFile } else { Source::Default },
            kind: kind(key),
            text: key.text,
        });
    }
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    all
}

fn own(config: &BrokerConfig, advertised: &Advertised) -> Vec<BrokerSetting> {
    let setting = |name: &str, value: String, source, kind, text| BrokerSetting {
        name: name.to_owned(),
        value,
        source,
        kind,
        text,
    };
    let set = |name, value, kind, text| setting(name, value, Source::BrokerFile, kind, text);
    let fixed = |name, value: &str, kind, text| setting(name, value.to_owned(), Source::Default, kind, text);
    let host = if advertised.host.contains(':') {
        format!("[{}]", advertised.host)
    } else {
        advertised.host.clone()
    };
    let data_dir = config.data_dir.display().to_string();
    vec![
        set(
            "advertised.listeners",
            format!("PLAINTEXT://{host}:{}", advertised.port),
            Kind::List,
            "where clients of this listener find the broker",
        ),
        set(
            "auto.create.topics.enable",
            config.topic_auto_create.to_string(),
            Kind::Boolean,
            "topic.auto.create: create topics when a client first asks for them",
        ),
        set("broker.id", config.broker_id.0.to_string(), Kind::Int, "broker.id: this broker's number"),
        setting(
            "default.replication.factor",
            config.topic_default_replication_factor.to_string(),
            Source::Default,
            Kind::Int,
            "topic.default.replication.factor: replicas of a topic that doesn't say; -1 is three, or as many as there are brokers",
        ),
        fixed("delete.topic.enable", "true", Kind::Boolean, "topics can be deleted"),
        set(
            "fetch.max.bytes",
            config.fetch_max_bytes.to_string(),
            Kind::Int,
            "fetch.max.bytes: largest fetch answer, in bytes",
        ),
        set("log.dirs", data_dir, Kind::String, "data.dir: where everything is kept"),
        set("node.id", config.broker_id.0.to_string(), Kind::Int, "broker.id: this broker's number"),
        set(
            "num.partitions",
            config.topic_default_partitions.to_string(),
            Kind::Int,
            "topic.default.partitions: partitions of a topic that doesn't say",
        ),
        set(
            "socket.request.max.bytes",
            config.request_max_bytes.to_string(),
            Kind::Int,
            "request.max.bytes: largest request, in bytes",
        ),
    ]
}
