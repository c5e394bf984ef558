//! A topic's partitions on the producer's side, and which of them a record goes to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::backoff::next_random;
use crate::error::ProduceError;
use crate::producer::partitioner::partition_for_key;
use crate::producer::queue::PartitionQueue;
use crate::producer::record::Record;

/// The queues of one topic.
#[derive(Debug)]
pub(crate) struct TopicQueues {
    /// By partition index, without gaps; never empty.
    pub(crate) partitions: Vec<Arc<PartitionQueue>>,
    /// Where records without a key go at the moment.
    sticky: AtomicUsize,
}

/// A queue, and whether the producer chose it freely.
#[derive(Debug)]
pub(crate) struct Choice<'a> {
    pub(crate) queue: &'a Arc<PartitionQueue>,
    pub(crate) is_sticky: bool,
}

impl TopicQueues {
    pub(crate) fn new(partitions: Vec<Arc<PartitionQueue>>) -> TopicQueues {
        let start = next_random() as usize % partitions.len().max(1);
        TopicQueues { partitions, sticky: AtomicUsize::new(start) }
    }

    /// The record's partition: the one it names, the one its key hashes to, or the sticky one.
    pub(crate) fn choose(&self, record: &Record<'_>) -> Result<Choice<'_>, ProduceError> {
        let count = i32::try_from(self.partitions.len()).unwrap_or(i32::MAX);
        let (index, is_sticky) = match (record.partition, record.key) {
            (Some(partition), _) => (usize::try_from(partition.0).unwrap_or(usize::MAX), false),
            (None, Some(key)) => (partition_for_key(key, count) as usize, false),
            (None, None) => (self.sticky.load(Ordering::Relaxed) % self.partitions.len(), true),
        };
        let queue = self.partitions.get(index).ok_or_else(|| ProduceError::UnknownPartition {
            topic: record.topic.to_owned(),
            partition: record.partition.unwrap_or_default(),
            partitions: count,
        })?;
        Ok(Choice { queue, is_sticky })
    }

    /// A batch of the sticky partition is complete: the next records without a key go to another one, so that the
    /// partitions share the load and each batch is still as full as it can be.
    pub(crate) fn move_on(&self, from: usize) {
        let count = self.partitions.len();
        if count > 1 {
            let step = 1 + next_random() as usize % (count - 1);
            let next = (from + step) % count;
            // Two senders may complete batches at once; one of them moves the topic on, the other finds it moved.
            let _ = self.sticky.compare_exchange(from, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}
