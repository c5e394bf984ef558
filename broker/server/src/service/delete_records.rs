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
        let topic_id = self.metadata.image().topic_named(topic).map(|topic| topic.id);
        let topic_id =
            topic_id.ok_or_else(|| DeleteRecordsFailure::NoSuchTopic(topic.escape_default().to_string()))?;
        let partition = self.partition(TopicPartition::new(topic_id, PartitionIndex(partition))).await?;
        Ok(partition.delete_records(before).await?)
    }
}
