//! The journal's file format and its recovery.
//!
//! `journal` and `snapshot` hold frames one after the other:
//!
//! ```text
//! length    u32, big-endian   bytes of index and body
//! checksum  u32, big-endian   CRC-32C of index and body
//! index     u64, big-endian   the record's place in the metadata log; frames of a snapshot carry the snapshot's
//! body      length - 8 bytes  the encoded record; empty in the frame that ends a snapshot
//! ```
//!
//! A journal's last frame may be torn (the change was never acknowledged): it is cut off. A bad frame with a good one
//! behind it is rot, and the broker does not start on it (M-20: never truncate what was acknowledged). A snapshot is
//! written beside, fsynced and renamed, and ends in an empty frame, so a cut one is never taken for whole.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_env::{Disk, DiskFile};
use thiserror::Error;

/// Bytes before the index.
const PREFIX_BYTES: usize = 8;
/// Largest body taken for real, in bytes.
const BODY_BYTES_MAX: usize = 16 << 20;
/// The journal is folded into a snapshot when it is longer than this, in bytes.
const FOLD_BYTES: u64 = 4 << 20;

/// Why the metadata cannot be read or written.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The disk refused.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Bytes that were acknowledged are damaged.
    #[error(
        "{path} is damaged at byte {position}: the metadata there was acknowledged, so the broker does not start \
         without it; restore the file from a copy"
    )]
    Rotten {
        /// The file.
        path: PathBuf,
        /// Where the damage begins.
        position: u64,
    },
    /// A failed fsync left it unknown what is on disk.
    #[error("an earlier fsync of the metadata failed; restart the broker so that it reads the disk again")]
    Poisoned,
}

/// One record with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) index: u64,
    pub(super) body: Vec<u8>,
}

/// The open journal.
#[derive(Debug)]
pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    file: Arc<dyn DiskFile>,
    end: u64,
    poisoned: bool,
}

/// What a data directory held.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    /// The index that the snapshot stands for, and its records.
    pub(super) snapshot: Option<(u64, Vec<Vec<u8>>)>,
    /// What came after it.
    pub(super) entries: Vec<Entry>,
    /// Bytes of a torn last frame that were cut off.
    pub(super) torn_bytes: u64,
}

impl Journal {
    /// Opens the journal in `directory`, making it if it isn't there.
    pub(super) fn open(disk: &Arc<dyn Disk>, directory: &Path) -> Result<(Journal, Recovered), JournalError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| JournalError::Io { path, error }
        };
        disk.create_dir_all(directory).map_err(at(directory))?;
        let snapshot_path = directory.join("snapshot");
        let mut recovered = Recovered::default();
        if disk.exists(&snapshot_path).map_err(at(&snapshot_path))? {
            let file = disk.open(&snapshot_path).map_err(at(&snapshot_path))?;
            recovered.snapshot = Some(read_snapshot(&*file, &snapshot_path)?);
        }
        let path = directory.join("journal");
        let exists = disk.exists(&path).map_err(at(&path))?;
        let file = if exists { disk.open(&path) } else { disk.create(&path) }.map_err(at(&path))?;
        let mut journal = Journal {
            disk: Arc::clone(disk),
            directory: directory.to_owned(),
            file,
            end: 0,
            poisoned: false,
        };
        if !exists {
            disk.sync_dir(directory).map_err(at(directory))?;
            if let Some(above) = directory.parent() {
                disk.sync_dir(above).map_err(at(above))?;
            }
        }
        journal.recover(&path, &mut recovered)?;
        Ok((journal, recovered))
    }

    fn recover(&mut self, path: &Path, recovered: &mut Recovered) -> Result<(), JournalError> {
        let io = |error| JournalError::Io { path: path.to_owned(), error };
        let bytes = read_all(&*self.file).map_err(io)?;
        let (frames, good) = read_frames(&bytes);
        let rest = bytes.get(good..).unwrap_or_default();
        if (1..rest.len()).any(|skip| rest.get(skip..).and_then(read_frame).is_some()) {
            return Err(JournalError::Rotten { path: path.to_owned(), position: good as u64 });
        }
        if !rest.is_empty() {
            recovered.torn_bytes = rest.len() as u64;
            self.file.truncate(good as u64).map_err(io)?;
            self.file.sync_data().map_err(io)?;
        }
        self.end = good as u64;
        recovered.entries = frames;
        Ok(())
    }

    /// Appends entries and fsyncs them. Nothing of them counts unless this returns `Ok`.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        let frames: Vec<u8> = entries.iter().flat_map(encode_frame).collect();
        let written = self.file.write_at(self.end, &[IoSlice::new(&frames)]);
        if let Err(error) = written {
            // What was written lies beyond the end and is written over by the next try, but a shorter next frame
            // would leave its tail to be read as rot: take it away now.
            self.poisoned = self.file.truncate(self.end).is_err();
            return Err(self.io(error));
        }
        if let Err(error) = self.file.sync_data() {
            self.poisoned = true;
            return Err(self.io(error));
        }
        self.end += frames.len() as u64;
        Ok(())
    }

    /// Whether it is time to fold the journal into a snapshot.
    pub(super) fn wants_folding(&self) -> bool {
        self.end > FOLD_BYTES
    }

    /// Replaces everything up to `index` by a snapshot of these records, then empties the journal. A crash in between
    /// leaves entries that the snapshot covers already, which are passed over by their index.
    pub(super) fn fold(&mut self, index: u64, records: &[Vec<u8>]) -> Result<(), JournalError> {
        let (temporary, path) = (self.directory.join("snapshot.tmp"), self.directory.join("snapshot"));
        let bodies = records.iter().cloned().chain([END_OF_SNAPSHOT]);
        let frames: Vec<u8> = bodies.flat_map(|body| encode_frame(&Entry { index, body })).collect();
        let write = || -> io::Result<()> {
            if self.disk.exists(&temporary)? {
                self.disk.remove_file(&temporary)?;
            }
            let file = self.disk.create(&temporary)?;
            file.write_at(0, &[IoSlice::new(&frames)])?;
            file.sync_data()?;
            self.disk.rename(&temporary, &path)?;
            self.disk.sync_dir(&self.directory)
        };
        write().map_err(|error| JournalError::Io { path, error })?;
        self.file.truncate(0).map_err(|error| self.io(error))?;
        self.end = 0;
        if let Err(error) = self.file.sync_data() {
            self.poisoned = true;
            return Err(self.io(error));
        }
        Ok(())
    }

    fn io(&self, error: io::Error) -> JournalError {
        JournalError::Io { path: self.directory.join("journal"), error }
    }
}

/// The body of the frame that ends a snapshot.
const END_OF_SNAPSHOT: Vec<u8> = Vec::new();

fn encode_frame(entry: &Entry) -> Vec<u8> {
    let mut frame = vec![0; PREFIX_BYTES];
    frame.extend_from_slice(&entry.index.to_be_bytes());
    frame.extend_from_slice(&entry.body);
    let length = (frame.len() - PREFIX_BYTES) as u32;
    let checksum = crc32c::crc32c(&frame[PREFIX_BYTES..]);
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame[4..8].copy_from_slice(&checksum.to_be_bytes());
    frame
}

/// The frame that begins here, if a whole and sound one does, with its length in bytes.
fn read_frame(bytes: &[u8]) -> Option<(Entry, usize)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    if !(8..=8 + BODY_BYTES_MAX).contains(&length) {
        return None;
    }
    let content = rest.get(..length)?;
    if crc32c::crc32c(content) != u32::from_be_bytes(*checksum) {
        return None;
    }
    let (index, body) = content.split_first_chunk::<8>()?;
    Some((Entry { index: u64::from_be_bytes(*index), body: body.to_vec() }, PREFIX_BYTES + length))
}

/// All sound frames from the start, and where they end.
fn read_frames(bytes: &[u8]) -> (Vec<Entry>, usize) {
    let (mut frames, mut position) = (Vec::new(), 0);
    while let Some((entry, length)) = bytes.get(position..).and_then(read_frame) {
        frames.push(entry);
        position += length;
    }
    (frames, position)
}

fn read_snapshot(file: &dyn DiskFile, path: &Path) -> Result<(u64, Vec<Vec<u8>>), JournalError> {
    let bytes = read_all(file).map_err(|error| JournalError::Io { path: path.to_owned(), error })?;
    let (mut frames, good) = read_frames(&bytes);
    match frames.pop() {
        Some(end) if end.body.is_empty() && good == bytes.len() => {
            Ok((end.index, frames.into_iter().map(|frame| frame.body).collect()))
        }
        _ => Err(JournalError::Rotten { path: path.to_owned(), position: good as u64 }),
    }
}

fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.len()?).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = vec![0; length];
    file.read_exact_at(0, &mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
