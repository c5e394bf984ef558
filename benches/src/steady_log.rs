//! One partition's log in its steady state: segments fill, the oldest go, and their space is written over.
//!
//! Beside it, what the log is measured against: a bare loop that checks a batch and writes it over a file of the same
//! size whose blocks exist.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use highwater_env::os::{OsClock, OsDisk, OsRandom};
use highwater_env::{Disk, DiskFile};
use highwater_log::{LogConfig, LogDir, LogDirConfig, PartitionLog};
use highwater_proto::record::{BatchBuilder, BatchHeader, Compression, crc32c, verify_crc};
use highwater_proto::{BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use tempfile::TempDir;

use crate::sample::NOW_MS;

/// Bytes of a segment, and of the bare file.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// Whether each append is followed by a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// No.
    Never,
    /// Yes.
    Each,
}

/// A batch of about this many bytes, of records of `value_bytes`.
///
/// # Panics
/// Never: the records fit.
pub fn batch(batch_bytes: usize, value_bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None, batch_bytes);
    let value = vec![b'v'; value_bytes];
    while builder.try_append(NOW_MS, None, Some(&value), &[]).is_ok() && builder.size_bytes() < batch_bytes {}
    builder.finish(None)
}

/// Removed from the disk when it is dropped.
pub struct SteadyLog {
    log: PartitionLog,
    dir: LogDir,
    _folder: TempDir,
}

impl SteadyLog {
    /// A log that has filled enough segments for the next ones to be written over the first.
    ///
    /// # Panics
    /// When the disk does not let it.
    #[expect(clippy::new_without_default, reason = "it touches the disk, which a default should not")]
    pub fn new() -> SteadyLog {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let config = LogDirConfig::new("benchmark", BrokerId(1));
        let dir = LogDir::open(Arc::new(OsDisk), Arc::new(OsClock::new()), &OsRandom, folder.path(), config)
            .expect("an empty folder can be opened");
        let partition = TopicPartition::new(TopicId([1; 16]), PartitionIndex(0));
        let config = LogConfig {
            segment_bytes_max: SEGMENT_BYTES,
            retention_bytes_max: Some(SEGMENT_BYTES),
            ..LogConfig::default()
        };
        let (log, _) = dir.partition(partition, config).expect("a new partition can be opened");
        let mut steady = SteadyLog { log, dir, _folder: folder };
        let batch = batch(1 << 20, 1024);
        steady.append(&batch, 5 * SEGMENT_BYTES / (1 << 20), Flush::Never);
        steady
    }

    /// Appends the batch `count` times, checksum included, and says how long that took. The housekeeping in between is
    /// not counted: a broker does it in another thread.
    ///
    /// # Panics
    /// When the disk does not let it.
    pub fn append(&mut self, batch: &Bytes, count: u64, flush: Flush) -> Duration {
        let mut spent = Duration::ZERO;
        let mut left = count;
        while left > 0 {
            let some = left.min((SEGMENT_BYTES / 4 / batch.len() as u64).max(1));
            left -= some;
            spent += self.append_some(batch, some, flush);
            self.keep_house();
        }
        spent
    }

    #[expect(clippy::disallowed_methods, reason = "a benchmark takes the time itself")]
    fn append_some(&mut self, batch: &Bytes, count: u64, flush: Flush) -> Duration {
        let start = Instant::now();
        for _ in 0..count {
            verify_crc(batch).expect("a sample batch is sound");
            let header = BatchHeader::parse(batch).expect("a sample batch is sound");
            self.log.append(batch, &header, LeaderEpoch(1), NOW_MS).expect("there is space for it");
            if flush == Flush::Each {
                let _ = self.log.flush().expect("the disk takes it");
            }
        }
        start.elapsed()
    }

    fn keep_house(&mut self) {
        let end = self.log.flush().expect("the disk takes it").get();
        self.log.checkpoint().expect("the disk takes it");
        self.log.retain(NOW_MS, end).expect("the oldest segments can go");
        self.dir.sweep(100).expect("removed files can go");
    }

    /// How many segments were written over old ones.
    pub fn recycled_count(&self) -> u64 {
        self.dir.counters().segments_recycled.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// A file whose blocks exist, written over from the front again and again.
pub struct BareFile {
    file: Arc<dyn DiskFile>,
    position: u64,
    _folder: TempDir,
}

impl BareFile {
    /// As large as a segment.
    ///
    /// # Panics
    /// When the disk does not let it.
    #[expect(clippy::new_without_default, reason = "it touches the disk, which a default should not")]
    pub fn new() -> BareFile {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = OsDisk.create(&folder.path().join("bare")).expect("a file can be made");
        let piece = vec![0; 1 << 20];
        for at in (0..SEGMENT_BYTES).step_by(1 << 20) {
            file.write_at(at, &[IoSlice::new(&piece)]).expect("there is space for it");
        }
        file.sync_data().expect("the disk takes it");
        BareFile { file, position: 0, _folder: folder }
    }

    /// Checks the batch and writes it, `count` times, and says how long that took.
    ///
    /// # Panics
    /// When the disk does not let it.
    #[expect(clippy::disallowed_methods, reason = "a benchmark takes the time itself")]
    pub fn append(&mut self, batch: &Bytes, count: u64, flush: Flush) -> Duration {
        let start = Instant::now();
        for _ in 0..count {
            std::hint::black_box(crc32c(&batch[21..]));
            if self.position + batch.len() as u64 > SEGMENT_BYTES {
                self.position = 0;
            }
            self.file.write_at(self.position, &[IoSlice::new(batch)]).expect("the disk takes it");
            self.position += batch.len() as u64;
            if flush == Flush::Each {
                self.file.sync_data().expect("the disk takes it");
            }
        }
        start.elapsed()
    }
}

/// A log that is read from memory, beside a bare walk over a map of the same bytes.
pub struct HotLog {
    log: PartitionLog,
    map: Bytes,
    _dir: LogDir,
    _folder: TempDir,
}

impl HotLog {
    /// One segment of 64 KiB batches.
    ///
    /// # Panics
    /// When the disk does not let it.
    #[expect(clippy::new_without_default, reason = "it touches the disk, which a default should not")]
    pub fn new() -> HotLog {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let config = LogDirConfig::new("benchmark", BrokerId(1));
        let dir = LogDir::open(Arc::new(OsDisk), Arc::new(OsClock::new()), &OsRandom, folder.path(), config)
            .expect("an empty folder can be opened");
        let partition = TopicPartition::new(TopicId([1; 16]), PartitionIndex(0));
        let (mut log, _) =
            dir.partition(partition, LogConfig::default()).expect("a new partition can be opened");
        let batch = batch(64 << 10, 1024);
        let header = BatchHeader::parse(&batch).expect("a sample batch is sound");
        while log.size_bytes() < SEGMENT_BYTES {
            log.append(&batch, &header, LeaderEpoch(1), NOW_MS).expect("there is space for it");
        }
        let _ = log.flush().expect("the disk takes it");
        let path = log.directory().join(format!("{:020}.log", 0));
        let file = OsDisk.open(&path).expect("the segment is there");
        let map = file.map(log.size_bytes()).expect("the segment can be mapped");
        HotLog { log, map, _dir: dir, _folder: folder }
    }

    /// Reads the whole log in slices of `max_bytes`, touching each page, and returns a sum of what was touched.
    ///
    /// # Panics
    /// When the disk does not let it.
    pub fn read(&self, max_bytes: usize) -> u64 {
        let (mut next, end) = (Offset::ZERO, self.log.log_end());
        let mut sum = 0;
        while next < end {
            let mut plan = self.log.plan_read(next, end, max_bytes).expect("in range");
            if !plan.is_resident() {
                plan.populate().expect("the segment can be read");
            }
            let slice = plan.read().expect("the segment can be read");
            sum += touch(&slice.bytes);
            next = slice.next;
        }
        sum
    }

    /// The same over the bare map: header to header, with the same pages touched.
    ///
    /// # Panics
    /// Never: the batches are sound.
    pub fn walk(&self, max_bytes: usize) -> u64 {
        let mut at = 0;
        let mut sum = 0;
        while at < self.map.len() {
            let start = at;
            while at < self.map.len() {
                let header = BatchHeader::parse(&self.map[at..]).expect("a sample batch is sound");
                if at > start && at + header.size_bytes() - start > max_bytes {
                    break;
                }
                at += header.size_bytes();
            }
            sum += touch(&self.map.slice(start..at));
        }
        sum
    }

    /// Finds a batch in the middle of the log.
    ///
    /// # Panics
    /// When the disk does not let it.
    pub fn seek(&self, offset: Offset) -> Offset {
        let plan = self.log.plan_read(offset, self.log.log_end(), 1).expect("in range");
        plan.read().expect("the segment can be read").next
    }

    /// The offset after the last record.
    pub fn end(&self) -> Offset {
        self.log.log_end()
    }
}

/// Not inlined, so that both loops touch the bytes with the same instructions.
#[inline(never)]
fn touch(bytes: &[u8]) -> u64 {
    bytes.iter().step_by(64).map(|byte| u64::from(*byte)).sum()
}
