//! Walking over the records of a produced batch without keeping any: lengths, deltas and nulls are looked at, keys and
//! values passed over.

use super::compression::Decompressor;
use super::cursor::{SliceCursor, Source, StreamCursor};
use super::error::{BatchError, RecordFault};
use super::header::{BatchHeader, NO_TIMESTAMP};
use super::layout;
use super::records::take_headers_count;

/// What the walk knows of the records it has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// The largest timestamp.
    pub(super) max_timestamp_ms: i64,
    /// The smallest, among those that have one; `i64::MAX` when none has.
    pub(super) min_timestamp_ms: i64,
    /// The first record whose key was null.
    pub(super) first_without_key: Option<i32>,
}

/// Passes over all records of an uncompressed body.
pub(super) fn scan_slice(body: &[u8], header: &BatchHeader) -> Result<Summary, BatchError> {
    let mut summary = Summary::new();
    let mut at = 0;
    for record_index in 0..header.records_count {
        at = scan_at(body, at, header, record_index, &mut summary)?;
    }
    if at < body.len() {
        return Err(BatchError::BodyNotConsumed { records_count: header.records_count });
    }
    Ok(summary)
}

/// Passes over all records of a compressed body, chunk by chunk.
pub(super) fn scan_stream(mut stream: Decompressor<'_>, header: &BatchHeader) -> Result<Summary, BatchError> {
    let mut summary = Summary::new();
    for record_index in 0..header.records_count {
        // Most records lie in one chunk, and are read there.
        let chunk = stream.fill()?;
        let mut ahead = SliceCursor::new(chunk);
        let whole =
            ahead.varint_32().is_ok_and(|length| ahead.remaining() >= usize::try_from(length).unwrap_or(0));
        if whole {
            let passed = scan_at(chunk, 0, header, record_index, &mut summary)?;
            stream.consume(passed);
        } else {
            scan_across_chunks(&mut stream, header, record_index, &mut summary)?;
        }
    }
    if !stream.fill()?.is_empty() {
        return Err(BatchError::BodyNotConsumed { records_count: header.records_count });
    }
    Ok(summary)
}

/// Passes over the record at `at`, all of which must lie in `body`, and returns where the next one begins.
#[inline]
fn scan_at(
    body: &[u8],
    at: usize,
    header: &BatchHeader,
    record_index: i32,
    summary: &mut Summary,
) -> Result<usize, BatchError> {
    if let Some(found) = layout::ordinary(body, at)
        && found.offset_delta == record_index
        && let Some(timestamp_ms) = header.base_timestamp_ms.checked_add(found.delta_ms)
    {
        if found.key.is_none() {
            summary.add_without_key(record_index);
        }
        summary.add_timestamp(timestamp_ms);
        return Ok(found.end);
    }
    scan_carefully(body, at, header, record_index, summary)
        .map_err(|fault| BatchError::Record { record_index, fault })
}

/// The same for records with headers or large numbers; and it says what is wrong.
#[inline(never)]
fn scan_carefully(
    body: &[u8],
    at: usize,
    header: &BatchHeader,
    record_index: i32,
    summary: &mut Summary,
) -> Result<usize, RecordFault> {
    let mut rest = SliceCursor::new(&body[at..]);
    let length = rest.varint_32()?;
    let length = usize::try_from(length).map_err(|_| RecordFault::Length { length })?;
    let mut fields = SliceCursor::new(rest.take(length)?);
    scan_record(&mut fields, header, record_index, summary)?;
    Ok(at + rest.position())
}

fn scan_across_chunks(
    stream: &mut Decompressor<'_>,
    header: &BatchHeader,
    record_index: i32,
    summary: &mut Summary,
) -> Result<(), BatchError> {
    let mut prefix = StreamCursor::new(stream, super::varint::MAX_BYTES_32);
    let length = match prefix.varint_32() {
        Ok(length) => length,
        Err(fault) => return Err(prefix.explain(fault, record_index)),
    };
    let Ok(length) = usize::try_from(length) else {
        return Err(BatchError::Record { record_index, fault: RecordFault::Length { length } });
    };
    let mut fields = StreamCursor::new(stream, length);
    scan_record(&mut fields, header, record_index, summary)
        .map_err(|fault| fields.explain(fault, record_index))
}

/// One record's fields, after its length.
fn scan_record(
    fields: &mut impl Source,
    header: &BatchHeader,
    record_index: i32,
    summary: &mut Summary,
) -> Result<(), RecordFault> {
    let attributes = fields.byte()?;
    if attributes != 0 {
        return Err(RecordFault::Attributes { attributes });
    }
    let delta_ms = fields.varint_64()?;
    let timestamp_ms =
        header.base_timestamp_ms.checked_add(delta_ms).ok_or(RecordFault::Timestamp { delta_ms })?;
    let offset_delta = fields.varint_32()?;
    if offset_delta != record_index {
        return Err(RecordFault::OffsetDelta { offset_delta });
    }
    if skip_nullable(fields)?.is_none() {
        summary.add_without_key(record_index);
    }
    skip_nullable(fields)?;
    for _ in 0..take_headers_count(fields)? {
        skip_nullable(fields)?.ok_or(RecordFault::Length { length: -1 })?;
        skip_nullable(fields)?;
    }
    if fields.remaining() > 0 {
        return Err(RecordFault::NotConsumed { left_bytes: fields.remaining() });
    }
    summary.add_timestamp(timestamp_ms);
    Ok(())
}

/// Passes over a length and its bytes; `None` for null.
#[inline(always)]
fn skip_nullable(fields: &mut impl Source) -> Result<Option<()>, RecordFault> {
    match fields.varint_32()? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| RecordFault::Length { length })?;
            fields.skip(length).map(Some)
        }
    }
}

impl Summary {
    fn new() -> Summary {
        Summary { max_timestamp_ms: i64::MIN, min_timestamp_ms: i64::MAX, first_without_key: None }
    }

    #[inline]
    fn add_without_key(&mut self, record_index: i32) {
        self.first_without_key = self.first_without_key.or(Some(record_index));
    }

    #[inline]
    fn add_timestamp(&mut self, timestamp_ms: i64) {
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
        if timestamp_ms != NO_TIMESTAMP {
            self.min_timestamp_ms = self.min_timestamp_ms.min(timestamp_ms);
        }
    }
}

/// A body scanned as it is on produce, and by the careful path alone.
#[cfg(test)]
pub(super) fn both_scans(
    body: &[u8],
    header: &BatchHeader,
) -> (Result<Summary, BatchError>, Result<Summary, BatchError>) {
    let careful = || {
        let mut summary = Summary::new();
        let mut at = 0;
        for record_index in 0..header.records_count {
            at = scan_carefully(body, at, header, record_index, &mut summary)
                .map_err(|fault| BatchError::Record { record_index, fault })?;
        }
        match at < body.len() {
            true => Err(BatchError::BodyNotConsumed { records_count: header.records_count }),
            false => Ok(summary),
        }
    };
    (scan_slice(body, header), careful())
}
