//! All partitions of this broker: opened when first asked for, closed together.
//!
//! A partition that nobody touched since the start costs an entry of the metadata and nothing else: its log opens, and
//! recovers if need be, when it is first produced to or read from.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use highwater_core::metadata::Image;
use highwater_core::settings::{TimestampKind, TopicSettings};
use highwater_log::{
    CleanupPolicy, LogConfig, LogDir, LogDirConfig, LogDirError, PartitionEntry, RecoveryReport,
};
use highwater_proto::TopicPartition;
use highwater_proto::record::TimestampType;
use thiserror::Error;

use super::flusher::Flusher;
use super::owner::{LAG_MAX, Partition};
use super::role::Duty;
use super::surroundings::{Lease, Surroundings};
use super::throttles::Throttles;
use crate::broker::Environment;
use crate::config::BrokerConfig;
use crate::metrics::Metrics;

/// Of the files that the process may have open, logs that are written keep one in so many; the rest is for clients, maps
/// being made and everything else.
const FILES_SHARE: usize = 4;
/// They keep at least so many,
const OPEN_FILES_LEAST: usize = 16;
/// and at most so many.
const OPEN_FILES_MOST: usize = 8192;
/// Threads that close logs at the end.
const CLOSERS: usize = 16;

/// Why a log does not open. Cloned to everybody who asks for the partition.
#[derive(Clone, Debug, Error)]
pub enum OpenError {
    /// The data directory as a whole.
    #[error(transparent)]
    Directory(#[from] Arc<LogDirError>),
    /// One partition.
    #[error("partition {id} is offline: {error}")]
    Partition {
        /// Which one.
        id: TopicPartition,
        /// What its log says.
        error: Arc<highwater_log::OpenError>,
    },
    /// The flusher threads.
    #[error("could not start the flusher threads: {0}")]
    Threads(Arc<std::io::Error>),
}

/// What went wrong while everything was closed.
#[derive(Debug, Error)]
#[error("{failed} partition(s) could not be flushed and closed; the first: {first}")]
pub struct CloseError {
    /// How many.
    pub failed: usize,
    /// The first one's error.
    pub first: String,
}

/// The partitions and their directory.
pub struct PartitionTable {
    directory: Arc<LogDir>,
    path: PathBuf,
    partitions: RwLock<HashMap<TopicPartition, Arc<Partition>>>,
    opening: Opening,
    flusher: Flusher,
    around: Surroundings,
    duty: Box<DutyOf>,
    metrics: Arc<Metrics>,
}

/// What the newest metadata makes of a partition on this broker.
pub(crate) type DutyOf = dyn Fn(TopicPartition) -> Option<Duty> + Send + Sync;

impl std::fmt::Debug for PartitionTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartitionTable").field("path", &self.path).finish_non_exhaustive()
    }
}

impl PartitionTable {
    /// Takes the data directory and starts the flusher threads.
    ///
    /// # Errors
    /// [`OpenError`].
    pub(crate) fn open(
        environment: &Environment,
        config: &BrokerConfig,
        metrics: &Arc<Metrics>,
        duty: Box<DutyOf>,
    ) -> Result<PartitionTable, OpenError> {
        let mut directory_config = LogDirConfig::new(config.cluster_name.clone(), config.broker_id);
        directory_config.maps_max = config.log_maps_max;
        let open_files_max = environment.disk.open_files_max() / FILES_SHARE;
        directory_config.open_files_max = open_files_max.clamp(OPEN_FILES_LEAST, OPEN_FILES_MOST);
        directory_config.pool_bytes_max = config.log_recycle_bytes;
        let Environment { disk, clock, random } = environment;
        let (path, clock) = (config.data_dir.clone(), Arc::clone(clock));
        let directory =
            LogDir::open(Arc::clone(disk), Arc::clone(&clock), &**random, &path, directory_config)
                .map_err(Arc::new)?;
        let flusher =
            Flusher::start(config.flush_threads).map_err(|error| OpenError::Threads(Arc::new(error)))?;
        let directory = Arc::new(directory);
        Ok(PartitionTable {
            directory,
            path,
            partitions: RwLock::default(),
            opening: Opening::default(),
            around: Surroundings {
                broker: config.broker_id,
                lease: Arc::new(Lease::expired()),
                lag_max: LAG_MAX.max(config.cluster.session_timeout),
                attention: Arc::default(),
                queue: flusher.queue(),
                clock,
                metrics: Arc::clone(metrics),
                throttles: Arc::new(Throttles::new(config.replication_throttle_rate)),
            },
            flusher,
            duty,
            metrics: Arc::clone(metrics),
        })
    }

    /// The partition if it is open.
    #[must_use]
    pub fn get(&self, id: TopicPartition) -> Option<Arc<Partition>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Every open partition.
    #[must_use]
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// What all partitions share.
    #[must_use]
    pub(crate) fn surroundings(&self) -> &Surroundings {
        &self.around
    }

    /// The directory that holds the logs.
    #[must_use]
    pub(crate) fn directory(&self) -> &Arc<LogDir> {
        &self.directory
    }

    /// Opens a partition on a blocking thread, unless it is open by then.
    ///
    /// # Errors
    /// [`OpenError::Partition`].
    pub async fn open_one(
        self: &Arc<PartitionTable>,
        id: TopicPartition,
        settings: Arc<TopicSettings>,
    ) -> Result<Arc<Partition>, OpenError> {
        let table = Arc::clone(self);
        self.opening.awaited.fetch_add(1, Ordering::Relaxed);
        let opening = tokio::task::spawn_blocking(move || {
            let opened = table.open_blocking(id, settings);
            table.opening.awaited.fetch_sub(1, Ordering::Relaxed);
            opened
        });
        opening.await.expect("opening a log does not panic")
    }

    /// Whether somebody waits for a partition to open, so that those who open ahead should not stand in the way.
    #[must_use]
    pub(crate) fn is_opening_for_somebody(&self) -> bool {
        self.opening.awaited.load(Ordering::Relaxed) > 0
    }

    /// Opens a partition on this thread, unless it is open by then.
    ///
    /// # Errors
    /// [`OpenError::Partition`].
    pub(crate) fn open_blocking(
        &self,
        id: TopicPartition,
        settings: Arc<TopicSettings>,
    ) -> Result<Arc<Partition>, OpenError> {
        let _turn = self.opening.enter(id);
        if let Some(partition) = self.get(id) {
            return Ok(partition);
        }
        let (log, report) = self.directory.partition(id, log_config(&settings)).map_err(|error| {
            tracing::error!(partition = %id, %error, "a partition does not open");
            OpenError::Partition { id, error: Arc::new(error) }
        })?;
        self.report_recovery(id, &report);
        let partition = Arc::new(Partition::new(log, id, settings, self.around.clone()));
        let mut partitions = self.partitions.write().unwrap_or_else(PoisonError::into_inner);
        partitions.insert(id, Arc::clone(&partition));
        drop(partitions);
        self.metrics.partitions_open.inc();
        // Looked up only now: a change that is carried out meanwhile finds the partition here, or came before this.
        if let Some(duty) = (self.duty)(id) {
            partition.assign(duty);
        }
        Ok(partition)
    }

    /// Removes partitions of a deleted topic; their files go in the background. Blocks on the disk.
    pub fn remove(&self, ids: impl Iterator<Item = TopicPartition>) {
        for id in ids {
            // Nobody opens it meanwhile: the metadata no longer has it, and an opening under way is waited for.
            let _turn = self.opening.enter(id);
            let partition = self.partitions.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
            if let Some(partition) = partition {
                self.metrics.partitions_open.dec();
                partition.set_gone();
            }
            if let Err(error) = self.directory.remove(id) {
                tracing::warn!(partition = %id, %error, "a deleted partition's files could not be removed yet");
            }
        }
    }

    /// Passes new settings on to those partitions that are open.
    pub fn update_settings(&self, ids: impl Iterator<Item = TopicPartition>, settings: &Arc<TopicSettings>) {
        for partition in ids.filter_map(|id| self.get(id)) {
            partition.update_settings(settings);
        }
    }

    /// Says which partition directories no topic claims. They are left where they are: one broker's opinion is not
    /// enough to delete data (M-17).
    pub(crate) fn report_strays(&self, image: &Image) {
        match self.directory.list_partitions() {
            Ok(entries) => {
                let claimed = |entry: &PartitionEntry| match entry {
                    PartitionEntry::Partition(id) => image.has(*id),
                    PartitionEntry::Stray(_) => false,
                };
                for stray in entries.iter().filter(|entry| !claimed(entry)) {
                    tracing::warn!(?stray, "no topic claims this directory; it is left alone");
                }
            }
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "could not list the partitions")
            }
        }
    }

    fn report_recovery(&self, id: TopicPartition, report: &RecoveryReport) {
        if report.is_unclean() {
            self.metrics.partitions_offline.inc();
            tracing::error!(partition = %id, ?report, "a partition lost data that was flushed; it takes no appends");
        } else if report.torn_bytes > 0 {
            let bytes = report.torn_bytes;
            tracing::info!(partition = %id, bytes, "cut off a torn tail that nobody was promised");
        }
    }

    /// Flushes and closes everything. Blocks on the disk.
    ///
    /// # Errors
    /// [`CloseError`]; what failed is recovered at the next start.
    pub fn close(&self) -> Result<(), CloseError> {
        for partition in self.all() {
            partition.flush_soon();
        }
        self.flusher.stop();
        let mut errors = self.close_logs();
        if let Err(error) = self.directory.close() {
            errors.push(error.to_string());
        }
        let failed = errors.len();
        match errors.into_iter().next() {
            Some(first) => Err(CloseError { failed, first }),
            None => Ok(()),
        }
    }
}

impl PartitionTable {
    /// Several at once, so that the device can merge their syncs. Returns what went wrong.
    fn close_logs(&self) -> Vec<String> {
        let left = Mutex::new(self.all().into_iter());
        let errors = Mutex::new(Vec::new());
        let close_some = || {
            loop {
                let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(partition) = next else { break };
                if let Some(Err(error)) = partition.with_log(|log, _, _| log.close()) {
                    let error = format!("{}: {error}", partition.id());
                    errors.lock().unwrap_or_else(PoisonError::into_inner).push(error);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..CLOSERS {
                scope.spawn(close_some);
            }
            close_some();
        });
        errors.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which logs are being opened or removed, so that none is opened twice; others may be at the same time.
#[derive(Debug, Default)]
struct Opening {
    ids: Mutex<HashSet<TopicPartition>>,
    left: Condvar,
    /// How many are opened for somebody who waits.
    awaited: AtomicUsize,
}

/// The right to open or remove one log, while it lives.
struct Turn<'a> {
    opening: &'a Opening,
    id: TopicPartition,
}

impl Opening {
    /// Waits until nobody else is at this log.
    fn enter(&self, id: TopicPartition) -> Turn<'_> {
        let taken = |ids: &mut HashSet<TopicPartition>| ids.contains(&id);
        let ids = self.left.wait_while(self.lock(), taken);
        ids.unwrap_or_else(PoisonError::into_inner).insert(id);
        Turn { opening: self, id }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<TopicPartition>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.opening.lock().remove(&self.id);
        self.opening.left.notify_all();
    }
}

/// The part of a broker that is alone.
#[cfg(test)]
pub(super) fn sole_duty(id: highwater_proto::BrokerId) -> Duty {
    use highwater_core::replication::Assignment;
    use highwater_proto::{BrokerEpoch, LeaderEpoch, PartitionEpoch};

    let (replicas, partition_epoch) = (vec![id], PartitionEpoch(0));
    let (isr, leaving) = (replicas.clone(), Vec::new());
    let assignment = Assignment { replicas, isr, leaving, partition_epoch, recovering: false };
    Duty {
        leader: Some(id),
        leader_epoch: LeaderEpoch(0),
        assignment,
        counted: true,
        replication_factor: 1,
        broker_epoch: BrokerEpoch(0),
    }
}

/// A topic's settings as its logs understand them.
pub(super) fn log_config(settings: &TopicSettings) -> LogConfig {
    let unsigned = |n: i64| u64::try_from(n).unwrap_or(0);
    LogConfig {
        segment_bytes_max: unsigned(settings.segment_bytes),
        segment_age_max_ms: settings.segment_ms,
        index_interval_bytes: u32::try_from(settings.index_interval_bytes).unwrap_or(u32::MAX),
        retention_bytes_max: settings.retention_bytes.map(unsigned),
        retention_age_max_ms: settings.retention_ms,
        cleanup: match (settings.cleanup_policy.deletes(), settings.cleanup_policy.compacts()) {
            (true, true) => CleanupPolicy::CompactAndDelete,
            (false, true) => CleanupPolicy::Compact,
            _ => CleanupPolicy::Delete,
        },
        timestamp_type: match settings.message_timestamp_type {
            TimestampKind::CreateTime => TimestampType::CreateTime,
            TimestampKind::LogAppendTime => TimestampType::LogAppendTime,
        },
        delete_retention_ms: settings.delete_retention_ms,
        compaction_lag_min_ms: settings.min_compaction_lag_ms,
        cleanable_percent_min: (settings.min_cleanable_dirty_ratio * 100.0) as u8,
        ..LogConfig::default()
    }
}
