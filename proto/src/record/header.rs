//! The 61 bytes in front of every batch.
//!
//! ```text
//!  0  i64  base offset              set by the leader; outside the checksum
//!  8  i32  batch length             bytes after this field: size of the batch - 12
//! 12  i32  leader epoch             set by the leader; outside the checksum
//! 16  i8   magic                    2
//! 17  u32  CRC-32C                  over bytes 21 to the end
//! 21  i16  attributes               codec 0-2, timestamp type 3, transactional 4, control 5, delete horizon 6
//! 23  i32  last offset delta        offset of the last record - base offset
//! 27  i64  base timestamp           ms since 1970; records hold deltas to it
//! 35  i64  max timestamp            ms since 1970
//! 43  i64  producer id              -1: none
//! 51  i16  producer epoch
//! 53  i32  base sequence            of the first record
//! 57  i32  records count
//! ```
//! All big-endian. Batches that compaction has thinned out keep their last offset delta, so the count may be less
//! than delta + 1 on disk.

use super::compression::Compression;
use super::error::BatchError;
use crate::ids::{LeaderEpoch, Offset, ProducerId};

/// Size of the header in bytes; records begin here.
pub const HEADER_BYTES: usize = 61;
/// The only version of the format that is read or written.
pub const MAGIC: i8 = 2;
/// A batch without a sequence.
pub const NO_SEQUENCE: i32 = -1;
/// A record without a timestamp.
pub const NO_TIMESTAMP: i64 = -1;

/// Bytes in front of what the length field counts.
pub(super) const LENGTH_OVERHEAD_BYTES: usize = 12;
/// The least the length field can say.
const MIN_BATCH_LENGTH: i32 = (HEADER_BYTES - LENGTH_OVERHEAD_BYTES) as i32;

/// Positions of the fields.
pub(super) mod at {
    pub(crate) const BASE_OFFSET: usize = 0;
    pub(crate) const BATCH_LENGTH: usize = 8;
    pub(crate) const LEADER_EPOCH: usize = 12;
    pub(crate) const MAGIC: usize = 16;
    pub(crate) const CRC: usize = 17;
    pub(crate) const ATTRIBUTES: usize = 21;
    pub(crate) const LAST_OFFSET_DELTA: usize = 23;
    pub(crate) const BASE_TIMESTAMP: usize = 27;
    pub(crate) const MAX_TIMESTAMP: usize = 35;
    pub(crate) const PRODUCER_ID: usize = 43;
    pub(crate) const PRODUCER_EPOCH: usize = 51;
    pub(crate) const BASE_SEQUENCE: usize = 53;
    pub(crate) const RECORDS_COUNT: usize = 57;
}

/// Who gave the records their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer.
    #[default]
    CreateTime,
    /// The broker, when it appended the batch: every record has the batch's max timestamp.
    LogAppendTime,
}

/// The attributes field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchAttributes(pub i16);

impl BatchAttributes {
    pub(super) const COMPRESSION_MASK: i16 = 0x07;
    pub(super) const LOG_APPEND_TIME: i16 = 0x08;
    pub(super) const TRANSACTIONAL: i16 = 0x10;
    pub(super) const CONTROL: i16 = 0x20;
    pub(super) const DELETE_HORIZON: i16 = 0x40;
    /// Bits without a meaning.
    const RESERVED: i16 = !0x7f;

    /// The codec of the body.
    #[inline]
    pub fn compression(self) -> Result<Compression, BatchError> {
        Compression::from_bits((self.0 & Self::COMPRESSION_MASK) as u8)
    }

    /// Who gave the records their time.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds a marker instead of user records.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether compaction has put the time at which tombstones may go into the base timestamp.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }
}

/// The parsed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record (of the first there once was, in a compacted batch).
    pub base_offset: Offset,
    /// Bytes after the length field.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C over everything from the attributes on.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: BatchAttributes,
    /// Offset of the last record, relative to the base.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas are relative to; milliseconds since 1970.
    pub base_timestamp_ms: i64,
    /// Largest timestamp in the batch; milliseconds since 1970.
    pub max_timestamp_ms: i64,
    /// Who wrote it, or [`ProducerId::NONE`].
    pub producer_id: ProducerId,
    /// Incarnation of the producer.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or [`NO_SEQUENCE`].
    pub base_sequence: i32,
    /// How many records the batch holds.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads a header from the front of `bytes`; what follows it is not looked at and need not be there.
    ///
    /// # Errors
    /// When there are fewer than [`HEADER_BYTES`] bytes, or magic, length, codec, reserved attributes or the last
    /// offset delta cannot be those of a batch. The checksum is another matter: [`super::verify_crc`].
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let Some(raw) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Truncated { needed_bytes: HEADER_BYTES, available_bytes: bytes.len() });
        };
        let header = BatchHeader {
            base_offset: Offset(i64::from_be_bytes(field(raw, at::BASE_OFFSET))),
            batch_length: i32::from_be_bytes(field(raw, at::BATCH_LENGTH)),
            leader_epoch: LeaderEpoch(i32::from_be_bytes(field(raw, at::LEADER_EPOCH))),
            crc: u32::from_be_bytes(field(raw, at::CRC)),
            attributes: BatchAttributes(i16::from_be_bytes(field(raw, at::ATTRIBUTES))),
            last_offset_delta: i32::from_be_bytes(field(raw, at::LAST_OFFSET_DELTA)),
            base_timestamp_ms: i64::from_be_bytes(field(raw, at::BASE_TIMESTAMP)),
            max_timestamp_ms: i64::from_be_bytes(field(raw, at::MAX_TIMESTAMP)),
            producer_id: ProducerId(i64::from_be_bytes(field(raw, at::PRODUCER_ID))),
            producer_epoch: i16::from_be_bytes(field(raw, at::PRODUCER_EPOCH)),
            base_sequence: i32::from_be_bytes(field(raw, at::BASE_SEQUENCE)),
            records_count: i32::from_be_bytes(field(raw, at::RECORDS_COUNT)),
        };
        let magic = i8::from_be_bytes(field(raw, at::MAGIC));
        if magic != MAGIC {
            return Err(BatchError::Magic { magic });
        }
        if header.batch_length < MIN_BATCH_LENGTH {
            return Err(BatchError::Length { batch_length: header.batch_length });
        }
        header.compression()?;
        if header.attributes.0 & BatchAttributes::RESERVED != 0 {
            return Err(BatchError::Attributes { attributes: header.attributes.0 });
        }
        if header.last_offset_delta < 0 || header.records_count < 0 {
            return Err(BatchError::Counts {
                records_count: header.records_count,
                last_offset_delta: header.last_offset_delta,
            });
        }
        Ok(header)
    }

    /// The 61 bytes, as they lie on disk and on the wire. The checksum is written as it stands in the struct.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut raw = [0; HEADER_BYTES];
        put(&mut raw, at::BASE_OFFSET, self.base_offset.0.to_be_bytes());
        put(&mut raw, at::BATCH_LENGTH, self.batch_length.to_be_bytes());
        put(&mut raw, at::LEADER_EPOCH, self.leader_epoch.0.to_be_bytes());
        put(&mut raw, at::MAGIC, MAGIC.to_be_bytes());
        put(&mut raw, at::CRC, self.crc.to_be_bytes());
        put(&mut raw, at::ATTRIBUTES, self.attributes.0.to_be_bytes());
        put(&mut raw, at::LAST_OFFSET_DELTA, self.last_offset_delta.to_be_bytes());
        put(&mut raw, at::BASE_TIMESTAMP, self.base_timestamp_ms.to_be_bytes());
        put(&mut raw, at::MAX_TIMESTAMP, self.max_timestamp_ms.to_be_bytes());
        put(&mut raw, at::PRODUCER_ID, self.producer_id.0.to_be_bytes());
        put(&mut raw, at::PRODUCER_EPOCH, self.producer_epoch.to_be_bytes());
        put(&mut raw, at::BASE_SEQUENCE, self.base_sequence.to_be_bytes());
        put(&mut raw, at::RECORDS_COUNT, self.records_count.to_be_bytes());
        raw
    }

    /// Size of the whole batch in bytes, header included.
    #[inline]
    pub fn size_bytes(&self) -> usize {
        // A parsed header has a length of 49 or more; a hand-made one gets no nonsense out of this either.
        LENGTH_OVERHEAD_BYTES + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// Offset of the last record.
    #[inline]
    pub fn last_offset(&self) -> Offset {
        self.base_offset.advance(i64::from(self.last_offset_delta))
    }

    /// The offset after the batch: where the next one begins.
    #[inline]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().advance(1)
    }

    /// Sequence number of the last record; after `i32::MAX` comes 0. [`NO_SEQUENCE`] for a batch without one.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return NO_SEQUENCE;
        }
        let sum = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        // Below 2^31 after the mask, so the cast keeps the number.
        (sum & i64::from(i32::MAX)) as i32
    }

    /// The codec of the body.
    #[inline]
    pub fn compression(&self) -> Result<Compression, BatchError> {
        self.attributes.compression()
    }

    /// Who gave the records their time.
    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    /// Whether the batch holds a marker instead of user records.
    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    /// From when on the batch's tombstones may be removed, once compaction has passed over them: milliseconds since
    /// 1970 (KIP-534).
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp_ms)
    }

    /// Whether an idempotent producer wrote it.
    pub fn has_producer(&self) -> bool {
        self.producer_id.0 >= 0
    }
}

#[inline]
fn field<const N: usize>(raw: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    raw[at..at + N].try_into().expect("a slice of N bytes is an array of N")
}

#[inline]
pub(super) fn put<const N: usize>(raw: &mut [u8; HEADER_BYTES], at: usize, value: [u8; N]) {
    raw[at..at + N].copy_from_slice(&value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BatchHeader {
        BatchHeader {
            base_offset: Offset(0x0102_0304_0506_0708),
            batch_length: 0x1112_1314,
            leader_epoch: LeaderEpoch(0x2122_2324),
            crc: 0x3132_3334,
            attributes: BatchAttributes(0x0014),
            last_offset_delta: 0x4142_4344,
            base_timestamp_ms: 0x5152_5354_5556_5758,
            max_timestamp_ms: 0x6162_6364_6566_6768,
            producer_id: ProducerId(0x7172_7374_7576_7778),
            producer_epoch: 0x0182,
            base_sequence: 0x1192_9394,
            records_count: 0x21a2_a3a4,
        }
    }

    #[test]
    fn the_layout_is_pinned_byte_by_byte() {
        #[rustfmt::skip]
        let expected: [u8; HEADER_BYTES] = [
            0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
            0x11, 0x12, 0x13, 0x14,
            0x21, 0x22, 0x23, 0x24,
            0x02,
            0x31, 0x32, 0x33, 0x34,
            0x00, 0x14,
            0x41, 0x42, 0x43, 0x44,
            0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
            0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68,
            0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78,
            0x01, 0x82,
            0x11, 0x92, 0x93, 0x94,
            0x21, 0xa2, 0xa3, 0xa4,
        ];
        assert_eq!(header().encode(), expected);
        assert_eq!(BatchHeader::parse(&expected), Ok(header()));
    }

    #[test]
    fn a_sequence_wraps_from_the_largest_to_zero() {
        let mut header = header();
        for (base, delta, last) in [
            (0, 0, 0),
            (5, 4, 9),
            (i32::MAX, 0, i32::MAX),
            (i32::MAX, 1, 0),
            (i32::MAX - 1, 4, 2),
            (-1, 7, -1),
        ] {
            (header.base_sequence, header.last_offset_delta) = (base, delta);
            assert_eq!(header.last_sequence(), last, "{base} + {delta}");
        }
    }

    #[test]
    fn what_cannot_be_a_header_is_refused_by_name() {
        let good = header().encode();
        assert!(matches!(
            BatchHeader::parse(&good[..60]),
            Err(BatchError::Truncated { available_bytes: 60, .. })
        ));
        let with = |at: usize, bytes: &[u8]| {
            let mut raw = good;
            raw[at..at + bytes.len()].copy_from_slice(bytes);
            BatchHeader::parse(&raw)
        };
        assert_eq!(with(at::MAGIC, &[1]), Err(BatchError::Magic { magic: 1 }));
        assert_eq!(
            with(at::BATCH_LENGTH, &48_i32.to_be_bytes()),
            Err(BatchError::Length { batch_length: 48 })
        );
        assert_eq!(with(at::BATCH_LENGTH, &[0xff; 4]), Err(BatchError::Length { batch_length: -1 }));
        assert_eq!(with(at::ATTRIBUTES, &[0, 5]), Err(BatchError::Compression { bits: 5 }));
        assert_eq!(with(at::ATTRIBUTES, &[0, 0x80]), Err(BatchError::Attributes { attributes: 0x80 }));
        assert!(matches!(
            with(at::RECORDS_COUNT, &[0xff; 4]),
            Err(BatchError::Counts { records_count: -1, .. })
        ));
    }
}
