//! One partition's log in a temporary folder on the real disk.

use std::sync::Arc;

use bytes::Bytes;
use highwater_env::os::{OsClock, OsDisk, OsRandom};
use highwater_log::{LogConfig, LogDir, LogDirConfig, PartitionLog};
use highwater_proto::record::BatchHeader;
use highwater_proto::{BrokerId, LeaderEpoch, PartitionIndex, TopicId, TopicPartition};
use tempfile::TempDir;

use crate::sample::NOW_MS;

/// Removed from the disk when it is dropped.
pub struct ScratchLog {
    /// The log.
    pub log: PartitionLog,
    _dir: LogDir,
    _folder: TempDir,
}

impl ScratchLog {
    /// An empty log with segments of 256 MiB.
    ///
    /// # Panics
    /// When the disk does not let it.
    #[expect(clippy::new_without_default, reason = "it touches the disk, which a default should not")]
    pub fn new() -> ScratchLog {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let config = LogDirConfig::new("benchmark", BrokerId(1));
        let dir = LogDir::open(Arc::new(OsDisk), Arc::new(OsClock::new()), &OsRandom, folder.path(), config)
            .expect("an empty folder can be opened");
        let partition = TopicPartition::new(TopicId([1; 16]), PartitionIndex(0));
        let config = LogConfig { segment_bytes_max: 256 << 20, ..LogConfig::default() };
        let (log, _) = dir.partition(partition, config).expect("a new partition can be opened");
        ScratchLog { log, _dir: dir, _folder: folder }
    }

    /// Appends one batch, which has been checked before.
    ///
    /// # Panics
    /// When the disk does not let it.
    pub fn append(&mut self, batch: &[u8]) {
        let header = BatchHeader::parse(batch).expect("a sample batch is sound");
        self.log.append(batch, &header, LeaderEpoch(1), NOW_MS).expect("there is space for it");
    }

    /// The first batches of the log, of at most `max_bytes` together.
    ///
    /// # Panics
    /// When the disk does not let it.
    pub fn read(&self, max_bytes: usize) -> Bytes {
        let mut plan = self
            .log
            .plan_read(self.log.log_start(), self.log.log_end(), max_bytes)
            .expect("the log begins there");
        if !plan.is_resident() {
            plan.populate().expect("the segment can be read");
        }
        plan.read().expect("the segment can be read").bytes
    }
}
