//! The whole path on a real disk: append, flush, read, reopen.

#![expect(clippy::unwrap_used, reason = "a test fails where it goes wrong")]

use std::path::Path;
use std::sync::Arc;

use highwater_env::os::{OsClock, OsDisk, OsRandom};
use highwater_log::{LastShutdown, LogConfig, LogDir, LogDirConfig, LogDirError, Novelty, PartitionLog};
use highwater_proto::record::{BatchBuilder, BatchHeader, Compression};
use highwater_proto::{BrokerId, LeaderEpoch, Offset, PartitionIndex, ProducerId, TopicId, TopicPartition};

fn open(path: &Path) -> Result<LogDir, LogDirError> {
    let config = LogDirConfig::new("test", BrokerId(1));
    LogDir::open(Arc::new(OsDisk), Arc::new(OsClock::new()), &OsRandom, path, config)
}

fn partition() -> TopicPartition {
    TopicPartition::new(TopicId([1; 16]), PartitionIndex(0))
}

fn append(log: &mut PartitionLog, sequence: i32, value: &[u8]) -> highwater_log::Appended {
    let mut builder = BatchBuilder::new(Compression::None, 1 << 20);
    builder.try_append(1000, None, Some(value), &[]).unwrap();
    let batch = builder.finish(Some((ProducerId(7), 0, sequence)));
    let header = BatchHeader::parse(&batch).unwrap();
    log.append(&batch, &header, LeaderEpoch(3), 5000).unwrap()
}

fn read_all(log: &PartitionLog) -> Vec<u8> {
    let mut next = log.log_start();
    let mut bytes = Vec::new();
    while next < log.log_end() {
        let slice = log.plan_read(next, log.log_end(), 1000).unwrap().read().unwrap();
        assert!(slice.next > next);
        next = slice.next;
        bytes.extend_from_slice(&slice.bytes);
    }
    bytes
}

#[test]
fn what_was_appended_and_flushed_is_read_before_and_after_reopening() {
    let temp = tempfile::tempdir().unwrap();
    let dir = open(temp.path()).unwrap();
    let config = LogConfig { segment_bytes_max: 4096, index_interval_bytes: 256, ..LogConfig::default() };
    let (mut log, _) = dir.partition(partition(), config.clone()).unwrap();
    assert!(!log.directory().exists(), "an empty partition takes no space");
    for sequence in 0..100 {
        let appended = append(&mut log, sequence, &[b'x'; 100]);
        assert_eq!((appended.base_offset, appended.novelty), (Offset(i64::from(sequence)), Novelty::New));
    }
    assert_eq!(append(&mut log, 98, &[b'x'; 100]).novelty, Novelty::Duplicate);
    assert_eq!(log.flush().unwrap().get(), Offset(100));
    assert!(log.segments_count() > 3);
    let before = read_all(&log);
    assert!(matches!(open(temp.path()), Err(LogDirError::InUse { .. })));
    let _ = log.close().unwrap();
    dir.close().unwrap();
    drop((log, dir));

    let dir = open(temp.path()).unwrap();
    assert_eq!(dir.last_shutdown(), LastShutdown::Clean);
    let (mut log, report) = dir.partition(partition(), config.clone()).unwrap();
    assert_eq!(report.scanned_bytes, 0, "{report:?}");
    assert!(!report.is_unclean());
    assert_eq!(read_all(&log), before);
    assert_eq!(append(&mut log, 99, &[b'x'; 100]).novelty, Novelty::Duplicate);
    append(&mut log, 100, b"more");
    assert_eq!(log.flush().unwrap().get(), Offset(101));
    drop(log);
    drop(dir);

    let dir = open(temp.path()).unwrap();
    assert_eq!(dir.last_shutdown(), LastShutdown::Unclean);
    let (log, report) = dir.partition(partition(), config).unwrap();
    assert_eq!((report.log_end, report.torn_bytes), (Offset(101), 0));
    assert_eq!(log.last_epoch(), Some(LeaderEpoch(3)));
    assert!(read_all(&log).starts_with(&before));
}
