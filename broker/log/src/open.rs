//! Opening a partition: what the directory holds, and what was found wrong with it.
//!
//! The judging is in `recovery`. Opening twice gives the same log (invariant I15), and never deletes user data because
//! metadata is missing.

use std::path::Path;
use std::sync::Arc;

use highwater_env::EntryKind;
use highwater_proto::museum::{self, Bug};
use highwater_proto::{Offset, TopicPartition};

use crate::config::LogConfig;
use crate::counters;
use crate::error::{IoFault, fault};
use crate::log::{CLEANED_SUFFIX, DELETED_SUFFIX, PartitionLog, Shared, TEMPORARY_SUFFIX};
use crate::recovery::Recovery;
use crate::segment::{INDEX_SUFFIX, SegmentName, SegmentReader, file_name, parse_file_name};
use crate::snapshot::SNAPSHOT_SUFFIX;
use crate::state::{Ending, STATE_FILE};

/// Small files are read whole, up to this many bytes.
const SMALL_FILE_BYTES_MAX: u64 = 64 << 20;

/// Why a partition could not be opened. None of its data was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] IoFault),
}

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// How the last life ended; `None` if there was none, or its state file is missing or damaged.
    pub ending: Option<Ending>,
    /// How far the last life is known to have flushed.
    pub flushed_end: Offset,
    /// The high watermark it recorded.
    pub high_watermark: Offset,
    /// Where the log ends now.
    pub log_end: Offset,
    /// Offsets below the end whose records are damaged or gone.
    pub rotten_offsets: u64,
    /// Bytes cut off as a torn tail.
    pub torn_bytes: u64,
    /// Bytes read to find the end and the producers.
    pub scanned_bytes: u64,
}

impl RecoveryReport {
    /// Whether the log lost something that was flushed or committed (invariant I20): the replica must not be fetched
    /// from or elected before that is dealt with.
    pub fn is_unclean(&self) -> bool {
        let lost =
            self.rotten_offsets > 0 || self.log_end < self.flushed_end || self.log_end < self.high_watermark;
        lost && !museum::active(Bug::RotIsTornTail)
    }
}

/// What the directory holds, by name.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) segments: Vec<SegmentName>,
    pub(crate) snapshots: Vec<Offset>,
    pub(crate) has_state: bool,
}

impl PartitionLog {
    /// Opens what is in the partition's directory, or an empty log if there is none.
    pub(crate) fn open(
        shared: &Arc<Shared>,
        topic_partition: TopicPartition,
        config: LogConfig,
        now_ms: i64,
    ) -> Result<(PartitionLog, RecoveryReport), OpenError> {
        let mut log = PartitionLog::empty(shared, topic_partition, config);
        let exists = shared.disk.exists(&log.directory).map_err(fault("look for", &log.directory))?;
        if !exists {
            return Ok((log, RecoveryReport::of_nothing()));
        }
        let report = Recovery::start(&mut log)?.run(now_ms)?;
        if report.is_unclean() {
            counters::add(&shared.counters.unclean_partitions, 1);
            tracing::error!(partition = %topic_partition, ?report, "flushed or committed records are gone");
        }
        Ok((log, report))
    }
}

impl RecoveryReport {
    fn of_nothing() -> RecoveryReport {
        RecoveryReport {
            ending: None,
            flushed_end: Offset::ZERO,
            high_watermark: Offset::ZERO,
            log_end: Offset::ZERO,
            rotten_offsets: 0,
            torn_bytes: 0,
            scanned_bytes: 0,
        }
    }
}

/// Reads the directory's names, and leaves what was half-written or half-removed to be removed.
pub(crate) fn list(shared: &Shared, directory: &Path) -> Result<Listing, IoFault> {
    let mut listing = Listing::default();
    for entry in shared.disk.list(directory).map_err(fault("list", directory))? {
        let name = entry.name.as_str();
        if entry.kind == EntryKind::Directory {
            continue;
        }
        if let Some(name) = SegmentName::parse(name) {
            listing.segments.push(name);
        } else if let Some(end) = parse_file_name(name, SNAPSHOT_SUFFIX) {
            listing.snapshots.push(end);
        } else if name == STATE_FILE {
            listing.has_state = true;
        } else if name.ends_with(DELETED_SUFFIX) {
            shared.remove_later(directory.join(name));
        } else if name.ends_with(TEMPORARY_SUFFIX) || name.ends_with(CLEANED_SUFFIX) {
            // At once: the same names are about to be used again.
            let path = directory.join(name);
            shared.disk.remove_file(&path).map_err(fault("remove", &path))?;
        }
    }
    // A plain file comes first: where there are two, it holds what was kept of the other.
    listing.segments.sort();
    while let Some(at) = listing.segments.windows(2).position(|pair| pair[0].base == pair[1].base) {
        let path = directory.join(listing.segments.remove(at + 1).file_name());
        tracing::info!(file = %path.display(), "removing a segment that another one took the place of");
        shared.disk.remove_file(&path).map_err(fault("remove", &path))?;
    }
    Ok(listing)
}

/// The bytes of a small file; `None` if there is none.
pub(crate) fn read_small(shared: &Shared, path: &Path) -> Result<Option<Vec<u8>>, IoFault> {
    let file = match shared.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault("open", path)(error)),
    };
    let bytes = file.len().map_err(fault("measure", path))?.min(SMALL_FILE_BYTES_MAX);
    let mut raw = vec![0; bytes as usize];
    let read = file.read_at(0, &mut raw).map_err(fault("read", path))?;
    raw.truncate(read);
    Ok(Some(raw))
}

/// Takes a segment out of the way: its name changes at once, its bytes go when somebody has the time. The directory is
/// left to be synced.
pub(crate) fn remove_segment_files(
    shared: &Shared,
    directory: &Path,
    reader: &SegmentReader,
) -> Result<(), IoFault> {
    remove_index(shared, directory, reader.base)?;
    let log = &reader.log_path;
    let aside = directory.join(file_name(reader.base, DELETED_SUFFIX));
    shared.disk.rename(log, &aside).map_err(fault("rename", log))?;
    shared.remove_later(aside);
    counters::add(&shared.counters.segments_removed, 1);
    Ok(())
}

/// The same, but its space goes to the pool if there is room.
pub(crate) fn retire_segment(
    shared: &Shared,
    directory: &Path,
    reader: &SegmentReader,
) -> Result<(), IoFault> {
    let path = &reader.log_path;
    let file = shared.open(path).map_err(fault("open", path))?;
    let bytes = file.len().map_err(fault("measure", path))?;
    drop(file);
    remove_index(shared, directory, reader.base)?;
    if shared.pool.retire(path, bytes, reader.pin())? {
        counters::add(&shared.counters.segments_removed, 1);
        return Ok(());
    }
    remove_segment_files(shared, directory, reader)
}

fn remove_index(shared: &Shared, directory: &Path, base: Offset) -> Result<(), IoFault> {
    let index = directory.join(file_name(base, INDEX_SUFFIX));
    match shared.disk.remove_file(&index) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(fault("remove", &index)(error)),
    }
    Ok(())
}
