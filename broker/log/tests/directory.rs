//! The data directory: whose it is, who has it, what is in it, and that ten thousand empty partitions cost nothing.

#![expect(clippy::unwrap_used, reason = "a test fails where it goes wrong")]

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_env::Disk;
use highwater_env::sim::{SimClock, SimDisk, SimRandom};
use highwater_log::meta::Meta;
use highwater_log::{LastShutdown, LogConfig, LogDir, LogDirConfig, LogDirError, PartitionEntry};
use highwater_proto::record::{BatchBuilder, BatchHeader, Compression};
use highwater_proto::{BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};

fn open_as(disk: &Arc<SimDisk>, cluster: &str, broker: i32) -> Result<LogDir, LogDirError> {
    let (disk, clock) = (Arc::clone(disk), Arc::new(SimClock::new(0)));
    let config = LogDirConfig::new(cluster, BrokerId(broker));
    LogDir::open(disk, clock, &SimRandom::new(5), Path::new("/a/b/data"), config)
}

fn partition(index: i32) -> TopicPartition {
    TopicPartition::new(TopicId([3; 16]), PartitionIndex(index))
}

fn append(log: &mut highwater_log::PartitionLog) {
    let mut builder = BatchBuilder::new(Compression::None, 1000);
    builder.try_append(0, None, Some(b"value"), &[]).unwrap();
    let batch = builder.finish(None);
    let header = BatchHeader::parse(&batch).unwrap();
    log.append(&batch, &header, LeaderEpoch(1), 0).unwrap();
}

#[test]
fn another_cluster_another_broker_and_another_version_are_refused_by_name() {
    let disk = SimDisk::new(0);
    let dir = open_as(&disk, "one", 1).unwrap();
    let disk_id = dir.meta().disk_id.clone();
    assert_eq!(disk_id.len(), 32);
    assert!(matches!(open_as(&disk, "one", 1), Err(LogDirError::InUse { .. })));
    drop(dir);
    let before = disk.contents();
    assert!(matches!(open_as(&disk, "two", 1), Err(LogDirError::Identity { key: "cluster", .. })));
    assert!(matches!(open_as(&disk, "one", 2), Err(LogDirError::Identity { key: "broker", .. })));
    assert_eq!(disk.contents(), before, "nothing is touched");
    let path = PathBuf::from("/a/b/data/meta.properties");
    let later = Meta { format_version: 3, cluster_id: "one".into(), broker_id: BrokerId(1), disk_id };
    let file = disk.open(&path).unwrap();
    file.truncate(0).unwrap();
    file.write_at(0, &[IoSlice::new(later.encode().as_bytes())]).unwrap();
    match open_as(&disk, "one", 1) {
        Err(error @ LogDirError::FormatVersion { found: 3, supported: 2, .. }) => {
            assert_eq!(
                error.to_string(),
                "/a/b/data has format version 3; this broker reads and writes version 2"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_its_identity_a_directory_with_data_is_refused_and_kept() {
    let disk = SimDisk::new(0);
    let dir = open_as(&disk, "one", 1).unwrap();
    let (mut log, _) = dir.partition(partition(0), LogConfig::default()).unwrap();
    append(&mut log);
    let _ = log.flush().unwrap();
    drop((log, dir));
    let meta = PathBuf::from("/a/b/data/meta.properties");
    disk.rot(&meta, 20, 1).unwrap();
    assert!(matches!(open_as(&disk, "one", 1), Err(LogDirError::Meta { .. })));
    disk.remove_file(&meta).unwrap();
    assert!(matches!(open_as(&disk, "one", 1), Err(LogDirError::Meta { .. })));
    assert!(disk.contents().keys().any(|path| path.ends_with(format!("{:020}.log", 0))));
}

#[test]
fn a_new_directory_survives_a_power_cut_with_its_identity() {
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let dir = open_as(&disk, "one", 1).unwrap();
        let id = dir.meta().disk_id.clone();
        drop(dir);
        disk.crash();
        let dir = open_as(&disk, "one", 1).unwrap();
        assert_eq!((dir.meta().disk_id.clone(), dir.last_shutdown()), (id, LastShutdown::Unclean));
        dir.close().unwrap();
        drop(dir);
        disk.crash();
        assert_eq!(open_as(&disk, "one", 1).unwrap().last_shutdown(), LastShutdown::Clean);
        disk.crash();
        assert_eq!(open_as(&disk, "one", 1).unwrap().last_shutdown(), LastShutdown::Unclean, "it is used up");
    }
}

#[test]
fn removed_partitions_go_with_a_sweep_and_strays_are_shown_and_left() {
    let disk = SimDisk::new(0);
    let dir = open_as(&disk, "one", 1).unwrap();
    for index in 0..3 {
        let (mut log, _) = dir.partition(partition(index), LogConfig::default()).unwrap();
        append(&mut log);
        let _ = log.close().unwrap();
    }
    disk.create_dir_all(Path::new("/a/b/data/partitions/lost+found")).unwrap();
    dir.remove(partition(1)).unwrap();
    dir.remove(partition(7)).unwrap();
    let listed = dir.list_partitions().unwrap();
    let expected = [
        PartitionEntry::Partition(partition(0)),
        PartitionEntry::Partition(partition(2)),
        PartitionEntry::Stray("lost+found".to_owned()),
    ];
    assert_eq!(listed, expected);
    let (log, _) = dir.partition(partition(1), LogConfig::default()).unwrap();
    assert_eq!(log.log_end(), Offset::ZERO, "its name may be used again at once");
    drop((log, dir));
    disk.crash();
    let dir = open_as(&disk, "one", 1).unwrap();
    assert_eq!(dir.sweep(10).unwrap(), 1, "a sweep goes on after a crash");
    assert_eq!(dir.list_partitions().unwrap(), expected);
    assert!(!disk.contents().keys().any(|path| path.to_string_lossy().contains(".deleted")));
}

#[test]
fn ten_thousand_empty_partitions_take_no_space() {
    let disk = SimDisk::new(0);
    let dir = open_as(&disk, "one", 1).unwrap();
    let (used, calls) = (disk.used_bytes(), disk.calls());
    let open = |index| dir.partition(partition(index), LogConfig::default()).unwrap().0;
    let mut logs: Vec<_> = (0..10_000).map(open).collect();
    for log in &mut logs {
        log.assign_epoch(LeaderEpoch(1));
        assert!(!log.needs_flush() && !log.needs_checkpoint());
        let _ = log.close().unwrap();
    }
    assert_eq!(disk.used_bytes(), used);
    assert!(disk.calls() - calls <= 10_000, "one look for each directory, and no more");
    assert!(std::mem::size_of_val(&logs[0]) < 1024);
}

#[test]
fn a_thousand_small_partitions_stay_small() {
    let disk = SimDisk::with_file_bytes_max(0, 128 << 10);
    let dir = open_as(&disk, "one", 1).unwrap();
    for index in 0..1000 {
        let (mut log, _) = dir.partition(partition(index), LogConfig::default()).unwrap();
        append(&mut log);
        let _ = log.close().unwrap();
    }
    let each = disk.used_bytes() / 1000;
    assert!(each <= 7 * 4096, "{each} bytes for one record");
}

#[test]
fn a_segment_that_a_socket_may_still_send_from_is_not_written_over() {
    let disk = SimDisk::new(0);
    let dir = open_as(&disk, "one", 1).unwrap();
    let config = LogConfig { segment_bytes_max: 4096, ..LogConfig::default() };
    let (mut log, _) = dir.partition(partition(0), config).unwrap();
    while log.segments_count() < 2 {
        append(&mut log);
    }
    let end = log.flush().unwrap().get();
    let slice = log.plan_read(Offset::ZERO, end, 1000).unwrap().locate().unwrap().slice.unwrap();
    let (pin, sent) = (slice.pin(), slice.copy().unwrap());
    log.delete_records(end, end).unwrap();
    let mut roll_one = || {
        let before = log.segments_count();
        while log.segments_count() == before {
            append(&mut log);
        }
        dir.counters().segments_recycled.load(std::sync::atomic::Ordering::Relaxed)
    };
    assert_eq!(roll_one(), 0, "the slice is there");
    assert_eq!(slice.copy().unwrap(), sent);
    drop(slice);
    assert_eq!(roll_one(), 0, "its pin is still held for the socket");
    drop(pin);
    assert_eq!(roll_one(), 1, "now it is reused");
}
