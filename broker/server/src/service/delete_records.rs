//! Delete records: everything of a partition before an offset goes.

use highwater_proto::{Offset, PartitionIndex, TopicPartition};
use thiserror::Error;

use super::{PartitionError, Services};
use crate::partition::DeleteRecordsError;

/// Why records were not deleted.
#[derive(Clone, Debug, Error)]
pub enum DeleteRecordsFailure {
    /// There is no such topic.
    #[error("there is no topic '{0}'")]
    NoSuchTopic(String),
    /// Its records go by compaction only.
    #[error(
        "the records of topic '{0}' are not deleted by offset: its cleanup.policy does not have 'delete'"
    )]
    NotDeleted(String),
    /// The partition cannot be served.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The partition refused.
    #[error(transparent)]
    Refused(#[from] DeleteRecordsError),
}

impl Services {
    /// Deletes what is before `before`; `None` is the high watermark. Returns the new log start offset, which is on
    /// disk by then.
    ///
    /// # Errors
    /// [`DeleteRecordsFailure`].
    pub async fn delete_records(
        &self,
        topic: &str,
        partition: i32,
        before: Option<Offset>,
    ) -> Result<Offset, DeleteRecordsFailure> {
        let known = self.metadata.image().topic_named(topic).cloned();
        let known =
            known.ok_or_else(|| DeleteRecordsFailure::NoSuchTopic(topic.escape_default().to_string()))?;
        if !self.settings_of(&known).cleanup_policy.deletes() {
            return Err(DeleteRecordsFailure::NotDeleted(known.name));
        }
        let topic_id = known.id;
        let partition = self.partition(TopicPartition::new(topic_id, PartitionIndex(partition))).await?;
        Ok(partition.delete_records(before).await?)
    }
}
