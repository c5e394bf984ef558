//! The disk seam: files written at positions, read through maps, and made durable by name.
//!
//! The promises an implementation keeps, and everything above relies on:
//! * bytes written are visible to reads and maps of the same file at once, and survive a power cut only after
//!   [`DiskFile::sync_data`] returned `Ok`;
//! * a name (created, renamed, removed) survives a power cut only after [`Disk::sync_dir`] of its directory returned `Ok`;
//! * after a failed sync the unsynced bytes may be lost for ever, and a later successful sync says nothing of them;
//! * a full disk is an error of the call that needed the space, never a signal.

use std::any::Any;
use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

/// A file system, or one simulated in memory.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Creates an empty file for reading and writing. Fails with `AlreadyExists` if the name is taken.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Whether there is a file or directory of this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Gives a file or directory another name, taking the place of a file already there. Atomic.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name. Open handles and maps keep its bytes alive.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory and those above it; fine if it is there.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with all that is in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// What is in a directory, sorted by name. Names that are not UTF-8 are left out.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes a directory for this process alone, through a lock file called `lock` in it that names the holder.
    fn lock_directory(&self, path: &Path, holder: &str) -> Result<DirectoryLock, LockError>;

    /// Bytes that can still be written to the file system that holds `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;

    /// How many files the process may have open at once, sockets included.
    fn open_files_max(&self) -> usize;

    /// The size in bytes of the file system that holds `path`; `Unsupported` where it has none.
    fn total_bytes(&self, _path: &Path) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether all pages under `bytes` (a slice of a map made by this disk) are in memory, so that reading waits for
    /// no device. A hint: the pages may go the moment after.
    fn is_resident(&self, bytes: &[u8]) -> io::Result<bool>;

    /// Brings the pages under `bytes` (a slice of a map made by this disk) into memory. May wait for the device, and
    /// reports as an error what a plain touch would report as a signal.
    fn populate(&self, bytes: &[u8]) -> io::Result<()>;
}

/// An open file. Shared freely: every call names its position.
#[expect(
    clippy::len_without_is_empty,
    reason = "a file's length is a call that can fail, not a container's size"
)]
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes the slices one after the other from `position`: all of them, or an error (then any part of the range
    /// may hold new bytes). Grows the file where needed.
    fn write_at(&self, position: u64, slices: &[IoSlice<'_>]) -> io::Result<()>;

    /// Reserves space for `len` bytes from `position` and lets the file reach that far; bytes never written read as
    /// zero. On an error the file is as long as before.
    fn allocate(&self, position: u64, len: u64) -> io::Result<()>;

    /// Makes the file exactly `len` bytes long. Bytes beyond are gone, and growing shows zeros. The caller makes sure
    /// that no map of the part that goes is still read.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes all bytes written so far, and the length, durable.
    fn sync_data(&self) -> io::Result<()>;

    /// The first `len` bytes of the file as memory, read-only and shared with later writes. `len` must not be beyond the
    /// end of the file. The bytes stay mapped as long as any clone or slice of them lives, even if the file is removed.
    fn map(&self, len: u64) -> io::Result<Bytes>;

    /// The descriptor, for `sendfile` and its like; `None` if the file is not one of the operating system's.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// Reads exactly `buffer.len()` bytes; `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<()> {
        let read = self.read_at(position, buffer)?;
        if read == buffer.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// What a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A directory.
    Directory,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, without the directory's path.
    pub name: String,
    /// What it names.
    pub kind: EntryKind,
}

/// A directory held by this process; let go when dropped.
pub struct DirectoryLock {
    _guard: Box<dyn Any + Send + Sync>,
}

impl DirectoryLock {
    /// Wraps whatever keeps the lock while it lives.
    pub fn new(guard: impl Any + Send + Sync) -> DirectoryLock {
        DirectoryLock { _guard: Box::new(guard) }
    }
}

impl fmt::Debug for DirectoryLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DirectoryLock")
    }
}

/// Why a directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("held by {holder}")]
    Held {
        /// What the holder wrote about itself, for example its process id.
        holder: String,
    },
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Whether an error means that the process, or the machine, has as many files open as it may: nothing was tried, and
/// the call can succeed once one is closed.
pub fn is_out_of_handles(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Whether an error means that the disk is full (or a quota is used up), so that the call can succeed once there is space.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
