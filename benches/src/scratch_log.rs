//! One partition's log in a temporary folder on the real disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use highwater_env::os::{OsClock, OsDisk, OsRandom};
use highwater_log::{LogConfig, LogDir, LogDirConfig, PartitionLog, ReadSlice};
use highwater_proto::record::BatchHeader;
use highwater_proto::{BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use tempfile::TempDir;

use crate::sample::NOW_MS;

/// Removed from the disk when it is dropped.
pub struct ScratchLog {
    /// The log.
    pub log: PartitionLog,
    dir: LogDir,
    folder: TempDir,
}

impl ScratchLog {
    /// An empty log with segments of 256 MiB in the system's temporary folder.
    ///
    /// # Panics
    /// When the disk does not let it.
    #[expect(clippy::new_without_default, reason = "it touches the disk, which a default should not")]
    pub fn new() -> ScratchLog {
        ScratchLog::in_folder(&std::env::temp_dir(), 256 << 20)
    }

    /// An empty log with segments of `segment_bytes_max` in a folder of its own below `parent`.
    ///
    /// # Panics
    /// When the disk does not let it.
    pub fn in_folder(parent: &Path, segment_bytes_max: u64) -> ScratchLog {
        let folder = tempfile::tempdir_in(parent).expect("a temporary folder can be made");
        let config = LogDirConfig::new("benchmark", BrokerId(1));
        let dir = LogDir::open(Arc::new(OsDisk), Arc::new(OsClock::new()), &OsRandom, folder.path(), config)
            .expect("an empty folder can be opened");
        let partition = TopicPartition::new(TopicId([1; 16]), PartitionIndex(0));
        let config = LogConfig { segment_bytes_max, ..LogConfig::default() };
        let (log, _) = dir.partition(partition, config).expect("a new partition can be opened");
        ScratchLog { log, dir, folder }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Appends one batch, which has been checked before.
    ///
    /// # Panics
    /// When the disk does not let it.
    pub fn append(&mut self, batch: &[u8]) {
        let header = BatchHeader::parse(batch).expect("a sample batch is sound");
        self.log.append(batch, &header, LeaderEpoch(1), NOW_MS).expect("there is space for it");
    }

    /// Makes all of it durable.
    ///
    /// # Panics
    /// When the disk does not let it.
    pub fn flush(&mut self) {
        let _ = self.log.flush().expect("the disk takes it");
    }

    /// Gives up all that was written, so that its segments can be written over.
    ///
    /// # Panics
    /// When the disk does not let it.
    pub fn recycle(&mut self) {
        self.flush();
        let end = self.log.log_end();
        self.log.delete_records(end, end).expect("the log's start can move to its end");
        while self.dir.sweep(16).expect("a file can be removed") > 0 {}
    }

    /// How many segments were written over retired ones.
    pub fn segments_recycled(&self) -> u64 {
        self.dir.counters().segments_recycled.load(Ordering::Relaxed)
    }

    /// The first batches of the log, of at most `max_bytes` together.
    ///
    /// # Panics
    /// When the disk does not let it.
    pub fn read(&self, max_bytes: usize) -> Bytes {
        self.read_from(self.log.log_start(), max_bytes).bytes
    }

    /// The batches from `offset` on, of at most `max_bytes` together, read as the broker reads them.
    ///
    /// # Panics
    /// When the disk does not let it.
    pub fn read_from(&self, offset: Offset, max_bytes: usize) -> ReadSlice {
        let mut plan =
            self.log.plan_read(offset, self.log.log_end(), max_bytes).expect("the log reaches that far");
        if !plan.is_resident() {
            plan.populate().expect("the segment can be read");
        }
        plan.read().expect("the segment can be read")
    }
}
