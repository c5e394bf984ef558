//! A disk that takes crash images around its calls, together with how far the caller was at that moment.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use highwater_env::sim::SimDisk;
use highwater_env::{DirEntry, DirectoryLock, Disk, DiskFile, LockError};

/// What a power cut would have left, and how many steps were acknowledged before and issued after it.
#[derive(Debug)]
pub(super) struct Moment {
    pub(super) image: Arc<SimDisk>,
    pub(super) acknowledged: usize,
    pub(super) issued: usize,
}

/// Where the caller is, and the moments that were kept.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) acknowledged: AtomicUsize,
    pub(super) issued: AtomicUsize,
    pub(super) moments: Mutex<Vec<Moment>>,
    calls: AtomicU64,
    /// Keeps every so many-th moment.
    every: u64,
}

impl Watch {
    pub(super) fn new(every: u64) -> Watch {
        Watch { every, ..Watch::default() }
    }

    fn look(&self, disk: &SimDisk) {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if call.is_multiple_of(self.every) {
            let acknowledged = self.acknowledged.load(Ordering::SeqCst);
            let image = disk.crash_image(call);
            let issued = self.issued.load(Ordering::SeqCst);
            self.moments.lock().expect("no panic").push(Moment { image, acknowledged, issued });
        }
    }
}

/// The disk.
#[derive(Debug)]
pub(super) struct Snoop {
    pub(super) disk: Arc<SimDisk>,
    pub(super) watch: Arc<Watch>,
}

#[derive(Debug)]
struct SnoopFile {
    file: Arc<dyn DiskFile>,
    disk: Arc<SimDisk>,
    watch: Arc<Watch>,
}

impl Snoop {
    fn around<T>(&self, call: impl FnOnce(&SimDisk) -> T) -> T {
        self.watch.look(&self.disk);
        let result = call(&self.disk);
        self.watch.look(&self.disk);
        result
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(SnoopFile { file, disk: Arc::clone(&self.disk), watch: Arc::clone(&self.watch) })
    }
}

impl SnoopFile {
    fn around<T>(&self, call: impl FnOnce(&dyn DiskFile) -> T) -> T {
        self.watch.look(&self.disk);
        let result = call(&*self.file);
        self.watch.look(&self.disk);
        result
    }
}

impl Disk for Snoop {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.around(|disk| disk.create(path)).map(|file| self.file(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path).map(|file| self.file(file))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.around(|disk| disk.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.around(|disk| disk.remove_file(path))
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
        self.around(|disk| disk.sync_dir(path))
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

    fn is_resident(&self, bytes: &[u8]) -> io::Result<bool> {
        self.disk.is_resident(bytes)
    }

    fn populate(&self, bytes: &[u8]) -> io::Result<()> {
        self.disk.populate(bytes)
    }
}

impl DiskFile for SnoopFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(position, buffer)
    }

    fn write_at(&self, position: u64, slices: &[IoSlice<'_>]) -> io::Result<()> {
        self.around(|file| file.write_at(position, slices))
    }

    fn allocate(&self, position: u64, len: u64) -> io::Result<()> {
        self.around(|file| file.allocate(position, len))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.around(|file| file.truncate(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.around(|file| file.sync_data())
    }

    fn map(&self, len: u64) -> io::Result<Bytes> {
        self.file.map(len)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.file.descriptor()
    }
}
