//! Snapshot files: the state machine's data with the log id and the membership it stands at, as one checked unit.
//!
//! ```text
//! 0   magic             HWRAFTSN
//! 8   head crc32c u32   of bytes 12..40 and the meta
//! 12  version u32       1
//! 16  meta length u32
//! 20  digest u32        of the state machine that this was taken from
//! 24  data length u64
//! 32  data crc32c u32
//! 36  zero u32
//! 40  meta              option of log id, stored membership (codec.rs), then the data, then nothing
//! ```
//!
//! A file is written beside the old one, synced, read back, named `snapshot-{index}-{term}`, its name synced, and only
//! then are older ones removed. So the newest named file is always whole; if it is not, it rotted. The same bytes go over
//! the wire to a node that needs them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use highwater_env::Disk;

use crate::StartError;
use crate::codec::{Malformed, Put, Reader};
use crate::log::files::{self, TEMPORARY, at};
use crate::types::{LogId, SnapshotMeta, term_of};

const MAGIC: &[u8; 8] = b"HWRAFTSN";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 40;
const PREFIX: &str = "snapshot-";

/// A snapshot's bytes, checked.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// All of the file.
    pub(crate) bytes: Bytes,
    data_at: usize,
    /// The digest of the state machine it was taken from.
    pub(crate) digest: u32,
}

impl Image {
    pub(crate) fn encode(meta: &SnapshotMeta, digest: u32, data: &[u8]) -> Image {
        let mut meta_bytes = Vec::new();
        meta_bytes.log_id_option(meta.last_log_id.as_ref());
        meta_bytes.stored_membership(&meta.last_membership);
        let mut bytes = Vec::with_capacity(HEAD_BYTES + meta_bytes.len() + data.len());
        bytes.extend_from_slice(MAGIC);
        bytes.u32(0);
        bytes.u32(VERSION);
        bytes.u32(u32::try_from(meta_bytes.len()).expect("a membership is bounded far below 4 GiB"));
        bytes.u32(digest);
        bytes.u64(data.len() as u64);
        bytes.u32(crc32c::crc32c(data));
        bytes.u32(0);
        bytes.extend_from_slice(&meta_bytes);
        let data_at = bytes.len();
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(data);
        Image { bytes: Bytes::from(bytes), data_at, digest }
    }

    /// Checks the bytes, all of them.
    pub(crate) fn decode(bytes: Bytes) -> Result<(SnapshotMeta, Image), Malformed> {
        let mut reader = Reader::new(bytes.clone());
        if reader.take(8)? != MAGIC[..] {
            return Err(Malformed { what: "snapshot: not one" });
        }
        let crc = reader.u32()?;
        if reader.u32()? != VERSION {
            return Err(Malformed { what: "snapshot: written by another version" });
        }
        let meta_len = reader.u32()? as usize;
        let digest = reader.u32()?;
        let data_len = reader.u64()?;
        let data_crc = reader.u32()?;
        reader.u32()?;
        let meta = reader.take(meta_len)?;
        let data_at = HEAD_BYTES + meta_len;
        if crc32c::crc32c(&bytes[12..data_at]) != crc {
            return Err(Malformed { what: "snapshot: wrong checksum of the head" });
        }
        let data = &bytes[data_at..];
        if data.len() as u64 != data_len || crc32c::crc32c(data) != data_crc {
            return Err(Malformed { what: "snapshot: wrong length or checksum of the data" });
        }
        let mut meta = Reader::new(meta);
        let last_log_id = meta.log_id_option()?;
        let last_membership = meta.stored_membership()?;
        meta.end()?;
        Ok((SnapshotMeta { last_log_id, last_membership }, Image { bytes, data_at, digest }))
    }

    /// What the state machine wrote.
    pub(crate) fn data(&self) -> &[u8] {
        &self.bytes[self.data_at..]
    }
}

/// The snapshots of a directory: one that counts, while another may be on its way.
#[derive(Debug)]
pub(crate) struct Snapshots {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    /// Also held while a file is published or read, so that none goes while it is read.
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    current: Option<Current>,
    /// The directory is about to be let go: another node may open it.
    closed: bool,
}

#[derive(Clone, Debug)]
struct Current {
    name: String,
    meta: SnapshotMeta,
}

fn name(id: &LogId) -> String {
    format!("{PREFIX}{:020}-{:020}", id.index, term_of(id))
}

impl Snapshots {
    /// Finds and checks the newest snapshot, and removes older ones.
    pub(crate) fn open(disk: Arc<dyn Disk>, directory: &Path) -> Result<Snapshots, StartError> {
        let listed = disk.list(directory).map_err(at(directory))?;
        let mut names: Vec<String> = listed
            .into_iter()
            .map(|entry| entry.name)
            .filter(|name| name.starts_with(PREFIX) && !name.ends_with(TEMPORARY))
            .collect();
        names.sort_unstable();
        let mut current = None;
        if let Some(newest) = names.pop() {
            let path = directory.join(&newest);
            let (meta, _) =
                read(&*disk, &path).map_err(at(&path))?.map_err(|error| StartError::damaged(&path, error))?;
            if meta.last_log_id.as_ref().map(name).as_ref() != Some(&newest) {
                return Err(StartError::damaged(&path, "it is another snapshot than its name says"));
            }
            current = Some(Current { name: newest, meta });
        }
        for old in names {
            let path = directory.join(old);
            disk.remove_file(&path).map_err(at(&path))?;
        }
        disk.sync_dir(directory).map_err(at(directory))?;
        Ok(Snapshots {
            disk,
            directory: directory.to_owned(),
            held: Mutex::new(Held { current, closed: false }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log id of the current snapshot.
    pub(crate) fn last_log_id(&self) -> Option<LogId> {
        self.lock().current.as_ref().and_then(|current| current.meta.last_log_id)
    }

    /// The current snapshot. Waits for the disk.
    pub(crate) fn load(&self) -> io::Result<Option<(SnapshotMeta, Image)>> {
        let held = self.lock();
        let Some(Current { name, .. }) = &held.current else { return Ok(None) };
        let found = read(&*self.disk, &self.directory.join(name))?;
        found.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Waits for a snapshot that is being published, and lets none follow: a snapshot that was under way when the node
    /// stopped must not change a directory that is another's by then.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Makes a snapshot the current one, unless the current one is as new. Waits for the disk. `before_naming` runs when
    /// the bytes are safe and before they count; its error leaves the old snapshot in place.
    pub(crate) fn publish(
        &self,
        meta: &SnapshotMeta,
        image: &Image,
        before_naming: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut held = self.lock();
        if held.closed {
            return Err(io::Error::other("the node has stopped"));
        }
        let newest = held.current.as_ref().and_then(|current| current.meta.last_log_id);
        let (Some(id), true) = (&meta.last_log_id, meta.last_log_id > newest) else {
            // The same snapshot again, or an older one than we have: there is nothing to keep.
            return before_naming();
        };
        let new = name(id);
        let len = image.bytes.len() as u64;
        let file = files::write_temporary(&*self.disk, &self.directory, &new, len, &image.bytes)?;
        if files::read_all(&*file)? != image.bytes {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the snapshot reads differently than written",
            ));
        }
        drop(file);
        before_naming()?;
        files::finish(&*self.disk, &self.directory, &new)?;
        let old = held.current.replace(Current { name: new, meta: meta.clone() });
        if let Some(old) = old {
            self.disk.remove_file(&self.directory.join(old.name))?;
        }
        Ok(())
    }
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Result<(SnapshotMeta, Image), Malformed>> {
    let file = disk.open(path)?;
    Ok(Image::decode(Bytes::from(files::read_all(&*file)?)))
}
