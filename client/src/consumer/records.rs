//! What a consumer hands out: batches as they are stored, and the records in them.

use std::sync::Arc;

use bytes::Bytes;
use highwater_proto::record::{BatchHeader, ChecksumCheck, DecodeLimits, Header, RecordIter, decode_records};
use highwater_proto::{Offset, PartitionIndex, TopicId};

use crate::error::ConsumeError;

/// One record, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: PartitionIndex,
    /// Its place in the partition.
    pub offset: Offset,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// `None` is Kafka's null key.
    pub key: Option<Bytes>,
    /// `None` is Kafka's null value: a tombstone on compacted topics.
    pub value: Option<Bytes>,
    /// In the producer's order.
    pub headers: Vec<Header>,
}

/// A record batch as it is stored, with where the reader stands in it.
#[derive(Clone, Debug)]
pub struct FetchedBatch {
    topic: Arc<str>,
    pub(crate) topic_id: TopicId,
    partition: PartitionIndex,
    header: BatchHeader,
    bytes: Bytes,
    from: Offset,
    max_decompressed_bytes: usize,
}

impl FetchedBatch {
    pub(crate) fn new(
        (topic, topic_id): (Arc<str>, TopicId),
        partition: PartitionIndex,
        header: BatchHeader,
        bytes: Bytes,
        from: Offset,
        max_decompressed_bytes: usize,
    ) -> FetchedBatch {
        FetchedBatch { topic, topic_id, partition, header, bytes, from, max_decompressed_bytes }
    }

    /// The topic.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The partition.
    pub fn partition(&self) -> PartitionIndex {
        self.partition
    }

    /// The batch's header: offsets, timestamps, codec, producer.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole RecordBatch v2, byte for byte as the broker stores it.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// First offset that was asked for: records of the batch below it were not.
    pub fn from(&self) -> Offset {
        self.from
    }

    /// The offset after the batch.
    pub fn next_offset(&self) -> Offset {
        self.header.next_offset()
    }

    /// Starts later in the batch: what is below `from` has been read.
    pub(crate) fn skip_to(&mut self, from: Offset) {
        self.from = self.from.max(from);
    }

    /// The batch's records from [`FetchedBatch::from`] on; none for a control batch.
    ///
    /// # Errors
    /// [`ConsumeError::Corrupt`], here for the batch as a whole or from the iterator for a record.
    pub fn records(
        &self,
    ) -> Result<impl Iterator<Item = Result<ConsumerRecord, ConsumeError>> + Send + use<>, ConsumeError> {
        self.reader()
    }

    pub(crate) fn reader(&self) -> Result<BatchReader, ConsumeError> {
        let limits = DecodeLimits {
            max_decompressed_bytes: self.max_decompressed_bytes,
            max_ratio: usize::MAX,
            checksum: ChecksumCheck::Skip, // checked on arrival, or not wanted
        };
        let records = if self.header.is_control() {
            None
        } else {
            Some(decode_records(&self.bytes, &limits).map_err(|error| self.corrupt(error.to_string()))?)
        };
        Ok(BatchReader {
            topic: self.topic.clone(),
            partition: self.partition,
            from: self.from,
            base: self.header.base_offset,
            records,
        })
    }

    fn corrupt(&self, reason: String) -> ConsumeError {
        ConsumeError::Corrupt {
            topic: self.topic.to_string(),
            partition: self.partition,
            offset: self.header.base_offset,
            reason,
        }
    }
}

/// Reads the records of one batch.
#[derive(Debug)]
pub(crate) struct BatchReader {
    topic: Arc<str>,
    partition: PartitionIndex,
    from: Offset,
    base: Offset,
    records: Option<RecordIter>,
}

impl Iterator for BatchReader {
    type Item = Result<ConsumerRecord, ConsumeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            return match self.records.as_mut()?.next()? {
                Ok(record) if record.offset < self.from => continue,
                Ok(record) => Some(Ok(ConsumerRecord {
                    topic: self.topic.clone(),
                    partition: self.partition,
                    offset: record.offset,
                    timestamp_ms: record.timestamp_ms,
                    key: record.key,
                    value: record.value,
                    headers: record.headers,
                })),
                Err(error) => Some(Err(ConsumeError::Corrupt {
                    topic: self.topic.to_string(),
                    partition: self.partition,
                    offset: self.base,
                    reason: error.to_string(),
                })),
            };
        }
    }
}

/// What one poll brought: whole batches, in order within each partition.
#[derive(Clone, Debug, Default)]
pub struct Records {
    pub(crate) batches: Vec<FetchedBatch>,
}

impl Records {
    /// Whether the wait ended without any.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// The batches as they are stored, with no cost per record.
    pub fn batches(&self) -> &[FetchedBatch] {
        &self.batches
    }

    /// Bytes of the batches as they are stored.
    pub fn size_bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.bytes.len()).sum()
    }

    /// How many records the batches' headers count. Exact unless the first batch begins before the offset asked for.
    pub fn records_count(&self) -> usize {
        self.batches.iter().map(|batch| usize::try_from(batch.header.records_count).unwrap_or(0)).sum()
    }

    /// Every record, batch after batch.
    pub fn iter(&self) -> impl Iterator<Item = Result<ConsumerRecord, ConsumeError>> + '_ {
        self.batches.iter().flat_map(|batch| {
            let (records, error) = match batch.reader() {
                Ok(records) => (Some(records), None),
                Err(error) => (None, Some(Err(error))),
            };
            records.into_iter().flatten().chain(error)
        })
    }
}
