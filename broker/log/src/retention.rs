//! The log's start moves up: by age, by size, or because somebody says so (rule M-26).
//!
//! The new start is durable before anything goes, so that a start never goes back. Whole segments go; records below
//! the start in a segment that stays are no longer shown.

use highwater_proto::Offset;

use crate::append::AppendError;
use crate::checkpoint::CloseError;
use crate::error::IoFault;
use crate::flush::FlushError;
use crate::log::{Health, PartitionLog};
use crate::open::retire_segment;
use crate::segment::Sealed;

/// Why the log's start could not be moved. The log is as it was, or has its new start and still to lose its old files.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// Not an offset that the start can move to.
    #[error("the log cannot start at {offset}: it must be from {log_start} to {bound_end}")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The present start.
        log_start: Offset,
        /// The furthest it may go.
        bound_end: Offset,
    },
    /// What was appended before could not be flushed.
    #[error(transparent)]
    Flush(#[from] FlushError),
    /// No new segment could be opened.
    #[error(transparent)]
    Roll(#[from] AppendError),
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] IoFault),
}

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Segments.
    pub segments_count: usize,
    /// Bytes of data in them.
    pub bytes: u64,
}

impl PartitionLog {
    /// Makes `offset` the first one that can be read. `bound_end` is how far that may go: the high watermark.
    ///
    /// Durable when this returns.
    pub fn delete_records(&mut self, offset: Offset, bound_end: Offset) -> Result<Removed, RetentionError> {
        let bound_end = bound_end.min(self.log_end);
        if offset < self.log_start || offset > bound_end {
            let log_start = self.log_start;
            return Err(RetentionError::OutOfRange { offset, log_start, bound_end });
        }
        self.advance_start(offset)
    }

    /// Removes segments that are too old or too many, oldest first, none that reaches beyond `bound_end` (the high
    /// watermark), and never the one being written, unless all of it is too old: then it is rolled first.
    pub fn retain(&mut self, now_ms: i64, bound_end: Offset) -> Result<Removed, RetentionError> {
        if !self.config.cleanup.deletes() || self.health != Health::Good {
            return Ok(Removed::default());
        }
        let bound_end = bound_end.min(self.flushed_end);
        if self.active_is_expired(now_ms, bound_end) {
            self.roll(now_ms)?;
        }
        let mut bytes_left = self.size_bytes();
        let mut start = self.log_start;
        for sealed in &self.sealed {
            let too_many =
                self.config.retention_bytes_max.is_some_and(|max| bytes_left - sealed.data_bytes >= max);
            if sealed.end > bound_end || !(too_many || self.is_expired(sealed_time(sealed), now_ms)) {
                break;
            }
            bytes_left -= sealed.data_bytes;
            start = sealed.end;
        }
        self.advance_start(start.max(self.log_start))
    }

    fn is_expired(&self, time_ms: i64, now_ms: i64) -> bool {
        self.config.retention_age_max_ms.is_some_and(|max| now_ms.saturating_sub(time_ms) > max)
    }

    fn active_is_expired(&self, now_ms: i64, bound_end: Offset) -> bool {
        self.active.as_ref().is_some_and(|active| {
            let time_ms = if active.index.max_timestamp_ms < 0 {
                active.created_ms
            } else {
                active.index.max_timestamp_ms
            };
            let all_before = self.sealed.iter().all(|sealed| self.is_expired(sealed_time(sealed), now_ms));
            active.data_bytes > 0
                && self.log_end <= bound_end
                && all_before
                && self.is_expired(time_ms, now_ms)
        })
    }

    fn advance_start(&mut self, start: Offset) -> Result<Removed, RetentionError> {
        let mut removed = Removed::default();
        if start > self.log_start {
            if start > self.flushed_end {
                let _ = self.flush()?;
            }
            let before = std::mem::replace(&mut self.log_start, start);
            if let Err(error) = self.write_state_durably() {
                self.log_start = before;
                return Err(error.into());
            }
            if self.epochs.truncate_start(start) == crate::epochs::Change::Made {
                self.unflushed.epochs = self.state_file.exists;
            }
        }
        let going = self.sealed.iter().take_while(|sealed| sealed.end <= self.log_start).last();
        if let Some(end) = going.map(|sealed| sealed.end) {
            self.cover_with_snapshot(end).map_err(|error| match error {
                CloseError::Flush(error) => RetentionError::Flush(error),
                CloseError::Io(error) => RetentionError::Io(error),
            })?;
        }
        while self.sealed.first().is_some_and(|sealed| sealed.end <= self.log_start) {
            self.sealed[0].reader.retire();
            self.unflushed.directory = true;
            retire_segment(&self.shared, &self.directory, &self.sealed[0].reader)?;
            removed.segments_count += 1;
            removed.bytes += self.sealed.remove(0).data_bytes;
        }
        Ok(removed)
    }
}

/// When a segment's records are from: their own latest time, or when it was begun if they have none.
fn sealed_time(sealed: &Sealed) -> i64 {
    if sealed.max_timestamp_ms < 0 { sealed.created_ms } else { sealed.max_timestamp_ms }
}
