//! Open files are bounded, and running out of them loses nothing and stops nobody.

#![expect(clippy::unwrap_used, reason = "a test fails where it goes wrong")]

use std::path::Path;
use std::sync::Arc;

use highwater_env::sim::{SimClock, SimDisk, SimRandom};
use highwater_log::{AppendError, FlushError, Health, LogConfig, LogDir, LogDirConfig, PartitionLog};
use highwater_proto::record::{BatchBuilder, BatchHeader, Compression};
use highwater_proto::{BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};

const OPEN_FILES_MAX: usize = 8;

fn open(disk: &Arc<SimDisk>) -> LogDir {
    let config = LogDirConfig { open_files_max: OPEN_FILES_MAX, ..LogDirConfig::new("test", BrokerId(1)) };
    let (disk, clock) = (Arc::clone(disk), Arc::new(SimClock::new(0)));
    LogDir::open(disk, clock, &SimRandom::new(1), Path::new("/data"), config).unwrap()
}

fn partition(dir: &LogDir, index: i32) -> PartitionLog {
    let id = TopicPartition::new(TopicId([3; 16]), PartitionIndex(index));
    dir.partition(id, LogConfig::default()).unwrap().0
}

fn append(log: &mut PartitionLog) -> Result<Offset, AppendError> {
    let mut builder = BatchBuilder::new(Compression::None, 1000);
    builder.try_append(0, None, Some(b"value"), &[]).unwrap();
    let batch = builder.finish(None);
    let header = BatchHeader::parse(&batch).unwrap();
    log.append(&batch, &header, LeaderEpoch(1), 0).map(|appended| appended.end)
}

#[test]
fn many_partitions_with_data_keep_few_files_open_and_stay_writable() {
    let disk = SimDisk::with_file_bytes_max(1, 1 << 17);
    // One more for each file that is opened for a moment.
    disk.set_open_files_max(OPEN_FILES_MAX + 4);
    let dir = open(&disk);
    let mut logs: Vec<PartitionLog> = (0..200).map(|index| partition(&dir, index)).collect();
    for round in 1..4 {
        for log in &mut logs {
            append(log).unwrap();
            assert_eq!(log.flush().unwrap().get(), Offset(round));
        }
    }
    assert!(disk.open_files() <= OPEN_FILES_MAX, "{} files are open", disk.open_files());
    for log in &mut logs {
        let _ = log.close().unwrap();
    }
    drop(logs);
    let mut logs: Vec<PartitionLog> = (0..200).map(|index| partition(&dir, index)).collect();
    assert!(disk.open_files() <= OPEN_FILES_MAX, "{} files are open after opening", disk.open_files());
    for log in &mut logs {
        assert_eq!(append(log).unwrap(), Offset(4));
        let _ = log.flush().unwrap();
    }
}

#[test]
fn a_file_with_unsynced_bytes_stays_open_whatever_the_bound() {
    let disk = SimDisk::with_file_bytes_max(1, 1 << 17);
    let dir = open(&disk);
    let mut logs: Vec<PartitionLog> = (0..40).map(|index| partition(&dir, index)).collect();
    for log in &mut logs {
        append(log).unwrap();
    }
    assert!(disk.open_files() >= 40, "a failed writeback would go unnoticed: {} open", disk.open_files());
    for log in &mut logs {
        let _ = log.flush().unwrap();
    }
    let mut one_more = partition(&dir, 40);
    append(&mut one_more).unwrap();
    assert!(disk.open_files() <= OPEN_FILES_MAX + 2, "{} files are open", disk.open_files());
}

#[test]
fn a_flush_that_cannot_open_a_directory_is_done_later_and_stops_nothing() {
    let disk = SimDisk::with_file_bytes_max(1, 1 << 17);
    let dir = open(&disk);
    let mut log = partition(&dir, 0);
    append(&mut log).unwrap();
    disk.set_open_files_max(0);
    for _ in 0..2 {
        assert!(matches!(log.flush(), Err(FlushError::TooManyOpenFiles(_))));
        assert_eq!((log.health(), log.flushed_end().get()), (&Health::Good, Offset::ZERO));
        assert!(log.needs_flush(), "it is still to be done");
    }
    disk.set_open_files_max(usize::MAX);
    assert_eq!(append(&mut log).unwrap(), Offset(2));
    assert_eq!(log.flush().unwrap().get(), Offset(2));
    for seed in 0..20 {
        let dir = open(&disk.crash_image(seed));
        assert_eq!(partition(&dir, 0).log_end(), Offset(2), "seed {seed}");
    }
}

#[test]
fn an_append_and_an_opening_without_a_descriptor_fail_and_can_be_repeated() {
    let disk = SimDisk::with_file_bytes_max(1, 1 << 17);
    let dir = open(&disk);
    let mut log = partition(&dir, 0);
    disk.set_open_files_max(0);
    assert!(matches!(append(&mut log), Err(AppendError::Io(error)) if error.is_out_of_handles()));
    disk.set_open_files_max(usize::MAX);
    assert_eq!(append(&mut log).unwrap(), Offset(1));
    let _ = log.flush().unwrap();
    drop(log);
    disk.set_open_files_max(0);
    let id = TopicPartition::new(TopicId([3; 16]), PartitionIndex(0));
    assert!(dir.partition(id, LogConfig::default()).is_err());
    disk.set_open_files_max(usize::MAX);
    let log = partition(&dir, 0);
    assert_eq!((log.log_end(), log.health()), (Offset(1), &Health::Good));
}
