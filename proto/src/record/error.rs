//! What can be wrong with a batch, told so that the sender can put it right.

use super::builder::AppendError;
use super::compression::Compression;
use crate::ErrorCode;

/// Why a batch was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the batch says it has.
    #[error("the batch is cut: {available_bytes} bytes of {needed_bytes}")]
    Truncated {
        /// Bytes the batch needs.
        needed_bytes: usize,
        /// Bytes there are.
        available_bytes: usize,
    },
    /// More bytes than one batch.
    #[error("{given_bytes} bytes where one batch of {batch_bytes} bytes was expected")]
    TrailingBytes {
        /// Size of the first batch.
        batch_bytes: usize,
        /// Bytes there are.
        given_bytes: usize,
    },
    /// The length field cannot be true.
    #[error("batch length {batch_length} is less than the 49 bytes of a header")]
    Length {
        /// The field as it came.
        batch_length: i32,
    },
    /// Not a v2 batch.
    #[error("magic {magic} is not supported: record batches must be of version 2")]
    Magic {
        /// The byte as it came.
        magic: i8,
    },
    /// The bytes are not those that were checksummed.
    #[error("the checksum is {stored:#010x} in the header and {computed:#010x} over the bytes")]
    Checksum {
        /// From the header.
        stored: u32,
        /// From the bytes.
        computed: u32,
    },
    /// A codec nobody defined.
    #[error("compression {bits} is not defined (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd)")]
    Compression {
        /// The three bits of the attributes.
        bits: u8,
    },
    /// Attribute bits that must be 0.
    #[error("attributes {attributes:#06x} have bits set that must be 0 here")]
    Attributes {
        /// The field as it came.
        attributes: i16,
    },
    /// The count of records and the offsets they span do not agree, or there are none.
    #[error(
        "{records_count} records with a last offset delta of {last_offset_delta}: must be more than 0 and equal to delta + 1"
    )]
    Counts {
        /// Records, as claimed.
        records_count: i32,
        /// Offset of the last record relative to the first, as claimed.
        last_offset_delta: i32,
    },
    /// A control batch from a client.
    #[error("control batches are written by brokers only")]
    Control,
    /// A transactional batch where none may be.
    #[error("transactional batches are not supported here")]
    Transactional,
    /// Log-append time claimed by a client.
    #[error("a producer must leave the timestamp type at create time")]
    TimestampType,
    /// Producer id, epoch and sequence contradict each other.
    #[error(
        "producer id {producer_id} with epoch {producer_epoch} and base sequence {base_sequence}: an id needs both >= 0, no id is -1"
    )]
    Producer {
        /// The id.
        producer_id: i64,
        /// The epoch.
        producer_epoch: i16,
        /// The sequence of the first record.
        base_sequence: i32,
    },
    /// Larger than the topic takes.
    #[error("a batch of {batch_bytes} bytes is larger than the limit of {max_bytes}")]
    TooLarge {
        /// Size of the batch.
        batch_bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// The codec could not read the body.
    #[error("the body is not valid {codec}: {reason}")]
    Decompress {
        /// The batch's codec.
        codec: Compression,
        /// The codec's own words.
        reason: String,
    },
    /// The body grows past the limit.
    #[error("the body decompresses to more than {max_bytes} bytes")]
    DecompressedTooLarge {
        /// The limit.
        max_bytes: usize,
    },
    /// The body grows out of proportion.
    #[error("{compressed_bytes} bytes decompress to more than {max_ratio} times as many")]
    Ratio {
        /// Bytes of the compressed body.
        compressed_bytes: usize,
        /// The limit.
        max_ratio: usize,
    },
    /// Bytes after the last record.
    #[error("there are bytes after the last of {records_count} records")]
    BodyNotConsumed {
        /// Records, as claimed.
        records_count: i32,
    },
    /// A record is malformed.
    #[error("record {record_index}: {fault}")]
    Record {
        /// Which one, from 0.
        record_index: i32,
        /// What is wrong with it.
        fault: RecordFault,
    },
    /// A record cannot be written again: with a new base its timestamp, or its size, does not fit.
    #[error("a record cannot be rewritten: {error}")]
    Rewrite {
        /// Why.
        error: AppendError,
    },
    /// A timestamp the topic does not take.
    #[error("timestamp {timestamp_ms} ms is outside {earliest_ms} to {latest_ms}")]
    TimestampOutOfBounds {
        /// The offending one, milliseconds since 1970.
        timestamp_ms: i64,
        /// The earliest that is taken.
        earliest_ms: i64,
        /// The latest that is taken.
        latest_ms: i64,
    },
    /// The header's maximum is not the records' maximum.
    #[error("the header says the latest timestamp is {claimed_ms} ms, the records say {actual_ms}")]
    MaxTimestamp {
        /// From the header.
        claimed_ms: i64,
        /// From the records.
        actual_ms: i64,
    },
}

impl BatchError {
    /// The code this error has on the wire.
    pub fn code(&self) -> ErrorCode {
        use BatchError as E;
        match self {
            E::Magic { .. } => ErrorCode::UnsupportedForMessageFormat,
            E::Compression { .. } => ErrorCode::UnsupportedCompressionType,
            E::TooLarge { .. } | E::DecompressedTooLarge { .. } | E::Ratio { .. } => {
                ErrorCode::MessageTooLarge
            }
            E::TimestampOutOfBounds { .. } | E::TimestampType => ErrorCode::InvalidTimestamp,
            E::Truncated { .. }
            | E::TrailingBytes { .. }
            | E::Length { .. }
            | E::Checksum { .. }
            | E::Decompress { .. } => ErrorCode::CorruptMessage,
            _ => ErrorCode::InvalidRecord,
        }
    }
}

/// What is wrong with one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// It ends before its fields do.
    #[error("it is cut")]
    Truncated,
    /// A number takes more bytes than its type allows.
    #[error("a varint is longer than its type")]
    VarintTooLong,
    /// A length below -1, or below 0 where null is not allowed.
    #[error("a length is {length}")]
    Length {
        /// As it came.
        length: i32,
    },
    /// Bytes are left after its last field.
    #[error("{left_bytes} bytes are left after its last field")]
    NotConsumed {
        /// How many.
        left_bytes: usize,
    },
    /// Record attributes are all reserved.
    #[error("its attributes are {attributes:#04x} and must be 0")]
    Attributes {
        /// As it came.
        attributes: u8,
    },
    /// Its offset is not where it must be.
    #[error("its offset delta is {offset_delta}")]
    OffsetDelta {
        /// As it came.
        offset_delta: i32,
    },
    /// Its timestamp cannot be represented.
    #[error("its timestamp delta {delta_ms} ms overflows")]
    Timestamp {
        /// As it came.
        delta_ms: i64,
    },
    /// More headers than its bytes can hold.
    #[error("it claims {headers_count} headers")]
    HeadersCount {
        /// As it came.
        headers_count: i32,
    },
    /// The topic needs a key.
    #[error("it has no key, which a compacted topic needs")]
    KeyMissing,
    /// The decompressor failed; always replaced by its own error before anyone sees this.
    #[error("the body cannot be decompressed")]
    Stream,
}
