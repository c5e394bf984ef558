//! Reading: from an offset to whole batches of stored bytes, without a copy.
//!
//! `plan_read` looks up what memory knows, under the log's lock. The [`ReadPlan`] does the rest without it: opens what
//! is not open yet, walks a few headers in the map to the exact ends, and returns a slice of the map. Bytes are read
//! only below the end the log had when the plan was made. Headers that are walked are checked; checksums are not: the
//! reader at the far end verifies those.

use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use highwater_env::DiskFile;
use highwater_proto::Offset;
use highwater_proto::record::BatchHeader;

use crate::error::{IoFault, fault};
use crate::index::{self, IndexEntry};
use crate::log::{PartitionLog, Shared};
use crate::segment::SegmentReader;
use crate::warmth;

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Nothing is or was there.
    #[error("offset {offset} is outside the log's {log_start} to {log_end}")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The first offset that can be read.
        log_start: Offset,
        /// The offset after the last.
        log_end: Offset,
    },
    /// The stored bytes are no batch: never served.
    #[error("{} is damaged at byte {position}, near offset {offset}", path.display())]
    Rotten {
        /// The segment's file.
        path: PathBuf,
        /// Where in it, in bytes.
        position: u64,
        /// The offset looked for there.
        offset: Offset,
    },
    /// The segment was removed or replaced after the plan was made: plan again.
    #[error("the segment went away while it was read; plan the read again")]
    Moved,
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] IoFault),
}

/// Whole batches as they are stored.
#[derive(Clone, Debug)]
pub struct ReadSlice {
    /// The bytes: a slice of the segment's map. Empty if there is nothing below the bound.
    pub bytes: Bytes,
    /// The offset after the last batch: where to read on.
    pub next: Offset,
}

/// Whole batches, by where they lie in their file.
#[derive(Debug)]
pub struct LocatedRead {
    /// The batches; `None` if there is nothing below the bound.
    pub slice: Option<FileSlice>,
    /// The offset after the last batch: where to read on.
    pub next: Offset,
}

/// Whole batches in a segment's file, which never change while this or its pin lives.
#[derive(Debug)]
pub struct FileSlice {
    file: Arc<dyn DiskFile>,
    /// Where they begin in the file, in bytes.
    pub position: u64,
    /// How many bytes they are.
    pub bytes: usize,
    pin: SegmentPin,
}

/// Keeps a segment's bytes where they are: its file is neither cut nor written over while this lives. After `sendfile`
/// the socket refers to the file's pages until the peer has acknowledged them, so hold it until then.
#[derive(Clone, Debug)]
pub struct SegmentPin {
    pin: Arc<()>,
}

impl SegmentPin {
    /// Whether both pin the same segment, so that one of them is enough.
    #[must_use]
    pub fn is_of_same_segment(&self, other: &SegmentPin) -> bool {
        Arc::ptr_eq(&self.pin, &other.pin)
    }
}

impl FileSlice {
    /// The file's descriptor, for `sendfile` from [`FileSlice::position`]; `None` on a simulated disk.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.file.descriptor()
    }

    /// A pin that can outlive the slice.
    pub fn pin(&self) -> SegmentPin {
        self.pin.clone()
    }

    /// A copy of the bytes, where there is no descriptor to send from. May wait for the device.
    ///
    /// # Errors
    /// The disk refused.
    pub fn copy(&self) -> std::io::Result<Bytes> {
        let mut bytes = vec![0; self.bytes];
        self.file.read_exact_at(self.position, &mut bytes)?;
        Ok(bytes.into())
    }
}

/// A read that knows its segment. Holds the segment's pages, but no lock.
#[derive(Debug)]
#[must_use]
pub struct ReadPlan {
    shared: Arc<Shared>,
    from: Offset,
    bound_end: Offset,
    max_bytes: usize,
    target: Option<Target>,
}

#[derive(Debug)]
struct Target {
    reader: Arc<SegmentReader>,
    data_bytes: u64,
    /// The segment ends before the bound does, so the bound needs no looking for.
    segment_end: Offset,
    located: Option<Located>,
    /// From here on the data was written so lately that its pages are taken to be in memory.
    hot_from: u64,
}

/// Where the walk for the first batch starts, and where the walk for the last one may.
#[derive(Clone, Copy, Debug)]
struct Located {
    start: u64,
    /// No batch from there on has a lower offset.
    start_offset: Offset,
    skip_to: u64,
}

impl Target {
    /// What a failure to open or read the segment means.
    fn gone(&self, error: std::io::Error) -> ReadError {
        if self.reader.is_retired() {
            ReadError::Moved
        } else {
            fault("read", &self.reader.log_path)(error).into()
        }
    }

    fn locate(&self, entries: &[IndexEntry], from: Offset, bound_end: Offset, max_bytes: usize) -> Located {
        let relative =
            |offset: Offset| u32::try_from((offset.0 - self.reader.base.0).max(0)).unwrap_or(u32::MAX);
        let start = index::seek_offset(entries, relative(from));
        let far = index::seek_position(entries, u64::from(start.position) + max_bytes as u64);
        // The entry found for the bound begins no later than the bound: everything before it lies below.
        let bound = index::seek_offset(entries, relative(bound_end.min(self.segment_end)));
        let skip_to = far.position.min(bound.position).max(start.position);
        Located {
            start: u64::from(start.position),
            start_offset: self.reader.base.advance(i64::from(start.relative_offset)),
            skip_to: u64::from(skip_to),
        }
    }
}

impl PartitionLog {
    /// Plans a read of whole batches from the one that holds `from` up to `bound_end` (exclusive; a batch that reaches
    /// beyond is left out), of at most `max_bytes` bytes, but at least one batch if there is one.
    ///
    /// A read stops at its segment's end. The first batch is returned whole even if `from` lies in its middle.
    pub fn plan_read(
        &self,
        from: Offset,
        bound_end: Offset,
        max_bytes: usize,
    ) -> Result<ReadPlan, ReadError> {
        if from < self.log_start || from > self.log_end {
            let (log_start, log_end) = (self.log_start, self.log_end);
            return Err(ReadError::OutOfRange { offset: from, log_start, log_end });
        }
        let mut bound_end = bound_end.min(self.log_end);
        for range in &self.rotten {
            if from >= range.offset && from < range.end && from < bound_end {
                return Err(ReadError::Rotten {
                    path: range.path.clone(),
                    position: range.position,
                    offset: from,
                });
            }
            if from < range.offset {
                bound_end = bound_end.min(range.offset);
            }
        }
        let target = if from < bound_end { self.target(from, bound_end, max_bytes) } else { None };
        Ok(ReadPlan { shared: Arc::clone(&self.shared), from, bound_end, max_bytes, target })
    }

    /// The segment that holds the first batch that ends after `from`.
    fn target(&self, from: Offset, bound_end: Offset, max_bytes: usize) -> Option<Target> {
        let at = self.sealed.partition_point(|segment| segment.end <= from);
        let mut target = match (self.sealed.get(at), &self.active) {
            (Some(sealed), _) => Target {
                reader: Arc::clone(&sealed.reader),
                data_bytes: sealed.data_bytes,
                segment_end: sealed.end,
                located: None,
                hot_from: u64::MAX,
            },
            (None, Some(active)) => Target {
                reader: Arc::clone(&active.reader),
                data_bytes: active.data_bytes,
                segment_end: self.log_end,
                located: None,
                hot_from: active.opened_bytes.max(active.data_bytes.saturating_sub(HOT_BYTES)),
            },
            (None, None) => return None,
        };
        target.located = match (self.sealed.get(at), &self.active) {
            (None, Some(active)) => Some(target.locate(&active.index.entries, from, bound_end, max_bytes)),
            _ => target
                .reader
                .index_in_memory()
                .map(|entries| target.locate(&entries, from, bound_end, max_bytes)),
        };
        Some(target)
    }
}

impl ReadPlan {
    /// Whether the read will find all its pages in memory. If not, let [`ReadPlan::populate`] run where waiting for
    /// the device is fine, then read.
    pub fn is_resident(&self) -> bool {
        let Some(target) = &self.target else { return true };
        let Some(located) = target.located else { return false };
        if located.start >= target.hot_from {
            return true;
        }
        let window = self.window(target, located);
        if target.reader.warmth.covers(&window) {
            return true;
        }
        let Ok(map) = target.reader.map(target.data_bytes) else { return false };
        let pages = &map[window.start as usize..window.end as usize];
        let resident = self.shared.disk.is_resident(pages).unwrap_or(false);
        if resident {
            target.reader.warmth.note(&window);
        }
        resident
    }

    /// Brings what the read will touch into memory; may wait for the device.
    pub fn populate(&mut self) -> Result<(), ReadError> {
        let Some(target) = &mut self.target else { return Ok(()) };
        let map = target.reader.map(target.data_bytes).map_err(|error| target.gone(error))?;
        let located = match target.located {
            Some(located) => located,
            None => {
                let entries = target.reader.index(target.data_bytes).map_err(|error| target.gone(error))?;
                target.locate(&entries, self.from, self.bound_end, self.max_bytes)
            }
        };
        target.located = Some(located);
        let Some(target) = &self.target else { return Ok(()) };
        let window = self.window(target, located);
        let pages = &map[window.start as usize..window.end as usize];
        self.shared.disk.populate(pages).map_err(|error| target.gone(error))
    }

    /// Where the read may touch the map, in whole stretches: from the first header walked to the last batch's end.
    fn window(&self, target: &Target, located: Located) -> Range<u64> {
        let least = located.skip_to.max(located.start);
        let end = least.saturating_add(self.max_bytes.min(LAST_WALK_BYTES) as u64).min(target.data_bytes);
        warmth::widen(&(located.start..end), target.data_bytes)
    }

    /// Reads. Touches the map: populate first if the pages may be cold.
    pub fn read(mut self) -> Result<ReadSlice, ReadError> {
        let (found, next) = self.walk()?;
        let bytes =
            found.map_or_else(Bytes::new, |(map, range)| map.slice(range.start as usize..range.end as usize));
        Ok(ReadSlice { bytes, next })
    }

    /// Finds the same batches as [`ReadPlan::read`], but says where they lie in the file, for who sends them without
    /// touching them. Touches the map too: populate first if the pages may be cold.
    pub fn locate(mut self) -> Result<LocatedRead, ReadError> {
        let (found, next) = self.walk()?;
        let slice = match (found, &self.target) {
            (Some((_, range)), Some(target)) => {
                let pin = SegmentPin { pin: target.reader.pin() };
                let file = target.reader.file_to_read().map_err(|error| target.gone(error))?;
                Some(FileSlice {
                    file,
                    position: range.start,
                    bytes: (range.end - range.start) as usize,
                    pin,
                })
            }
            _ => None,
        };
        Ok(LocatedRead { slice, next })
    }

    /// The map and where in it the batches lie, if there are any, and where to read on.
    fn walk(&mut self) -> Result<(Option<Found>, Offset), ReadError> {
        if self.target.as_ref().is_some_and(|target| target.located.is_none()) {
            self.populate()?;
        }
        let Some(target) = &self.target else { return Ok((None, self.from)) };
        let located = target.located.expect("populate located it");
        let map = target.reader.map(target.data_bytes).map_err(|error| target.gone(error))?;
        let walk = Walk { target, data: &map[..target.data_bytes as usize] };
        let (start, first) = walk.find_first(located, self.from)?;
        let Some(first) = first else {
            // Compaction can leave a segment that ends before its last offsets: read on in the next one.
            return Ok((None, target.segment_end.min(self.bound_end)));
        };
        if first.next_offset() > self.bound_end {
            return Ok((None, self.from));
        }
        let (end, next) = walk.find_end(start, &first, located.skip_to, self.bound_end, self.max_bytes);
        Ok((Some((map, start..end)), next))
    }
}

/// The segment's map, and where in it the batches lie.
type Found = (Bytes, Range<u64>);

/// So much of what was appended last is read without asking whether it is in memory: readers that keep up cost no call
/// of the kernel.
const HOT_BYTES: u64 = 32 << 20;
/// How far beyond the last index entry a read looks at most when it asks for pages: batches are rarely larger.
const LAST_WALK_BYTES: usize = 1 << 20;

/// A walk over headers within a segment's known data.
struct Walk<'a> {
    target: &'a Target,
    data: &'a [u8],
}

impl Walk<'_> {
    fn header(&self, position: u64, expected: Offset) -> Result<Option<BatchHeader>, ReadError> {
        let rest = &self.data[position as usize..];
        if rest.is_empty() {
            return Ok(None);
        }
        match BatchHeader::parse(rest) {
            Ok(header)
                if header.size_bytes() <= rest.len()
                    && header.base_offset >= expected
                    && header.next_offset() <= self.target.segment_end =>
            {
                Ok(Some(header))
            }
            _ => {
                let path = self.target.reader.log_path.clone();
                Err(ReadError::Rotten { path, position, offset: expected })
            }
        }
    }

    /// The first batch that ends after `from`.
    fn find_first(&self, located: Located, from: Offset) -> Result<(u64, Option<BatchHeader>), ReadError> {
        let (mut position, mut next) = (located.start, located.start_offset);
        while let Some(header) = self.header(position, next)? {
            if header.next_offset() > from {
                return Ok((position, Some(header)));
            }
            position += header.size_bytes() as u64;
            next = header.next_offset();
        }
        Ok((position, None))
    }

    /// Where the last batch ends that fits, and the offset after it.
    fn find_end(
        &self,
        start: u64,
        first: &BatchHeader,
        skip_to: u64,
        bound_end: Offset,
        max_bytes: usize,
    ) -> (u64, Offset) {
        let mut end = start + first.size_bytes() as u64;
        let mut next = first.next_offset();
        let limit = start + max_bytes as u64;
        // An entry is the start of a batch, so everything before it is whole. The batch there tells the offset.
        if skip_to > end
            && let Ok(there) = self.header(skip_to, next)
        {
            end = skip_to;
            next = there.map_or(self.target.segment_end, |header| header.base_offset);
        }
        // What is damaged ends this read, and is the error of the one that starts there.
        while let Ok(Some(header)) = self.header(end, next) {
            if header.next_offset() > bound_end || end + header.size_bytes() as u64 > limit {
                break;
            }
            end += header.size_bytes() as u64;
            next = header.next_offset();
        }
        (end, next)
    }
}
