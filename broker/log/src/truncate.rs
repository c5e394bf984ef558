//! Truncation: a follower gives up what its leader never had (rules M-01, M-16, M-23).
//!
//! Three steps, each durable before the next: caches and proofs that speak of what goes are removed; the flushed marker
//! comes down; the data goes. A crash in between leaves a log that is too long, never one that claims too much.
//! Whatever slices of the old data readers still hold stays as it was: a file that is being read is copied, not cut.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Arc, PoisonError};

use highwater_proto::Offset;

use crate::epochs::Change;
use crate::error::{IoFault, fault};
use crate::flush::FlushError;
use crate::index::{self, IndexEntry};
use crate::log::{Health, Marker, PartitionLog};
use crate::open::remove_segment_files;
use crate::scan::scan_headers;
use crate::segment::{Active, IndexBuilder, SegmentName, SegmentReader, file_name};
use crate::snapshot::SNAPSHOT_SUFFIX;
use crate::state::{Ending, STATE_FILE};

const PIECE_BYTES: usize = 256 << 10;

/// Why a log could not be cut.
#[derive(Debug, thiserror::Error)]
pub enum TruncateError {
    /// The disk refused. The log is stopped until it is opened again; it may be too long then.
    #[error(transparent)]
    Io(#[from] IoFault),
    /// A sync failed before, or does now.
    #[error(transparent)]
    Flush(#[from] FlushError),
}

impl PartitionLog {
    /// Drops all records from this offset on; a batch that reaches beyond it goes as a whole. Returns the new end.
    ///
    /// Below the log's start everything goes, and the log starts anew at `offset`.
    pub fn truncate_to(&mut self, offset: Offset, now_ms: i64) -> Result<Offset, TruncateError> {
        if let Health::Poisoned { reason } = &self.health {
            return Err(FlushError::Poisoned { reason: reason.clone() }.into());
        }
        if offset >= self.log_end {
            // Nothing was appended in epochs that begin here, and yet they would be compared with the leader's.
            if offset == self.log_end && self.epochs.truncate_end(offset) == Change::Made {
                self.unflushed.epochs = self.state_file.exists;
            }
            return Ok(self.log_end);
        }
        let result = if offset < self.log_start {
            self.cut(offset, None, now_ms)
        } else {
            // Nothing has changed yet: if that fails, the log is as it was.
            let (end, kept) = self.find_cut(offset)?;
            self.cut(end, kept, now_ms)
        };
        self.stop_on_error(result)?;
        Ok(self.log_end)
    }

    /// Drops all records, and lets the log go on at this offset: a follower that is older than its leader's log.
    pub fn reset_to(&mut self, offset: Offset, now_ms: i64) -> Result<(), TruncateError> {
        if let Health::Poisoned { reason } = &self.health {
            return Err(FlushError::Poisoned { reason: reason.clone() }.into());
        }
        let result = self.cut(offset, None, now_ms);
        self.stop_on_error(result)
    }

    /// Half-done is neither the one log nor the other: opening again sorts it out.
    fn stop_on_error(&mut self, result: Result<(), IoFault>) -> Result<(), TruncateError> {
        result.map_err(|error| {
            self.poison(&error);
            error.into()
        })
    }

    /// Where the batch that holds `offset` begins: the new end, and the segment that is kept up to there.
    fn find_cut(&self, offset: Offset) -> Result<(Offset, Option<Kept>), IoFault> {
        let active = self.active.iter().map(|active| (&active.reader, active.data_bytes));
        let sealed = self.sealed.iter().map(|sealed| (&sealed.reader, sealed.data_bytes));
        let Some((reader, data_bytes)) = sealed.chain(active).rfind(|(reader, _)| reader.base <= offset)
        else {
            return Ok((offset, None));
        };
        let path = &reader.log_path;
        let entries = match &self.active {
            Some(active) if active.base() == reader.base => active.index.entries.clone(),
            _ => reader.index(data_bytes).map_err(fault("read the index of", path))?.to_vec(),
        };
        let relative = u32::try_from(offset.0 - reader.base.0).unwrap_or(u32::MAX);
        let start = index::seek_offset(&entries, relative);
        let file = self.shared.open(path).map_err(fault("open", path))?;
        let mut kept = Kept {
            reader: Arc::clone(reader),
            entries,
            position: u64::from(start.position),
            max_timestamp_ms: start.max_timestamp_before_ms.max(-1),
        };
        let mut end = if start == IndexEntry::START {
            reader.base
        } else {
            reader.base.advance(i64::from(start.relative_offset))
        };
        let mut done = false;
        let visit = |position: u64, header: &highwater_proto::record::BatchHeader| {
            // A batch that says that it lies before the ones before it is damaged, and the reason for the cut.
            done |= header.next_offset() > offset || header.base_offset < end;
            if !done {
                kept.position = position + header.size_bytes() as u64;
                kept.max_timestamp_ms = kept.max_timestamp_ms.max(header.max_timestamp_ms);
                end = header.next_offset();
            }
        };
        scan_headers(&*file, u64::from(start.position), data_bytes, visit).map_err(fault("read", path))?;
        // The log starts in the middle of the batch that goes: nothing is left.
        Ok(if end < self.log_start { (self.log_start, None) } else { (end, Some(kept)) })
    }

    fn cut(&mut self, end: Offset, kept: Option<Kept>, now_ms: i64) -> Result<(), IoFault> {
        // A checkpoint that is being written must not put back what is removed here.
        let gate = Arc::clone(&self.gate);
        let mut gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.generation += 1;
        *gate = self.generation;
        let created = self.state_file.exists;
        if created {
            self.forget_beyond(end, kept.as_ref())?;
        }
        let resets = kept.is_none();
        if resets || self.flushed_end > end {
            let (segment_base, position) =
                kept.as_ref().map_or((end, 0), |kept| (kept.reader.base, kept.position));
            self.state_file.marker = Some(Marker { segment_base, position, end });
            self.flushed_end = end;
        }
        if resets {
            self.log_start = end;
        }
        if created {
            let file = self.write_state(Ending::Open)?;
            let path = self.directory.join(STATE_FILE);
            file.sync_data().map_err(fault("sync", &path))?;
        }
        self.drop_data(end, kept, now_ms)?;
        self.log_end = end;
        self.high_watermark = self.high_watermark.min(end);
        self.cleaned_end = self.cleaned_end.min(end);
        // Where nothing is left, no epoch has a beginning: one from before would claim what is not there.
        let _ = self.epochs.truncate_end(if resets { Offset(i64::MIN) } else { end });
        self.unflushed.epochs = created;
        if created {
            self.shared.disk.sync_dir(&self.directory).map_err(fault("sync", &self.directory))?;
        }
        self.rotten.retain(|range| range.offset < end);
        if self.rotten.is_empty() {
            self.health = Health::Good;
        }
        self.rebuild_producers(now_ms)
    }

    /// Removes the indexes and snapshots that speak of what goes.
    fn forget_beyond(&mut self, end: Offset, kept: Option<&Kept>) -> Result<(), IoFault> {
        let disk = Arc::clone(&self.shared.disk);
        let remove = |path: &std::path::Path| match disk.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fault("remove", path)(error)),
            _ => Ok(()),
        };
        let active = self.active.iter().map(|active| &active.reader);
        let first = kept.map_or(Offset(i64::MIN), |kept| kept.reader.base);
        for reader in self.sealed.iter().map(|sealed| &sealed.reader).chain(active) {
            if reader.base >= first {
                remove(&reader.index_path)?;
            }
        }
        while self.snapshots.last().is_some_and(|last| *last > end || kept.is_none()) {
            let last = self.snapshots.pop().expect("just looked at");
            remove(&self.directory.join(file_name(last, SNAPSHOT_SUFFIX)))?;
        }
        // A snapshot being written when the gate closed may be there without being known here.
        for entry in disk.list(&self.directory).map_err(fault("list", &self.directory))? {
            let beyond = |found: Offset| found > end || kept.is_none();
            if crate::segment::parse_file_name(&entry.name, SNAPSHOT_SUFFIX).is_some_and(beyond) {
                remove(&self.directory.join(&entry.name))?;
            }
        }
        disk.sync_dir(&self.directory).map_err(fault("sync", &self.directory))
    }

    fn drop_data(&mut self, end: Offset, kept: Option<Kept>, now_ms: i64) -> Result<(), IoFault> {
        let first_dropped = kept.as_ref().map_or(Offset(i64::MIN), |kept| kept.reader.base.advance(1));
        let old_active = self.active.take();
        let mut created_ms = now_ms;
        while let Some(last) = self.sealed.pop_if(|sealed| sealed.end > end || kept.is_none()) {
            created_ms = last.created_ms;
            if last.reader.base >= first_dropped {
                last.reader.retire();
                remove_segment_files(&self.shared, &self.directory, &last.reader)?;
            }
        }
        if let Some(active) = old_active {
            if active.base() >= first_dropped {
                active.reader.retire();
                remove_segment_files(&self.shared, &self.directory, &active.reader)?;
            } else {
                created_ms = active.created_ms;
            }
        }
        let Some(kept) = kept else { return Ok(()) };
        if self.sealed.last().is_some_and(|sealed| sealed.reader.base == kept.reader.base) {
            // The cut is at the end of a sealed segment: it stays as it is, only without its index file.
            let last = self.sealed.last_mut().expect("just looked at");
            last.unwritten = true;
            let entries = Arc::new(kept.entries);
            last.reader.set_index(entries, crate::segment::IndexOnDisk::Unwritten);
            return Ok(());
        }
        let path = kept.reader.log_path.clone();
        let file = kept.reader.file.get().map_err(fault("open", &path))?;
        let interval = self.config.index_interval_bytes;
        let mut index =
            IndexBuilder::resume(kept.reader.base, interval, kept.entries.clone(), kept.max_timestamp_ms);
        index.truncate(kept.position, kept.max_timestamp_ms);
        // One that is written over an old file is copied too: its old bytes would follow what stays.
        let reader = if kept.reader.is_pinned() || kept.reader.id.is_some() {
            kept.reader.retire();
            let name = SegmentName::plain(kept.reader.base);
            let reader = SegmentReader::new(&self.shared, &self.directory, name, interval);
            reader.file.put(copy_front(self, &kept, &*file, &reader.log_path)?);
            if kept.reader.id.is_some() {
                self.shared.disk.remove_file(&path).map_err(fault("remove", &path))?;
            }
            reader
        } else {
            file.truncate(kept.position).map_err(fault("truncate", &path))?;
            kept.reader
        };
        // What a flush under way takes for synced may be in it: the next one syncs it again.
        let file = reader.file.get_to_write().map_err(fault("open", &path))?;
        file.sync_data().map_err(fault("sync", &path))?;
        self.active = Some(Active {
            reader,
            data_bytes: kept.position,
            opened_bytes: kept.position,
            allocated_bytes: kept.position,
            limit_bytes: u64::MAX,
            attester: None,
            spoilt_bytes: 0,
            index,
            created_ms,
            entries_written: 0,
            entries_crc: 0,
            checkpoint_bytes: 0,
        });
        Ok(())
    }
}

/// The segment in which the cut lies.
struct Kept {
    reader: Arc<SegmentReader>,
    entries: Vec<IndexEntry>,
    /// Bytes that stay.
    position: u64,
    max_timestamp_ms: i64,
}

/// Puts a copy of what stays in the place of a file that is still being read.
fn copy_front(
    log: &PartitionLog,
    kept: &Kept,
    from: &dyn highwater_env::DiskFile,
    to: &Path,
) -> Result<Arc<dyn highwater_env::DiskFile>, IoFault> {
    let path = &kept.reader.log_path;
    let mut aside = to.as_os_str().to_owned();
    aside.push(crate::log::TEMPORARY_SUFFIX);
    let aside = std::path::PathBuf::from(aside);
    let copy = log.shared.create_fresh(&aside)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < kept.position {
        let count = (kept.position - at).min(PIECE_BYTES as u64) as usize;
        from.read_exact_at(at, &mut piece[..count]).map_err(fault("read", path))?;
        copy.write_at(at, &[IoSlice::new(&piece[..count])]).map_err(fault("write", &aside))?;
        at += count as u64;
    }
    copy.sync_data().map_err(fault("sync", &aside))?;
    log.shared.disk.rename(&aside, to).map_err(fault("rename", &aside))?;
    Ok(copy)
}
