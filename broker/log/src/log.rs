//! One partition's log: what it is made of, and what can be asked of it at no cost.
//!
//! The operations live in files of their own (`append`, `flush`, `read`, ...), all of them methods of
//! [`PartitionLog`]. It is a plain value: the caller keeps it behind a lock and never holds that lock over a wait.
//!
//! Invariants: log start <= flushed end <= log end; segments follow each other without overlap; the active one is last.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use highwater_env::{Disk, DiskFile};
use highwater_proto::{LeaderEpoch, Offset, TopicPartition};

use crate::config::LogConfig;
use crate::counters::Counters;
use crate::epochs::{Change, LeaderEpochs};
use crate::error::{IoFault, fault};
use crate::flush::Durable;
use crate::handles::LazyFile;
use crate::holders::HolderQueue;
use crate::pool::Pool;
use crate::producers::ProducerStates;
use crate::segment::{Active, Sealed};
use crate::state::{self, Ending, PartitionState, STATE_FILE};

/// What the partitions of a directory have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    /// Where the partitions' directories are.
    pub(crate) partitions: PathBuf,
    pub(crate) maps: HolderQueue,
    pub(crate) indexes: HolderQueue,
    pub(crate) handles: HolderQueue,
    pub(crate) pool: Pool,
    pub(crate) counters: Counters,
    /// Renamed out of the way; to be removed when somebody has the time.
    removals: Mutex<Vec<PathBuf>>,
}

impl Shared {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        partitions: PathBuf,
        maps: HolderQueue,
        indexes: HolderQueue,
        handles: HolderQueue,
        pool: Pool,
    ) -> Shared {
        let (counters, removals) = (Counters::default(), Mutex::default());
        Shared { disk, partitions, maps, indexes, handles, pool, counters, removals }
    }

    /// Leaves a file or directory to be removed later.
    pub(crate) fn remove_later(&self, path: PathBuf) {
        self.removals.lock().unwrap_or_else(PoisonError::into_inner).push(path);
    }

    /// What is to be removed, up to `count` of it.
    pub(crate) fn take_removals(&self, count: usize) -> Vec<PathBuf> {
        let mut removals = self.removals.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = removals.len().saturating_sub(count);
        removals.split_off(keep)
    }

    /// Calls what opens a file; if too many are open, once more after those that nobody needs were closed.
    pub(crate) fn with_handle<T>(&self, open: impl Fn() -> std::io::Result<T>) -> std::io::Result<T> {
        match open() {
            Err(error) if highwater_env::disk::is_out_of_handles(&error) => {
                self.handles.let_go();
                open()
            }
            result => result,
        }
    }

    /// Opens a file that is there.
    pub(crate) fn open(&self, path: &Path) -> std::io::Result<Arc<dyn DiskFile>> {
        self.with_handle(|| self.disk.open(path))
    }

    /// Creates a file, in the place of what a failed attempt may have left.
    pub(crate) fn create_fresh(&self, path: &Path) -> Result<Arc<dyn DiskFile>, IoFault> {
        match self.with_handle(|| self.disk.create(path)) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                self.disk.remove_file(path).map_err(fault("remove", path))?;
                self.disk.create(path).map_err(fault("create", path))
            }
            Err(error) => Err(fault("create", path)(error)),
        }
    }

    /// Writes a small file aside, syncs it and puts it in its place. The directory is left to be synced.
    pub(crate) fn replace_file(&self, path: &Path, bytes: &[u8]) -> Result<(), IoFault> {
        let mut aside = path.as_os_str().to_owned();
        aside.push(TEMPORARY_SUFFIX);
        let aside = PathBuf::from(aside);
        let file = self.create_fresh(&aside)?;
        file.write_at(0, &[std::io::IoSlice::new(bytes)]).map_err(fault("write", &aside))?;
        file.sync_data().map_err(fault("sync", &aside))?;
        self.disk.rename(&aside, path).map_err(fault("rename", &aside))
    }
}

/// How names of half-written files end.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";
/// How names of copies end that have not taken their segment's place yet.
pub(crate) const CLEANED_SUFFIX: &str = ".cleaned";
/// How names of files and directories end that are to be removed.
pub(crate) const DELETED_SUFFIX: &str = ".deleted";

/// Whether the log takes appends and what it knows to be wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Nothing is wrong.
    #[default]
    Good,
    /// A sync failed: nothing more is appended or acknowledged until the log is opened again (rule M-22).
    Poisoned {
        /// What failed.
        reason: String,
    },
    /// It was closed: only reads are left.
    Closed,
    /// Data that had been flushed is damaged or gone: the rest can be read, nothing is appended (rule M-20).
    Rotten(RottenRange),
}

/// Flushed records that are damaged or gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RottenRange {
    /// The segment's file.
    pub path: PathBuf,
    /// Where the damage begins in it, in bytes.
    pub position: u64,
    /// The first offset that is affected.
    pub offset: Offset,
    /// The offset from which on records can be read again.
    pub end: Offset,
}

impl RottenRange {
    /// How many offsets are affected.
    pub fn offsets_count(&self) -> u64 {
        u64::try_from(self.end.0.saturating_sub(self.offset.0)).unwrap_or(0)
    }
}

/// One partition on disk.
#[derive(Debug)]
pub struct PartitionLog {
    pub(crate) shared: Arc<Shared>,
    pub(crate) topic_partition: TopicPartition,
    pub(crate) directory: PathBuf,
    pub(crate) config: LogConfig,
    /// Oldest first.
    pub(crate) sealed: Vec<Sealed>,
    /// None until the first append after the log was created or emptied.
    pub(crate) active: Option<Active>,
    pub(crate) log_start: Offset,
    pub(crate) log_end: Offset,
    pub(crate) flushed_end: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) producers: ProducerStates,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) health: Health,
    /// By offset; the first one is in `health`.
    pub(crate) rotten: Vec<RottenRange>,
    pub(crate) unflushed: Unflushed,
    pub(crate) state_file: StateFile,
    /// Below it every key was compacted in this life of the log; compacting again is no harm.
    pub(crate) cleaned_end: Offset,
    /// End offsets of the producer snapshots on disk, oldest first.
    pub(crate) snapshots: Vec<Offset>,
    /// Keeps a checkpoint that is being written from outliving a truncation: the generation it must still be.
    pub(crate) gate: Arc<Mutex<u64>>,
    /// Counts truncations; a flush begun before one proves nothing about what is there now.
    pub(crate) generation: u64,
}

/// What the next flush has to make durable besides the active segment's bytes.
#[derive(Debug, Default)]
pub(crate) struct Unflushed {
    /// Segments sealed since the last flush.
    pub(crate) files: Vec<Arc<dyn DiskFile>>,
    /// Names in the partition's directory changed.
    pub(crate) directory: bool,
    /// The partition's directory is new.
    pub(crate) parent: bool,
    /// Names may have changed in an earlier life that was killed: no reason to flush, but to be synced when something is.
    pub(crate) names_doubtful: bool,
    pub(crate) epochs: bool,
    pub(crate) state: bool,
    pub(crate) in_flight: bool,
}

/// `partition.state`, opened when it is written.
#[derive(Debug, Default)]
pub(crate) struct StateFile {
    pub(crate) file: Option<Arc<LazyFile>>,
    /// Of the slot written last.
    pub(crate) sequence: u64,
    pub(crate) exists: bool,
    /// What the slot written or read last says.
    pub(crate) last: Option<PartitionState>,
    /// What the newest slot says; survives from one write to the next where nothing newer is known.
    pub(crate) marker: Option<Marker>,
}

/// Where in the files the flushed end lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) segment_base: Offset,
    pub(crate) position: u64,
    pub(crate) end: Offset,
}

impl PartitionLog {
    /// A log that has nothing on disk yet, and puts nothing there before the first append.
    pub(crate) fn empty(
        shared: &Arc<Shared>,
        topic_partition: TopicPartition,
        config: LogConfig,
    ) -> PartitionLog {
        PartitionLog {
            directory: shared.partitions.join(topic_partition.directory_name()),
            shared: Arc::clone(shared),
            topic_partition,
            config,
            sealed: Vec::new(),
            active: None,
            log_start: Offset::ZERO,
            log_end: Offset::ZERO,
            flushed_end: Offset::ZERO,
            high_watermark: Offset::ZERO,
            producers: ProducerStates::default(),
            epochs: LeaderEpochs::default(),
            health: Health::Good,
            rotten: Vec::new(),
            unflushed: Unflushed::default(),
            state_file: StateFile::default(),
            cleaned_end: Offset::ZERO,
            snapshots: Vec::new(),
            gate: Arc::default(),
            generation: 0,
        }
    }

    /// Which partition this is.
    pub fn topic_partition(&self) -> TopicPartition {
        self.topic_partition
    }

    /// The first offset that can be read.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The offset the next record gets.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// All records below it are on the device.
    pub fn flushed_end(&self) -> Durable<Offset> {
        Durable::new(self.flushed_end)
    }

    /// The high watermark as it was set last, or as the last life of the log recorded it.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Takes note of the high watermark; recorded along with the next flush or checkpoint.
    pub fn set_high_watermark(&mut self, high_watermark: Offset) {
        self.high_watermark = high_watermark;
    }

    /// The newest leader epoch that was assigned or appended.
    pub fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.last()
    }

    /// Every leader epoch with its first offset.
    pub fn epochs(&self) -> &LeaderEpochs {
        &self.epochs
    }

    /// What is known of idempotent producers.
    pub fn producers(&self) -> &ProducerStates {
        &self.producers
    }

    /// Whether the log takes appends.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Bytes of data, indexes and reserved space not counted.
    pub fn size_bytes(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|segment| segment.data_bytes).sum();
        sealed + self.active.as_ref().map_or(0, |active| active.data_bytes)
    }

    /// How many segments there are.
    pub fn segments_count(&self) -> usize {
        self.sealed.len() + usize::from(self.active.is_some())
    }

    /// The settings in force.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Changes the settings; they apply from the next append, roll or cleaning on.
    pub fn update_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// The directory with the partition's files; it may not exist yet.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A new leader's first act (rule M-02): its epoch begins at the log's end, before it appends anything. Durable
    /// with the next flush.
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch) {
        if self.epochs.assign(epoch, self.log_end) == Change::Made {
            // A log without a directory keeps it in memory: with nothing appended there is nothing to diverge.
            self.unflushed.epochs = self.state_file.exists;
        }
    }

    /// Where the newest epoch not above `epoch` ended, with that epoch (rule M-02); `None` if all known ones are newer.
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.end_offset(epoch, self.log_end)
    }

    /// Forgets producers unheard of for longer than the configured time.
    pub fn expire_producers(&mut self, now_ms: i64) {
        self.producers.expire(now_ms.saturating_sub(self.config.producer_expiry_ms));
    }

    /// Stops appends and reads of a damaged range.
    pub(crate) fn mark_rotten(&mut self, range: RottenRange) {
        if self.health == Health::Good {
            crate::counters::add(&self.shared.counters.rotten_partitions, 1);
            self.health = Health::Rotten(range.clone());
        }
        self.rotten.push(range);
        self.rotten.sort_by_key(|range| range.offset);
    }

    /// Damaged ranges, by offset.
    pub fn rotten(&self) -> &[RottenRange] {
        &self.rotten
    }

    /// Where the log's end lies in the files.
    pub(crate) fn end_marker(&self) -> Marker {
        let (segment_base, position) =
            self.active.as_ref().map_or((self.log_end, 0), |active| (active.base(), active.data_bytes));
        Marker { segment_base, position, end: self.log_end }
    }

    /// What `partition.state` should say.
    pub(crate) fn state(&self, ending: Ending) -> PartitionState {
        let marker = self.state_file.marker.unwrap_or(Marker {
            segment_base: self.log_start,
            position: 0,
            end: self.log_start,
        });
        PartitionState {
            ending,
            log_start: self.log_start,
            flushed_end: marker.end.max(self.log_start),
            segment_base: marker.segment_base,
            position: marker.position,
            high_watermark: self.high_watermark,
            last_epoch: self.epochs.last().unwrap_or(LeaderEpoch::UNKNOWN),
        }
    }

    /// Writes `partition.state` without syncing it; returns the file, for who wants to.
    pub(crate) fn write_state(&mut self, ending: Ending) -> Result<Arc<dyn DiskFile>, IoFault> {
        let state = self.state(ending);
        let path = self.directory.join(STATE_FILE);
        let file = match &self.state_file.file {
            Some(file) => Arc::clone(file),
            None => {
                let file = LazyFile::closed(&self.shared, path.clone());
                if !self.state_file.exists {
                    file.put(self.shared.create_fresh(&path)?);
                }
                self.state_file.exists = true;
                self.state_file.file.insert(file).clone()
            }
        };
        let file = file.get().map_err(fault("open", &path))?;
        let sequence = self.state_file.sequence + 1;
        state::write_state(&*file, sequence, &state).map_err(fault("write", &path))?;
        self.state_file.sequence = sequence;
        self.state_file.last = Some(state);
        Ok(file)
    }

    /// Writes `partition.state` and syncs it. A failed sync stops the log.
    pub(crate) fn write_state_durably(&mut self) -> Result<(), IoFault> {
        let file = self.write_state(Ending::Open)?;
        let path = self.directory.join(STATE_FILE);
        let synced = file.sync_data().map_err(fault("sync", &path));
        synced.inspect_err(|error| self.poison(error))
    }
}
