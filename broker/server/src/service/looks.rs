//! Looks into partitions and the disk, for administrators: epochs, producers, sizes.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::StreamExt;
use highwater_log::PartitionEntry;
use highwater_proto::{LeaderEpoch, Offset, ProducerId, TopicPartition};

use super::{ListOffsetsFailure, PartitionError, Services};

/// An idempotent producer as a partition remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerDetails {
    /// Its number.
    pub id: ProducerId,
    /// Its incarnation.
    pub epoch: i16,
    /// Sequence number of its last record.
    pub last_sequence: i32,
    /// The largest timestamp of its last batch, in milliseconds since the Unix epoch.
    pub last_timestamp_ms: i64,
}

/// The file system that holds the data directory; `None` where that cannot be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// Its size in bytes.
    pub total_bytes: Option<u64>,
    /// Bytes that can still be written.
    pub free_bytes: Option<u64>,
}

impl Services {
    /// Where the records of the newest leader epoch not above `asked` end, with that epoch; `None` if there is none.
    /// `client_epoch` is the one that the client believes in.
    ///
    /// # Errors
    /// [`ListOffsetsFailure`].
    pub async fn end_of_epoch(
        &self,
        id: TopicPartition,
        asked: LeaderEpoch,
        client_epoch: LeaderEpoch,
    ) -> Result<Option<(LeaderEpoch, Offset)>, ListOffsetsFailure> {
        Ok(self.partition(id).await?.end_of_epoch(asked, client_epoch)?)
    }

    /// The idempotent producers that a partition remembers.
    ///
    /// # Errors
    /// [`PartitionError`].
    pub async fn producers(&self, id: TopicPartition) -> Result<Vec<ProducerDetails>, PartitionError> {
        Ok(self.partition(id).await?.producers())
    }

    /// Bytes of record data per partition; `None` for one that cannot be served. Those that were never written to are
    /// not opened for it.
    pub async fn log_sizes(
        self: &Arc<Services>,
        ids: Vec<TopicPartition>,
    ) -> BTreeMap<TopicPartition, Option<u64>> {
        let services = Arc::clone(self);
        let listing = move || services.partitions.directory().list_partitions();
        let listed = tokio::task::spawn_blocking(listing).await.expect("listing does not panic");
        let on_disk: Option<HashSet<TopicPartition>> = match listed {
            Ok(entries) => Some(entries.into_iter().filter_map(partition_of).collect()),
            Err(error) => {
                tracing::warn!(%error, "could not list the partitions");
                None
            }
        };
        let is_empty = |id: &TopicPartition| {
            self.partitions.get(*id).is_none()
                && on_disk.as_ref().is_some_and(|on_disk| !on_disk.contains(id))
        };
        let (empty, others): (Vec<_>, Vec<_>) = ids.into_iter().partition(is_empty);
        let mut sizes: BTreeMap<_, _> = empty.into_iter().map(|id| (id, Some(0))).collect();
        let mut opened = std::pin::pin!(self.partitions(others));
        while let Some((id, partition)) = opened.next().await {
            sizes.insert(id, partition.ok().map(|partition| partition.details().size_bytes));
        }
        sizes
    }

    /// How large the file system with the data is, and how much of it is left.
    pub async fn space(self: &Arc<Services>) -> Space {
        let services = Arc::clone(self);
        let look = move || {
            let directory = services.partitions.directory();
            Space { total_bytes: directory.total_bytes().ok(), free_bytes: directory.free_bytes().ok() }
        };
        tokio::task::spawn_blocking(look).await.expect("measuring does not panic")
    }
}

fn partition_of(entry: PartitionEntry) -> Option<TopicPartition> {
    match entry {
        PartitionEntry::Partition(id) => Some(id),
        PartitionEntry::Stray(_) => None,
    }
}
