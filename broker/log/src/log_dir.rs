//! The directory that holds a broker's partitions: whose it is, who has it open, and what is in it.
//!
//! ```text
//! lock               held by the running broker, and names it
//! meta.properties    whose directory this is
//! clean-shutdown     there if the last life ended in order
//! pool/              space of retired segments, to be written over
//! partitions/        a directory per partition: {topic id in hex}-{partition}
//! ```
//! Directories nobody knows are shown, never removed (rule M-17).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use highwater_env::{Clock, DirectoryLock, Disk, EntryKind, LockError, Random};
use highwater_proto::TopicPartition;

use crate::config::{LogConfig, LogDirConfig};
use crate::counters::Counters;
use crate::error::{IoFault, fault};
use crate::holders::{Held, HolderQueue};
use crate::log::{DELETED_SUFFIX, PartitionLog, Shared};
use crate::meta::{FORMAT_VERSION, META_FILE, Meta};
use crate::open::{OpenError, RecoveryReport, read_small};
use crate::pool::Pool;

const PARTITIONS: &str = "partitions";
const POOL: &str = "pool";
const CLEAN_SHUTDOWN: &str = "clean-shutdown";

/// Why a data directory was refused. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum LogDirError {
    /// Another broker runs on it.
    #[error("{} is in use by {holder}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// What the holder says of itself.
        holder: String,
    },
    /// Written by another version.
    #[error("{} has format version {found}; this broker reads and writes version {supported}", path.display())]
    FormatVersion {
        /// The directory.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The one this broker knows.
        supported: u32,
    },
    /// Another cluster's or broker's.
    #[error("{} belongs to {key} {found}, and this broker has {expected}", path.display())]
    Identity {
        /// The directory.
        path: PathBuf,
        /// Which identity differs.
        key: &'static str,
        /// As the directory says.
        found: String,
        /// As the broker is set.
        expected: String,
    },
    /// Whose directory it is cannot be told, and there is data in it.
    #[error("{} is missing or damaged, and the directory holds data: restore the file from another copy", path.display())]
    Meta {
        /// The file.
        path: PathBuf,
    },
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] IoFault),
}

/// How the last life of the directory ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastShutdown {
    /// In order.
    Clean,
    /// By a crash, or never: the directory may be new.
    Unclean,
}

/// One name under `partitions/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionEntry {
    /// A partition's directory.
    Partition(TopicPartition),
    /// Something else: left alone.
    Stray(String),
}

/// An open data directory.
#[derive(Debug)]
pub struct LogDir {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    path: PathBuf,
    meta: Meta,
    last_shutdown: LastShutdown,
    /// Let go by [`LogDir::close`].
    lock: Mutex<Option<DirectoryLock>>,
}

impl LogDir {
    /// Takes the directory for this process, creating it if it is not there, and checks whose it is.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        random: &dyn Random,
        path: &Path,
        config: LogDirConfig,
    ) -> Result<LogDir, LogDirError> {
        let partitions = path.join(PARTITIONS);
        create_durably(&*disk, path)?;
        let holder = format!("broker {} (process {})", config.broker_id, std::process::id());
        let lock = disk.lock_directory(path, &holder).map_err(|error| match error {
            LockError::Held { holder } => LogDirError::InUse { path: path.to_owned(), holder },
            LockError::Io(error) => fault("lock", path)(error).into(),
        })?;
        let maps = HolderQueue::new(Held::Map, config.maps_max);
        let indexes = HolderQueue::new(Held::Index, config.index_cache_bytes_max);
        let handles = HolderQueue::new(Held::Handle, config.open_files_max);
        let limits = (config.pool_segments_max, config.pool_bytes_max);
        let pool = Pool::new(Arc::clone(&disk), path.join(POOL), limits, random.next_u64());
        let shared = Arc::new(Shared::new(disk, partitions.clone(), maps, indexes, handles, pool));
        let meta = check_meta(&shared, random, path, &config)?;
        let disk = &shared.disk;
        disk.create_dir_all(&partitions).map_err(fault("create", &partitions))?;
        shared.pool.clear()?;
        for entry in disk.list(&partitions).map_err(fault("list", &partitions))? {
            if entry.name.ends_with(DELETED_SUFFIX) {
                shared.remove_later(partitions.join(entry.name));
            }
        }
        let marker = path.join(CLEAN_SHUTDOWN);
        let clean = disk.exists(&marker).map_err(fault("look for", &marker))?;
        if clean {
            disk.remove_file(&marker).map_err(fault("remove", &marker))?;
        }
        disk.sync_dir(path).map_err(fault("sync", path))?;
        let last_shutdown = if clean { LastShutdown::Clean } else { LastShutdown::Unclean };
        Ok(LogDir { shared, clock, path: path.to_owned(), meta, last_shutdown, lock: Mutex::new(Some(lock)) })
    }

    /// Opens a partition, recovering it if the last life did not close it. One that is not there is empty, and takes
    /// no space before its first append. The caller opens each partition once.
    pub fn partition(
        &self,
        topic_partition: TopicPartition,
        config: LogConfig,
    ) -> Result<(PartitionLog, RecoveryReport), OpenError> {
        PartitionLog::open(&self.shared, topic_partition, config, self.clock.unix_ms())
    }

    /// Takes a partition away for good. Its files go at the next [`LogDir::sweep`]; open reads may go on.
    pub fn remove(&self, topic_partition: TopicPartition) -> Result<(), IoFault> {
        let partitions = &self.shared.partitions;
        let name = topic_partition.directory_name();
        let (from, to) = (partitions.join(&name), partitions.join(format!("{name}{DELETED_SUFFIX}")));
        let disk = &self.shared.disk;
        if !disk.exists(&from).map_err(fault("look for", &from))? {
            return Ok(());
        }
        if disk.exists(&to).map_err(fault("look for", &to))? {
            disk.remove_dir_all(&to).map_err(fault("remove", &to))?;
        }
        disk.rename(&from, &to).map_err(fault("rename", &from))?;
        disk.sync_dir(partitions).map_err(fault("sync", partitions))?;
        self.shared.remove_later(to);
        Ok(())
    }

    /// Removes up to `count` files and directories that were taken out of the way. Slow; for a background thread.
    /// Returns how many it removed.
    pub fn sweep(&self, count: usize) -> Result<usize, IoFault> {
        let mut removed = 0;
        for path in self.shared.take_removals(count) {
            let is_directory = path.parent() == Some(&*self.shared.partitions);
            let disk = &self.shared.disk;
            let result = if is_directory { disk.remove_dir_all(&path) } else { disk.remove_file(&path) };
            match result {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(fault("remove", &path)(error)),
            }
        }
        Ok(removed)
    }

    /// What is under `partitions/`, for the caller to compare with what should be.
    pub fn list_partitions(&self) -> Result<Vec<PartitionEntry>, IoFault> {
        let partitions = &self.shared.partitions;
        let entries = self.shared.disk.list(partitions).map_err(fault("list", partitions))?;
        let known = entries.into_iter().filter(|entry| !entry.name.ends_with(DELETED_SUFFIX));
        Ok(known
            .map(|entry| match TopicPartition::from_directory_name(&entry.name) {
                Some(topic_partition) if entry.kind == EntryKind::Directory => {
                    PartitionEntry::Partition(topic_partition)
                }
                _ => PartitionEntry::Stray(entry.name),
            })
            .collect())
    }

    /// Ends this life in order: to be called after every partition was closed. A crash from here on is one at rest, and the directory may be opened again.
    pub fn close(&self) -> Result<(), IoFault> {
        self.shared.replace_file(&self.path.join(CLEAN_SHUTDOWN), b"clean\n")?;
        self.shared.disk.sync_dir(&self.path).map_err(fault("sync", &self.path))?;
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(())
    }

    /// Whose directory this is.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// How the last life ended.
    pub fn last_shutdown(&self) -> LastShutdown {
        self.last_shutdown
    }

    /// Counts over all partitions.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// The size in bytes of the file system that holds the directory.
    pub fn total_bytes(&self) -> Result<u64, IoFault> {
        self.shared.disk.total_bytes(&self.path).map_err(fault("measure", &self.path))
    }

    /// Bytes that can still be written.
    pub fn free_bytes(&self) -> Result<u64, IoFault> {
        self.shared.disk.free_bytes(&self.path).map_err(fault("measure", &self.path))
    }
}

/// Creates a directory and those above it, and makes their names durable.
fn create_durably(disk: &dyn Disk, path: &Path) -> Result<(), IoFault> {
    let mut missing = Vec::new();
    for ancestor in path.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty()) {
        if disk.exists(ancestor).map_err(fault("look for", ancestor))? {
            break;
        }
        missing.push(ancestor);
    }
    disk.create_dir_all(path).map_err(fault("create", path))?;
    for ancestor in missing {
        let parent =
            ancestor.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        disk.sync_dir(parent).map_err(fault("sync", parent))?;
    }
    Ok(())
}

fn check_meta(
    shared: &Shared,
    random: &dyn Random,
    path: &Path,
    config: &LogDirConfig,
) -> Result<Meta, LogDirError> {
    let file = path.join(META_FILE);
    let Some(raw) = read_small(shared, &file)? else {
        let partitions = &shared.partitions;
        let in_use = shared.disk.exists(partitions).map_err(fault("look for", partitions))?
            && !shared.disk.list(partitions).map_err(fault("list", partitions))?.is_empty();
        if in_use {
            return Err(LogDirError::Meta { path: file });
        }
        let meta = Meta {
            format_version: FORMAT_VERSION,
            cluster_id: config.cluster_id.clone(),
            broker_id: config.broker_id,
            disk_id: format!("{:016x}{:016x}", random.next_u64(), random.next_u64()),
        };
        shared.replace_file(&file, meta.encode().as_bytes())?;
        return Ok(meta);
    };
    let meta = std::str::from_utf8(&raw).ok().and_then(Meta::decode);
    let Some(meta) = meta else { return Err(LogDirError::Meta { path: file }) };
    if meta.format_version != FORMAT_VERSION {
        let (found, supported) = (meta.format_version, FORMAT_VERSION);
        return Err(LogDirError::FormatVersion { path: path.to_owned(), found, supported });
    }
    let differs = |key, found: &dyn ToString, expected: &dyn ToString| LogDirError::Identity {
        path: path.to_owned(),
        key,
        found: found.to_string(),
        expected: expected.to_string(),
    };
    if meta.cluster_id != config.cluster_id {
        return Err(differs("cluster", &meta.cluster_id, &config.cluster_id));
    }
    if meta.broker_id != config.broker_id {
        return Err(differs("broker", &meta.broker_id, &config.broker_id));
    }
    Ok(meta)
}
