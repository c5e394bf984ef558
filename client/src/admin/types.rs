//! What admin calls take and return.

use highwater_proto::{BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId, grpc};

use crate::error::AdminError;

/// A topic to be created.
///
/// ```
/// use highwater_client::NewTopic;
/// let topic = NewTopic::new("orders").partitions(4).config("retention.ms", "86400000");
/// assert_eq!(topic.configs.len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// 1 to 249 of `[a-zA-Z0-9._-]`.
    pub name: String,
    /// `None`: the broker's default.
    pub partitions: Option<i32>,
    /// `None`: the broker's default.
    pub replication_factor: Option<i32>,
    /// Settings that differ from the broker's defaults, by Kafka's names.
    pub configs: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic with every default.
    pub fn new(name: impl Into<String>) -> NewTopic {
        NewTopic { name: name.into(), partitions: None, replication_factor: None, configs: Vec::new() }
    }

    /// Sets the number of partitions.
    #[must_use]
    pub fn partitions(mut self, partitions: i32) -> NewTopic {
        self.partitions = Some(partitions);
        self
    }

    /// Sets the number of replicas per partition.
    #[must_use]
    pub fn replication_factor(mut self, replication_factor: i32) -> NewTopic {
        self.replication_factor = Some(replication_factor);
        self
    }

    /// Adds a setting.
    #[must_use]
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> NewTopic {
        self.configs.push((name.into(), value.into()));
        self
    }

    pub(crate) fn to_wire(&self) -> grpc::NewTopic {
        grpc::NewTopic {
            name: self.name.clone(),
            partitions: self.partitions.unwrap_or(-1),
            replication_factor: self.replication_factor.unwrap_or(-1),
            configs: entries(&self.configs),
        }
    }
}

/// Settings as the wire has them.
pub(crate) fn entries(configs: &[(String, String)]) -> Vec<grpc::ConfigEntry> {
    configs
        .iter()
        .map(|(name, value)| grpc::ConfigEntry { name: name.clone(), value: value.clone() })
        .collect()
}

/// A topic that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub id: TopicId,
    /// How many partitions it got.
    pub partitions: i32,
    /// How many replicas each of them got.
    pub replication_factor: i32,
}

/// A topic with partitions and settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub id: TopicId,
    /// By partition index.
    pub partitions: Vec<PartitionDescription>,
    /// Every setting with its value in force.
    pub configs: Vec<ConfigValue>,
}

impl TopicDescription {
    pub(crate) fn as_created(&self) -> CreatedTopic {
        let factor = self.partitions.first().map_or(0, |partition| partition.replicas.len());
        CreatedTopic {
            name: self.name.clone(),
            id: self.id,
            partitions: i32::try_from(self.partitions.len()).unwrap_or(i32::MAX),
            replication_factor: i32::try_from(factor).unwrap_or(i32::MAX),
        }
    }
}

/// One partition of a described topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Which one.
    pub partition: PartitionIndex,
    /// `None` while there is none.
    pub leader: Option<BrokerId>,
    /// Counts the leaders.
    pub leader_epoch: LeaderEpoch,
    /// The brokers that hold it.
    pub replicas: Vec<BrokerId>,
    /// Those of them that are in sync.
    pub in_sync_replicas: Vec<BrokerId>,
    /// Those that are not in sync and yet have everything that was acknowledged: they may lead when nobody else can.
    pub eligible_leader_replicas: Vec<BrokerId>,
    /// Counts the changes of leader and in-sync replicas.
    pub partition_epoch: i32,
    /// How far each replica is, as the leader knows; empty when it could not be asked.
    pub replica_states: Vec<ReplicaDescription>,
    /// Replicas that a reassignment under way brings.
    pub adding_replicas: Vec<BrokerId>,
    /// Replicas that a reassignment under way takes away.
    pub removing_replicas: Vec<BrokerId>,
    /// First offset the log still has.
    pub log_start_offset: Offset,
    /// First offset that consumers cannot read yet.
    pub high_watermark: Offset,
    /// First offset that is not written yet.
    pub log_end_offset: Offset,
    /// Bytes of record data on its leader's disk.
    pub size_bytes: i64,
    /// Why it is offline, and what to do; empty when it is online.
    pub offline_reason: String,
}

/// How far one replica is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaDescription {
    /// The broker that holds it.
    pub broker: BrokerId,
    /// Whether it counts for acknowledgements.
    pub in_sync: bool,
    /// First offset that it does not have; `None` while it has not reported to this leader.
    pub log_end_offset: Option<Offset>,
    /// First offset that is not on its disk; `None` as above.
    pub flushed_end_offset: Option<Offset>,
    /// Records behind the leader; `None` when unknown.
    pub lag_records: Option<i64>,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigValue {
    /// Kafka's name for it.
    pub name: String,
    /// The value in force.
    pub value: String,
    /// `topic` when set on the topic, `broker` when set for the broker, else `default`.
    pub source: String,
    /// One sentence on what it does.
    pub documentation: String,
}

/// The cluster: its brokers and its topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    /// The cluster's identity.
    pub cluster_id: String,
    /// Brokers with the `host:port` of their gRPC listeners.
    pub brokers: Vec<(BrokerId, String)>,
    /// Topics' names with their number of partitions.
    pub topics: Vec<(String, i32)>,
}

pub(crate) fn topic_description(topic: grpc::TopicDescription) -> Result<TopicDescription, AdminError> {
    if topic.error != 0 {
        return Err(AdminError::refused(format!("topic {}", topic.name), topic.error, &topic.message));
    }
    let id = topic_id(&topic.topic_id, "DescribeTopics", &topic.name)?;
    let mut partitions: Vec<_> = topic.partitions.into_iter().map(partition_description).collect();
    partitions.sort_by_key(|p| p.partition);
    let configs = topic
        .configs
        .into_iter()
        .map(|c| ConfigValue {
            name: c.name,
            value: c.value,
            source: c.source,
            documentation: c.documentation,
        })
        .collect();
    Ok(TopicDescription { name: topic.name, id, partitions, configs })
}

fn partition_description(p: grpc::PartitionDescription) -> PartitionDescription {
    PartitionDescription {
        partition: PartitionIndex(p.partition),
        leader: (p.leader >= 0).then_some(BrokerId(p.leader)),
        leader_epoch: LeaderEpoch(p.leader_epoch),
        replicas: brokers(p.replicas),
        in_sync_replicas: brokers(p.in_sync_replicas),
        eligible_leader_replicas: brokers(p.eligible_leader_replicas),
        partition_epoch: p.partition_epoch,
        replica_states: p.replica_states.into_iter().map(replica_description).collect(),
        adding_replicas: brokers(p.adding_replicas),
        removing_replicas: brokers(p.removing_replicas),
        log_start_offset: Offset(p.log_start_offset),
        high_watermark: Offset(p.high_watermark),
        log_end_offset: Offset(p.log_end_offset),
        size_bytes: p.size_bytes,
        offline_reason: p.offline_reason,
    }
}

fn replica_description(replica: grpc::ReplicaDescription) -> ReplicaDescription {
    let known = |number: i64| (number >= 0).then_some(number);
    ReplicaDescription {
        broker: BrokerId(replica.broker),
        in_sync: replica.in_sync,
        log_end_offset: known(replica.log_end_offset).map(Offset),
        flushed_end_offset: known(replica.flushed_end_offset).map(Offset),
        lag_records: known(replica.lag_records),
    }
}

pub(super) fn brokers(ids: Vec<i32>) -> Vec<BrokerId> {
    ids.into_iter().map(BrokerId).collect()
}

pub(crate) fn topic_id(wire: &[u8], call: &'static str, topic: &str) -> Result<TopicId, AdminError> {
    TopicId::from_wire(wire).ok_or_else(|| AdminError::Protocol {
        call,
        reason: format!("topic {topic}: its id is not 16 bytes long"),
    })
}
