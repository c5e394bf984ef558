//! Checkpoints: indexes and producers go to disk, so that the next opening need not read the data again.
//!
//! Nothing here is needed for correctness; everything can be rebuilt from the segments. One rule matters: an index
//! header is written only for bytes that were flushed before, because recovery takes it as proof of that.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use highwater_proto::Offset;

use crate::attest;
use crate::error::{IoFault, fault};
use crate::flush::{Durable, FlushError};
use crate::index::{self, ENTRY_BYTES, IndexEntry, IndexHeader, Seal};
use crate::log::{Health, PartitionLog, Shared};
use crate::segment::{SegmentReader, file_name};
use crate::snapshot::{self, SNAPSHOT_SUFFIX};
use crate::state::{Ending, STATE_FILE};

/// Older snapshots are kept for the case that the newest one is damaged.
const SNAPSHOTS_KEPT: usize = 2;

/// Why a checkpoint was not written. The log goes on; the next opening reads more.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] IoFault),
}

/// Why a log was not closed in order.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// What was appended could not be flushed.
    #[error(transparent)]
    Flush(#[from] FlushError),
    /// The rest could not be written.
    #[error(transparent)]
    Io(#[from] IoFault),
}

/// What a checkpoint has to write. Run [`CheckpointTicket::write`] without holding the log's lock.
#[derive(Debug)]
#[must_use]
pub struct CheckpointTicket {
    shared: Arc<Shared>,
    directory: PathBuf,
    indexes: Vec<IndexWrite>,
    snapshot: Option<(Offset, Vec<u8>)>,
    generation: u64,
    gate: Arc<Mutex<u64>>,
}

#[derive(Debug)]
struct IndexWrite {
    reader: Arc<SegmentReader>,
    header: IndexHeader,
    /// Number of the first entry that is written; those before are in the file.
    from: usize,
    entries: Vec<IndexEntry>,
}

/// A checkpoint that was written; bring it back with `complete_checkpoint`.
#[derive(Debug)]
#[must_use]
pub struct WrittenCheckpoint {
    indexes: Vec<(Offset, IndexHeader)>,
    snapshot: Option<Offset>,
    generation: u64,
    result: Result<(), IoFault>,
}

impl CheckpointTicket {
    /// Writes and syncs.
    pub fn write(self) -> WrittenCheckpoint {
        let gate = Arc::clone(&self.gate);
        let gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
        // Truncated meanwhile: what the ticket knows is of the past.
        let result = if *gate == self.generation { self.run() } else { Ok(()) };
        drop(gate);
        WrittenCheckpoint {
            indexes: self.indexes.iter().map(|write| (write.reader.base, write.header)).collect(),
            snapshot: self.snapshot.map(|(end, _)| end),
            generation: self.generation,
            result,
        }
    }

    fn run(&self) -> Result<(), IoFault> {
        for write in &self.indexes {
            write.run(&self.shared).map_err(fault("write", &write.reader.index_path))?;
            if write.header.seal == Seal::Sealed {
                trim(&self.shared, &write.reader, write.header.data_bytes)?;
            }
        }
        if let Some((end, bytes)) = &self.snapshot {
            write_snapshot(&self.shared, &self.directory.join(file_name(*end, SNAPSHOT_SUFFIX)), bytes)?;
        }
        self.shared.disk.sync_dir(&self.directory).map_err(fault("sync", &self.directory))
    }
}

impl IndexWrite {
    fn run(&self, shared: &Shared) -> io::Result<()> {
        let path = &self.reader.index_path;
        let file = match shared.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => shared.disk.create(path)?,
            result => result?,
        };
        let sequence = index::read_header(&*file)?.map_or(0, |(sequence, _)| sequence);
        index::write_entries(&*file, self.from, &self.entries)?;
        index::write_header(&*file, sequence + 1, &self.header)?;
        file.sync_data()
    }
}

fn write_snapshot(shared: &Shared, path: &Path, bytes: &[u8]) -> Result<(), IoFault> {
    let file = shared.create_fresh(path)?;
    file.write_at(0, &[IoSlice::new(bytes)]).map_err(fault("write", path))?;
    file.sync_data().map_err(fault("sync", path))
}

/// Gives back the space that was reserved beyond a sealed segment's data. Nobody reads there, so live maps don't mind.
fn trim(shared: &Shared, reader: &SegmentReader, data_bytes: u64) -> Result<(), IoFault> {
    let path = &reader.log_path;
    let file = shared.open(path).map_err(fault("open", path))?;
    if reader.id.is_some() {
        // It ends in its attesting page, and is better kept for its next life unless much of it is empty.
        return attest::shrink(&*file, data_bytes).map_err(fault("shorten", path));
    }
    if file.len().map_err(fault("measure", path))? > data_bytes {
        file.truncate(data_bytes).map_err(fault("truncate", path))?;
    }
    Ok(())
}

impl PartitionLog {
    /// Whether a checkpoint would save the next opening any reading.
    pub fn needs_checkpoint(&self) -> bool {
        self.health == Health::Good
            && !self.unflushed.epochs
            && (self.sealed.iter().any(|sealed| sealed.unwritten && sealed.end <= self.flushed_end)
                || self.index_of_active().is_some()
                || self.lacks_snapshot())
    }

    /// Takes out what is to be written; `None` if there is nothing.
    pub fn begin_checkpoint(&mut self) -> Option<CheckpointTicket> {
        if !self.needs_checkpoint() {
            return None;
        }
        let mut indexes: Vec<IndexWrite> = Vec::new();
        for sealed in self.sealed.iter().filter(|sealed| sealed.unwritten && sealed.end <= self.flushed_end) {
            let entries = sealed.reader.index_in_memory().expect("an unwritten index stays in memory");
            indexes.push(IndexWrite {
                header: IndexHeader {
                    seal: Seal::Sealed,
                    data_bytes: sealed.data_bytes,
                    end: sealed.end,
                    max_timestamp_ms: sealed.max_timestamp_ms,
                    created_ms: sealed.created_ms,
                    entries_count: u32::try_from(entries.len()).unwrap_or(u32::MAX),
                    entries_crc: crc32c::crc32c(&encode(&entries)),
                },
                reader: Arc::clone(&sealed.reader),
                from: 0,
                entries: entries.to_vec(),
            });
        }
        indexes.extend(self.index_of_active());
        let lacks_snapshot = self.lacks_snapshot();
        Some(CheckpointTicket {
            shared: Arc::clone(&self.shared),
            directory: self.directory.clone(),
            indexes,
            snapshot: lacks_snapshot.then(|| (self.log_end, snapshot::encode(self.log_end, &self.producers))),
            generation: self.generation,
            gate: Arc::clone(&self.gate),
        })
    }

    /// The active segment's index, as far as its data is flushed; `None` if the file says as much already.
    fn index_of_active(&self) -> Option<IndexWrite> {
        let active = self.active.as_ref()?;
        let marker = self.state_file.marker.filter(|marker| marker.segment_base == active.base())?;
        let all = &active.index.entries;
        let (count, data_bytes, end, max_timestamp_ms) = if marker.position == active.data_bytes {
            (all.len(), active.data_bytes, self.log_end, active.index.max_timestamp_ms)
        } else {
            // Where the last flush ended there may be no entry, but the last entry before it knows all that is needed.
            let count =
                all.partition_point(|entry| u64::from(entry.position) <= marker.position).checked_sub(1)?;
            let last = all[count];
            let end = active.base().advance(i64::from(last.relative_offset));
            (count, u64::from(last.position), end, last.max_timestamp_before_ms)
        };
        if data_bytes <= active.checkpoint_bytes {
            return None;
        }
        let from = active.entries_written.min(count);
        let entries = all[from..count].to_vec();
        let entries_crc = if from == active.entries_written {
            crc32c::crc32c_append(active.entries_crc, &encode(&entries))
        } else {
            crc32c::crc32c(&encode(&all[..count]))
        };
        let header = IndexHeader {
            seal: Seal::Open,
            data_bytes,
            end,
            max_timestamp_ms,
            created_ms: active.created_ms,
            entries_count: u32::try_from(count).unwrap_or(u32::MAX),
            entries_crc,
        };
        Some(IndexWrite { reader: Arc::clone(&active.reader), header, from, entries })
    }

    /// Takes a checkpoint back.
    pub fn complete_checkpoint(&mut self, written: WrittenCheckpoint) -> Result<(), CheckpointError> {
        written.result?;
        if written.generation != self.generation {
            return Ok(());
        }
        for (base, header) in written.indexes {
            if let Ok(at) = self.sealed.binary_search_by_key(&base, |sealed| sealed.reader.base) {
                // It may have been sealed after the ticket was taken: then the file tells of a part only.
                if header.seal == Seal::Sealed {
                    self.sealed[at].unwritten = false;
                    self.sealed[at].reader.index_written();
                }
            } else if let Some(active) = self.active.as_mut().filter(|active| active.base() == base) {
                active.checkpoint_bytes = header.data_bytes;
                active.entries_written = header.entries_count as usize;
                active.entries_crc = header.entries_crc;
            }
        }
        if let Some(end) = written.snapshot {
            self.note_snapshot(end);
        }
        // The slot is written by the flushes; from time to time one of them is made durable along with the data.
        self.unflushed.state = true;
        Ok(())
    }

    fn lacks_snapshot(&self) -> bool {
        self.state_file.exists && self.size_bytes() > 0 && self.snapshots.last() != Some(&self.log_end)
    }

    fn note_snapshot(&mut self, end: Offset) {
        if let Err(at) = self.snapshots.binary_search(&end) {
            self.snapshots.insert(at, end);
        }
        while self.snapshots.len() > SNAPSHOTS_KEPT {
            let oldest = self.snapshots.remove(0);
            // At once: its name may be given to another one before anybody sweeps.
            let _ = self.shared.disk.remove_file(&self.directory.join(file_name(oldest, SNAPSHOT_SUFFIX)));
        }
    }

    /// Makes sure that a snapshot accounts for all batches below `end`, which are about to go: what an older one says of
    /// a producer may be out of date by then, and an outdated sequence refuses what is right.
    pub(crate) fn cover_with_snapshot(&mut self, end: Offset) -> Result<(), CloseError> {
        if self.snapshots.iter().any(|known| *known >= end && *known <= self.flushed_end) {
            return Ok(());
        }
        // One that reaches beyond what is flushed would not survive a power cut.
        let _ = self.flush()?;
        let path = self.directory.join(file_name(self.log_end, SNAPSHOT_SUFFIX));
        write_snapshot(&self.shared, &path, &snapshot::encode(self.log_end, &self.producers))?;
        self.shared.disk.sync_dir(&self.directory).map_err(fault("sync", &self.directory))?;
        self.note_snapshot(self.log_end);
        Ok(())
    }

    /// Checkpoints and waits for it, in the caller's thread.
    pub fn checkpoint(&mut self) -> Result<(), CheckpointError> {
        match self.begin_checkpoint() {
            Some(ticket) => self.complete_checkpoint(ticket.write()),
            None => Ok(()),
        }
    }

    /// Flushes everything and leaves the log so that the next opening reads nothing but a few headers.
    pub fn close(&mut self) -> Result<Durable<Offset>, CloseError> {
        let flushed = self.flush()?;
        if !self.state_file.exists || self.health != Health::Good {
            return Ok(flushed);
        }
        if self.state_file.last == Some(self.state(Ending::Clean)) {
            // It was closed like this before, and nobody wrote to it since.
            self.health = Health::Closed;
            return Ok(flushed);
        }
        if let Err(CheckpointError::Io(error)) = self.checkpoint() {
            tracing::warn!(partition = %self.topic_partition, %error, "the next opening will read more");
        }
        if let Some(active) = &mut self.active {
            // Not synced: if it is undone, there are zeros.
            trim(&self.shared, &active.reader, active.data_bytes)?;
        }
        let file = self.write_state(Ending::Clean)?;
        file.sync_data().map_err(fault("sync", &self.directory.join(STATE_FILE)))?;
        // From here on an append would make the clean ending a lie.
        self.health = Health::Closed;
        Ok(flushed)
    }
}

fn encode(entries: &[IndexEntry]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    raw.extend(entries.iter().flat_map(IndexEntry::encode));
    raw
}
