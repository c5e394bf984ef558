//! The records of the metadata log, as protobuf: a field that is added later is skipped by older readers, and a kind of
//! record that they do not know stops them by name instead of being dropped.
//!
//! A field may be added only if skipping it is harmless; what changes the meaning of a record is a new kind. Persisted:
//! the tags are pinned by a golden test.

/// The version of the records that this program writes and reads, and with which it registers.
pub const METADATA_VERSION: u32 = 1;

/// What a controller proposes at once: all or nothing, and only if nothing came in between.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    /// The version of the records; a reader stops at one that is newer than itself.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Index of the last accepted entry that its decider had applied. Any other one makes the entry a no-op (M-63).
    #[prost(uint64, tag = "2")]
    pub based_on: u64,
    /// The changes, in order.
    #[prost(message, repeated, tag = "3")]
    pub records: Vec<Record>,
}

/// One change of the metadata.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Record {
    /// What changed.
    #[prost(oneof = "change::Change", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13")]
    pub change: Option<change::Change>,
}

impl From<change::Change> for Record {
    fn from(change: change::Change) -> Record {
        Record { change: Some(change) }
    }
}

/// A setting of a topic.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConfigValue {
    /// Kafka's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Absent: back to the default.
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

/// A list of brokers that may be absent as a whole.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BrokerIds {
    /// Their ids, in order.
    #[prost(int32, repeated, tag = "1")]
    pub ids: Vec<i32>,
}

/// Everything about one partition.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PartitionState {
    /// Broker ids, the preferred leader first.
    #[prost(int32, repeated, tag = "1")]
    pub replicas: Vec<i32>,
    /// In-sync replicas.
    #[prost(int32, repeated, tag = "2")]
    pub isr: Vec<i32>,
    /// Eligible leader replicas.
    #[prost(int32, repeated, tag = "3")]
    pub elr: Vec<i32>,
    /// Once eligible, now not known to be.
    #[prost(int32, repeated, tag = "4")]
    pub last_known_elr: Vec<i32>,
    /// Absent: nobody leads.
    #[prost(int32, optional, tag = "5")]
    pub leader: Option<i32>,
    /// Counts leaders.
    #[prost(int32, tag = "6")]
    pub leader_epoch: i32,
    /// Counts changes.
    #[prost(int32, tag = "7")]
    pub partition_epoch: i32,
    /// Being added by a reassignment.
    #[prost(int32, repeated, tag = "8")]
    pub adding: Vec<i32>,
    /// Being removed by a reassignment.
    #[prost(int32, repeated, tag = "9")]
    pub removing: Vec<i32>,
    /// Whether its leader was elected uncleanly and has not yet recovered.
    #[prost(bool, tag = "10")]
    pub recovering: bool,
    /// Who led last, while nobody does.
    #[prost(int32, optional, tag = "11")]
    pub last_leader: Option<i32>,
}

/// An address for Kafka's clients.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct KafkaAddress {
    /// The listener's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Name or address of the host.
    #[prost(string, tag = "2")]
    pub host: String,
    /// TCP port.
    #[prost(uint32, tag = "3")]
    pub port: u32,
}

/// The kinds of change.
pub mod change {
    use super::{BrokerIds, ConfigValue, KafkaAddress, PartitionState};

    /// What a record changes.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Change {
        /// A topic came to be.
        #[prost(message, tag = "1")]
        TopicCreated(TopicCreated),
        /// A topic went.
        #[prost(message, tag = "2")]
        TopicDeleted(TopicDeleted),
        /// A topic has more partitions.
        #[prost(message, tag = "3")]
        PartitionsAdded(PartitionsAdded),
        /// Settings of a topic changed.
        #[prost(message, tag = "4")]
        ConfigsChanged(ConfigsChanged),
        /// A block of producer ids was taken and is never handed out again.
        #[prost(message, tag = "5")]
        ProducerIdsTaken(ProducerIdsTaken),
        /// The cluster came to be.
        #[prost(message, tag = "6")]
        ClusterFormed(ClusterFormed),
        /// A broker id was given away and is never given again.
        #[prost(message, tag = "7")]
        BrokerIdTaken(BrokerIdTaken),
        /// A broker came, or came back.
        #[prost(message, tag = "8")]
        BrokerRegistered(BrokerRegistered),
        /// A broker was removed for good.
        #[prost(message, tag = "9")]
        BrokerUnregistered(BrokerUnregistered),
        /// A broker's state changed.
        #[prost(message, tag = "10")]
        BrokerChanged(BrokerChanged),
        /// A partition's leader, replicas or in-sync replicas changed.
        #[prost(message, tag = "11")]
        PartitionChanged(PartitionChanged),
        /// Records of this version may be written from here on.
        #[prost(message, tag = "12")]
        MetadataVersionRaised(MetadataVersionRaised),
        /// What a snapshot says besides the things it holds; not in a log.
        #[prost(message, tag = "13")]
        SnapshotTaken(SnapshotTaken),
    }

    /// A topic came to be.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TopicCreated {
        /// 16 bytes.
        #[prost(bytes = "vec", tag = "1")]
        pub topic_id: Vec<u8>,
        /// Its name.
        #[prost(string, tag = "2")]
        pub name: String,
        /// How many partitions.
        #[prost(int32, tag = "3")]
        pub partitions: i32,
        /// Overrides.
        #[prost(message, repeated, tag = "4")]
        pub configs: Vec<ConfigValue>,
        /// Milliseconds since the Unix epoch, stamped by whoever decided.
        #[prost(int64, tag = "5")]
        pub created_ms: i64,
        /// One for each partition; empty in what a broker wrote that stood alone.
        #[prost(message, repeated, tag = "6")]
        pub assignments: Vec<PartitionState>,
    }

    /// A topic went.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TopicDeleted {
        /// 16 bytes.
        #[prost(bytes = "vec", tag = "1")]
        pub topic_id: Vec<u8>,
    }

    /// A topic has more partitions.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct PartitionsAdded {
        /// 16 bytes.
        #[prost(bytes = "vec", tag = "1")]
        pub topic_id: Vec<u8>,
        /// The new total.
        #[prost(int32, tag = "2")]
        pub partitions: i32,
        /// One for each new partition; empty in what a broker wrote that stood alone.
        #[prost(message, repeated, tag = "3")]
        pub assignments: Vec<PartitionState>,
    }

    /// Settings of a topic changed.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ConfigsChanged {
        /// 16 bytes.
        #[prost(bytes = "vec", tag = "1")]
        pub topic_id: Vec<u8>,
        /// Only those that changed.
        #[prost(message, repeated, tag = "2")]
        pub configs: Vec<ConfigValue>,
    }

    /// A block of producer ids was taken.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ProducerIdsTaken {
        /// The first id that is still free.
        #[prost(int64, tag = "1")]
        pub end: i64,
    }

    /// The cluster came to be.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ClusterFormed {
        /// 16 bytes.
        #[prost(bytes = "vec", tag = "1")]
        pub cluster_id: Vec<u8>,
        /// For people.
        #[prost(string, tag = "2")]
        pub name: String,
        /// The ids of the first brokers, which are taken by this.
        #[prost(int32, repeated, tag = "3")]
        pub broker_ids: Vec<i32>,
    }

    /// A broker id was given away.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct BrokerIdTaken {
        /// The id.
        #[prost(int32, tag = "1")]
        pub broker_id: i32,
    }

    /// A broker came, or came back. Holds all of its state.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct BrokerRegistered {
        /// Its id.
        #[prost(int32, tag = "1")]
        pub broker_id: i32,
        /// The epoch of this life.
        #[prost(int64, tag = "2")]
        pub epoch: i64,
        /// The epoch of the last life that was unfenced; absent if none was.
        #[prost(int64, optional, tag = "3")]
        pub served_epoch: Option<i64>,
        /// 16 random bytes of the process.
        #[prost(bytes = "vec", tag = "4")]
        pub incarnation: Vec<u8>,
        /// Names the disk that its data is on.
        #[prost(string, tag = "5")]
        pub disk_id: String,
        /// Where brokers reach it.
        #[prost(string, tag = "6")]
        pub peer: String,
        /// Where gRPC clients reach it.
        #[prost(string, tag = "7")]
        pub grpc: String,
        /// Where Kafka's clients reach it.
        #[prost(message, repeated, tag = "8")]
        pub kafka: Vec<KafkaAddress>,
        /// Where admin HTTP is served.
        #[prost(string, tag = "9")]
        pub admin: String,
        /// What fails together.
        #[prost(string, optional, tag = "10")]
        pub rack: Option<String>,
        /// The newest version of the records that it reads.
        #[prost(uint32, tag = "11")]
        pub version: u32,
        /// Whether it may not lead or be in sync.
        #[prost(bool, tag = "12")]
        pub fenced: bool,
        /// Whether its replicas are moving away.
        #[prost(bool, tag = "13")]
        pub draining: bool,
        /// Whether it is shutting down.
        #[prost(bool, tag = "14")]
        pub stopping: bool,
        /// Index of the last entry that took a leadership from it, or fenced it.
        #[prost(uint64, tag = "15")]
        pub deposed_at: u64,
    }

    /// A broker was removed for good.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct BrokerUnregistered {
        /// Its id, which nobody gets again.
        #[prost(int32, tag = "1")]
        pub broker_id: i32,
    }

    /// A broker's state changed. What is absent stays.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct BrokerChanged {
        /// Its id.
        #[prost(int32, tag = "1")]
        pub broker_id: i32,
        /// Whether it may not lead or be in sync.
        #[prost(bool, optional, tag = "2")]
        pub fenced: Option<bool>,
        /// Whether its replicas are moving away.
        #[prost(bool, optional, tag = "3")]
        pub draining: Option<bool>,
        /// Whether it is shutting down.
        #[prost(bool, optional, tag = "4")]
        pub stopping: Option<bool>,
    }

    /// A partition changed, and its epoch rises by one. What is absent stays.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct PartitionChanged {
        /// 16 bytes.
        #[prost(bytes = "vec", tag = "1")]
        pub topic_id: Vec<u8>,
        /// Which one.
        #[prost(int32, tag = "2")]
        pub partition: i32,
        /// The new leader, or the old one in a new epoch; -1 is nobody. If present, the leader epoch rises by one.
        #[prost(int32, optional, tag = "3")]
        pub leader: Option<i32>,
        /// All replicas.
        #[prost(message, optional, tag = "4")]
        pub replicas: Option<BrokerIds>,
        /// In-sync replicas.
        #[prost(message, optional, tag = "5")]
        pub isr: Option<BrokerIds>,
        /// Eligible leader replicas.
        #[prost(message, optional, tag = "6")]
        pub elr: Option<BrokerIds>,
        /// Once eligible, now not known to be.
        #[prost(message, optional, tag = "7")]
        pub last_known_elr: Option<BrokerIds>,
        /// Being added.
        #[prost(message, optional, tag = "8")]
        pub adding: Option<BrokerIds>,
        /// Being removed.
        #[prost(message, optional, tag = "9")]
        pub removing: Option<BrokerIds>,
        /// Whether an unclean election is not yet recovered from.
        #[prost(bool, optional, tag = "10")]
        pub recovering: Option<bool>,
    }

    /// Records of this version may be written from here on.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct MetadataVersionRaised {
        /// The version.
        #[prost(uint32, tag = "1")]
        pub version: u32,
    }

    /// What a snapshot says besides the things it holds.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct SnapshotTaken {
        /// Index of the last accepted entry.
        #[prost(uint64, tag = "1")]
        pub accepted: u64,
        /// The first broker id that nobody was ever given.
        #[prost(int32, tag = "2")]
        pub next_broker_id: i32,
        /// Ids that were given to brokers which have not registered yet.
        #[prost(int32, repeated, tag = "3")]
        pub unregistered_ids: Vec<i32>,
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
