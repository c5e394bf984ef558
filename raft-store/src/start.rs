//! Opening a node's directory, and the reasons not to start.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use highwater_env::{DirectoryLock, Disk, LockError};

use crate::RaftConfig;
use crate::codec::{Put, Reader};
use crate::log::files::{self, TEMPORARY, at};
use crate::log::{self, Recovered};
use crate::snapshot::Snapshots;
use crate::types::shown;

const IDENTITY: &str = "identity";
const MAGIC: &[u8; 8] = b"HWRAFTID";

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process has the directory.
    #[error("{} is in use by {holder}", directory.display())]
    Locked {
        /// The node's directory.
        directory: PathBuf,
        /// What the holder says about itself.
        holder: String,
    },
    /// The directory is another node's.
    #[error(
        "{} belongs to node {found_id} of cluster '{found_cluster}', not to node {id} of cluster '{cluster}'",
        directory.display()
    )]
    OtherNode {
        /// The directory.
        directory: PathBuf,
        /// Whose it is.
        found_id: u64,
        /// And of which cluster.
        found_cluster: String,
        /// Who was to start.
        id: u64,
        /// And in which cluster.
        cluster: String,
    },
    /// Something that was durable is no longer what it was. Starting without it could give a vote twice or lose what was
    /// acknowledged.
    #[error(
        "{} is damaged: {what}. Nothing was deleted. Do not empty the directory and start again under the same id: \
         remove this node from the cluster, and let it join again with a new id and an empty directory",
        path.display()
    )]
    Damaged {
        /// The file, or the directory if a file is missing.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The disk refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was to be read or written.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The settings contradict each other.
    #[error("raft settings: {reason}")]
    Config {
        /// How.
        reason: String,
    },
    /// The state could not be brought back, for example because the state machine refuses the snapshot.
    #[error("the raft node does not start: {reason}")]
    Recovery {
        /// Why.
        reason: String,
    },
}

impl StartError {
    pub(crate) fn damaged(path: &Path, what: impl ToString) -> StartError {
        StartError::Damaged { path: path.to_owned(), what: what.to_string() }
    }
}

/// What a directory holds.
pub(crate) struct Opened {
    pub(crate) log: Recovered,
    pub(crate) snapshots: Snapshots,
}

/// Opens a directory, or makes one for a new node. Waits for the disk.
pub(crate) fn open(config: &RaftConfig, disk: Arc<dyn Disk>) -> Result<Opened, StartError> {
    let directory = &config.directory;
    disk.create_dir_all(directory).map_err(at(directory))?;
    if let Some(parent) = directory.parent() {
        disk.sync_dir(parent).map_err(at(parent))?;
    }
    let lock = lock(&*disk, config)?;
    identify(&*disk, config)?;
    let snapshots = Snapshots::open(Arc::clone(&disk), directory)?;
    let log = log::open(disk, directory, config.segment_bytes, lock)?;
    let snapshot = snapshots.last_log_id();
    // A purge needs a durable snapshot, and what is committed is in the log or in a snapshot.
    if log.purged > snapshot {
        let what = format!(
            "the log begins after {}, but the newest snapshot is of {}",
            shown(log.purged.as_ref()),
            shown(snapshot.as_ref())
        );
        return Err(StartError::damaged(directory, what));
    }
    if log.committed > log.last.max(snapshot) {
        let what = format!(
            "{} was committed, but the log ends with {}",
            shown(log.committed.as_ref()),
            shown(log.last.as_ref())
        );
        return Err(StartError::damaged(directory, what));
    }
    Ok(Opened { log, snapshots })
}

fn lock(disk: &dyn Disk, config: &RaftConfig) -> Result<DirectoryLock, StartError> {
    let directory = &config.directory;
    let holder = format!("raft node {} of process {}", config.id, std::process::id());
    disk.lock_directory(directory, &holder).map_err(|error| match error {
        LockError::Held { holder } => StartError::Locked { directory: directory.clone(), holder },
        LockError::Io(source) => StartError::Io { path: directory.clone(), source },
    })
}

/// Compares the directory's owner, or takes possession of an empty one.
///
/// ```text
/// 0 magic HWRAFTID | 8 crc32c u32 of the rest | 12 node id u64 | 20 cluster name (length u32, UTF-8)
/// ```
fn identify(disk: &dyn Disk, config: &RaftConfig) -> Result<(), StartError> {
    let path = config.directory.join(IDENTITY);
    let mut body = Vec::new();
    body.u64(config.id);
    body.bytes(config.cluster_name.as_bytes());
    if !disk.exists(&path).map_err(at(&path))? {
        let listed = disk.list(&config.directory).map_err(at(&config.directory))?;
        if let Some(other) =
            listed.iter().find(|entry| entry.name != "lock" && !entry.name.ends_with(TEMPORARY))
        {
            let what = format!("there is {} but no {IDENTITY}", other.name);
            return Err(StartError::damaged(&config.directory, what));
        }
        let mut bytes = MAGIC.to_vec();
        bytes.u32(crc32c::crc32c(&body));
        bytes.extend_from_slice(&body);
        files::publish(disk, &config.directory, IDENTITY, bytes.len() as u64, &bytes).map_err(at(&path))?;
        return Ok(());
    }
    let file = disk.open(&path).map_err(at(&path))?;
    let bytes = Bytes::from(files::read_all(&*file).map_err(at(&path))?);
    let read = |bytes: Bytes| {
        let mut reader = Reader::new(bytes.clone());
        let magic = reader.take(8)?;
        let valid = magic == MAGIC[..] && reader.u32()? == crc32c::crc32c(&bytes[12..]);
        Ok::<_, crate::codec::Malformed>((valid, reader.u64()?, reader.text()?))
    };
    match read(bytes) {
        Ok((true, found_id, found_cluster)) => {
            if found_id == config.id && found_cluster == config.cluster_name {
                return Ok(());
            }
            Err(StartError::OtherNode {
                directory: config.directory.clone(),
                found_id,
                found_cluster,
                id: config.id,
                cluster: config.cluster_name.clone(),
            })
        }
        Ok((false, ..)) => Err(StartError::damaged(&path, "wrong checksum")),
        Err(error) => Err(StartError::damaged(&path, error)),
    }
}
