//! List offsets: the earliest, the latest, the one with the largest timestamp, or the first at or after a time.

use highwater_proto::{LeaderEpoch, Offset, TopicPartition};
use thiserror::Error;

use super::{PartitionError, Services};
use crate::partition::ListOffsetsError;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The high watermark.
    Latest,
    /// The log start offset.
    Earliest,
    /// The first record with the largest timestamp.
    MaxTimestamp,
    /// The first record with a timestamp of at least this, in milliseconds since the Unix epoch.
    At(i64),
}

impl OffsetQuery {
    /// Reads Kafka's numbers: -1 latest, -2 earliest, -3 largest timestamp, else a time. `None`: none of these.
    #[must_use]
    pub fn from_wire(timestamp: i64) -> Option<OffsetQuery> {
        match timestamp {
            -1 => Some(OffsetQuery::Latest),
            -2 => Some(OffsetQuery::Earliest),
            -3 => Some(OffsetQuery::MaxTimestamp),
            0.. => Some(OffsetQuery::At(timestamp)),
            _ => None,
        }
    }
}

/// An offset that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset, if any record fits.
    pub offset: Option<Offset>,
    /// The record's timestamp where one was looked for, in milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// The leader's epoch.
    pub epoch: LeaderEpoch,
}

/// Why none could be looked for.
#[derive(Clone, Debug, Error)]
pub enum ListOffsetsFailure {
    /// The partition cannot be served.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The partition refused.
    #[error(transparent)]
    Refused(#[from] ListOffsetsError),
    /// Not a query.
    #[error(
        "timestamp {0} is not a time: use -1 for the latest offset, -2 for the earliest, -3 for the largest time"
    )]
    Illegal(i64),
}

impl Services {
    /// Looks an offset up. `timestamp` as in [`OffsetQuery::from_wire`].
    ///
    /// # Errors
    /// [`ListOffsetsFailure`].
    pub async fn list_offsets(
        &self,
        id: TopicPartition,
        timestamp: i64,
        client_epoch: LeaderEpoch,
    ) -> Result<FoundOffset, ListOffsetsFailure> {
        let query = OffsetQuery::from_wire(timestamp).ok_or(ListOffsetsFailure::Illegal(timestamp))?;
        let partition = self.partition(id).await?;
        Ok(partition.find_offset(query, client_epoch).await?)
    }
}
