//! The real file system.

#![expect(clippy::disallowed_methods, reason = "this is the seam the rule points to")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock, statvfs};
use rustix::process::{Resource, getrlimit};

use super::file::OsFile;
use crate::{DirEntry, DirectoryLock, Disk, DiskFile, EntryKind, LockError};

/// The name of the file that holds a directory's lock.
const LOCK_FILE: &str = "lock";

/// The file systems of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(OsFile { file }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(OsFile { file }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let kind = if entry.file_type()?.is_dir() { EntryKind::Directory } else { EntryKind::File };
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry { name, kind });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock_directory(&self, path: &Path, holder: &str) -> Result<DirectoryLock, LockError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK_FILE))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = Read::by_ref(&mut file).take(256).read_to_string(&mut text);
                let holder =
                    if text.is_empty() { "another process".to_owned() } else { text.trim().to_owned() };
                return Err(LockError::Held { holder });
            }
            Err(error) => return Err(LockError::Io(error.into())),
        }
        // The lock is the kernel's; the text only tells people who has it, so a failed write costs nothing.
        if file.set_len(0).is_ok() {
            let _ = writeln!(file, "{holder}");
        }
        Ok(DirectoryLock::new(file))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn open_files_max(&self) -> usize {
        let limit = getrlimit(Resource::Nofile).current;
        limit.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
    }

    fn total_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = statvfs(path)?;
        Ok(stat.f_blocks.saturating_mul(stat.f_frsize))
    }

    fn is_resident(&self, bytes: &[u8]) -> io::Result<bool> {
        /// Pages asked about, spread over the range. The kernel evicts runs of pages that were read or written
        /// together, so a few tell of their neighbours; asking about each of the 256 pages of 1 MiB costs a tenth of
        /// sending them.
        const SAMPLES: usize = 8;
        let page = rustix::param::page_size();
        let (start, end) = page_range(bytes, page);
        let count = (end - start) / page;
        let step = count.div_ceil(SAMPLES).max(1);
        let last = count.saturating_sub(1);
        for index in (0..count).step_by(step).chain(std::iter::once(last)).take_while(|_| count > 0) {
            let mut present = 0_u8;
            let at = start + index * page;
            // SAFETY: the page is one that `bytes` keeps mapped, and `present` has the one byte that is written for it.
            let result = unsafe { libc::mincore(at as *mut _, page, &raw mut present) };
            if result != 0 {
                return Err(io::Error::last_os_error());
            }
            if present & 1 == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn populate(&self, bytes: &[u8]) -> io::Result<()> {
        let (at, end) = page_range(bytes, rustix::param::page_size());
        if at == end {
            return Ok(());
        }
        // SAFETY: the range lies within pages that `bytes` keeps mapped; populating for reading changes no byte.
        let result = unsafe { libc::madvise(at as *mut _, end - at, libc::MADV_POPULATE_READ) };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        // Kernels before 5.14 don't know the advice; reading then touches the pages itself.
        if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) }
    }
}

/// The addresses of the whole pages under `bytes`, half open.
fn page_range(bytes: &[u8], page: usize) -> (usize, usize) {
    if bytes.is_empty() {
        return (0, 0);
    }
    let start = bytes.as_ptr() as usize;
    (start & !(page - 1), (start + bytes.len()).next_multiple_of(page))
}
