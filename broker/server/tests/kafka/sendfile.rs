//! The two traps of `sendfile`: pages that change before the peer has read them, and pages that are not in memory.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use highwater_client::{Client, ClientConfig, Offset, PartitionIndex};
use highwater_env::os::{OsClock, OsDisk, OsRandom};
use highwater_env::{DirEntry, DirectoryLock, Disk, DiskFile, LockError};
use highwater_proto::record::Compression;
use highwater_server::{Broker, Environment};
use kafka_protocol::messages::{ApiKey, FetchResponse};

use super::reads::{fetch_all, fetch_some, values};
use super::wire::{Bench, Wire, batch, config};

const SEGMENT_BYTES: &str = "1048576";

/// About six segments of small batches.
async fn fill(wire: &mut Wire, topic: &str, text: &str) {
    let text = text.repeat(30_000);
    for _ in 0..200 {
        assert_eq!(wire.produce(topic, 0, batch(Compression::None, &[&text])).await.error_code, 0);
    }
}

fn recycled(bench: &Bench) -> u64 {
    let counts = bench.broker.services().log_counts();
    counts.iter().find(|(name, _)| *name == "segments_recycled").map_or(0, |(_, count)| *count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_in_a_socket_does_not_change_when_its_segment_is_deleted_and_space_is_written_over() {
    let bench = Bench::start().await;
    let settings = [("segment.bytes", SEGMENT_BYTES)];
    for topic in ["decoy", "old", "new"] {
        bench.create(topic, 1, &settings).await;
    }
    let mut writer = bench.wire().await;
    fill(&mut writer, "old", "x").await;
    fill(&mut writer, "decoy", "z").await;
    // An answer that is sent whole, and waits in the reader's socket.
    let mut reader = bench.wire().await;
    let frame = fetch_some(&mut reader, "old", 40_000);
    reader.send_bytes(&frame).await;
    let mut first = [0];
    reader.socket.peek(&mut first).await.unwrap();

    let admin =
        Client::connect(ClientConfig::new([bench.broker.grpc_addr().to_string()])).await.unwrap().admin();
    for topic in ["decoy", "old"] {
        admin.delete_records(topic, PartitionIndex(0), Some(Offset(190))).await.unwrap();
    }
    // Everything that may be written over is, until new segments get fresh space.
    let mut before = u64::MAX;
    while recycled(&bench) != before {
        before = recycled(&bench);
        fill(&mut writer, "new", "y").await;
    }
    assert!(before >= 5, "only {before} segments were written over");

    let (_, body) = reader.receive().await.unwrap();
    let response: FetchResponse = Wire::decode(ApiKey::Fetch, 12, body);
    let records = &response.responses[0].partitions[0].records;
    // A batch of the new topic at the same place would be whole as well, with a checksum that is right.
    let found = values(records);
    assert!(!found.is_empty(), "{:?}", response.responses[0].partitions[0]);
    assert!(found.iter().all(|(_, text)| text.bytes().all(|byte| byte == b'x')), "another topic's records");
}

/// A disk that never has anything in memory, and notes who brings it there.
#[derive(Debug)]
struct Cold {
    disk: OsDisk,
    populated: AtomicUsize,
    by: Mutex<Vec<ThreadId>>,
}

impl Disk for Cold {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(path)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
    fn lock_directory(&self, path: &Path, holder: &str) -> Result<DirectoryLock, LockError> {
        self.disk.lock_directory(path, holder)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_bytes(path)
    }
    fn open_files_max(&self) -> usize {
        self.disk.open_files_max()
    }
    fn is_resident(&self, _bytes: &[u8]) -> io::Result<bool> {
        Ok(false)
    }
    fn populate(&self, bytes: &[u8]) -> io::Result<()> {
        self.by.lock().unwrap().push(thread::current().id());
        self.populated.fetch_add(1, Ordering::Relaxed);
        self.disk.populate(bytes)
    }
}

/// With one thread for all tasks, that thread is the event loop.
#[tokio::test(flavor = "current_thread")]
async fn a_cold_range_is_brought_into_memory_by_another_thread_than_the_event_loops() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(Cold { disk: OsDisk, populated: AtomicUsize::new(0), by: Mutex::default() });
    let environment = Environment {
        disk: Arc::<Cold>::clone(&disk),
        clock: Arc::new(OsClock::new()),
        random: Arc::new(OsRandom),
    };
    let broker = Broker::start_in(environment, config(directory.path())).await.unwrap();
    let bench = Bench::of(directory, broker);
    bench.create("t", 1, &[("segment.bytes", "16384")]).await;
    let mut wire = bench.wire().await;
    let text = "x".repeat(10_000);
    for _ in 0..4 {
        assert_eq!(wire.produce("t", 0, batch(Compression::None, &[&text])).await.error_code, 0);
    }
    let before = disk.populated.load(Ordering::Relaxed);
    let frame = fetch_all(&mut wire, "t");
    wire.send_bytes(&frame).await;
    let (_, body) = wire.receive().await.unwrap();
    let response: FetchResponse = Wire::decode(ApiKey::Fetch, 12, body);
    assert_eq!(values(&response.responses[0].partitions[0].records)[0], (0, text));
    assert!(disk.populated.load(Ordering::Relaxed) > before, "sent without being brought into memory");
    let event_loop = thread::current().id();
    assert!(disk.by.lock().unwrap().iter().all(|by| *by != event_loop), "the event loop waited for the disk");
}
