//! What compaction leaves of a batch: some of its records, at the offsets they had.
//!
//! Base offset, last offset delta, leader epoch, producer fields and flags stay, so that offsets, deduplication and
//! epochs read the same after the rewrite; a batch may be left without any record and still stand for those.

use bytes::Bytes;

use super::builder::BatchBuilder;
use super::error::BatchError;
use super::header::{BatchAttributes, TimestampType};
use super::records::{DecodeLimits, Record, decode_records};

/// What [`retain_records`] made of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retained {
    /// Every record stays and so do the batch's bytes.
    Unchanged,
    /// The batch without the records that went; only a header, with a count of 0, when all went.
    Rewritten(Bytes),
}

/// Rewrites a batch with the records for which `keep` says so, compressed with the codec it had.
///
/// `delete_horizon_ms`, when given and not set in the batch yet, becomes the time from which its tombstones may go
/// ([`super::BatchHeader::delete_horizon_ms`]); that alone is a reason to rewrite.
///
/// # Errors
/// When the batch cannot be read.
pub fn retain_records(
    batch: &Bytes,
    limits: &DecodeLimits,
    delete_horizon_ms: Option<i64>,
    mut keep: impl FnMut(&Record) -> bool,
) -> Result<Retained, BatchError> {
    let records = decode_records(batch, limits)?;
    let mut header = *records.header();
    let new_horizon_ms = delete_horizon_ms.filter(|_| header.delete_horizon_ms().is_none());
    if let Some(horizon_ms) = new_horizon_ms {
        header.attributes.0 |= BatchAttributes::DELETE_HORIZON;
        header.base_timestamp_ms = horizon_ms;
    }
    let mut builder = BatchBuilder::rewriting(header.compression()?, header.base_timestamp_ms);
    for record in records {
        let record = record?;
        if !keep(&record) {
            continue;
        }
        // The offset was made by adding a delta of 32 bits to the base.
        let offset_delta = record.offset.0.wrapping_sub(header.base_offset.0) as i32;
        let Record { timestamp_ms, key, value, headers, .. } = &record;
        builder
            .append_at(offset_delta, *timestamp_ms, key.as_deref(), value.as_deref(), headers)
            .map_err(|error| BatchError::Rewrite { error })?;
    }
    if builder.len() == header.records_count as usize && new_horizon_ms.is_none() {
        return Ok(Retained::Unchanged);
    }
    if header.timestamp_type() == TimestampType::CreateTime {
        header.max_timestamp_ms = builder.max_timestamp_ms().unwrap_or(header.max_timestamp_ms);
    }
    Ok(Retained::Rewritten(builder.seal(header)))
}
