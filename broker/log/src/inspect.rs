//! Looking at a partition's files without opening it: every batch, every checksum, every cache beside its segment.
//!
//! Read-only, for a person with `highwater dump` or a test; works on a directory that a broker would refuse.

use std::io;
use std::path::{Path, PathBuf};

use highwater_env::Disk;
use highwater_proto::Offset;
use highwater_proto::record::BatchHeader;

use crate::attest::{self, Place};
use crate::epochs::{EPOCHS_FILE, LeaderEpochs};
use crate::error::{IoFault, fault};
use crate::index::{self, IndexEntry, IndexHeader};
use crate::scan::{ScanStop, Scanner};
use crate::segment::{INDEX_SUFFIX, SegmentName, file_name, parse_file_name};
use crate::snapshot::{self, ProducerStates, SNAPSHOT_SUFFIX};
use crate::state::{self, PartitionState, STATE_FILE};

/// Small files are read up to this many bytes.
const SMALL_FILE_BYTES_MAX: u64 = 64 << 20;

/// What a partition's directory holds.
#[derive(Debug)]
pub struct Inspection {
    /// The newest valid slot of the state file, with its sequence number.
    pub state: Option<(u64, PartitionState)>,
    /// The leader epochs, if their file is whole.
    pub epochs: Option<LeaderEpochs>,
    /// Every segment, oldest first.
    pub segments: Vec<SegmentInspection>,
    /// Every producer snapshot by its end offset; `None` for a damaged one.
    pub snapshots: Vec<(Offset, Option<ProducerStates>)>,
    /// Everything that is not as it should be.
    pub findings: Vec<Finding>,
}

/// What a segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInspection {
    /// The segment's file.
    pub path: PathBuf,
    /// Its base offset.
    pub base: Offset,
    /// The offset after its last whole batch.
    pub end: Offset,
    /// Length of the file, reserved space included.
    pub file_bytes: u64,
    /// Bytes of whole batches.
    pub data_bytes: u64,
    /// How many batches there are.
    pub batches_count: u64,
    /// How many records there are.
    pub records_count: u64,
    /// The largest timestamp; milliseconds since 1970; -1 without records.
    pub max_timestamp_ms: i64,
    /// What the index's header says, if it is whole.
    pub index: Option<IndexHeader>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// Where in it, in bytes.
    pub position: u64,
    /// What.
    pub kind: FindingKind,
}

/// What is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// Bytes that were known to be flushed are no whole batch.
    Rotten,
    /// Bytes beyond the flushed end are no whole batch: a write was cut short.
    Torn,
    /// Whole batches of offsets that the log has had before.
    Stale,
    /// A cache is missing, damaged or disagrees with its segment; it will be built anew.
    Cache,
    /// The state file is missing or damaged.
    State,
}

/// Visits each batch of a segment in order, with its position and whether its checksum is right.
/// Returns where whole batches end.
pub fn visit_batches(
    disk: &dyn Disk,
    path: &Path,
    mut visit: impl FnMut(u64, &BatchHeader, ChecksumResult),
) -> Result<u64, IoFault> {
    let limit_bytes = data_limit(disk, path).map_err(fault("read", path))?;
    walk(disk, path, limit_bytes, |position, header, checksum| visit(position, header, checksum))
        .map(|(position, _)| position)
        .map_err(fault("read", path))
}

/// Whether a batch's bytes are those that were checksummed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumResult {
    /// They are.
    Right,
    /// They are not: the batch is torn or rotten.
    Wrong,
}

/// The base offset of a segment's file by its name, whether or not it is written over an old one; `None` for other files.
pub fn segment_base(name: &str) -> Option<Offset> {
    SegmentName::parse(name).map(|name| name.base)
}

/// Up to which byte a segment's file may hold data, by what it says of itself: all of a plain one, and of one that is
/// written over an old file what its last page attests.
///
/// # Errors
/// The disk refused.
pub fn data_limit(disk: &dyn Disk, path: &Path) -> io::Result<u64> {
    let name = path.file_name().and_then(|name| name.to_str());
    let base = name.and_then(segment_base).unwrap_or(Offset::ZERO);
    attested_bytes(disk, path, Place { position: 0, offset: base })
}

/// The same, where it is known up to where it was flushed: what a file that is written over an old one attests, or all of it.
fn attested_bytes(disk: &dyn Disk, path: &Path, known: Place) -> io::Result<u64> {
    let file = disk.open(path)?;
    let file_bytes = file.len()?;
    let name = path.file_name().and_then(|name| name.to_str()).and_then(SegmentName::parse);
    match name.and_then(|name| name.id) {
        Some(id) => Ok(attest::judge(&*file, file_bytes, id, known)?.end.position.min(file_bytes)),
        None => Ok(file_bytes),
    }
}

fn walk(
    disk: &dyn Disk,
    path: &Path,
    limit_bytes: u64,
    mut visit: impl FnMut(u64, &BatchHeader, ChecksumResult),
) -> io::Result<(u64, ScanStop)> {
    let file = disk.open(path)?;
    let mut scanner = Scanner::new(&*file, limit_bytes);
    let (mut position, mut next) = (0, Offset(i64::MIN));
    loop {
        let header = match scanner.header(position)? {
            Ok(header) => header,
            Err(reason) => return Ok((position, reason)),
        };
        if !scanner.checksum_is_right(position, &header)? {
            visit(position, &header, ChecksumResult::Wrong);
            return Ok((position, ScanStop::Checksum));
        }
        if header.base_offset < next {
            return Ok((position, ScanStop::Stale));
        }
        visit(position, &header, ChecksumResult::Right);
        position += header.size_bytes() as u64;
        next = header.next_offset();
    }
}

/// Reads all files of a partition's directory and checks everything that has a checksum.
pub fn inspect(disk: &dyn Disk, directory: &Path) -> Result<Inspection, IoFault> {
    let entries = disk.list(directory).map_err(fault("list", directory))?;
    let mut inspection = Inspection {
        state: None,
        epochs: None,
        segments: Vec::new(),
        snapshots: Vec::new(),
        findings: Vec::new(),
    };
    let state_path = directory.join(STATE_FILE);
    inspection.state = match disk.open(&state_path) {
        Ok(file) => state::read_state(&*file).map_err(fault("read", &state_path))?,
        Err(_) => None,
    };
    if inspection.state.is_none() {
        inspection.find(&state_path, 0, FindingKind::State);
    }
    let epochs_path = directory.join(EPOCHS_FILE);
    if let Ok(raw) = read_small(disk, &epochs_path) {
        inspection.epochs = LeaderEpochs::decode(&raw);
        if inspection.epochs.is_none() {
            inspection.find(&epochs_path, 0, FindingKind::Cache);
        }
    }
    for name in entries.iter().map(|entry| entry.name.as_str()) {
        let path = directory.join(name);
        if let Some(name) = SegmentName::parse(name) {
            inspection.add_segment(disk, directory, name).map_err(fault("read", &path))?;
        } else if let Some(end) = parse_file_name(name, SNAPSHOT_SUFFIX) {
            let raw = read_small(disk, &path).map_err(fault("read", &path))?;
            let producers = snapshot::decode(&raw).filter(|(found, _)| *found == end).map(|(_, all)| all);
            if producers.is_none() {
                inspection.find(&path, 0, FindingKind::Cache);
            }
            inspection.snapshots.push((end, producers));
        }
    }
    Ok(inspection)
}

impl Inspection {
    fn find(&mut self, path: &Path, position: u64, kind: FindingKind) {
        self.findings.push(Finding { path: path.to_owned(), position, kind });
    }

    fn add_segment(&mut self, disk: &dyn Disk, directory: &Path, name: SegmentName) -> io::Result<()> {
        let (base, path) = (name.base, directory.join(name.file_name()));
        let mut segment = SegmentInspection {
            base,
            end: base,
            file_bytes: disk.open(&path)?.len()?,
            data_bytes: 0,
            batches_count: 0,
            records_count: 0,
            max_timestamp_ms: -1,
            index: None,
            path,
        };
        let index_path = directory.join(file_name(base, INDEX_SUFFIX));
        let (header, entries) = read_index(disk, &index_path)?;
        let marker = self.state.map(|(_, state)| state);
        let mut known = Place { position: 0, offset: base };
        if let Some(header) = &header {
            known = known.max(Place { position: header.data_bytes, offset: header.end });
        }
        if let Some(state) = marker.filter(|state| state.segment_base == base) {
            known = known.max(Place { position: state.position, offset: state.flushed_end });
        }
        let limit_bytes = attested_bytes(disk, &segment.path, known)?;
        let (stopped_at, reason) = walk(disk, &segment.path, limit_bytes, |_, header, checksum| {
            if checksum == ChecksumResult::Right {
                segment.batches_count += 1;
                segment.records_count += u64::from(header.records_count.unsigned_abs());
                segment.max_timestamp_ms = segment.max_timestamp_ms.max(header.max_timestamp_ms);
                segment.end = header.next_offset();
            }
        })?;
        segment.data_bytes = stopped_at;
        let agrees =
            entries.is_some() && header.is_some_and(|header| header.data_bytes <= segment.data_bytes);
        if disk.exists(&index_path)? && !agrees {
            self.find(&index_path, 0, FindingKind::Cache);
        }
        segment.index = header;
        let flushed_bytes = match marker {
            Some(state) if state.segment_base > base => header.map_or(stopped_at, |header| header.data_bytes),
            Some(state) if state.segment_base == base => state.position,
            _ => header.map_or(0, |header| header.data_bytes),
        };
        let kind = match reason {
            _ if stopped_at < flushed_bytes => Some(FindingKind::Rotten),
            ScanStop::End | ScanStop::Zeros => None,
            ScanStop::Stale => Some(FindingKind::Stale),
            ScanStop::NoBatch | ScanStop::Checksum => Some(FindingKind::Torn),
        };
        if let Some(kind) = kind {
            self.find(&segment.path, stopped_at, kind);
        }
        self.segments.push(segment);
        Ok(())
    }
}

type IndexContents = (Option<IndexHeader>, Option<Vec<IndexEntry>>);

fn read_index(disk: &dyn Disk, path: &Path) -> io::Result<IndexContents> {
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, None)),
        Err(error) => return Err(error),
    };
    let Some((_, header)) = index::read_header(&*file)? else { return Ok((None, None)) };
    Ok((Some(header), index::read_entries(&*file, &header)?))
}

fn read_small(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let mut raw = vec![0; file.len()?.min(SMALL_FILE_BYTES_MAX) as usize];
    let read = file.read_at(0, &mut raw)?;
    raw.truncate(read);
    Ok(raw)
}
