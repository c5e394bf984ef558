//! Compaction: of the records with one key the last one stays (rules M-27, M-28).
//!
//! Two passes over sealed segments, outside the log's lock: the first learns each key's last offset, the second copies
//! every segment without what is superseded. Offsets stay as they are, every segment keeps its last batch (so that its
//! end is known from its bytes), and so does every producer, of all that there is and of what is compacted (so that retries
//! are told from news, after a power cut too), even if nothing is left in them. A tombstone stays for a time after it was
//! first cleaned; that time is written into its batch.
//!
//! A crash leaves `.cleaned` files, which are deleted, or a segment without its index, which is rebuilt. The copy takes
//! the segment's name in one step, and only after the old index, which would tell of other positions, is durably gone.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use highwater_env::DiskFile;
use highwater_proto::record::{
    BatchError, BatchHeader, DecodeLimits, Record, Retained, decode_records, retain_records,
};
use highwater_proto::{Offset, ProducerId};

use crate::error::{IoFault, fault};
use crate::index::IndexEntry;
use crate::log::{CLEANED_SUFFIX, Health, Marker, PartitionLog, Shared};
use crate::segment::{IndexBuilder, IndexOnDisk, SegmentName, SegmentReader, file_name};

/// Keys are learnt until they take this much memory; what comes after is compacted the next time.
const KEYS_BYTES_MAX: usize = 128 << 20;
/// What a key costs beside its own bytes.
const KEY_OVERHEAD_BYTES: usize = 64;

/// Why a compaction was given up. The log is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// A stored batch cannot be read.
    #[error("{} is damaged at byte {position}: {source}", path.display())]
    Batch {
        /// The segment's file.
        path: PathBuf,
        /// Where, in bytes.
        position: u64,
        /// What is wrong.
        source: BatchError,
    },
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] IoFault),
}

/// What a compaction achieved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that were rewritten.
    pub segments_count: usize,
    /// Bytes in them before.
    pub bytes_before: u64,
    /// Bytes in them now.
    pub bytes_after: u64,
}

/// What is to be compacted. Run [`CompactionTicket::run`] in a background thread, without holding the log's lock.
#[derive(Debug)]
#[must_use]
pub struct CompactionTicket {
    shared: Arc<Shared>,
    segments: Vec<Source>,
    /// Everything before it was compacted already: its records supersede nothing.
    cleaned_end: Offset,
    /// The offset of each producer's last batch.
    producers: BTreeMap<ProducerId, Offset>,
    /// The same of what is compacted: a later batch may not be flushed yet, and a power cut would leave neither.
    flushed_producers: BTreeMap<ProducerId, Offset>,
    now_ms: i64,
    delete_retention_ms: i64,
    index_interval_bytes: u32,
    generation: u64,
}

#[derive(Debug)]
struct Source {
    reader: Arc<SegmentReader>,
    data_bytes: u64,
    end: Offset,
}

/// Segments that were copied; bring them back with `complete_compaction`.
#[derive(Debug)]
#[must_use]
pub struct CleanedSegments {
    cleaned: Vec<Cleaned>,
    cleaned_end: Offset,
    generation: u64,
}

#[derive(Debug)]
struct Cleaned {
    source: Source,
    path: PathBuf,
    data_bytes: u64,
    entries: Vec<IndexEntry>,
    max_timestamp_ms: i64,
}

impl PartitionLog {
    /// Takes out what is to be compacted: sealed, flushed segments below `bound_end` (the high watermark) that are old
    /// enough. `None` if the topic is not compacted, or too little is new.
    pub fn begin_compaction(&mut self, now_ms: i64, bound_end: Offset) -> Option<CompactionTicket> {
        if !self.config.cleanup.compacts() || self.health != Health::Good {
            return None;
        }
        let bound_end = bound_end.min(self.flushed_end);
        let newest_ms = now_ms.saturating_sub(self.config.compaction_lag_min_ms);
        let ready = |sealed: &&crate::segment::Sealed| {
            sealed.end <= bound_end && !sealed.unwritten && sealed.max_timestamp_ms <= newest_ms
        };
        let segments: Vec<Source> = self
            .sealed
            .iter()
            .take_while(ready)
            .map(|sealed| Source {
                reader: Arc::clone(&sealed.reader),
                data_bytes: sealed.data_bytes,
                end: sealed.end,
            })
            .collect();
        let bytes = |only_dirty: bool| -> u64 {
            let counted = segments.iter().filter(|source| !only_dirty || source.end > self.cleaned_end);
            counted.map(|source| source.data_bytes).sum()
        };
        let dirty = bytes(true);
        if dirty == 0 || dirty * 100 < bytes(false) * u64::from(self.config.cleanable_percent_min) {
            return None;
        }
        let last = |(id, entry): (ProducerId, &crate::producers::ProducerEntry)| {
            entry.batches.last().map(|batch| (id, batch.last_offset))
        };
        Some(CompactionTicket {
            shared: Arc::clone(&self.shared),
            segments,
            cleaned_end: self.cleaned_end,
            producers: self.producers.iter().filter_map(last).collect(),
            flushed_producers: BTreeMap::new(),
            now_ms,
            delete_retention_ms: self.config.delete_retention_ms,
            index_interval_bytes: self.config.index_interval_bytes,
            generation: self.generation,
        })
    }

    /// Puts copies in the place of their segments, each unless it was truncated or removed meanwhile.
    pub fn complete_compaction(&mut self, cleaned: CleanedSegments) -> Result<Compacted, CompactionError> {
        let mut result = Compacted::default();
        let mut current = cleaned.generation == self.generation && self.health == Health::Good;
        if let Some(last) = cleaned.cleaned.last().filter(|_| current) {
            current = self.move_marker_beyond(last.source.end)?;
        }
        for cleaned in cleaned.cleaned {
            let place =
                self.sealed.iter().position(|sealed| Arc::ptr_eq(&sealed.reader, &cleaned.source.reader));
            let Some(at) = place.filter(|_| current) else {
                let _ = self.shared.disk.remove_file(&cleaned.path);
                continue;
            };
            result.segments_count += 1;
            result.bytes_before += cleaned.source.data_bytes;
            result.bytes_after += cleaned.data_bytes;
            self.swap(at, cleaned)?;
        }
        if current {
            self.cleaned_end = self.cleaned_end.max(cleaned.cleaned_end);
        }
        Ok(result)
    }

    /// A marker in a segment that is rewritten would speak of bytes that are elsewhere, and with its index goes the other
    /// proof that the segment was flushed. Says whether the marker is durably beyond `end` now.
    fn move_marker_beyond(&mut self, end: Offset) -> Result<bool, IoFault> {
        let Some(marker) = self.state_file.marker else { return Ok(false) };
        if marker.segment_base < end {
            let active = self.active.iter().map(crate::segment::Active::base);
            let next =
                self.sealed.iter().map(|sealed| sealed.reader.base).chain(active).find(|base| *base >= end);
            if marker.end != end || next.is_some_and(|next| next != end) {
                return Ok(false);
            }
            self.state_file.marker = Some(Marker { segment_base: end, position: 0, end });
        }
        self.write_state_durably()?;
        Ok(true)
    }

    fn swap(&mut self, at: usize, cleaned: Cleaned) -> Result<(), IoFault> {
        // A checkpoint that began before must not write the old segment's index any more.
        let gate = Arc::clone(&self.gate);
        let _gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
        let (disk, directory) = (&self.shared.disk, &self.directory);
        let old = &self.sealed[at].reader;
        match disk.remove_file(&old.index_path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(fault("remove", &old.index_path)(error));
            }
            _ => {}
        }
        disk.sync_dir(directory).map_err(fault("sync", directory))?;
        old.retire();
        let interval = self.config.index_interval_bytes;
        let reader = SegmentReader::new(&self.shared, directory, SegmentName::plain(old.base), interval);
        disk.rename(&cleaned.path, &reader.log_path).map_err(fault("rename", &cleaned.path))?;
        if old.id.is_some() {
            // Where both are there after a crash, the plain one counts.
            disk.remove_file(&old.log_path).map_err(fault("remove", &old.log_path))?;
        }
        self.unflushed.directory = true;
        reader.set_index(Arc::new(cleaned.entries), IndexOnDisk::Unwritten);
        let sealed = &mut self.sealed[at];
        sealed.reader = reader;
        sealed.data_bytes = cleaned.data_bytes;
        sealed.max_timestamp_ms = cleaned.max_timestamp_ms;
        sealed.unwritten = true;
        Ok(())
    }

    /// Compacts and waits for it, in the caller's thread.
    pub fn compact(&mut self, now_ms: i64, bound_end: Offset) -> Result<Compacted, CompactionError> {
        match self.begin_compaction(now_ms, bound_end) {
            Some(ticket) => {
                let cleaned = ticket.run(|_| {})?;
                self.complete_compaction(cleaned)
            }
            None => Ok(Compacted::default()),
        }
    }
}

impl CompactionTicket {
    /// Reads, and writes copies aside. `pace` is told of each batch's bytes and may take its time, to keep the disk free
    /// for others.
    pub fn run(mut self, mut pace: impl FnMut(u64)) -> Result<CleanedSegments, CompactionError> {
        let (keys, end) = self.learn_keys(&mut pace)?;
        self.flushed_producers = self.learn_producers(end)?;
        let mut cleaned = Vec::new();
        let mut failed = None;
        for source in &self.segments {
            if source.end > end {
                break;
            }
            match self.clean(source, &keys, &mut pace) {
                Ok(Some(segment)) => cleaned.push(segment),
                Ok(None) => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if let Some(error) = failed {
            for segment in cleaned {
                let _ = self.shared.disk.remove_file(&segment.path);
            }
            return Err(error);
        }
        Ok(CleanedSegments { cleaned, cleaned_end: end, generation: self.generation })
    }

    /// Each key's last offset in what was never compacted, and up to where that is known.
    fn learn_keys(
        &self,
        pace: &mut impl FnMut(u64),
    ) -> Result<(BTreeMap<Bytes, Offset>, Offset), CompactionError> {
        let mut keys: BTreeMap<Bytes, Offset> = BTreeMap::new();
        let mut bytes = 0;
        let mut known_end = self.cleaned_end;
        for source in self.segments.iter().filter(|source| source.end > self.cleaned_end) {
            if bytes > KEYS_BYTES_MAX {
                break;
            }
            self.walk(source, |header, batch, _| {
                pace(batch.len() as u64);
                if header.is_control() {
                    return Ok(());
                }
                for record in decode_records(&batch, &DecodeLimits::default())? {
                    let record = record?;
                    let Some(key) = record.key else { continue };
                    if let Some(last) = keys.get_mut(&key) {
                        *last = record.offset;
                    } else {
                        bytes += key.len() + KEY_OVERHEAD_BYTES;
                        // A copy: a slice would keep the whole batch.
                        keys.insert(Bytes::copy_from_slice(&key), record.offset);
                    }
                }
                Ok(())
            })?;
            known_end = source.end;
        }
        Ok((keys, known_end))
    }

    /// Copies one segment without what is superseded; `None` if all of it stays.
    fn clean(
        &self,
        source: &Source,
        keys: &BTreeMap<Bytes, Offset>,
        pace: &mut impl FnMut(u64),
    ) -> Result<Option<Cleaned>, CompactionError> {
        let mut copy: Option<Copy> = None;
        let mut failed = None;
        self.walk(source, |header, batch, before| {
            pace(batch.len() as u64);
            let retained = self.clean_batch(header, &batch, keys, source.end)?;
            if failed.is_some() || (copy.is_none() && retained == Some(Retained::Unchanged)) {
                return Ok(());
            }
            let result =
                copy_or_start(&mut copy, || self.start_copy(source, before)).and_then(
                    |copy| match retained {
                        Some(Retained::Unchanged) => copy.push(&batch),
                        Some(Retained::Rewritten(new)) => copy.push(&new),
                        None => Ok(()),
                    },
                );
            failed = result.err();
            Ok(())
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let Some(copy) = copy else { return Ok(None) };
        copy.file.sync_data().map_err(fault("sync", &copy.path))?;
        Ok(Some(Cleaned {
            source: Source { reader: Arc::clone(&source.reader), ..*source },
            path: copy.path,
            data_bytes: copy.position,
            entries: copy.index.entries,
            max_timestamp_ms: copy.index.max_timestamp_ms,
        }))
    }

    /// Begins a copy with the batches before the first one that changes.
    fn start_copy(&self, source: &Source, before: &[u8]) -> Result<Copy, IoFault> {
        let directory = source.reader.log_path.parent().expect("a segment lies in its partition's directory");
        let path = directory.join(file_name(source.reader.base, CLEANED_SUFFIX));
        let file = self.shared.create_fresh(&path)?;
        let index = IndexBuilder::new(source.reader.base, self.index_interval_bytes);
        let mut copy = Copy { file, path, index, position: 0 };
        let mut rest = before;
        while let Ok(header) = BatchHeader::parse(rest) {
            let (batch, after) = rest.split_at(header.size_bytes());
            copy.push(batch)?;
            rest = after;
        }
        Ok(copy)
    }

    /// What stays of a batch; `None` if it goes as a whole.
    fn clean_batch(
        &self,
        header: &BatchHeader,
        batch: &Bytes,
        keys: &BTreeMap<Bytes, Offset>,
        segment_end: Offset,
    ) -> Result<Option<Retained>, BatchError> {
        if header.is_control() {
            return Ok(Some(Retained::Unchanged));
        }
        let expired = header.delete_horizon_ms().is_some_and(|horizon_ms| horizon_ms <= self.now_ms);
        let keep = |record: &Record| {
            let newest = record.key.as_ref().and_then(|key| keys.get(key));
            newest.is_none_or(|newest| *newest <= record.offset) && !(expired && record.value.is_none())
        };
        let mut tombstones = false;
        for record in decode_records(batch, &DecodeLimits::default())? {
            let record = record?;
            tombstones |= record.value.is_none() && keep(&record);
        }
        let horizon_ms = tombstones.then(|| self.now_ms.saturating_add(self.delete_retention_ms));
        let retained = retain_records(batch, &DecodeLimits::default(), horizon_ms, keep)?;
        let left = match &retained {
            Retained::Unchanged => header.records_count,
            Retained::Rewritten(new) => BatchHeader::parse(new)?.records_count,
        };
        let is_last = |of: &BTreeMap<_, _>| of.get(&header.producer_id) == Some(&header.last_offset());
        let stands_for_producer = is_last(&self.producers) || is_last(&self.flushed_producers);
        let needed = left > 0 || header.next_offset() == segment_end || stands_for_producer;
        Ok(needed.then_some(retained))
    }

    /// The last batch of each producer in the segments that end no later than `end`.
    fn learn_producers(&self, end: Offset) -> Result<BTreeMap<ProducerId, Offset>, CompactionError> {
        let mut producers = BTreeMap::new();
        for source in self.segments.iter().take_while(|source| source.end <= end) {
            self.walk(source, |header, _, _| {
                if header.producer_id != ProducerId::NONE {
                    producers.insert(header.producer_id, header.last_offset());
                }
                Ok(())
            })?;
        }
        Ok(producers)
    }

    fn walk(
        &self,
        source: &Source,
        mut visit: impl FnMut(&BatchHeader, Bytes, &[u8]) -> Result<(), BatchError>,
    ) -> Result<(), CompactionError> {
        let path = &source.reader.log_path;
        let map = source.reader.map(source.data_bytes).map_err(fault("read", path))?;
        let data = map.slice(..source.data_bytes as usize);
        let mut at = 0;
        while at < data.len() {
            let bad = |source| CompactionError::Batch { path: path.clone(), position: at as u64, source };
            let header = BatchHeader::parse(&data[at..]).map_err(bad)?;
            let end = at + header.size_bytes();
            if end > data.len() {
                let (needed_bytes, available_bytes) = (header.size_bytes(), data.len() - at);
                return Err(bad(BatchError::Truncated { needed_bytes, available_bytes }));
            }
            let batch = data.slice(at..end);
            self.shared.disk.populate(&batch).map_err(fault("read", path))?;
            visit(&header, batch, &data[..at]).map_err(bad)?;
            at = end;
        }
        Ok(())
    }
}

/// A segment's copy as it grows.
struct Copy {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    index: IndexBuilder,
    position: u64,
}

impl Copy {
    fn push(&mut self, batch: &[u8]) -> Result<(), IoFault> {
        let header = BatchHeader::parse(batch).expect("it was read or written as a batch just now");
        self.file.write_at(self.position, &[IoSlice::new(batch)]).map_err(fault("write", &self.path))?;
        self.index.push(self.position, &header);
        self.position += batch.len() as u64;
        Ok(())
    }
}

fn copy_or_start(
    copy: &mut Option<Copy>,
    start: impl FnOnce() -> Result<Copy, IoFault>,
) -> Result<&mut Copy, IoFault> {
    match copy {
        Some(copy) => Ok(copy),
        None => Ok(copy.insert(start()?)),
    }
}
