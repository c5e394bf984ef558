//! Recovery: where the log ends, and what a bad batch on the way there means.
//!
//! Two things prove that bytes were flushed: the marker in `partition.state`, and an index header, which is written
//! only for bytes that were synced before. Below the further of the two a bad batch is rot: it is reported, never
//! served and never truncated (rule M-20). Beyond it a bad batch is a torn write, and the log ends there. Only bytes
//! that no index header speaks of are read, so opening does not take longer with more data.

use std::cmp::Ordering;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use highwater_env::DiskFile;
use highwater_proto::museum::{self, Bug};
use highwater_proto::{LeaderEpoch, Offset};

use crate::attest::{self, Attested, Place};
use crate::counters;
use crate::epochs::{EPOCHS_FILE, LeaderEpochs};
use crate::error::{IoFault, fault};
use crate::index::{self, IndexEntry, IndexHeader, Seal};
use crate::log::{Health, Marker, PartitionLog, RottenRange};
use crate::open::{Listing, OpenError, RecoveryReport, list, read_small, remove_segment_files};
use crate::scan::{ScanStop, Scanner};
use crate::segment::{Active, IndexBuilder, IndexOnDisk, LOG_SUFFIX, Sealed, SegmentReader, file_name};
use crate::segment_walk::SegmentWalk;
use crate::state::{self, Ending, PartitionState, STATE_FILE};

/// Pieces in which a tail is looked through or written again.
const PIECE_BYTES: usize = 256 << 10;
/// So much beyond the flushed marker is written again in any case.
const REWRITTEN_BYTES_MAX: u64 = 16 << 20;
/// Holds the bytes cut off when no marker told whether they had been flushed.
const TORN_SUFFIX: &str = ".torn";

pub(crate) struct Recovery<'a> {
    log: &'a mut PartitionLog,
    listing: Listing,
    state: Option<PartitionState>,
    /// Up to here everything was flushed.
    marker: Marker,
    torn_bytes: u64,
    scanned_bytes: u64,
    /// Whether a segment was taken out.
    dropped: bool,
    /// Whether the marker is only what a segment attests.
    attested_marker: bool,
    epochs_on_disk: LeaderEpochs,
}

/// A segment before it is judged.
struct Found {
    reader: Arc<SegmentReader>,
    file_bytes: u64,
    /// What its index file says, if that can be true.
    header: Option<IndexHeader>,
    /// What a file that is written over an old one says of itself, unless the header says all.
    attested: Option<Attested>,
}

impl<'a> Recovery<'a> {
    pub(crate) fn start(log: &'a mut PartitionLog) -> Result<Recovery<'a>, OpenError> {
        let listing = list(&log.shared, &log.directory)?;
        let mut state = None;
        if listing.has_state {
            let path = log.directory.join(STATE_FILE);
            let file = log.shared.open(&path).map_err(fault("open", &path))?;
            if let Some((sequence, found)) = state::read_state(&*file).map_err(fault("read", &path))? {
                log.state_file.sequence = sequence;
                log.state_file.last = Some(found);
                state = Some(found);
            }
            log.state_file.exists = true;
        }
        if state.is_none() && !listing.segments.is_empty() {
            tracing::error!(
                directory = %log.directory.display(),
                "the state file is missing or damaged: looking at all data no index vouches for"
            );
        }
        let first = listing.segments.first().map_or(Offset::ZERO, |name| name.base);
        let marker = match &state {
            Some(state) => {
                Marker { segment_base: state.segment_base, position: state.position, end: state.flushed_end }
            }
            // The first flush syncs this file too: without it nothing was flushed, unless an index header says so. In case
            // it was lost in another way, whatever is cut off is kept aside.
            None => Marker { segment_base: first, position: 0, end: first },
        };
        log.log_start = state.map_or(first, |state| state.log_start);
        log.high_watermark = state.map_or(Offset::ZERO, |state| state.high_watermark);
        Ok(Recovery {
            log,
            listing,
            state,
            marker,
            torn_bytes: 0,
            scanned_bytes: 0,
            dropped: false,
            attested_marker: false,
            epochs_on_disk: LeaderEpochs::default(),
        })
    }

    pub(crate) fn run(mut self, now_ms: i64) -> Result<RecoveryReport, OpenError> {
        self.load_epochs()?;
        let found = self.find_segments()?;
        self.judge_segments(found, now_ms)?;
        let log_end = self.log.log_end;
        let _ = self.log.epochs.truncate_end(log_end);
        self.log.snapshots = std::mem::take(&mut self.listing.snapshots);
        self.scanned_bytes += self.log.load_producers(now_ms)?;
        if let Err(error) = self.settle() {
            // It may have been a sync: the next attempt must not take the page cache for the device.
            self.log.state_file.marker = Some(self.marker);
            let _ = self.log.write_state(Ending::SyncFailed);
            return Err(error);
        }
        if self.torn_bytes > 0 {
            counters::add(&self.log.shared.counters.torn_bytes, self.torn_bytes);
            let (partition, bytes) = (self.log.topic_partition, self.torn_bytes);
            tracing::warn!(%partition, bytes, %log_end, "cut off a torn tail");
        }
        let state = self.state.as_ref();
        Ok(RecoveryReport {
            ending: state.map(|state| state.ending),
            flushed_end: self.marker.end,
            high_watermark: state.map_or(Offset::ZERO, |state| state.high_watermark),
            log_end,
            rotten_offsets: self.log.rotten.iter().map(RottenRange::offsets_count).sum(),
            torn_bytes: self.torn_bytes,
            scanned_bytes: self.scanned_bytes,
        })
    }

    fn load_epochs(&mut self) -> Result<(), IoFault> {
        let path = self.log.directory.join(EPOCHS_FILE);
        let Some(raw) = read_small(&self.log.shared, &path)? else { return Ok(()) };
        match LeaderEpochs::decode(&raw) {
            Some(epochs) => {
                self.epochs_on_disk = epochs.clone();
                self.log.epochs = epochs;
            }
            None => {
                tracing::warn!(file = %path.display(), "damaged: learning the epochs from the log");
                self.log.unflushed.epochs = true;
            }
        }
        Ok(())
    }

    /// Opens what is there, finishes removals, and moves the marker up to what the index headers prove.
    fn find_segments(&mut self) -> Result<Vec<Found>, IoFault> {
        let names = std::mem::take(&mut self.listing.segments);
        let log = &*self.log;
        let mut found = Vec::with_capacity(names.len());
        for (at, name) in names.iter().enumerate() {
            let (base, next) = (name.base, names.get(at + 1).map(|next| next.base));
            let reader =
                SegmentReader::new(&log.shared, &log.directory, *name, log.config.index_interval_bytes);
            // Retention or delete-records had begun to remove it.
            if next.is_some_and(|next| next <= log.log_start) {
                remove_segment_files(&log.shared, &log.directory, &reader)?;
                continue;
            }
            let file = log.shared.open(&reader.log_path).map_err(fault("open", &reader.log_path))?;
            let file_bytes = file.len().map_err(fault("measure", &reader.log_path))?;
            let header = match log.shared.open(&reader.index_path) {
                Ok(index) => index::read_header(&*index).map_err(fault("read", &reader.index_path))?,
                // Without it more is looked at; but with too many files open nothing is judged.
                Err(error) if highwater_env::disk::is_out_of_handles(&error) => {
                    return Err(fault("open", &reader.index_path)(error));
                }
                Err(_) => None,
            };
            let possible =
                |header: &IndexHeader| header.end >= base && next.is_none_or(|next| header.end <= next);
            let header = header.map(|(_, header)| header).filter(possible);
            if let Some(header) = &header
                && header.end > self.marker.end
            {
                self.marker = Marker { segment_base: base, position: header.data_bytes, end: header.end };
            }
            let complete = header.is_some_and(|header| header.seal == Seal::Sealed);
            let mut attested = None;
            if let Some(id) = name.id.filter(|_| !complete) {
                let start = Place { position: 0, offset: base };
                let known = Some(self.marker).filter(|marker| marker.segment_base == base);
                let known =
                    known.map_or(start, |marker| Place { position: marker.position, offset: marker.end });
                let judged = attest::judge(&*file, file_bytes, id, known);
                let judged = judged.map_err(fault("read", &reader.log_path))?;
                let Place { position, offset } = judged.synced;
                if position > 0 && offset > self.marker.end {
                    self.marker = Marker { segment_base: base, position, end: offset };
                    self.attested_marker = true;
                }
                attested = Some(judged);
            }
            found.push(Found { reader, file_bytes, header, attested });
        }
        Ok(found)
    }

    fn judge_segments(&mut self, found: Vec<Found>, now_ms: i64) -> Result<(), OpenError> {
        let bases: Vec<Offset> = found.iter().map(|found| found.reader.base).collect();
        let mut expected = self.log.log_start;
        let mut torn = false;
        for (at, found) in found.into_iter().enumerate() {
            let base = found.reader.base;
            let next_base = bases.get(at + 1).copied();
            if torn || (base > self.marker.segment_base && base != expected) {
                // It follows something torn, or was about to be removed: nobody was promised it.
                torn = true;
                self.torn_bytes += found.file_bytes;
                self.drop_segment(&found.reader)?;
                continue;
            }
            if base > expected {
                let path = self.log.directory.join(file_name(expected, LOG_SUFFIX));
                self.rot(path, 0, expected, base);
            }
            self.log.log_end = base.max(self.log.log_start);
            if let Some(header) = found.header.filter(|header| header.seal == Seal::Sealed)
                && header.data_bytes <= found.file_bytes
            {
                self.log.sealed.push(Sealed::from_header(found.reader, &header));
                expected = header.end;
            } else {
                let active = self.recover_segment(found, next_base, now_ms)?;
                expected = self.log.log_end;
                torn = next_base.is_some_and(|next| next != expected);
                if next_base.is_some() && !torn {
                    self.log.seal_recovered(active);
                } else {
                    self.log.active = Some(active);
                }
            }
            self.log.log_end = expected;
        }
        self.log.log_end = expected;
        if expected < self.marker.end && !museum::active(Bug::RotIsTornTail) {
            let path = self.log.directory.join(file_name(self.marker.segment_base, LOG_SUFFIX));
            self.rot(path, 0, expected, self.marker.end);
            self.log.log_end = self.marker.end;
        }
        Ok(())
    }

    /// Finds a segment's end by looking at what its index does not vouch for, and sets the log's end to it.
    fn recover_segment(
        &mut self,
        found: Found,
        next_base: Option<Offset>,
        now_ms: i64,
    ) -> Result<Active, OpenError> {
        let Found { reader, file_bytes, header, attested } = found;
        // What was flushed whole ends where the next segment begins; otherwise nothing counts that is not attested.
        let attested = attested.filter(|_| reader.base >= self.marker.segment_base);
        let file_bytes = attested.map_or(file_bytes, |attested| attested.end.position.min(file_bytes));
        let file = reader.file.get().map_err(fault("open", &reader.log_path))?;
        let (path, base) = (reader.log_path.clone(), reader.base);
        let mut walk = self.start_walk(&reader, &*file, file_bytes, header, next_base);
        let started_at = walk.position;
        let walked_from = walk.next;
        let mut epochs = LeaderEpochs::default();
        let flushed_end = self.flushed_end_of(base, next_base);
        loop {
            let reason = walk.run(&mut epochs).map_err(fault("read", &path))?;
            if walk.next >= flushed_end {
                // Behind what an old file is written over with lies what was in it before.
                if reader.id.is_none() {
                    self.note_tail(&walk, reason).map_err(fault("read", &path))?;
                }
                break;
            }
            // What was flushed is damaged. What follows the marker may still be good.
            self.rot(path.clone(), walk.position, walk.next, flushed_end);
            walk.next = flushed_end;
            if base != self.marker.segment_base || self.marker.position <= walk.position {
                break;
            }
            if self.marker.position > file_bytes {
                break;
            }
            walk.position = self.marker.position;
            walk.index.force(walk.position, walk.next);
        }
        // A claim that came to nothing stays in its file; after an orderly end it is old news.
        let closed = self.state.is_some_and(|state| state.ending == Ending::Clean);
        if let Some(attested) = attested.filter(|_| !closed) {
            self.torn_bytes += attested.claimed_bytes.saturating_sub(attested.end.position);
        }
        self.scanned_bytes += walk.position.saturating_sub(started_at);
        let SegmentWalk { position: data_bytes, next, mut index, resumed, .. } = walk;
        let created_ms = walk.created_ms;
        // An entry for the marker is of no use if nothing follows it.
        let max_timestamp_ms = index.max_timestamp_ms;
        index.truncate(data_bytes, max_timestamp_ms);
        // A truncation may have been faster than the epochs' file: what is walked tells by itself.
        self.log.epochs.replace_range(walked_from, next, &epochs);
        self.log.log_end = next;
        Ok(Active {
            // The bytes behind it are an earlier life's: what comes next goes elsewhere.
            limit_bytes: if reader.id.is_some() { data_bytes } else { u64::MAX },
            attester: None,
            reader,
            data_bytes,
            opened_bytes: data_bytes,
            allocated_bytes: file_bytes,
            spoilt_bytes: 0,
            index,
            created_ms: created_ms.unwrap_or(now_ms),
            entries_written: resumed.map_or(0, |header| header.entries_count as usize),
            entries_crc: resumed.map_or(0, |header| header.entries_crc),
            checkpoint_bytes: resumed.map_or(0, |header| header.data_bytes),
        })
    }

    /// Up to where a segment was flushed: one before the marker's whole, up to the next one's first offset.
    fn flushed_end_of(&self, base: Offset, next_base: Option<Offset>) -> Offset {
        match (base.cmp(&self.marker.segment_base), next_base) {
            (Ordering::Less, Some(next)) => next.min(self.marker.end),
            _ if museum::active(Bug::RotIsTornTail) => base,
            (Ordering::Less, None) | (Ordering::Equal, _) => self.marker.end,
            (Ordering::Greater, _) => base,
        }
    }

    fn start_walk<'f>(
        &self,
        reader: &SegmentReader,
        file: &'f dyn DiskFile,
        file_bytes: u64,
        header: Option<IndexHeader>,
        next_base: Option<Offset>,
    ) -> SegmentWalk<'f> {
        let interval = self.log.config.index_interval_bytes;
        let entries = |header: &IndexHeader| -> Option<Vec<IndexEntry>> {
            let file = self.log.shared.open(&reader.index_path).ok()?;
            index::read_entries(&*file, header).ok()?
        };
        let known = header.filter(|header| header.data_bytes <= file_bytes);
        let known = known.and_then(|header| Some((header, entries(&header)?)));
        let resumed = known.as_ref().map(|(header, _)| *header);
        let (index, position, next) = match known {
            Some((header, entries)) => (
                IndexBuilder::resume(reader.base, interval, entries, header.max_timestamp_ms),
                header.data_bytes,
                header.end,
            ),
            None => (IndexBuilder::new(reader.base, interval), 0, reader.base),
        };
        let scanner = Scanner::new(file, file_bytes);
        let flushed = match reader.base.cmp(&self.marker.segment_base) {
            Ordering::Less => (u64::MAX, None),
            Ordering::Equal => (self.marker.position, Some(self.marker.end)),
            Ordering::Greater => (0, None),
        };
        let epoch_max =
            self.state.map(|state| state.last_epoch.max(self.log.epochs.last().unwrap_or_default()));
        SegmentWalk {
            scanner,
            index,
            position,
            next,
            limit: next_base,
            flushed,
            epoch: LeaderEpoch::UNKNOWN,
            epoch_max,
            log_start: self.log.log_start,
            created_ms: resumed.map(|header| header.created_ms),
            resumed,
            file_bytes,
        }
    }

    /// Counts what lies beyond the end as torn, unless it is space without data. Without a marker it is kept aside.
    fn note_tail(&mut self, walk: &SegmentWalk<'_>, reason: ScanStop) -> std::io::Result<()> {
        if matches!(reason, ScanStop::End | ScanStop::Zeros | ScanStop::Stale) {
            return Ok(());
        }
        if museum::active(Bug::TornTailIsRot) {
            self.rot(self.log.directory.clone(), walk.position, walk.next, walk.next.advance(1));
        }
        self.torn_bytes += walk.file_bytes - walk.position;
        if self.state.is_none() {
            let path = self.log.directory.join(file_name(walk.next, TORN_SUFFIX));
            tracing::error!(file = %path.display(), "keeping aside bytes that are no whole batch");
            let disk = &self.log.shared.disk;
            let aside = match disk.create(&path) {
                Ok(aside) => aside,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
                Err(error) => return Err(error),
            };
            let mut piece = vec![0; PIECE_BYTES];
            let mut at = walk.position;
            while at < walk.file_bytes {
                let count = walk.scanner.file().read_at(at, &mut piece)?;
                if count == 0 {
                    break;
                }
                aside.write_at(at - walk.position, &[IoSlice::new(&piece[..count])])?;
                at += count as u64;
            }
            aside.sync_data()?;
        }
        Ok(())
    }

    /// Takes a segment out of the log that follows a torn one.
    fn drop_segment(&mut self, reader: &SegmentReader) -> Result<(), IoFault> {
        self.dropped = true;
        let log = &self.log;
        if self.state.is_none() {
            let aside = log.directory.join(file_name(reader.base, TORN_SUFFIX));
            return log
                .shared
                .disk
                .rename(&reader.log_path, &aside)
                .map_err(fault("rename", &reader.log_path));
        }
        remove_segment_files(&log.shared, &log.directory, reader)
    }

    fn rot(&mut self, path: PathBuf, position: u64, offset: Offset, end: Offset) {
        let offset = offset.max(self.log.log_start);
        if offset >= end {
            // Below the log's start nobody reads any more.
            return;
        }
        tracing::error!(
            file = %path.display(), position, %offset, %end,
            "flushed data is damaged: the partition takes no appends, nothing is truncated"
        );
        self.log.mark_rotten(RottenRange { path, position, offset, end });
    }

    /// Makes what was found durable, and the space beyond it clean, before anything is built on it.
    fn settle(&mut self) -> Result<(), OpenError> {
        let log = &mut *self.log;
        if log.health != Health::Good {
            // The marker stays as it was, so that the next opening finds the same.
            log.flushed_end = self.marker.end.min(log.log_end);
            log.state_file.marker = Some(self.marker);
            return Ok(());
        }
        let ending = self.state.map(|state| state.ending);
        let mut intact = matches!(ending, Some(Ending::Open | Ending::Clean))
            && log.log_end == self.marker.end
            && self.torn_bytes == 0
            && !self.attested_marker
            && !self.dropped;
        if let Some(active) = log.active.as_mut().filter(|active| active.reader.id.is_none()) {
            let path = &active.reader.log_path;
            let file = active.file().get().map_err(fault("open", path))?;
            if !tail_is_zero(&*file, active.data_bytes).map_err(fault("read", path))? {
                // Whole batches of another life may lie there, and their offsets may come again.
                file.truncate(active.data_bytes).map_err(fault("truncate", path))?;
                active.allocated_bytes = active.data_bytes;
                intact = false;
            }
        }
        log.flushed_end = log.log_end;
        // What the walk learnt may be news to the file.
        log.unflushed.epochs |= self.epochs_on_disk != log.epochs;
        if intact {
            // All of it was flushed before the marker was written: there is nothing to do, and nothing is written. After a
            // killed process that is so for all partitions but those with an append under way. Only a name without data
            // may not be durable yet; the first flush sees to it.
            log.unflushed.names_doubtful = true;
            log.state_file.marker = Some(log.end_marker());
            return Ok(());
        }
        for sealed in log.sealed.iter().filter(|sealed| sealed.end > self.marker.end) {
            let path = &sealed.reader.log_path;
            let file = log.shared.disk.open(path).map_err(fault("open", path))?;
            secure(&*file, sealed.reader.base, sealed.data_bytes, self.marker, ending)
                .map_err(fault("sync", path))?;
        }
        if let Some(active) = &log.active {
            let path = &active.reader.log_path;
            let file = active.file().get().map_err(fault("open", path))?;
            secure(&*file, active.base(), active.data_bytes, self.marker, ending)
                .map_err(fault("sync", path))?;
        }
        log.shared.disk.sync_dir(&log.directory).map_err(fault("sync", &log.directory))?;
        let parent = &log.shared.partitions;
        log.shared.disk.sync_dir(parent).map_err(fault("sync", parent))?;
        log.state_file.marker = Some(log.end_marker());
        let file = log.write_state(Ending::Open)?;
        // The start that is shown from now on may have been in the page cache alone.
        let path = log.directory.join(STATE_FILE);
        file.sync_data().map_err(fault("sync", &path))?;
        Ok(())
    }
}

/// Syncs a segment. After a failed sync the bytes beyond the marker may be in the page cache alone, marked as clean:
/// they are written again first. So is anything short, in case the failure itself could not be recorded: after a killed
/// process that is what was never acknowledged, and only after a power cut, which leaves no page cache, it may be long.
fn secure(
    file: &dyn DiskFile,
    base: Offset,
    data_bytes: u64,
    marker: Marker,
    ending: Option<Ending>,
) -> std::io::Result<()> {
    let mut at = if base == marker.segment_base { marker.position } else { 0 };
    if ending == Some(Ending::SyncFailed) || data_bytes.saturating_sub(at) <= REWRITTEN_BYTES_MAX {
        let mut piece = vec![0; PIECE_BYTES];
        while at < data_bytes {
            let count = (data_bytes - at).min(PIECE_BYTES as u64) as usize;
            file.read_exact_at(at, &mut piece[..count])?;
            file.write_at(at, &[IoSlice::new(&piece[..count])])?;
            at += count as u64;
        }
    }
    file.sync_data()
}

fn tail_is_zero(file: &dyn DiskFile, from: u64) -> std::io::Result<bool> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = from;
    loop {
        let count = file.read_at(at, &mut piece)?;
        if count == 0 {
            return Ok(true);
        }
        if piece[..count].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += count as u64;
    }
}

impl Sealed {
    fn from_header(reader: Arc<SegmentReader>, header: &IndexHeader) -> Sealed {
        Sealed {
            reader,
            data_bytes: header.data_bytes,
            end: header.end,
            max_timestamp_ms: header.max_timestamp_ms,
            created_ms: header.created_ms,
            unwritten: false,
        }
    }
}

impl PartitionLog {
    fn seal_recovered(&mut self, active: Active) {
        let max_timestamp_ms = active.index.max_timestamp_ms;
        active.reader.set_index(Arc::new(active.index.entries), IndexOnDisk::Unwritten);
        self.sealed.push(Sealed {
            reader: active.reader,
            data_bytes: active.data_bytes,
            end: self.log_end,
            max_timestamp_ms,
            created_ms: active.created_ms,
            unwritten: true,
        });
    }
}
