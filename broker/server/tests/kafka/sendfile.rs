//! The two traps of `sendfile`: pages that change before the peer has read them, and pages that are not in memory.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use highwater_env::os::{OsClock, OsDisk, OsRandom};
use highwater_env::{DirEntry, DirectoryLock, Disk, DiskFile, LockError};
use highwater_proto::record::Compression;
use highwater_server::{Broker, BrokerConfig, Environment};
use kafka_protocol::messages::{ApiKey, FetchResponse};

use super::reads::{fetch_all, values};
use super::wire::{Bench, Wire, batch};

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
    let broker = Broker::start_in(environment, BrokerConfig::ephemeral(directory.path())).await.unwrap();
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
