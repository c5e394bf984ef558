//! What every use case works on, and the way to a partition.

use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use highwater_core::settings::TopicSettings;
use highwater_env::Clock;
use highwater_proto::{Offset, TopicPartition};

use super::ProducerIds;
use crate::config::BrokerConfig;
use crate::controller::Control;
use crate::metadata::MetadataStore;
use crate::metrics::Metrics;
use crate::partition::{NotLeader, OpenError, Partition, PartitionTable};
use crate::peer::Identity;

/// Partitions that one request opens at a time.
const OPENINGS_MAX: usize = 8;

/// Everything that the use cases work on.
#[derive(Debug)]
pub struct Services {
    pub(crate) config: Arc<BrokerConfig>,
    pub(crate) metadata: MetadataStore,
    pub(crate) control: Control,
    pub(crate) identity: Arc<Identity>,
    pub(crate) partitions: Arc<PartitionTable>,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<dyn Clock>,
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
    /// This broker doesn't hold it.
    #[error(transparent)]
    Elsewhere(#[from] NotLeader),
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

    /// The first offset that is still there, of a partition that is open.
    #[must_use]
    pub fn log_start(&self, id: TopicPartition) -> Option<Offset> {
        self.partitions.get(id).map(|partition| partition.details().log_start)
    }

    /// The partition, opened if it wasn't yet.
    ///
    /// # Errors
    /// [`PartitionError`].
    pub(crate) async fn partition(&self, id: TopicPartition) -> Result<Arc<Partition>, PartitionError> {
        if let Some(partition) = self.partitions.get(id) {
            return Ok(partition);
        }
        let settings = self.partition_settings(id)?;
        let partition = self.partitions.open_one(id, settings).await?;
        if self.is_deleted(id) {
            let partitions = Arc::clone(&self.partitions);
            let removing = tokio::task::spawn_blocking(move || partitions.remove(std::iter::once(id)));
            removing.await.expect("removing a partition does not panic");
        }
        Ok(partition)
    }

    /// The same on this thread, which may wait for the disk.
    ///
    /// # Errors
    /// [`PartitionError`].
    pub(crate) fn partition_blocking(&self, id: TopicPartition) -> Result<Arc<Partition>, PartitionError> {
        if let Some(partition) = self.partitions.get(id) {
            return Ok(partition);
        }
        let settings = self.partition_settings(id)?;
        let partition = self.partitions.open_blocking(id, settings)?;
        if self.is_deleted(id) {
            self.partitions.remove(std::iter::once(id));
        }
        Ok(partition)
    }

    /// Whether the topic went after its settings were looked up. The deletion may have come to the partition before the
    /// opening did, and then does not know of it.
    fn is_deleted(&self, id: TopicPartition) -> bool {
        !self.metadata.image().has(id)
    }

    /// Several partitions, by the order of their ids; those that were not open are opened some at a time.
    pub(crate) fn partitions(
        &self,
        ids: impl IntoIterator<Item = TopicPartition>,
    ) -> impl Stream<Item = (TopicPartition, Result<Arc<Partition>, PartitionError>)> {
        let open = async |id| (id, self.partition(id).await);
        stream::iter(ids).map(open).buffered(OPENINGS_MAX)
    }

    fn partition_settings(&self, id: TopicPartition) -> Result<Arc<TopicSettings>, PartitionError> {
        let image = self.metadata.image();
        let Some(topic) = image.topic(id.topic) else {
            return Err(PartitionError::UnknownTopic(id.topic));
        };
        if !image.has(id) {
            let (topic, partitions, partition) =
                (topic.name.clone(), topic.partition_count(), id.partition.0);
            return Err(PartitionError::UnknownPartition { topic, partitions, partition });
        }
        if let Some(known) = image.partition(id)
            && !known.replicas.contains(&self.config.broker_id)
        {
            return Err(NotLeader { leader: known.leader, epoch: known.leader_epoch }.into());
        }
        Ok(self.settings_of(topic))
    }
}
