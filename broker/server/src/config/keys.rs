//! The one table of broker settings.

/// One setting of the broker.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its dotted name.
    pub name: &'static str,
    /// What holds when nobody set it; empty where the broker must find it out.
    pub default: &'static str,
    /// For a person: what it is, with its unit.
    pub text: &'static str,
}

const fn key(name: &'static str, default: &'static str, text: &'static str) -> Key {
    Key { name, default, text }
}

/// Every setting, by name. Besides these, `topic.default.<setting>` sets the broker's default for a topic setting.
pub const KEYS: &[Key] = &[
    key("advertised.grpc", "", "host:port that clients are told to use; the bound address unless set"),
    key(
        "advertised.kafka",
        "",
        "host:port that Kafka clients are told to use, one per entry of listener.kafka, separated by commas; the address they reached unless set",
    ),
    key("advertised.peer", "", "host:port that other brokers are told to use; the bound address unless set"),
    key("background.interval.ms", "1000", "how often retention, compaction and checkpoints look around"),
    key("broker.heartbeat.interval.ms", "200", "how often the broker tells the controller that it is alive"),
    key("broker.id", "1", "this broker's number; one that joins is given a number and ignores this"),
    key("broker.rack", "", "what fails together with this broker: replicas are spread over racks"),
    key(
        "broker.session.timeout.ms",
        "1200",
        "a broker that is not heard for so long stops leading, and others lead in its place",
    ),
    key(
        "cluster.join",
        "",
        "addresses (host:port, separated by commas) of peer listeners of a cluster that this broker joins",
    ),
    key(
        "cluster.name",
        "highwater",
        "the name that tools show for the cluster; brokers of another name are refused",
    ),
    key(
        "cluster.voters",
        "",
        "the cluster's first brokers, as id@host:port of their peer listeners, separated by commas; this broker alone unless set",
    ),
    key(
        "connection.inflight.bytes",
        "67108864",
        "bytes of produce requests a connection may have unanswered",
    ),
    key("connections.max", "20000", "most Kafka connections at a time"),
    key("connections.max.idle.ms", "600000", "a Kafka connection that is silent for so long is closed"),
    key("data.dir", "", "where everything is kept; required"),
    key("fetch.max.bytes", "57671680", "largest fetch answer, in bytes"),
    key("flush.threads", "4", "threads that flush partitions to disk, each one partition at a time"),
    key("listener.admin", "127.0.0.1:9644", "address of the admin HTTP listener"),
    key("listener.grpc", "127.0.0.1:9094", "address of the gRPC listener"),
    key(
        "listener.kafka",
        "localhost:9092",
        "addresses of the Kafka listener, separated by commas; localhost is 127.0.0.1 and ::1, none is no listener",
    ),
    key(
        "listener.peer",
        "127.0.0.1:9095",
        "address of the listener for other brokers; nobody else must reach it",
    ),
    key("log.maps.max", "4096", "most segment maps open at a time"),
    key("log.recycle.bytes", "1073741824", "bytes of retired segments kept to be written over"),
    key(
        "log.scrub.interval.ms",
        "86400000",
        "how often everything stored is compared with its checksums, at no more than 16 MiB a second; 0 is never",
    ),
    key(
        "replication.throttle.rate",
        "-1",
        "bytes per second that this broker sends to replicas that are catching up, all topics together; -1 is no limit",
    ),
    key("request.max.bytes", "104857600", "largest request, in bytes"),
    key(
        "requests.memory.bytes",
        "536870912",
        "memory that large Kafka requests being received share, in bytes",
    ),
    key(
        "security.allow.plaintext",
        "false",
        "permit listeners off the loopback interface although there is no TLS yet",
    ),
    key("shutdown.timeout.ms", "3000", "how long a shutdown waits for connections to end"),
    key("topic.auto.create", "false", "create topics when a client first asks for them"),
    key("topic.default.partitions", "1", "partitions of a topic that doesn't say"),
    key(
        "topic.default.replication.factor",
        "-1",
        "replicas of a topic that doesn't say; -1 is 3, or as many as there are live brokers if they are fewer",
    ),
];

/// Looks a setting up by its name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}
