//! A partition as a broker finds it: after a crash, or with its data on the device and not in memory.
//!
//! Everything is measured on the disk of the temporary folder. What is cold is cold for the page cache of this machine; a
//! host's own cache below it may still be warm.

#![expect(clippy::disallowed_methods, reason = "a benchmark prepares its files itself and takes the time")]

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use highwater_env::os::{OsClock, OsDisk, OsRandom};
use highwater_log::{LogConfig, LogDir, LogDirConfig, PartitionLog};
use highwater_proto::record::BatchHeader;
use highwater_proto::{BrokerId, LeaderEpoch, PartitionIndex, TopicId, TopicPartition};
use rustix::fs::{Advice, fadvise};
use tempfile::TempDir;

use crate::sample::NOW_MS;
use crate::steady_log::batch;

/// Bytes that were appended and not flushed when the process was killed.
pub const TAIL_BYTES: u64 = 1 << 20;
const BATCH_BYTES: usize = 64 << 10;

/// Where the last life's flushed marker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftBehind {
    /// Before the tail, with indexes beside the segments, as a killed broker leaves them.
    Marker,
    /// Nowhere, and there are no indexes: all data is read.
    Nothing,
}

/// A partition of a killed process. Removed from the disk when it is dropped.
pub struct ColdLog {
    folder: TempDir,
    directory: PathBuf,
    /// `partition.state` as the killed process left it.
    state: Vec<u8>,
}

impl ColdLog {
    /// A partition of about `data_bytes` that was flushed and checkpointed, with an unflushed tail.
    ///
    /// # Panics
    /// When the disk does not let it.
    pub fn new(data_bytes: u64) -> ColdLog {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (dir, mut log) = open(&folder);
        let batch = batch(BATCH_BYTES, 1024);
        let header = BatchHeader::parse(&batch).expect("a sample batch is sound");
        let fill = |log: &mut PartitionLog, bytes: u64| {
            while log.size_bytes() < bytes {
                log.append(&batch, &header, LeaderEpoch(1), NOW_MS).expect("there is space for it");
            }
        };
        fill(&mut log, data_bytes);
        let _ = log.flush().expect("the disk takes it");
        log.checkpoint().expect("the disk takes it");
        let directory = log.directory().to_owned();
        let state = fs::read(directory.join("partition.state")).expect("the state was written");
        fill(&mut log, data_bytes + TAIL_BYTES);
        drop((log, dir));
        ColdLog { folder, directory, state }
    }

    /// Opens it as a crash left it, `count` times, and says how long that took.
    ///
    /// # Panics
    /// When the disk does not let it.
    pub fn open_after_crash(&self, left: LeftBehind, count: u64) -> Duration {
        let mut spent = Duration::ZERO;
        for _ in 0..count {
            let state = self.directory.join("partition.state");
            match left {
                LeftBehind::Marker => fs::write(&state, &self.state).expect("the disk takes it"),
                LeftBehind::Nothing => {
                    let _ = fs::remove_file(&state);
                    for path in self.files(".index") {
                        fs::remove_file(path).expect("a file can be removed");
                    }
                }
            }
            let dir = open_dir(&self.folder);
            let began = Instant::now();
            let (log, report) = dir.partition(partition(), config()).expect("it opens");
            spent += began.elapsed();
            assert!(report.scanned_bytes >= TAIL_BYTES, "the tail was looked at");
            drop(log);
        }
        spent
    }

    /// Reads all of it in slices of `max_bytes`, `count` times, each time from the device, and says how long that took.
    ///
    /// # Panics
    /// When the disk does not let it.
    pub fn read_from_device(&self, max_bytes: usize, count: u64) -> Duration {
        let mut spent = Duration::ZERO;
        for _ in 0..count {
            let (dir, log) = open(&self.folder);
            self.drop_pages();
            let began = Instant::now();
            let (mut next, end) = (log.log_start(), log.log_end());
            while next < end {
                let mut plan = log.plan_read(next, end, max_bytes).expect("the log reaches that far");
                if !plan.is_resident() {
                    plan.populate().expect("the segment can be read");
                }
                let slice = plan.read().expect("the segment can be read");
                std::hint::black_box(
                    slice.bytes.iter().step_by(4096).fold(0_u64, |sum, b| sum + u64::from(*b)),
                );
                next = slice.next;
            }
            spent += began.elapsed();
            drop((log, dir));
        }
        spent
    }

    /// How many bytes [`ColdLog::read_from_device`] reads each time.
    ///
    /// # Panics
    /// When the disk does not let it.
    pub fn size_bytes(&self) -> u64 {
        open(&self.folder).1.size_bytes()
    }

    fn drop_pages(&self) {
        for path in self.files(".log") {
            let file = File::open(path).expect("the segment is there");
            file.sync_all().expect("the disk takes it");
            fadvise(&file, 0, None, Advice::DontNeed).expect("the pages can go");
        }
    }

    fn files(&self, suffix: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.directory).expect("the directory is there");
        let paths = entries.map(|entry| entry.expect("it can be listed").path());
        paths.filter(|path| path.to_string_lossy().ends_with(suffix)).collect()
    }
}

fn partition() -> TopicPartition {
    TopicPartition::new(TopicId([1; 16]), PartitionIndex(0))
}

fn config() -> LogConfig {
    LogConfig { segment_bytes_max: 256 << 20, retention_age_max_ms: None, ..LogConfig::default() }
}

fn open_dir(folder: &TempDir) -> LogDir {
    let config = LogDirConfig::new("benchmark", BrokerId(1));
    LogDir::open(Arc::new(OsDisk), Arc::new(OsClock::new()), &OsRandom, folder.path(), config)
        .expect("its own folder can be opened")
}

fn open(folder: &TempDir) -> (LogDir, PartitionLog) {
    let dir = open_dir(folder);
    let (log, _) = dir.partition(partition(), config()).expect("its own partition can be opened");
    (dir, log)
}
