//! Reading records out of a batch, one at a time.
//!
//! Uncompressed, keys and values are slices of the batch's own memory; compressed, of one buffer the body was
//! decompressed into. Each record:
//!
//! ```text
//! varint  length           bytes of the record after this field
//! i8      attributes       0
//! varlong timestamp delta  to the batch's base timestamp
//! varint  offset delta     to the batch's base offset
//! varint  key length       -1: null
//!         key
//! varint  value length     -1: null (a tombstone)
//!         value
//! varint  headers count
//!         per header: varint key length, key, varint value length (-1: null), value
//! ```

use std::iter::FusedIterator;

use bytes::Bytes;

use super::checksum::{check_crc, check_length};
use super::compression::{Compression, DecompressLimits, decompress};
use super::cursor::{SliceCursor, Source};
use super::error::{BatchError, RecordFault};
use super::header::{BatchHeader, HEADER_BYTES, TimestampType};
use super::layout;
use crate::ids::Offset;

/// One record of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it stands in its partition.
    pub offset: Offset,
    /// Milliseconds since 1970; -1 for none.
    pub timestamp_ms: i64,
    /// What partitions and compacts it.
    pub key: Option<Bytes>,
    /// The payload; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Name and value pairs, in the producer's order; names may repeat.
    pub headers: Vec<Header>,
}

/// A name and a value beside a record's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name: UTF-8 by convention, which nobody on the way checks.
    pub key: Bytes,
    /// The value.
    pub value: Option<Bytes>,
}

impl Header {
    /// A header with a value.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Header {
        Header { key: key.into(), value: Some(value.into()) }
    }

    /// The name as text, when it is UTF-8.
    pub fn key_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.key).ok()
    }
}

/// Whether [`decode_records`] checks the CRC first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumCheck {
    /// Yes: the bytes came over a wire or from a disk.
    Verify,
    /// No: it was checked already.
    Skip,
}

/// What a reader is prepared to spend on one batch.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Bytes the body may decompress to.
    pub max_decompressed_bytes: usize,
    /// How many times larger than compressed it may get, once it is larger than 1 MiB.
    pub max_ratio: usize,
    /// Whether to check the CRC first.
    pub checksum: ChecksumCheck,
}

impl Default for DecodeLimits {
    /// 256 MiB, any ratio, checksum verified: for a reader that trusts its broker to have refused bombs.
    fn default() -> DecodeLimits {
        DecodeLimits {
            max_decompressed_bytes: 256 << 20,
            max_ratio: usize::MAX,
            checksum: ChecksumCheck::Verify,
        }
    }
}

/// Most elements that are allocated ahead on the word of a count in the bytes.
const MAX_PREALLOCATED: usize = 1024;

/// Starts reading the records of exactly one batch.
///
/// # Errors
/// When the header, the length, the checksum or the compressed body is wrong. Faults inside the records come out of
/// the iterator, which ends after the first.
pub fn decode_records(batch: &Bytes, limits: &DecodeLimits) -> Result<RecordIter, BatchError> {
    let header = BatchHeader::parse(batch)?;
    check_length(batch, &header)?;
    if limits.checksum == ChecksumCheck::Verify {
        check_crc(batch, &header)?;
    }
    let body = match header.compression()? {
        Compression::None => batch.slice(HEADER_BYTES..),
        codec => {
            let limits =
                DecompressLimits { max_bytes: limits.max_decompressed_bytes, max_ratio: limits.max_ratio };
            Bytes::from(decompress(codec, &batch[HEADER_BYTES..], limits)?)
        }
    };
    Ok(RecordIter { header, body, at: 0, index: 0, next_delta: 0 })
}

/// The iterator of [`decode_records`].
#[derive(Clone, Debug)]
pub struct RecordIter {
    header: BatchHeader,
    body: Bytes,
    /// Where the next record begins in the body.
    at: usize,
    /// How many records were returned.
    index: i32,
    /// The least offset delta the next record may have.
    next_delta: i32,
}

impl RecordIter {
    /// The batch's header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The next record, when it is an ordinary one.
    #[inline]
    pub(super) fn read_ordinary(&mut self) -> Option<Record> {
        let found = layout::ordinary(&self.body, self.at)?;
        let in_order = (self.next_delta..=self.header.last_offset_delta).contains(&found.offset_delta);
        let timestamp_ms = self.timestamp_ms(found.delta_ms).filter(|_| in_order)?;
        self.at = found.end;
        self.next_delta = found.offset_delta.saturating_add(1);
        Some(Record {
            offset: self.header.base_offset.advance(i64::from(found.offset_delta)),
            timestamp_ms,
            key: found.key.map(|(start, end)| self.body.slice(start..end)),
            value: found.value.map(|(start, end)| self.body.slice(start..end)),
            headers: Vec::new(),
        })
    }

    #[inline]
    fn timestamp_ms(&self, delta_ms: i64) -> Option<i64> {
        match self.header.timestamp_type() {
            TimestampType::LogAppendTime => Some(self.header.max_timestamp_ms),
            TimestampType::CreateTime => self.header.base_timestamp_ms.checked_add(delta_ms),
        }
    }

    /// The next record, whatever it is; or what is wrong with it.
    #[inline(never)]
    pub(super) fn read_carefully(&mut self) -> Result<Record, RecordFault> {
        let start = self.body.as_ptr() as usize;
        let mut rest = SliceCursor::new(&self.body[self.at..]);
        let length = rest.varint_32()?;
        let length = usize::try_from(length).map_err(|_| RecordFault::Length { length })?;
        let mut fields = SliceCursor::new(rest.take(length)?);
        let end = self.at + rest.position();
        let share = |slice: &[u8]| {
            let from = slice.as_ptr() as usize - start;
            self.body.slice(from..from + slice.len())
        };

        fields.byte()?; // attributes: reserved
        let delta_ms = fields.varint_64()?;
        let timestamp_ms = self.timestamp_ms(delta_ms).ok_or(RecordFault::Timestamp { delta_ms })?;
        let offset_delta = fields.varint_32()?;
        // Compaction leaves gaps, so the deltas of a stored batch grow but need not be dense.
        if offset_delta < self.next_delta || offset_delta > self.header.last_offset_delta {
            return Err(RecordFault::OffsetDelta { offset_delta });
        }
        let key = take_nullable(&mut fields)?.map(share);
        let value = take_nullable(&mut fields)?.map(share);
        let headers_count = take_headers_count(&mut fields)?;
        let mut headers = Vec::with_capacity(headers_count.min(MAX_PREALLOCATED));
        for _ in 0..headers_count {
            let key = share(take_nullable(&mut fields)?.ok_or(RecordFault::Length { length: -1 })?);
            let value = take_nullable(&mut fields)?.map(share);
            headers.push(Header { key, value });
        }
        if fields.remaining() > 0 {
            return Err(RecordFault::NotConsumed { left_bytes: fields.remaining() });
        }
        self.at = end;
        self.next_delta = offset_delta.saturating_add(1);
        let offset = self.header.base_offset.advance(i64::from(offset_delta));
        Ok(Record { offset, timestamp_ms, key, value, headers })
    }

    /// Where the next record begins in the body.
    #[cfg(test)]
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn end(&mut self) {
        self.index = self.header.records_count;
        self.at = self.body.len();
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.header.records_count {
            if self.at == self.body.len() {
                return None;
            }
            self.end();
            return Some(Err(BatchError::BodyNotConsumed { records_count: self.header.records_count }));
        }
        if let Some(record) = self.read_ordinary() {
            self.index += 1;
            return Some(Ok(record));
        }
        match self.read_carefully() {
            Ok(record) => {
                self.index += 1;
                Some(Ok(record))
            }
            Err(fault) => {
                let record_index = self.index;
                self.end();
                Some(Err(BatchError::Record { record_index, fault }))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // One more for the error of a body that goes on after its records.
        (0, Some((self.header.records_count - self.index) as usize + 1))
    }
}

impl FusedIterator for RecordIter {}

/// A length and that many bytes; -1 is null.
#[inline(always)]
fn take_nullable<'a>(fields: &mut SliceCursor<'a>) -> Result<Option<&'a [u8]>, RecordFault> {
    match fields.varint_32()? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| RecordFault::Length { length })?;
            fields.take(length).map(Some)
        }
    }
}

/// A count of headers, each of which takes at least two bytes of what is left.
#[inline(always)]
pub(super) fn take_headers_count(fields: &mut impl Source) -> Result<usize, RecordFault> {
    let headers_count = fields.varint_32()?;
    usize::try_from(headers_count)
        .ok()
        .filter(|count| *count <= fields.remaining() / 2)
        .ok_or(RecordFault::HeadersCount { headers_count })
}
