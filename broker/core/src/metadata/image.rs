//! The state that the records make: the cluster, its brokers, every topic by id and by name.
//!
//! A clone shares everything: it costs a few pointers, and a change copies only what it touches. Not here: how records
//! are applied (`apply`), and what becomes of an image in a snapshot (`snapshot`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use highwater_proto::{BrokerEpoch, BrokerId, TopicId, TopicPartition};

use super::broker::{Broker, Cluster};
use super::partition::Partition;
use super::topic::Topic;
use crate::topic_name;

/// The whole metadata at one index of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub(super) applied: u64,
    pub(super) accepted: u64,
    pub(super) cluster: Option<Arc<Cluster>>,
    pub(super) metadata_version: u32,
    pub(super) brokers: Arc<BTreeMap<BrokerId, Arc<Broker>>>,
    pub(super) next_broker_id: i32,
    pub(super) unregistered_ids: Arc<BTreeSet<BrokerId>>,
    pub(super) topics: Arc<BTreeMap<TopicId, Arc<Topic>>>,
    pub(super) names: Arc<BTreeMap<String, TopicId>>,
    pub(super) collision_keys: Arc<BTreeMap<String, TopicId>>,
    pub(super) producer_ids_end: i64,
    /// Sum of the digests of all brokers, topics and partitions.
    pub(super) digests: u64,
}

impl Default for Image {
    fn default() -> Image {
        Image {
            applied: 0,
            accepted: 0,
            cluster: None,
            metadata_version: 1,
            brokers: Arc::default(),
            next_broker_id: 0,
            unregistered_ids: Arc::default(),
            topics: Arc::default(),
            names: Arc::default(),
            collision_keys: Arc::default(),
            producer_ids_end: 0,
            digests: 0,
        }
    }
}

impl Image {
    /// Index of the last entry applied, whether it was accepted or not; 0 is none.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Index of the last entry that was accepted: what the next one must be based on. 0 is none.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// The cluster, once it was formed.
    #[must_use]
    pub fn cluster(&self) -> Option<&Cluster> {
        self.cluster.as_deref()
    }

    /// The version of the records that may be written: every registered broker reads it.
    #[must_use]
    pub fn metadata_version(&self) -> u32 {
        self.metadata_version
    }

    /// The broker with this id.
    #[must_use]
    pub fn broker(&self, id: BrokerId) -> Option<&Broker> {
        self.brokers.get(&id).map(Arc::as_ref)
    }

    /// Every registered broker, by id.
    pub fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values().map(Arc::as_ref)
    }

    /// Whether this broker may lead and be in sync.
    #[must_use]
    pub fn is_active(&self, id: BrokerId) -> bool {
        self.broker(id).is_some_and(Broker::is_active)
    }

    /// The first broker id that nobody was ever given.
    #[must_use]
    pub fn next_broker_id(&self) -> BrokerId {
        BrokerId(self.next_broker_id)
    }

    /// Ids that were given to brokers which have not registered yet.
    #[must_use]
    pub fn unregistered_ids(&self) -> &BTreeSet<BrokerId> {
        &self.unregistered_ids
    }

    /// The epoch that a registration decided against this image gets. Larger than any before, since no two accepted
    /// entries are based on the same one.
    #[must_use]
    pub fn next_broker_epoch(&self) -> BrokerEpoch {
        BrokerEpoch(i64::try_from(self.accepted).expect("no log has that many entries") + 1)
    }

    /// The topic with this id.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(&id).map(Arc::as_ref)
    }

    /// The topic with this id, shared.
    #[must_use]
    pub fn topic_shared(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(&id)
    }

    /// The topic with this name.
    #[must_use]
    pub fn topic_named(&self, name: &str) -> Option<&Topic> {
        self.names.get(name).and_then(|id| self.topic(*id))
    }

    /// The topic whose name equals this one once `.` and `_` are folded.
    #[must_use]
    pub fn topic_colliding(&self, name: &str) -> Option<&Topic> {
        self.collision_keys.get(&topic_name::collision_key(name)).and_then(|id| self.topic(*id))
    }

    /// Every topic, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.names.values().filter_map(|id| self.topic(*id))
    }

    /// This partition.
    #[must_use]
    pub fn partition(&self, id: TopicPartition) -> Option<&Partition> {
        self.topic(id.topic).and_then(|topic| topic.partition(id.partition))
    }

    /// Every partition with its topic, by topic id and number.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &Topic, &Partition)> {
        self.topics.values().flat_map(|topic| {
            topic
                .indexed()
                .map(|(index, partition)| (TopicPartition::new(topic.id, index), topic.as_ref(), partition))
        })
    }

    /// Whether this partition exists.
    #[must_use]
    pub fn has(&self, id: TopicPartition) -> bool {
        self.partition(id).is_some()
    }

    /// How many partitions all topics have together.
    #[must_use]
    pub fn partition_count(&self) -> i64 {
        self.topics.values().map(|topic| i64::from(topic.partition_count())).sum()
    }

    /// The first producer id that nobody was ever given.
    #[must_use]
    pub fn producer_ids_end(&self) -> i64 {
        self.producer_ids_end
    }
}
