//! Scrubbing: what is stored is read again and compared with its checksums, so that rot is found while another replica
//! still has what this one took.
//!
//! A plan is made under the partition's lock and run without it; what it finds is looked at once more under the lock before
//! the log is held to be damaged, for the segment may have been removed meanwhile. Only what was flushed is looked at. What
//! no checksum covers is compared with what else is known: offsets with those before them, leader epochs with the epochs'
//! file. A batch may be damaged in the very offsets that say where it ends, so a damaged range goes from one entry of the
//! index to another.

use std::sync::Arc;

use highwater_proto::Offset;
use highwater_proto::record::BatchHeader;

use crate::counters;
use crate::epochs::LeaderEpochs;
use crate::error::fault;
use crate::index::{self, IndexEntry};
use crate::log::{PartitionLog, RottenRange, Shared};
use crate::read::ReadError;
use crate::scan::{ScanStop, Scanner};
use crate::segment::SegmentReader;

/// About how much is looked at in one go.
const PIECE_BYTES: u64 = 1 << 20;

/// Stored batches that are to be looked at. Holds the segment's bytes where they are, but no lock.
#[derive(Debug)]
#[must_use]
pub struct ScrubPlan {
    shared: Arc<Shared>,
    reader: Arc<SegmentReader>,
    /// Keeps the file from being written over.
    _pin: Arc<()>,
    /// Of the segment that is still written; the others' are read when they are needed.
    entries: Option<Arc<Vec<IndexEntry>>>,
    epochs: LeaderEpochs,
    from: Offset,
    data_bytes: u64,
    segment_end: Offset,
    /// Not flushed from here on.
    bound: Offset,
}

/// What a look at stored batches came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrubbed {
    /// Where to look on.
    pub next: Offset,
    /// Bytes that were looked at.
    pub bytes: u64,
    /// What is not as it was written.
    pub damage: Option<RottenRange>,
}

impl PartitionLog {
    /// Plans a look at about 1 MiB of flushed batches, from the one that holds `from` on. `None` if there are none: ranges
    /// that are known to be damaged are passed over.
    pub fn plan_scrub(&self, from: Offset) -> Option<ScrubPlan> {
        let mut from = from.max(self.log_start);
        let mut bound = self.flushed_end.min(self.log_end);
        for range in &self.rotten {
            if range.offset <= from && from < range.end {
                from = range.end;
            } else if from < range.offset {
                bound = bound.min(range.offset);
            }
        }
        if from >= bound {
            return None;
        }
        let at = self.sealed.partition_point(|segment| segment.end <= from);
        let (reader, data_bytes, segment_end, entries) = match (self.sealed.get(at), &self.active) {
            (Some(sealed), _) => (&sealed.reader, sealed.data_bytes, sealed.end, None),
            (None, Some(active)) => {
                let entries = &active.index.entries;
                let relative = u32::try_from(from.0 - active.base().0).unwrap_or(u32::MAX);
                let start = u64::from(index::seek_offset(entries, relative).position);
                let first = entries.partition_point(|entry| u64::from(entry.position) < start);
                // One before, and some behind, for the bounds of what is damaged.
                let first = first.saturating_sub(1);
                let last =
                    entries.partition_point(|entry| u64::from(entry.position) <= start + 4 * PIECE_BYTES);
                (
                    &active.reader,
                    active.data_bytes,
                    self.log_end,
                    Some(Arc::new(entries[first..last].to_vec())),
                )
            }
            (None, None) => return None,
        };
        Some(ScrubPlan {
            shared: Arc::clone(&self.shared),
            reader: Arc::clone(reader),
            _pin: reader.pin(),
            entries,
            epochs: self.epochs.clone(),
            from,
            data_bytes,
            segment_end,
            bound: bound.min(segment_end),
        })
    }

    /// Looks once more for damage that was found between two offsets, and takes it for rot if it is still there: the log
    /// takes no more appends, and the damaged range is read no more. Returns the range.
    pub fn condemn(&mut self, from: Offset, end: Offset) -> Option<RottenRange> {
        let mut next = from;
        while next < end {
            let scrubbed = self.plan_scrub(next)?.run().ok()?;
            if let Some(damage) = scrubbed.damage {
                self.mark_rotten(damage.clone());
                return Some(damage);
            }
            next = scrubbed.next;
        }
        None
    }
}

impl ScrubPlan {
    /// Reads and compares. Waits for the device.
    ///
    /// # Errors
    /// [`ReadError`]: the segment went away, or the device refused. Damage is no error.
    pub fn run(self) -> Result<Scrubbed, ReadError> {
        let refused = |error| match self.reader.is_retired() {
            true => ReadError::Moved,
            false => fault("read", &self.reader.log_path)(error).into(),
        };
        let entries = match &self.entries {
            Some(entries) => Arc::clone(entries),
            None => self.reader.index(self.data_bytes).map_err(refused)?,
        };
        let relative = u32::try_from((self.from.0 - self.reader.base.0).max(0)).unwrap_or(u32::MAX);
        let start = index::seek_offset(&entries, relative);
        let file = self.reader.file_to_read().map_err(refused)?;
        let mut scanner = Scanner::new(&*file, self.data_bytes);
        let began = u64::from(start.position);
        let (mut position, mut next) = (began, self.offset_of(&start));
        while next < self.bound && (position - began < PIECE_BYTES || next <= self.from) {
            match scanner.header(position).map_err(refused)? {
                Ok(header)
                    if self.fits(&header, next)
                        && scanner.checksum_is_right(position, &header).map_err(refused)? =>
                {
                    position += header.size_bytes() as u64;
                    next = header.next_offset();
                }
                // A segment that was compacted may end before its last offsets.
                Err(ScanStop::End) if self.entries.is_none() => next = self.segment_end,
                _ => {
                    let damage = self.damage(&entries, position);
                    counters::add(&self.shared.counters.damage_found, 1);
                    return Ok(self.came_to(damage.end, position - began, Some(damage)));
                }
            }
        }
        Ok(self.came_to(next, position - began, None))
    }

    fn came_to(&self, next: Offset, bytes: u64, damage: Option<RottenRange>) -> Scrubbed {
        counters::add(&self.shared.counters.scrubbed_bytes, bytes);
        Scrubbed { next, bytes, damage }
    }

    /// Whether the batch can be the one at this place.
    fn fits(&self, header: &BatchHeader, expected: Offset) -> bool {
        header.base_offset >= expected
            && header.next_offset() <= self.segment_end
            && self.epochs.at(header.base_offset).is_none_or(|epoch| epoch == header.leader_epoch)
    }

    /// The range around a place where the walk had to stop: the batch there, or the one before it, is not what it was.
    fn damage(&self, entries: &[IndexEntry], position: u64) -> RottenRange {
        let first = index::seek_position(entries, position.saturating_sub(1));
        let behind = entries.iter().find(|entry| u64::from(entry.position) > position);
        RottenRange {
            path: self.reader.log_path.clone(),
            position: u64::from(first.position),
            offset: self.offset_of(&first),
            end: behind.map_or(self.segment_end, |entry| self.offset_of(entry)),
        }
    }

    fn offset_of(&self, entry: &IndexEntry) -> Offset {
        self.reader.base.advance(i64::from(entry.relative_offset))
    }
}
