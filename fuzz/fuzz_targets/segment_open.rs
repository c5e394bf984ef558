//! Arbitrary bytes as the files of a partition: opened, read, looked into and closed.
//!
//! The first byte says which file gets the bytes and whether they get a disguise: a log of a few good batches is written
//! first, and the bytes take the place of one of its files, or of a part of it.
#![no_main]

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_env::Disk;
use highwater_env::sim::{SimClock, SimDisk, SimRandom};
use highwater_log::{LogConfig, LogDir, LogDirConfig, PartitionLog, ReadPlan, inspect};
use highwater_proto::record::{BatchBuilder, BatchHeader, Compression};
use highwater_proto::{BrokerId, LeaderEpoch, PartitionIndex, ProducerId, TopicId, TopicPartition};
use libfuzzer_sys::fuzz_target;

/// So that hostile offsets cannot make one run slow.
const READS_MAX: usize = 100;

fuzz_target!(|input: &[u8]| {
    let [which, place, bytes @ ..] = input else { return };
    let disk = SimDisk::with_file_bytes_max(0, 1 << 20);
    let (dir, mut log) = open(&disk);
    for sequence in 0..8 {
        append(&mut log, sequence);
        if sequence % 3 == 2 {
            let _ = log.flush();
            let _ = log.checkpoint();
        }
    }
    let directory = log.directory().to_owned();
    drop((log, dir));
    disk.kill_process();
    let files = names(&disk, &directory);
    let Some(path) = files.get(usize::from(which >> 1) % files.len().max(1)) else { return };
    let Ok(file) = disk.open(path) else { return };
    let len = file.len().unwrap_or(0);
    let at = if which & 1 == 0 { 0 } else { len * u64::from(*place) / 256 };
    let _ = if which & 1 == 0 { file.truncate(0) } else { Ok(()) };
    let _ = file.write_at(at, &[IoSlice::new(bytes)]);
    let (dir, mut log) = open(&disk);
    read(&log);
    append(&mut log, 8);
    let _ = log.flush();
    read(&log);
    let _ = inspect::inspect(&*disk, &directory);
    let _ = log.close();
    drop((log, dir));
    disk.crash();
    read(&open(&disk).1);
});

fn open(disk: &Arc<SimDisk>) -> (LogDir, PartitionLog) {
    let (shared, clock) = (Arc::clone(disk), Arc::new(SimClock::new(0)));
    let config = LogDirConfig::new("fuzz", BrokerId(1));
    let dir = LogDir::open(shared, clock, &SimRandom::new(0), Path::new("/data"), config);
    let dir = dir.expect("its own files were not touched");
    let config = LogConfig { segment_bytes_max: 600, index_interval_bytes: 100, ..LogConfig::default() };
    let partition = TopicPartition::new(TopicId([1; 16]), PartitionIndex(0));
    let (log, _) = dir.partition(partition, config).expect("damage is no reason not to open");
    (dir, log)
}

fn append(log: &mut PartitionLog, sequence: i32) {
    let mut builder = BatchBuilder::new(Compression::None, 1000);
    builder.try_append(i64::from(sequence), Some(b"key"), Some(&[7; 90]), &[]).expect("it fits");
    let batch = builder.finish(Some((ProducerId(1), 0, sequence)));
    let header = BatchHeader::parse(&batch).expect("it was just built");
    let _ = log.append(&batch, &header, LeaderEpoch(1), 0);
}

fn read(log: &PartitionLog) {
    let (mut next, end) = (log.log_start(), log.log_end());
    for _ in 0..READS_MAX {
        if next >= end {
            break;
        }
        next = match log.plan_read(next, end, 300).map(ReadPlan::read) {
            Ok(Ok(slice)) => slice.next.max(next.advance(1)),
            _ => next.advance(1),
        };
    }
    let _ = log.plan_timestamp(3, end).find();
}

fn names(disk: &SimDisk, directory: &Path) -> Vec<PathBuf> {
    let entries = disk.list(directory).unwrap_or_default();
    entries.into_iter().map(|entry| directory.join(entry.name)).collect()
}
