//! Writing a batch: records are encoded once, straight behind the room reserved for the header.
//!
//! Compression, when asked for, happens in [`BatchBuilder::finish`], over all records together. A body that the codec
//! does not make smaller is sent as it is, marked uncompressed: nobody downstream then pays for decompressing it.

use bytes::Bytes;

use super::checksum::crc32c;
use super::compression::{Compression, compress};
use super::header::{BatchAttributes, BatchHeader, HEADER_BYTES, LENGTH_OVERHEAD_BYTES, NO_SEQUENCE, at};
use super::records::Header;
use super::varint;
use crate::ids::{LeaderEpoch, Offset, ProducerId};

/// The most bytes of records one batch can hold, before compression: 1 GiB, well inside the 32-bit length field.
pub const MAX_RECORDS_BYTES: usize = 1 << 30;

/// What a new builder allocates at most; it grows by doubling from there.
const INITIAL_CAPACITY_BYTES: usize = 64 << 10;

/// Room for a record's length. Lengths beyond 32 bits never come to be written, but they are measured.
const LENGTH_ROOM_BYTES: usize = varint::MAX_BYTES_64;
/// Room for everything in front of a record's key: length, attributes, timestamp, offset, length of the key.
const FRONT_BYTES: usize = LENGTH_ROOM_BYTES + 1 + 3 * varint::MAX_BYTES_64;

/// Why a record was not appended. The builder is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The batch is full: finish it, and put the record into the next one.
    #[error("the batch is full: {batch_bytes} bytes, and {record_bytes} more exceed {limit_bytes}")]
    Full {
        /// Size of the batch so far.
        batch_bytes: usize,
        /// Size of the record.
        record_bytes: usize,
        /// The builder's limit.
        limit_bytes: usize,
    },
    /// The record fits in no batch at all.
    #[error("a record of {record_bytes} bytes exceeds the format's limit of {max_bytes}")]
    TooLarge {
        /// Size of the record.
        record_bytes: usize,
        /// [`MAX_RECORDS_BYTES`].
        max_bytes: usize,
    },
    /// The timestamp is too far from the first record's for the format.
    #[error(
        "timestamp {timestamp_ms} ms is more than 64 bits away from the batch's first, {base_timestamp_ms} ms"
    )]
    Timestamp {
        /// The record's.
        timestamp_ms: i64,
        /// The first record's.
        base_timestamp_ms: i64,
    },
}

/// Builds one batch.
#[derive(Debug)]
pub struct BatchBuilder {
    /// Reserved header, then encoded records.
    buffer: Vec<u8>,
    compression: Compression,
    limit_bytes: usize,
    /// The first record's timestamp, once there is one; or what was set beforehand.
    base_timestamp_ms: Option<i64>,
    max_timestamp_ms: i64,
    records_count: i32,
}

impl BatchBuilder {
    /// A builder for a batch of at most `limit_bytes`, header included and before compression. A single record larger
    /// than that still gets a batch of its own, as Kafka's producers do.
    pub fn new(compression: Compression, limit_bytes: usize) -> BatchBuilder {
        BatchBuilder::with_capacity(compression, limit_bytes, limit_bytes.min(INITIAL_CAPACITY_BYTES))
    }

    /// As [`BatchBuilder::new`], with memory for `capacity_bytes` of records from the start: a writer that knows how
    /// large its batches get saves the copies of growing there.
    pub fn with_capacity(
        compression: Compression,
        limit_bytes: usize,
        capacity_bytes: usize,
    ) -> BatchBuilder {
        let mut buffer = Vec::with_capacity(HEADER_BYTES + capacity_bytes.min(limit_bytes));
        buffer.resize(HEADER_BYTES, 0);
        BatchBuilder {
            buffer,
            compression,
            limit_bytes,
            base_timestamp_ms: None,
            max_timestamp_ms: i64::MIN,
            records_count: 0,
        }
    }

    /// Appends one record and returns its offset relative to the batch's first.
    ///
    /// # Errors
    /// [`AppendError::Full`] when the batch has records already and this one would take it over the limit; the others
    /// when the record fits into no batch.
    pub fn try_append(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<i32, AppendError> {
        let offset_delta = self.records_count;
        self.append_at(offset_delta, timestamp_ms, key, value, headers)?;
        Ok(offset_delta)
    }

    /// A builder for what compaction leaves of a batch: any size, offsets with gaps, timestamps relative to
    /// `base_timestamp_ms`.
    pub(super) fn rewriting(compression: Compression, base_timestamp_ms: i64) -> BatchBuilder {
        let builder = BatchBuilder::new(compression, MAX_RECORDS_BYTES);
        BatchBuilder { base_timestamp_ms: Some(base_timestamp_ms), ..builder }
    }

    /// Appends one record at a given offset relative to the batch's base.
    #[inline(always)]
    pub(super) fn append_at(
        &mut self,
        offset_delta: i32,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<(), AppendError> {
        let base_timestamp_ms = self.base_timestamp_ms.unwrap_or(timestamp_ms);
        let timestamp_delta_ms = timestamp_ms
            .checked_sub(base_timestamp_ms)
            .ok_or(AppendError::Timestamp { timestamp_ms, base_timestamp_ms })?;
        // The fields in front of the key go behind room for the length, which is known when they are; then it is put
        // right before them.
        let mut front = [0; FRONT_BYTES];
        let mut front_end = LENGTH_ROOM_BYTES + 1; // record attributes, all reserved: 0
        front_end += varint::write(timestamp_delta_ms, &mut front[front_end..]);
        front_end += varint::write(i64::from(offset_delta), &mut front[front_end..]);
        front_end += varint::write(nullable_length(key), &mut front[front_end..]);
        let key = key.unwrap_or_default();
        let mut middle = [0; varint::MAX_BYTES_64];
        let middle_end = varint::write(nullable_length(value), &mut middle);
        let value = value.unwrap_or_default();
        let body_bytes = front_end - LENGTH_ROOM_BYTES
            + key.len()
            + middle_end
            + value.len()
            + headers_size_bytes(headers);
        let length_bytes = varint::size_bytes(body_bytes as i64);
        let record_bytes = length_bytes + body_bytes;
        self.check_room(record_bytes)?;
        let front_start = LENGTH_ROOM_BYTES - length_bytes;
        varint::write(body_bytes as i64, &mut front[front_start..]);

        self.buffer.reserve(record_bytes);
        self.buffer.extend_from_slice(&front[front_start..front_end]);
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(&middle[..middle_end]);
        self.buffer.extend_from_slice(value);
        self.push_headers(headers);

        self.base_timestamp_ms = Some(base_timestamp_ms);
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
        self.records_count += 1;
        Ok(())
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.records_count as usize
    }

    /// Whether it holds no record yet.
    pub fn is_empty(&self) -> bool {
        self.records_count == 0
    }

    /// Size of the batch so far in bytes, header included and before compression: what it takes at most.
    pub fn size_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The batch, with base offset 0 and an unknown leader epoch, which the leader replaces. `producer` is the id,
    /// epoch and first sequence number of an idempotent producer.
    ///
    /// # Panics
    /// When the builder is empty: there are no batches without records.
    pub fn finish(self, producer: Option<(ProducerId, i16, i32)>) -> Bytes {
        assert!(!self.is_empty(), "a batch has at least one record");
        let (producer_id, producer_epoch, base_sequence) =
            producer.unwrap_or((ProducerId::NONE, -1, NO_SEQUENCE));
        let last_offset_delta = self.records_count - 1;
        let max_timestamp_ms = self.max_timestamp_ms;
        self.seal(BatchHeader {
            base_offset: Offset::ZERO,
            batch_length: 0,
            leader_epoch: LeaderEpoch::UNKNOWN,
            crc: 0,
            attributes: BatchAttributes(0),
            last_offset_delta,
            base_timestamp_ms: 0,
            max_timestamp_ms,
            producer_id,
            producer_epoch,
            base_sequence,
            records_count: 0,
        })
    }

    /// The largest timestamp among the records, if there are any.
    pub(super) fn max_timestamp_ms(&self) -> Option<i64> {
        (!self.is_empty()).then_some(self.max_timestamp_ms)
    }

    /// The batch under this header, with what follows from the records set anew: length, codec, base timestamp, count,
    /// checksum.
    pub(super) fn seal(self, mut header: BatchHeader) -> Bytes {
        let (mut batch, compression) = compressed(self.buffer, self.compression);
        header.batch_length = (batch.len() - LENGTH_OVERHEAD_BYTES) as i32;
        let flags = header.attributes.0 & !BatchAttributes::COMPRESSION_MASK;
        header.attributes = BatchAttributes(flags | i16::from(compression.bits()));
        header.base_timestamp_ms = self.base_timestamp_ms.unwrap_or(header.base_timestamp_ms);
        header.records_count = self.records_count;
        batch[..HEADER_BYTES].copy_from_slice(&header.encode());
        header.crc = crc32c(&batch[at::ATTRIBUTES..]);
        batch[at::CRC..at::ATTRIBUTES].copy_from_slice(&header.crc.to_be_bytes());
        Bytes::from(batch)
    }

    #[inline]
    fn check_room(&self, record_bytes: usize) -> Result<(), AppendError> {
        if self.buffer.len().saturating_add(record_bytes) <= self.limit_bytes.min(MAX_RECORDS_BYTES) {
            return Ok(());
        }
        self.beyond_limit(record_bytes)
    }

    /// A record over the limit is taken only by an empty batch.
    #[cold]
    fn beyond_limit(&self, record_bytes: usize) -> Result<(), AppendError> {
        let batch_bytes = self.buffer.len();
        if record_bytes > MAX_RECORDS_BYTES - HEADER_BYTES {
            return Err(AppendError::TooLarge { record_bytes, max_bytes: MAX_RECORDS_BYTES - HEADER_BYTES });
        }
        if self.is_empty() {
            return Ok(());
        }
        Err(AppendError::Full { batch_bytes, record_bytes, limit_bytes: self.limit_bytes })
    }

    fn push_headers(&mut self, headers: &[Header]) {
        if headers.is_empty() {
            self.buffer.push(0);
            return;
        }
        varint::push(headers.len() as i64, &mut self.buffer);
        for header in headers {
            varint::push(header.key.len() as i64, &mut self.buffer);
            self.buffer.extend_from_slice(&header.key);
            varint::push(nullable_length(header.value.as_deref()), &mut self.buffer);
            self.buffer.extend_from_slice(header.value.as_deref().unwrap_or_default());
        }
    }
}

/// The batch with its body compressed, if that makes it smaller.
fn compressed(plain: Vec<u8>, compression: Compression) -> (Vec<u8>, Compression) {
    if compression == Compression::None {
        return (plain, Compression::None);
    }
    let mut batch = Vec::with_capacity(plain.len());
    batch.resize(HEADER_BYTES, 0);
    compress(compression, &plain[HEADER_BYTES..], &mut batch);
    if batch.len() < plain.len() { (batch, compression) } else { (plain, Compression::None) }
}

#[inline]
fn nullable_length(bytes: Option<&[u8]>) -> i64 {
    bytes.map_or(-1, |b| b.len() as i64)
}

#[inline]
fn nullable_size_bytes(bytes: Option<&[u8]>) -> usize {
    varint::size_bytes(nullable_length(bytes)) + bytes.map_or(0, <[u8]>::len)
}

fn headers_size_bytes(headers: &[Header]) -> usize {
    if headers.is_empty() {
        return 1;
    }
    headers.iter().fold(varint::size_bytes(headers.len() as i64), |sum, header| {
        sum + nullable_size_bytes(Some(&header.key)) + nullable_size_bytes(header.value.as_deref())
    })
}
