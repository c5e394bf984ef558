//! One topic as the cluster knows it.

use std::collections::BTreeMap;

use highwater_proto::{PartitionIndex, TopicId, TopicPartition};
use serde::{Deserialize, Serialize};

use super::partition::Partition;

/// The setting that says how many replicas must be in sync.
pub(super) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
/// The setting that says what an acknowledgement means.
pub(super) const DURABILITY: &str = "durability";

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Its identity.
    pub id: TopicId,
    /// Its name.
    pub name: String,
    /// Its partitions, by number.
    pub partitions: Vec<Partition>,
    /// The settings that were set on it.
    pub configs: BTreeMap<String, String>,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_ms: i64,
}

impl Topic {
    /// How many partitions it has.
    #[must_use]
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).expect("there are at most 100,000")
    }

    /// The partition with this number.
    #[must_use]
    pub fn partition(&self, index: PartitionIndex) -> Option<&Partition> {
        usize::try_from(index.0).ok().and_then(|index| self.partitions.get(index))
    }

    /// Its partitions, in order.
    pub fn partition_ids(&self) -> impl Iterator<Item = TopicPartition> + use<> {
        let id = self.id;
        (0..self.partition_count()).map(move |index| TopicPartition::new(id, PartitionIndex(index)))
    }

    /// Its partitions with their numbers, in order.
    pub fn indexed(&self) -> impl Iterator<Item = (PartitionIndex, &Partition)> {
        (0..).map(PartitionIndex).zip(&self.partitions)
    }

    /// `min.insync.replicas`. Every broker must count with the same one, so a broker's default for it is written into
    /// the topic and not looked up in files; [`Partition::min_isr`] is what holds for a partition.
    #[must_use]
    pub fn min_insync_replicas(&self) -> usize {
        let set = self.configs.get(MIN_INSYNC_REPLICAS);
        set.and_then(|value| value.trim().parse().ok()).unwrap_or(1)
    }

    /// The least number of in-sync replicas with which this partition of it may acknowledge; `None` if there is none.
    #[must_use]
    pub fn min_isr(&self, index: PartitionIndex) -> Option<usize> {
        self.partition(index).map(|partition| partition.min_isr(self.min_insync_replicas()))
    }

    /// Whether an acknowledgement means "on the disk of every counted replica".
    #[must_use]
    pub fn acknowledges_from_disk(&self) -> bool {
        self.configs.get(DURABILITY).is_none_or(|value| value.trim() != "replicated")
    }

    /// How many replicas each of its partitions has.
    #[must_use]
    pub fn replication_factor(&self) -> usize {
        self.partitions.first().map_or(0, |partition| partition.target_replicas().len())
    }
}
