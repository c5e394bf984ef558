//! The checked configuration.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use highwater_core::settings::TopicSettings;
use highwater_proto::BrokerId;

use super::cluster::ClusterConfig;
use super::kafka::{self, KafkaListener};
use super::keys;
use super::sources::{ConfigError, Sources, TOPIC_DEFAULT};

/// Everything the broker was told, checked.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// This broker's number.
    pub broker_id: BrokerId,
    /// The cluster's name.
    pub cluster_name: String,
    /// Its place among others.
    pub cluster: ClusterConfig,
    /// Where gRPC listens; port 0 picks a free one.
    pub grpc: SocketAddr,
    /// What clients are told, if not the bound address.
    pub advertised_grpc: Option<String>,
    /// Where admin HTTP listens; port 0 picks a free one.
    pub admin: SocketAddr,
    /// Where the Kafka protocol is spoken.
    pub kafka: Vec<KafkaListener>,
    /// How often background work looks around.
    pub background_interval: Duration,
    /// Bytes of produce requests that a connection may have unanswered.
    pub connection_inflight_bytes: usize,
    /// Most Kafka connections at a time.
    pub connections_max: usize,
    /// A Kafka connection that is silent for so long is closed.
    pub connections_idle_max: Duration,
    /// Largest fetch answer, in bytes.
    pub fetch_max_bytes: usize,
    /// Bytes per second that replicas which are catching up are sent, all topics together.
    pub replication_throttle_rate: Option<u64>,
    /// Largest request, in bytes.
    pub request_max_bytes: usize,
    /// Memory that large Kafka requests being received share, in bytes.
    pub requests_memory_bytes: usize,
    /// How many threads flush.
    pub flush_threads: usize,
    /// Most segment maps open at a time.
    pub log_maps_max: usize,
    /// Bytes of segments kept to be written over.
    pub log_recycle_bytes: u64,
    /// How often everything stored is compared with its checksums; zero is never.
    pub log_scrub_interval: Duration,
    /// How long a shutdown waits for connections to end.
    pub shutdown_timeout: Duration,
    /// Whether topics are created when first asked for.
    pub topic_auto_create: bool,
    /// Partitions of a topic that doesn't say.
    pub topic_default_partitions: i32,
    /// Replicas of a topic that doesn't say; -1 is three, or as many as there are live brokers.
    pub topic_default_replication_factor: i32,
    /// The broker's defaults for topic settings, by Kafka's names; every one is legal.
    pub topic_defaults: BTreeMap<String, String>,
}

impl BrokerConfig {
    /// Checks the merged sources.
    ///
    /// # Errors
    /// The first [`ConfigError`], naming the key, where it was written, and what would be right.
    pub fn from_sources(sources: &Sources) -> Result<BrokerConfig, ConfigError> {
        let reader = Reader { sources };
        let data_dir = reader.text("data.dir");
        if data_dir.is_empty() {
            let remedy =
                "give the broker a directory of its own, with data.dir, HIGHWATER_DATA_DIR or --data-dir";
            return Err(ConfigError::Missing { name: "data.dir", remedy });
        }
        let broker_id = BrokerId(reader.number("broker.id", 0, i32::MAX as u64)? as i32);
        let config = BrokerConfig {
            data_dir: PathBuf::from(data_dir),
            broker_id,
            cluster: ClusterConfig::read(&reader, broker_id)?,
            cluster_name: reader.text("cluster.name").to_owned(),
            grpc: reader.address("listener.grpc")?,
            advertised_grpc: reader.host_and_port("advertised.grpc")?,
            admin: reader.address("listener.admin")?,
            kafka: kafka::listeners(&reader)?,
            background_interval: reader.millis("background.interval.ms", 10, 3_600_000)?,
            connection_inflight_bytes: reader.number("connection.inflight.bytes", 1 << 16, 1 << 34)? as usize,
            connections_max: reader.number("connections.max", 1, 1_000_000)? as usize,
            connections_idle_max: reader.millis("connections.max.idle.ms", 1_000, 86_400_000)?,
            fetch_max_bytes: reader.number("fetch.max.bytes", 1 << 10, 1 << 30)? as usize,
            replication_throttle_rate: reader.rate("replication.throttle.rate")?,
            request_max_bytes: reader.number("request.max.bytes", 1 << 10, 1 << 30)? as usize,
            requests_memory_bytes: reader.number("requests.memory.bytes", 1 << 20, 1 << 40)? as usize,
            flush_threads: reader.number("flush.threads", 1, 64)? as usize,
            log_maps_max: reader.number("log.maps.max", 16, 30_000)? as usize,
            log_recycle_bytes: reader.number("log.recycle.bytes", 0, 1 << 50)?,
            log_scrub_interval: reader.millis("log.scrub.interval.ms", 0, 365 * 86_400_000)?,
            shutdown_timeout: reader.millis("shutdown.timeout.ms", 0, 600_000)?,
            topic_auto_create: reader.switch("topic.auto.create")?,
            topic_default_partitions: reader.number("topic.default.partitions", 1, 10_000)? as i32,
            topic_default_replication_factor: reader.replication_factor()?,
            topic_defaults: reader.topic_defaults()?,
        };
        reader.check_exposure("listener.grpc", config.grpc)?;
        reader.check_exposure("listener.admin", config.admin)?;
        reader.check_exposure("listener.peer", config.cluster.peer)?;
        for address in config.kafka.iter().flat_map(|listener| &listener.addresses) {
            reader.check_exposure("listener.kafka", *address)?;
        }
        Ok(config)
    }

    /// A broker for tests, tools and `dev`: free ports on the loopback interface, topics created on demand.
    #[must_use]
    pub fn ephemeral(data_dir: impl Into<PathBuf>) -> BrokerConfig {
        let mut sources = Sources::new();
        let mut set = |name, value: &str| sources.set(name, value, "code").expect("a key of the table");
        set("data.dir", "unused");
        set("listener.grpc", "127.0.0.1:0");
        set("listener.admin", "127.0.0.1:0");
        set("listener.kafka", "127.0.0.1:0");
        set("listener.peer", "127.0.0.1:0");
        set("topic.auto.create", "true");
        let config = BrokerConfig::from_sources(&sources).expect("the defaults are legal");
        BrokerConfig { data_dir: data_dir.into(), ..config }
    }
}

/// Reads checked values out of raw ones.
pub(super) struct Reader<'a> {
    sources: &'a Sources,
}

impl Reader<'_> {
    pub(super) fn text(&self, name: &'static str) -> &str {
        let key = keys::find(name).expect("only keys of the table are read");
        self.sources.given.get(name).map_or(key.default, |given| given.value.as_str())
    }

    pub(super) fn illegal(&self, name: &str, expected: String) -> ConfigError {
        let given = self.sources.given.get(name);
        ConfigError::Illegal {
            name: name.to_owned(),
            value: given.map_or_else(String::new, |given| given.value.escape_default().to_string()),
            origin: given.map_or_else(|| "the defaults".to_owned(), |given| given.origin.clone()),
            expected,
        }
    }

    fn number(&self, name: &'static str, min: u64, max: u64) -> Result<u64, ConfigError> {
        let value = self.text(name).parse().ok().filter(|n| (min..=max).contains(n));
        value.ok_or_else(|| self.illegal(name, format!("it must be a whole number from {min} to {max}")))
    }

    pub(super) fn millis(&self, name: &'static str, min: u64, max: u64) -> Result<Duration, ConfigError> {
        self.number(name, min, max).map(Duration::from_millis)
    }

    fn switch(&self, name: &'static str) -> Result<bool, ConfigError> {
        match self.text(name) {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.illegal(name, "it must be true or false".to_owned())),
        }
    }

    pub(super) fn address(&self, name: &'static str) -> Result<SocketAddr, ConfigError> {
        self.text(name).parse().map_err(|_| {
            self.illegal(
                name,
                "it must be an address and a port, such as 127.0.0.1:9094 or [::1]:9094".to_owned(),
            )
        })
    }

    pub(super) fn host_and_port(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Some(text.to_owned()))
            }
            _ => Err(self.illegal(name, "it must be host:port".to_owned())),
        }
    }

    /// A number of bytes per second; -1 is no limit.
    fn rate(&self, name: &'static str) -> Result<Option<u64>, ConfigError> {
        match self.text(name) {
            "-1" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                self.illegal(name, "it must be -1, or a whole number of bytes per second".to_owned())
            }),
        }
    }

    fn replication_factor(&self) -> Result<i32, ConfigError> {
        let name = "topic.default.replication.factor";
        let factor = self.text(name).parse().ok().filter(|n| *n == -1 || (1..=1000).contains(n));
        factor.ok_or_else(|| self.illegal(name, "it must be -1, or a whole number from 1 to 1000".to_owned()))
    }

    fn topic_defaults(&self) -> Result<BTreeMap<String, String>, ConfigError> {
        let given = self.sources.given.iter();
        let defaults: BTreeMap<String, String> = given
            .filter_map(|(name, given)| {
                Some((name.strip_prefix(TOPIC_DEFAULT)?.to_owned(), given.value.clone()))
            })
            .filter(|(name, _)| !["partitions", "replication.factor"].contains(&name.as_str()))
            .collect();
        for (name, value) in &defaults {
            let alone = BTreeMap::from([(name.clone(), value.clone())]);
            if let Err(error) = TopicSettings::resolve(&alone, &BTreeMap::new()) {
                return Err(self.illegal(&format!("{TOPIC_DEFAULT}{name}"), error.to_string()));
            }
        }
        Ok(defaults)
    }

    /// A listener that others can reach must have been asked for, as long as nothing guards it.
    fn check_exposure(&self, name: &'static str, address: SocketAddr) -> Result<(), ConfigError> {
        if address.ip().is_loopback() || self.switch("security.allow.plaintext")? {
            return Ok(());
        }
        let remedy = "anyone who reaches it could read, write and delete; bind 127.0.0.1, or set \
                      security.allow.plaintext=true if the network itself is closed";
        Err(self.illegal(name, remedy.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<BrokerConfig, ConfigError> {
        BrokerConfig::from_sources(&Sources::new().file("hw.toml", text)?)
    }

    #[test]
    fn later_sources_win_and_tables_are_dotted_names() {
        let file =
            "data.dir = '/d'\n[listener]\ngrpc = '127.0.0.1:1'\n[topic.default]\n\"retention.ms\" = 5\n";
        let env =
            [("HIGHWATER_LISTENER_GRPC", "127.0.0.1:2"), ("HOME", "/root"), ("HIGHWATER_BOOTSTRAP", "x:1")];
        let env = env.map(|(k, v)| (k.to_owned(), v.to_owned()));
        let mut sources = Sources::new().file("hw.toml", file).unwrap().environment(env.into_iter()).unwrap();
        assert_eq!(BrokerConfig::from_sources(&sources).unwrap().grpc.port(), 2);
        sources.set("listener.grpc", "127.0.0.1:3", "--grpc").unwrap();
        let config = BrokerConfig::from_sources(&sources).unwrap();
        assert_eq!(config.grpc.port(), 3);
        assert_eq!(config.topic_defaults.get("retention.ms").map(String::as_str), Some("5"));
    }

    #[test]
    fn every_error_names_the_key_the_place_and_the_remedy() {
        let cases = [
            ("", "data.dir is not set: give the broker a directory"),
            ("data.dir = '/d'\nlistener.grcp = 'x'", "did you mean 'listener.grpc'?"),
            (
                "data.dir = '/d'\nlistener.grpc = 'x'",
                "listener.grpc=x (from hw.toml) is not legal: it must be an address",
            ),
            ("data.dir = '/d'\nlistener.grpc = '0.0.0.0:1'", "security.allow.plaintext=true"),
            ("data.dir = '/d'\nflush.threads = 0", "whole number from 1 to 64"),
            ("data.dir = '/d'\ntopic.default.\"segment.bytes\" = 1", "segment.bytes=1 is not legal"),
            (
                "data.dir = '/d'\ntopic.default.retention.msx = 1",
                "did you mean 'topic.default.retention.ms'?",
            ),
            ("data.dir = [1]", "must be a string, a number, true or false"),
            ("data.dir = ", "not valid TOML"),
        ];
        for (text, part) in cases {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text:?} gave: {error}");
        }
    }

    #[test]
    fn the_configuration_we_ship_is_legal() {
        let config = parse(include_str!("../../../../deploy/broker.toml")).unwrap();
        assert_eq!(config.topic_default_partitions, 4);
    }

    #[test]
    fn the_documentation_has_every_setting_with_its_default_and_words() {
        let page = include_str!("../../../../docs/configuration.md");
        let row = |name: &str, default: &str, text: &str| {
            let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
            format!("| `{name}` | {default} | {text} |\n")
        };
        let broker = keys::KEYS.iter().map(|key| row(key.name, key.default, key.text));
        let topic = highwater_core::settings::KEYS.iter().map(|key| row(key.name, key.default, key.text));
        let accepted = highwater_core::settings::ACCEPTED.iter();
        let accepted =
            accepted.map(|key| format!("| `{}` | {} | {} |\n", key.name, key.expected(), key.text));
        for row in broker.chain(topic).chain(accepted) {
            assert!(page.contains(&row), "docs/configuration.md lacks: {row}");
        }
    }

    #[test]
    fn the_table_is_sorted_and_every_default_is_legal() {
        assert!(keys::KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(parse("data.dir = '/d'").is_ok());
    }
}
