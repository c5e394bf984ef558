//! A segment as its readers see it, and the one being written.
//!
//! [`SegmentReader`] is shared with reads that run outside the partition's lock: it opens the map and the index when
//! first needed. [`Active`] belongs to the partition alone. A segment's file may be written over only when nobody can
//! read it any more: see [`SegmentReader::is_pinned`].

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use highwater_env::DiskFile;
use highwater_proto::Offset;
use highwater_proto::record::{BatchHeader, NO_TIMESTAMP};

use crate::attest::{Attester, SegmentId};
use crate::counters;
use crate::handles::LazyFile;
use crate::holders::{Held, Holder};
use crate::index::{self, ENTRY_BYTES, IndexEntry};
use crate::log::Shared;
use crate::scan::{ScanStop, scan_headers};
use crate::warmth::Warmth;

/// How segment files' names end.
pub(crate) const LOG_SUFFIX: &str = ".log";
/// How index files' names end.
pub(crate) const INDEX_SUFFIX: &str = ".index";

/// `{offset:020}{suffix}`.
pub(crate) fn file_name(base: Offset, suffix: &str) -> String {
    format!("{:020}{suffix}", base.0)
}

/// Reads what [`file_name`] wrote.
pub(crate) fn parse_file_name(name: &str, suffix: &str) -> Option<Offset> {
    let digits = name.strip_suffix(suffix)?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(())?;
    digits.parse().ok().map(Offset)
}

/// What a segment's file is called: after the offset it begins with, and the id of its life if it is written over another
/// one (see [`crate::attest`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentName {
    pub(crate) base: Offset,
    pub(crate) id: Option<SegmentId>,
}

impl SegmentName {
    /// Of a file that was empty before.
    pub(crate) fn plain(base: Offset) -> SegmentName {
        SegmentName { base, id: None }
    }

    /// `{base:020}.log` or `{base:020}.{id:016x}.log`.
    pub(crate) fn file_name(self) -> String {
        match self.id {
            None => file_name(self.base, LOG_SUFFIX),
            Some(id) => format!("{:020}.{:016x}{LOG_SUFFIX}", self.base.0, id.0),
        }
    }

    /// Reads what [`SegmentName::file_name`] wrote.
    pub(crate) fn parse(name: &str) -> Option<SegmentName> {
        if let Some(base) = parse_file_name(name, LOG_SUFFIX) {
            return Some(SegmentName::plain(base));
        }
        let (_, id) = name.strip_suffix(LOG_SUFFIX)?.split_once('.')?;
        let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (id.len() == 16 && id.bytes().all(lower)).then_some(())?;
        let base = parse_file_name(name, &format!(".{id}{LOG_SUFFIX}"))?;
        Some(SegmentName { base, id: Some(SegmentId(u64::from_str_radix(id, 16).ok()?)) })
    }
}

/// What readers share of one segment.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    shared: Arc<Shared>,
    pub(crate) base: Offset,
    /// Of a file that is written over another one.
    pub(crate) id: Option<SegmentId>,
    index_interval_bytes: u32,
    pub(crate) log_path: PathBuf,
    pub(crate) index_path: PathBuf,
    /// Set before the file is removed, replaced or renamed: what is opened by name later may be another one.
    retired: AtomicBool,
    /// Cloned into everything that can still reach the file's pages.
    pin: Arc<()>,
    map_used: AtomicBool,
    index_used: AtomicBool,
    pub(crate) warmth: Warmth,
    /// For who writes, and for who sends from it.
    pub(crate) file: Arc<LazyFile>,
    opened: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    map: Option<Bytes>,
    index: Option<Arc<Vec<IndexEntry>>>,
    /// The index is not in its file yet: it must stay in memory.
    index_unwritten: bool,
}

/// Whether an index can be dropped and read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexOnDisk {
    Written,
    Unwritten,
}

/// A map that counts as a reader of its segment while it lives.
struct PinnedMap {
    map: Bytes,
    _pin: Arc<()>,
}

impl AsRef<[u8]> for PinnedMap {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

impl SegmentReader {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        directory: &Path,
        name: SegmentName,
        index_interval_bytes: u32,
    ) -> Arc<SegmentReader> {
        let SegmentName { base, id } = name;
        let log_path = directory.join(name.file_name());
        Arc::new(SegmentReader {
            shared: Arc::clone(shared),
            base,
            id,
            index_interval_bytes,
            file: LazyFile::closed(shared, log_path.clone()),
            log_path,
            index_path: directory.join(file_name(base, INDEX_SUFFIX)),
            retired: AtomicBool::new(false),
            pin: Arc::new(()),
            map_used: AtomicBool::new(false),
            warmth: Warmth::default(),
            index_used: AtomicBool::new(false),
            opened: Mutex::default(),
        })
    }

    /// From now on nothing is opened by name any more; what is open stays readable.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        self.lock().map = None;
    }

    /// Held by the pool until nobody else holds it: then no page of the file can be reached any more.
    pub(crate) fn pin(&self) -> Arc<()> {
        Arc::clone(&self.pin)
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    /// Whether a slice of the map, or anything else that reads the file, is alive. Drops the cached map to find out.
    pub(crate) fn is_pinned(&self) -> bool {
        self.lock().map = None;
        Arc::strong_count(&self.pin) > 1
    }

    /// The segment's first `data_bytes` bytes, or more.
    pub(crate) fn map(self: &Arc<Self>, data_bytes: u64) -> io::Result<Bytes> {
        self.map_used.store(true, Ordering::Relaxed);
        let mut opened = self.lock();
        if let Some(map) = &opened.map
            && map.len() as u64 >= data_bytes
        {
            return Ok(map.clone());
        }
        let file = self.shared.open(&self.log_path)?;
        let len = file.len()?;
        if len < data_bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let map = Bytes::from_owner(PinnedMap { map: file.map(len)?, _pin: Arc::clone(&self.pin) });
        if self.is_retired() {
            // The name may have led to another file.
            return Err(io::ErrorKind::NotFound.into());
        }
        let is_first = opened.map.replace(map.clone()).is_none();
        drop(opened);
        if is_first {
            self.shared.maps.admit(self.holder(), 1);
        }
        Ok(map)
    }

    /// The file, for who reads it otherwise than through the map. Whoever has it holds a pin, taken before.
    pub(crate) fn file_to_read(&self) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.file.get()?;
        // The name may have led to another file.
        if self.is_retired() { Err(io::ErrorKind::NotFound.into()) } else { Ok(file) }
    }

    /// The index if it is in memory.
    pub(crate) fn index_in_memory(&self) -> Option<Arc<Vec<IndexEntry>>> {
        self.index_used.store(true, Ordering::Relaxed);
        self.lock().index.clone()
    }

    /// The index of a sealed segment: from memory, else from its file, else from the segment itself.
    pub(crate) fn index(self: &Arc<Self>, data_bytes: u64) -> io::Result<Arc<Vec<IndexEntry>>> {
        if let Some(index) = self.index_in_memory() {
            return Ok(index);
        }
        let entries = match self.read_index(data_bytes) {
            Ok(Some(entries)) => entries,
            Ok(None) | Err(_) => self.rebuild_index(data_bytes)?,
        };
        if self.is_retired() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entries = Arc::new(entries);
        self.set_index(Arc::clone(&entries), IndexOnDisk::Written);
        Ok(entries)
    }

    fn read_index(&self, data_bytes: u64) -> io::Result<Option<Vec<IndexEntry>>> {
        let file = self.shared.open(&self.index_path)?;
        let Some((_, header)) = index::read_header(&*file)? else { return Ok(None) };
        if header.data_bytes != data_bytes {
            return Ok(None);
        }
        index::read_entries(&*file, &header)
    }

    fn rebuild_index(&self, data_bytes: u64) -> io::Result<Vec<IndexEntry>> {
        tracing::warn!(segment = %self.log_path.display(), "the index is missing or damaged: building it anew");
        counters::add(&self.shared.counters.indexes_rebuilt, 1);
        let file = self.shared.open(&self.log_path)?;
        let mut builder = IndexBuilder::new(self.base, self.index_interval_bytes);
        let stop = scan_headers(&*file, 0, data_bytes, |position, header| builder.push(position, header))?;
        if stop.reason != ScanStop::End {
            tracing::warn!(segment = %self.log_path.display(), position = stop.position, "the segment is damaged there");
        }
        Ok(builder.entries)
    }

    /// Gives the reader an index that was built elsewhere.
    pub(crate) fn set_index(self: &Arc<Self>, entries: Arc<Vec<IndexEntry>>, on_disk: IndexOnDisk) {
        let bytes = entries.len() * ENTRY_BYTES + 64;
        let mut opened = self.lock();
        let is_first = opened.index.replace(entries).is_none();
        opened.index_unwritten = on_disk == IndexOnDisk::Unwritten;
        drop(opened);
        if is_first {
            self.shared.indexes.admit(self.holder(), bytes);
        }
    }

    /// The index is in its file now and may be dropped from memory.
    pub(crate) fn index_written(&self) {
        self.lock().index_unwritten = false;
    }

    fn holder(self: &Arc<Self>) -> Weak<dyn Holder> {
        let holder: Arc<dyn Holder> = Arc::<SegmentReader>::clone(self);
        Arc::downgrade(&holder)
    }

    fn lock(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holder for SegmentReader {
    fn release(&self, held: Held) -> bool {
        let used = if held == Held::Map { &self.map_used } else { &self.index_used };
        if used.swap(false, Ordering::Relaxed) {
            return false;
        }
        // Whoever has the lock is using it.
        let Ok(mut opened) = self.opened.try_lock() else { return false };
        match held {
            Held::Map => opened.map = None,
            Held::Index if opened.index_unwritten => return false,
            Held::Index => opened.index = None,
            Held::Handle => return false,
        }
        true
    }
}

/// Builds a segment's index batch by batch, the same way when appending and when scanning.
#[derive(Debug)]
pub(crate) struct IndexBuilder {
    base: Offset,
    interval_bytes: u64,
    last_position: u64,
    pub(crate) entries: Vec<IndexEntry>,
    pub(crate) max_timestamp_ms: i64,
}

impl IndexBuilder {
    pub(crate) fn new(base: Offset, interval_bytes: u32) -> IndexBuilder {
        IndexBuilder {
            base,
            interval_bytes: u64::from(interval_bytes),
            last_position: 0,
            entries: Vec::new(),
            max_timestamp_ms: NO_TIMESTAMP,
        }
    }

    /// Goes on from entries that were read from a file.
    pub(crate) fn resume(
        base: Offset,
        interval_bytes: u32,
        entries: Vec<IndexEntry>,
        max_timestamp_ms: i64,
    ) -> IndexBuilder {
        let last_position = entries.last().map_or(0, |entry| u64::from(entry.position));
        IndexBuilder {
            base,
            interval_bytes: u64::from(interval_bytes),
            last_position,
            entries,
            max_timestamp_ms,
        }
    }

    pub(crate) fn push(&mut self, position: u64, header: &BatchHeader) {
        if position >= self.last_position + self.interval_bytes {
            self.force(position, header.base_offset);
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(header.max_timestamp_ms);
    }

    /// Adds an entry at this position, whatever the distance to the last one.
    pub(crate) fn force(&mut self, position: u64, offset: Offset) {
        let relative = offset.0 - self.base.0;
        let (Ok(relative_offset), Ok(at)) = (u32::try_from(relative), u32::try_from(position)) else {
            // Beyond what an entry can say; the segment should have been rolled, and searches work without it.
            return;
        };
        if self
            .entries
            .last()
            .is_some_and(|last| last.relative_offset >= relative_offset || last.position >= at)
        {
            return;
        }
        let max_timestamp_before_ms = self.max_timestamp_ms;
        self.entries.push(IndexEntry { relative_offset, position: at, max_timestamp_before_ms });
        self.last_position = position;
    }

    /// Forgets entries at or after this position.
    pub(crate) fn truncate(&mut self, position: u64, max_timestamp_ms: i64) {
        self.entries.retain(|entry| u64::from(entry.position) < position);
        self.last_position = self.entries.last().map_or(0, |entry| u64::from(entry.position));
        self.max_timestamp_ms = max_timestamp_ms;
    }
}

/// A segment that is complete.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) reader: Arc<SegmentReader>,
    pub(crate) data_bytes: u64,
    /// The offset after its last record.
    pub(crate) end: Offset,
    pub(crate) max_timestamp_ms: i64,
    pub(crate) created_ms: i64,
    /// Its index file does not say so yet.
    pub(crate) unwritten: bool,
}

/// The segment being written.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) reader: Arc<SegmentReader>,
    pub(crate) data_bytes: u64,
    /// How much there was when the log was opened: what came later was written through the page cache.
    pub(crate) opened_bytes: u64,
    /// Space is reserved up to here.
    pub(crate) allocated_bytes: u64,
    /// Data must end here: there is no more space, or what is there is not to be written.
    pub(crate) limit_bytes: u64,
    /// Attests what is written over an old file.
    pub(crate) attester: Option<Attester>,
    /// Bytes up to here may hold the remains of an append that failed; 0 if there was none.
    pub(crate) spoilt_bytes: u64,
    pub(crate) index: IndexBuilder,
    pub(crate) created_ms: i64,
    /// How many entries the index file holds, and their checksum.
    pub(crate) entries_written: usize,
    pub(crate) entries_crc: u32,
    /// Data bytes the index file covers.
    pub(crate) checkpoint_bytes: u64,
}

impl Active {
    pub(crate) fn base(&self) -> Offset {
        self.reader.base
    }

    pub(crate) fn file(&self) -> &Arc<LazyFile> {
        &self.reader.file
    }
}
