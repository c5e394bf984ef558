//! Appending: a producer's retry is told from news, offsets are given out, and the bytes go to their place.
//!
//! Nothing changes in memory before the bytes are written, so a failed append leaves the log as it was: the next one
//! writes over the same place. Appended is not durable: that takes a flush.

use std::io::IoSlice;
use std::sync::Arc;

use highwater_proto::museum::{self, Bug};
use highwater_proto::record::{
    BatchHeader, HEADER_BYTES, STAMP_BYTES, TimestampType, restamp_append_time, stamp,
};
use highwater_proto::{LeaderEpoch, Offset};

use crate::attest::Attester;
use crate::counters;
use crate::epochs::Change;
use crate::error::{IoFault, fault};
use crate::log::{Health, PartitionLog, RottenRange};
use crate::open::remove_segment_files;
use crate::pool::Space;
use crate::producers::{ProducerError, ProducerVerdict};
use crate::segment::{Active, IndexBuilder, IndexOnDisk, Sealed, SegmentName, SegmentReader};
use crate::state::Ending;

/// A young segment's first space; doubled as it fills.
const ALLOCATE_MIN_BYTES: u64 = 64 << 10;
/// No more space than this is reserved ahead at once.
const ALLOCATE_MAX_BYTES: u64 = 64 << 20;
/// Positions must fit the index's 32 bits.
pub(crate) const SEGMENT_BYTES_LIMIT: u64 = 2 << 30;
const PAGE_BYTES: u64 = 4096;

/// Whether a batch was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// It is in the log now.
    New,
    /// It was in the log already: the offsets are those of the first time.
    Duplicate,
}

/// Where a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// The offset after it: what must be flushed before it is acknowledged.
    pub end: Offset,
    /// Its largest timestamp as stored; milliseconds since 1970.
    pub max_timestamp_ms: i64,
    /// Whether it is new.
    pub novelty: Novelty,
}

/// Why a batch was not appended. The log is as it was.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// There is no space; can succeed once there is.
    #[error("the disk is full: {0}")]
    DiskFull(IoFault),
    /// The disk refused.
    #[error(transparent)]
    Io(IoFault),
    /// A sync failed before.
    #[error("the log takes no appends since a sync failed: {reason}")]
    Poisoned {
        /// What failed.
        reason: String,
    },
    /// The broker is going down, or the partition is.
    #[error("the log is closed")]
    Closed,
    /// Flushed data is damaged.
    #[error("the log takes no appends since {} is damaged at byte {} (offset {})", .0.path.display(), .0.position, .0.offset)]
    Rotten(RottenRange),
    /// The producer's sequence or epoch is wrong.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// A leader of the past.
    #[error("leader epoch {epoch} is older than {current_epoch}, which the log has seen")]
    StaleEpoch {
        /// The batch's epoch.
        epoch: LeaderEpoch,
        /// The newest one in the log.
        current_epoch: LeaderEpoch,
    },
    /// Larger than any segment can be.
    #[error("a batch of {batch_bytes} bytes does not fit a segment of at most {limit_bytes}")]
    TooLarge {
        /// The batch's size.
        batch_bytes: u64,
        /// The most a segment can hold.
        limit_bytes: u64,
    },
    /// A copied batch does not follow the log's end.
    #[error("a batch of offset {base_offset} cannot follow the log's end {log_end}")]
    NotNext {
        /// The batch's first offset.
        base_offset: Offset,
        /// Where the log ends.
        log_end: Offset,
    },
}

impl From<IoFault> for AppendError {
    fn from(error: IoFault) -> AppendError {
        if error.is_disk_full() { AppendError::DiskFull(error) } else { AppendError::Io(error) }
    }
}

impl PartitionLog {
    /// Appends one batch as the leader: gives it the next offsets and this epoch.
    ///
    /// `batch` must have been validated and `header` be its header. The body is written as it is, without a copy. On a
    /// topic with broker time the timestamps become `now_ms` (milliseconds since 1970).
    pub fn append(
        &mut self,
        batch: &[u8],
        header: &BatchHeader,
        epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        self.check_appendable()?;
        if header.has_producer()
            && !museum::active(Bug::DedupeOff)
            && let ProducerVerdict::Duplicate(known) = self.producers.check(header)?
        {
            return Ok(Appended {
                base_offset: known.base_offset,
                last_offset: known.last_offset,
                end: known.last_offset.advance(1),
                max_timestamp_ms: known.max_timestamp_ms,
                novelty: Novelty::Duplicate,
            });
        }
        let mut stored = *header;
        stored.base_offset = self.log_end;
        stored.leader_epoch = epoch;
        if self.config.timestamp_type == TimestampType::LogAppendTime {
            let front = restamp_append_time(batch, self.log_end, epoch, now_ms);
            stored.max_timestamp_ms = now_ms;
            stored.crc = stored_crc(&front);
            self.write_batch(&[IoSlice::new(&front), IoSlice::new(&batch[HEADER_BYTES..])], &stored, now_ms)
        } else {
            let front = stamp(header, self.log_end, epoch);
            self.write_batch(&[IoSlice::new(&front), IoSlice::new(&batch[STAMP_BYTES..])], &stored, now_ms)
        }
    }

    /// Appends one batch as a follower: keeps the offsets and the epoch the leader gave it. Offsets may leave a gap
    /// where the leader's log was compacted.
    pub fn append_as_follower(
        &mut self,
        batch: &[u8],
        header: &BatchHeader,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        self.check_appendable()?;
        if header.base_offset < self.log_end {
            return Err(AppendError::NotNext { base_offset: header.base_offset, log_end: self.log_end });
        }
        let known = museum::active(Bug::DedupeLostAtFailover).then(|| self.producers.clone());
        let appended = self.write_batch(&[IoSlice::new(batch)], header, now_ms);
        self.producers = known.unwrap_or_else(|| std::mem::take(&mut self.producers));
        appended
    }

    fn check_appendable(&self) -> Result<(), AppendError> {
        match &self.health {
            Health::Good => Ok(()),
            Health::Poisoned { reason } => Err(AppendError::Poisoned { reason: reason.clone() }),
            Health::Closed => Err(AppendError::Closed),
            Health::Rotten(range) => Err(AppendError::Rotten(range.clone())),
        }
    }

    /// Writes a batch whose final header is `stored`, and then takes note of it.
    fn write_batch(
        &mut self,
        slices: &[IoSlice<'_>],
        stored: &BatchHeader,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let bytes = stored.size_bytes() as u64;
        debug_assert_eq!(bytes, slices.iter().map(|slice| slice.len() as u64).sum::<u64>());
        if let Some(current_epoch) = self.epochs.last()
            && stored.leader_epoch < current_epoch
        {
            return Err(AppendError::StaleEpoch { epoch: stored.leader_epoch, current_epoch });
        }
        if bytes > SEGMENT_BYTES_LIMIT {
            return Err(AppendError::TooLarge { batch_bytes: bytes, limit_bytes: SEGMENT_BYTES_LIMIT });
        }
        if self.must_roll(stored, now_ms) {
            // A segment begins where the one before it ends, unless a gap is too wide for relative offsets.
            let near = stored.last_offset().0 - self.log_end.0 <= i64::from(i32::MAX);
            self.roll_at(if near { self.log_end } else { stored.base_offset }, bytes, now_ms)?;
        }
        let segment_bytes_max = self.config.segment_bytes_max;
        let active = self.active.as_mut().expect("rolled if there was none");
        let position = active.data_bytes;
        active.reserve(position + bytes, segment_bytes_max)?;
        if active.spoilt_bytes > position + bytes {
            active.clean_spoilt(position)?;
        }
        active.write(slices, stored)?;
        active.index.push(position, stored);
        active.data_bytes += bytes;
        if active.data_bytes >= active.spoilt_bytes {
            active.spoilt_bytes = 0;
        }
        self.log_end = stored.next_offset();
        self.producers.replay(stored, now_ms);
        if self.epochs.assign(stored.leader_epoch, stored.base_offset) == Change::Made {
            self.unflushed.epochs = true;
        }
        Ok(Appended {
            base_offset: stored.base_offset,
            last_offset: stored.last_offset(),
            end: self.log_end,
            max_timestamp_ms: stored.max_timestamp_ms,
            novelty: Novelty::New,
        })
    }

    /// Whether the batch must open a segment: there is none, or it is full, too old, or its offsets run out (M-27).
    fn must_roll(&self, stored: &BatchHeader, now_ms: i64) -> bool {
        let Some(active) = &self.active else { return true };
        if active.data_bytes + stored.size_bytes() as u64 > active.limit_bytes {
            return true;
        }
        if active.data_bytes == 0 {
            return stored.last_offset().0 - active.base().0 > i64::from(i32::MAX);
        }
        let bytes_max = self.config.segment_bytes_max.min(SEGMENT_BYTES_LIMIT);
        active.data_bytes + stored.size_bytes() as u64 > bytes_max
            || stored.last_offset().0 - active.base().0 > i64::from(i32::MAX)
            || now_ms.saturating_sub(active.created_ms) >= self.config.segment_age_max_ms
    }

    /// Seals the active segment, if it holds anything, and opens a new one at the log's end.
    ///
    /// # Errors
    /// The new segment could not be created; then nothing has changed.
    pub fn roll(&mut self, now_ms: i64) -> Result<(), AppendError> {
        self.check_appendable()?;
        if self.active.as_ref().is_some_and(|active| active.data_bytes > 0) {
            self.roll_at(self.log_end, 0, now_ms)?;
        }
        Ok(())
    }

    /// Opens a segment whose first batch takes `first_bytes`, or is not known yet.
    fn roll_at(&mut self, base: Offset, first_bytes: u64, now_ms: i64) -> Result<(), AppendError> {
        self.create_directory()?;
        let segment_bytes_max = self.config.segment_bytes_max;
        let full = self.active.as_ref().is_some_and(|old| old.data_bytes >= segment_bytes_max / 2);
        // A partition that fills its segments writes them over retired ones, if there are any.
        let old_space = if full && first_bytes <= segment_bytes_max { self.old_space(base) } else { None };
        let new = self.create_segment(base, old_space, now_ms)?;
        self.unflushed.directory = true;
        if let Some(old) = self.active.replace(new) {
            counters::add(&self.shared.counters.segments_rolled, 1);
            self.seal(old);
        }
        Ok(())
    }

    /// Puts the partition's directory and its state file there, at the first append of its life.
    fn create_directory(&mut self) -> Result<(), IoFault> {
        if self.state_file.exists {
            return Ok(());
        }
        self.shared.disk.create_dir_all(&self.directory).map_err(fault("create", &self.directory))?;
        self.unflushed.parent = true;
        self.unflushed.directory = true;
        self.unflushed.epochs = self.epochs.last().is_some();
        self.unflushed.state = true;
        self.write_state(Ending::Open).map(|_| ())
    }

    fn old_space(&self, base: Offset) -> Option<Space> {
        let name = |id| self.directory.join(SegmentName { base, id: Some(id) }.file_name());
        match self.shared.pool.take(self.config.segment_bytes_max, name) {
            Ok(space) => space,
            Err(error) => {
                tracing::warn!(%error, "the pool gives nothing");
                None
            }
        }
    }

    fn create_segment(&self, base: Offset, space: Option<Space>, now_ms: i64) -> Result<Active, IoFault> {
        let interval = self.config.index_interval_bytes;
        let name = SegmentName { base, id: space.as_ref().map(|space| space.id) };
        let reader = SegmentReader::new(&self.shared, &self.directory, name, interval);
        let attester = space.as_ref().map(|space| Attester::new(space.id, base, space.page_at));
        let space_bytes = space.as_ref().map(|space| space.page_at);
        reader.file.put(match space {
            Some(space) => {
                counters::add(&self.shared.counters.segments_recycled, 1);
                space.file
            }
            None => self.shared.create_fresh(&reader.log_path)?,
        });
        Ok(Active {
            index: IndexBuilder::new(base, interval),
            reader,
            data_bytes: 0,
            opened_bytes: 0,
            allocated_bytes: space_bytes.unwrap_or(0),
            limit_bytes: space_bytes.unwrap_or(u64::MAX),
            attester,
            spoilt_bytes: 0,
            created_ms: now_ms,
            entries_written: 0,
            entries_crc: 0,
            checkpoint_bytes: 0,
        })
    }

    pub(crate) fn seal(&mut self, old: Active) {
        if old.data_bytes == 0 {
            // Nothing was ever written to it, or an append to it failed: its name must not stay.
            old.reader.retire();
            if let Err(error) = remove_segment_files(&self.shared, &self.directory, &old.reader) {
                tracing::warn!(%error, "an empty segment stays");
            }
            return;
        }
        self.unflushed.files.extend(old.file().take_unsynced());
        let max_timestamp_ms = old.index.max_timestamp_ms;
        old.reader.set_index(Arc::new(old.index.entries), IndexOnDisk::Unwritten);
        self.sealed.push(Sealed {
            reader: old.reader,
            data_bytes: old.data_bytes,
            end: self.log_end,
            max_timestamp_ms,
            created_ms: old.created_ms,
            unwritten: true,
        });
    }
}

/// The checksum in a batch's header.
fn stored_crc(front: &[u8; HEADER_BYTES]) -> u32 {
    u32::from_be_bytes([front[17], front[18], front[19], front[20]])
}

impl Active {
    /// Writes a batch behind the data, and what it takes for it to count. After an error it does not.
    fn write(&mut self, slices: &[IoSlice<'_>], stored: &BatchHeader) -> Result<(), IoFault> {
        static ZEROS: [u8; PAGE_BYTES as usize] = [0; PAGE_BYTES as usize];
        let (position, path) = (self.data_bytes, &self.reader.log_path);
        let end = position + stored.size_bytes() as u64;
        let file = self.file().get_to_write().map_err(fault("open", path))?;
        let Some(attester) = &mut self.attester else {
            return file.write_at(position, slices).map_err(|error| {
                self.spoilt_bytes = self.spoilt_bytes.max(end);
                fault("write", path)(error)
            });
        };
        let padding = IoSlice::new(&ZEROS[..attester.padding_bytes(end)]);
        let written = match *slices {
            [whole] => file.write_at(position, &[whole, padding]),
            [front, body] => file.write_at(position, &[front, body, padding]),
            _ => unreachable!("a batch comes whole, or as its front and the rest"),
        };
        let step = attester.step(stored);
        written.and_then(|()| step.write.run(&*file)).map_err(fault("write", path))?;
        attester.advance(step);
        Ok(())
    }

    /// Makes sure that bytes up to `end` have their space.
    fn reserve(&mut self, end: u64, segment_bytes_max: u64) -> Result<(), IoFault> {
        if end <= self.allocated_bytes {
            return Ok(());
        }
        let step = self.allocated_bytes.clamp(ALLOCATE_MIN_BYTES, ALLOCATE_MAX_BYTES);
        let cap = segment_bytes_max.min(SEGMENT_BYTES_LIMIT).max(end);
        let wanted = (self.allocated_bytes + step).max(end).min(cap).next_multiple_of(PAGE_BYTES);
        let from = self.allocated_bytes;
        let file = self.file().get().map_err(fault("open", &self.reader.log_path))?;
        let grown = match file.allocate(from, wanted - from) {
            // Nearly full: what this batch needs may still be there.
            Err(error)
                if highwater_env::disk::is_disk_full(&error) && wanted > end.next_multiple_of(PAGE_BYTES) =>
            {
                let least = end.next_multiple_of(PAGE_BYTES);
                file.allocate(from, least - from).map(|()| least)
            }
            result => result.map(|()| wanted),
        };
        self.allocated_bytes = grown.map_err(fault("reserve space in", &self.reader.log_path))?;
        Ok(())
    }

    /// Zeroes what an append that failed may have left from `from` on: part of it could pass for a batch of its own.
    fn clean_spoilt(&mut self, from: u64) -> Result<(), IoFault> {
        let zeros = [0; PAGE_BYTES as usize];
        let file = self.file().get_to_write().map_err(fault("open", &self.reader.log_path))?;
        let mut at = from;
        while at < self.spoilt_bytes {
            let count = (self.spoilt_bytes - at).min(PAGE_BYTES) as usize;
            let result = file.write_at(at, &[IoSlice::new(&zeros[..count])]);
            result.map_err(fault("write", &self.reader.log_path))?;
            at += count as u64;
        }
        self.spoilt_bytes = 0;
        Ok(())
    }
}
