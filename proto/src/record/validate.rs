//! Everything a leader checks before it appends a batch that a client sent.
//!
//! Nothing the client claims is believed: counts, offsets, sizes and the largest timestamp are worked out from the
//! records again. A compressed body is streamed through a small buffer and never held whole.

use super::checksum::{check_crc, check_length};
use super::compression::{Compression, DecompressLimits, Decompressor};
use super::error::{BatchError, RecordFault};
use super::header::{BatchAttributes, BatchHeader, HEADER_BYTES, TimestampType};
use super::scan::{Summary, scan_slice, scan_stream};

/// Whether a client may send transactional batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransactionRule {
    /// No.
    #[default]
    Refuse,
    /// Yes; the caller looks after the transaction.
    Allow,
}

/// What a topic takes, and the time it is.
#[derive(Clone, Debug)]
pub struct ValidationRules {
    /// Largest batch, header included, as sent (`max.message.bytes`).
    pub max_batch_bytes: usize,
    /// Largest body after decompression.
    pub max_decompressed_bytes: usize,
    /// How many times larger than compressed a body may get, once it is larger than 1 MiB.
    pub max_ratio: usize,
    /// Whether every record needs a key (compacted topics).
    pub key_required: bool,
    /// How much older than `now_ms` a record may be (`message.timestamp.before.max.ms`).
    pub timestamp_before_max_ms: i64,
    /// How far ahead of `now_ms` a record may be (`message.timestamp.after.max.ms`).
    pub timestamp_after_max_ms: i64,
    /// The broker's time, milliseconds since 1970.
    pub now_ms: i64,
    /// Whose time the topic keeps. With the broker's, the producer's timestamps are not checked: they are overwritten.
    pub timestamp_type: TimestampType,
    /// Whether transactional batches are taken.
    pub transactions: TransactionRule,
}

impl ValidationRules {
    /// Kafka's defaults: 1 MiB batches, no key needed, any age, at most one hour ahead, create time.
    pub fn new(now_ms: i64) -> ValidationRules {
        ValidationRules {
            max_batch_bytes: (1 << 20) + 12,
            max_decompressed_bytes: 64 << 20,
            max_ratio: 1000,
            key_required: false,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            now_ms,
            timestamp_type: TimestampType::CreateTime,
            transactions: TransactionRule::Refuse,
        }
    }
}

/// Checks that `batch` is exactly one sound batch that a client may send to this topic, and returns its header.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn validate_produced(batch: &[u8], rules: &ValidationRules) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(batch)?;
    check_length(batch, &header)?;
    if batch.len() > rules.max_batch_bytes {
        return Err(BatchError::TooLarge { batch_bytes: batch.len(), max_bytes: rules.max_batch_bytes });
    }
    check_crc(batch, &header)?;
    check_header(&header, rules)?;
    let body = &batch[HEADER_BYTES..];
    let summary = match header.compression()? {
        Compression::None => scan_slice(body, &header)?,
        codec => {
            let limits =
                DecompressLimits { max_bytes: rules.max_decompressed_bytes, max_ratio: rules.max_ratio };
            scan_stream(Decompressor::new(codec, body, limits)?, &header)?
        }
    };
    check_records(&header, &summary, rules)?;
    Ok(header)
}

fn check_header(header: &BatchHeader, rules: &ValidationRules) -> Result<(), BatchError> {
    let BatchHeader { records_count, last_offset_delta, .. } = *header;
    if records_count <= 0 || last_offset_delta != records_count - 1 {
        return Err(BatchError::Counts { records_count, last_offset_delta });
    }
    if header.is_control() {
        return Err(BatchError::Control);
    }
    if header.attributes.0 & BatchAttributes::DELETE_HORIZON != 0 {
        return Err(BatchError::Attributes { attributes: header.attributes.0 });
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Err(BatchError::TimestampType);
    }
    if header.is_transactional() && rules.transactions == TransactionRule::Refuse {
        return Err(BatchError::Transactional);
    }
    let identified = header.producer_id.0 >= 0 && header.producer_epoch >= 0 && header.base_sequence >= 0;
    let anonymous = header.producer_id.0 == -1 && !header.is_transactional();
    if !identified && !anonymous {
        return Err(BatchError::Producer {
            producer_id: header.producer_id.0,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
        });
    }
    Ok(())
}

fn check_records(header: &BatchHeader, summary: &Summary, rules: &ValidationRules) -> Result<(), BatchError> {
    if let Some(record_index) = summary.first_without_key.filter(|_| rules.key_required) {
        return Err(BatchError::Record { record_index, fault: RecordFault::KeyMissing });
    }
    if rules.timestamp_type == TimestampType::LogAppendTime {
        return Ok(());
    }
    let (claimed_ms, actual_ms) = (header.max_timestamp_ms, summary.max_timestamp_ms);
    if claimed_ms != actual_ms {
        return Err(BatchError::MaxTimestamp { claimed_ms, actual_ms });
    }
    let earliest_ms = rules.now_ms.saturating_sub(rules.timestamp_before_max_ms);
    let latest_ms = rules.now_ms.saturating_add(rules.timestamp_after_max_ms);
    if actual_ms > latest_ms {
        return Err(BatchError::TimestampOutOfBounds { timestamp_ms: actual_ms, earliest_ms, latest_ms });
    }
    if summary.min_timestamp_ms < earliest_ms {
        let timestamp_ms = summary.min_timestamp_ms;
        return Err(BatchError::TimestampOutOfBounds { timestamp_ms, earliest_ms, latest_ms });
    }
    Ok(())
}
