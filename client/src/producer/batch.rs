//! One batch on its way: first open and filling, then encoded and numbered until it is acknowledged.

use std::sync::Arc;

use bytes::Bytes;
use highwater_proto::record::{AppendError, BatchBuilder, BatchHeader, Compression, crc32c};
use highwater_proto::{PartitionIndex, ProducerId};
use tokio::time::Instant;

use crate::producer::delivery::BatchOutcome;
use crate::producer::record::Record;

/// Who the broker thinks is writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: ProducerId,
    pub(crate) epoch: i16,
}

/// A batch that still takes records, or waits full for its turn.
#[derive(Debug)]
pub(crate) struct OpenBatch {
    builder: BatchBuilder,
    pub(crate) outcome: Arc<BatchOutcome>,
    pub(crate) created: Instant,
    /// Bytes of `buffer_memory` that its records hold.
    pub(crate) reserved_bytes: usize,
}

impl OpenBatch {
    /// A batch of up to `batch_bytes`, with memory for `expected_bytes` from the start.
    pub(crate) fn new(
        topic: Arc<str>,
        partition: PartitionIndex,
        compression: Compression,
        batch_bytes: usize,
        expected_bytes: usize,
    ) -> OpenBatch {
        OpenBatch {
            builder: BatchBuilder::with_capacity(compression, batch_bytes, expected_bytes),
            outcome: BatchOutcome::new(topic, partition),
            created: Instant::now(),
            reserved_bytes: 0,
        }
    }

    /// Encodes a record into the batch and returns its index.
    pub(crate) fn append(
        &mut self,
        record: &Record<'_>,
        timestamp_ms: i64,
        reserved_bytes: usize,
    ) -> Result<u32, AppendError> {
        let index = self.builder.try_append(timestamp_ms, record.key, record.value, record.headers)?;
        self.reserved_bytes += reserved_bytes;
        Ok(index.cast_unsigned())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    pub(crate) fn records(&self) -> i32 {
        // A batch's record count is a 32-bit field, and the builder keeps to it.
        i32::try_from(self.builder.len()).unwrap_or(i32::MAX)
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.builder.size_bytes()
    }

    /// Compresses, numbers and sums the batch.
    pub(crate) fn encode(self, numbered: Option<(Identity, i32)>) -> Bytes {
        self.builder.finish(numbered.map(|(identity, sequence)| (identity.id, identity.epoch, sequence)))
    }
}

/// Where a numbered batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// Being compressed and summed by the task that sends.
    Encoding,
    /// Handed to the connection; an answer is due.
    InFlight,
    /// Unanswered or refused, to be sent again as it is.
    Waiting,
}

/// A batch with its number, kept until it is acknowledged or given up.
#[derive(Debug)]
pub(crate) struct SentBatch {
    /// Grows by one with each batch of the partition; tells late answers from due ones.
    pub(crate) id: u64,
    pub(crate) records: i32,
    pub(crate) payload: Bytes,
    pub(crate) outcome: Arc<BatchOutcome>,
    pub(crate) created: Instant,
    pub(crate) reserved_bytes: usize,
    pub(crate) attempts: u32,
    pub(crate) whereabouts: Whereabouts,
    /// What the last attempt ended with, for the error when time is up.
    pub(crate) last: String,
}

/// The sequence number after `count` records from `sequence` on; wraps from `i32::MAX` to 0 (M-34).
pub(crate) fn sequence_after(sequence: i32, count: i32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) & i64::from(i32::MAX)) as i32
}

/// The same batch under another identity and number: header and checksum anew, records untouched.
pub(crate) fn renumber(batch: &Bytes, identity: Identity, sequence: i32) -> Bytes {
    // Layout of a RecordBatch v2: the checksum stands at 17..21 and covers everything from the attributes at 21 on.
    const CRC: std::ops::Range<usize> = 17..21;
    let mut header = BatchHeader::parse(batch).expect("the batch was encoded by this producer");
    header.producer_id = identity.id;
    header.producer_epoch = identity.epoch;
    header.base_sequence = sequence;
    let front = header.encode();
    let mut renumbered = batch.to_vec();
    renumbered[..front.len()].copy_from_slice(&front);
    let crc = crc32c(&renumbered[CRC.end..]);
    renumbered[CRC].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(renumbered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use highwater_proto::record::verify_crc;

    #[test]
    fn sequences_wrap_to_zero_after_the_largest() {
        assert_eq!(sequence_after(0, 5), 5);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
    }

    #[test]
    fn a_renumbered_batch_is_valid_and_keeps_its_records() {
        let mut open = OpenBatch::new("t".into(), PartitionIndex(0), Compression::None, 1_000, 100);
        let record = Record::new("t").key(b"k").value(b"v");
        assert_eq!(open.append(&record, 17, 0), Ok(0));
        let old = open.encode(Some((Identity { id: ProducerId(1), epoch: 0 }, 40)));
        let new = renumber(&old, Identity { id: ProducerId(2), epoch: 3 }, 0);
        verify_crc(&new).expect("the checksum was made anew");
        let header = BatchHeader::parse(&new).expect("a batch");
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (ProducerId(2), 3, 0));
        assert_eq!(&old[61..], &new[61..]);
    }
}
