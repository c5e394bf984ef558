//! What every use case works on, and the way to a partition.

use std::sync::Arc;

use highwater_env::{Clock, Random};
use highwater_proto::TopicPartition;

use super::ProducerIds;
use crate::config::BrokerConfig;
use crate::metadata::MetadataStore;
use crate::metrics::Metrics;
use crate::partition::{OpenError, Partition, PartitionTable};

/// Everything that the use cases work on.
#[derive(Debug)]
pub struct Services {
    pub(crate) config: BrokerConfig,
    pub(crate) metadata: MetadataStore,
    pub(crate) partitions: Arc<PartitionTable>,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

/// Why a partition cannot be served.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PartitionError {
    /// No topic has this id.
    #[error("no topic has the id {0}")]
    UnknownTopic(highwater_proto::TopicId),
    /// The topic has no such partition.
    #[error("topic '{topic}' has {partitions} partition(s), so there is no partition {partition}")]
    UnknownPartition {
        /// Its name.
        topic: String,
        /// How many it has.
        partitions: i32,
        /// What was asked for.
        partition: i32,
    },
    /// It is there, but its log does not open.
    #[error(transparent)]
    Offline(#[from] OpenError),
}

impl Services {
    /// The broker's configuration.
    #[must_use]
    pub fn config(&self) -> &BrokerConfig {
        &self.config
    }

    /// What the broker counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What the logs count themselves, by name.
    #[must_use]
    pub fn log_counts(&self) -> Vec<(&'static str, u64)> {
        self.partitions.directory().counters().all()
    }

    /// The partition, opened if it wasn't yet.
    ///
    /// # Errors
    /// [`PartitionError`].
    pub(crate) async fn partition(&self, id: TopicPartition) -> Result<Arc<Partition>, PartitionError> {
        if let Some(partition) = self.partitions.get(id) {
            return Ok(partition);
        }
        let settings = {
            let image = self.metadata.image();
            let Some(topic) = image.topic(id.topic) else {
                return Err(PartitionError::UnknownTopic(id.topic));
            };
            if !image.has(id) {
                let (topic, partitions, partition) = (topic.name.clone(), topic.partitions, id.partition.0);
                return Err(PartitionError::UnknownPartition { topic, partitions, partition });
            }
            self.settings_of(topic)
        };
        Ok(self.partitions.open_one(id, settings).await?)
    }
}
