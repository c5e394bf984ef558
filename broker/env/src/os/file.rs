//! An open file of the real file system.
//!
//! Written only through `pwritev`, never through a map, so that a full disk and an I/O error are return values. Maps are
//! read-only; see `map` for what makes reading them sound.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use memmap2::MmapOptions;
use rustix::fs::{FallocateFlags, fallocate};

use crate::DiskFile;

/// At most this many slices are handed to the kernel at once (Linux takes 1,024).
const SLICES_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct OsFile {
    pub(super) file: File,
}

impl DiskFile for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.file.read_at(&mut buffer[read..], position + read as u64) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, position: u64, slices: &[IoSlice<'_>]) -> io::Result<()> {
        let mut position = position;
        let mut slices = slices;
        // How much of the first slice a short write has dealt with already.
        let mut skip = 0;
        while let Some(first) = slices.first() {
            if first.len() == skip {
                slices = &slices[1..];
                skip = 0;
                continue;
            }
            let written = if skip > 0 {
                self.file.write_at(&first[skip..], position)
            } else {
                let group = &slices[..slices.len().min(SLICES_MAX)];
                rustix::io::pwritev(&self.file, group, position).map_err(io::Error::from)
            };
            let mut written = match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            position += written as u64;
            while let Some(first) = slices.first() {
                let left = first.len() - skip;
                if written < left {
                    skip += written;
                    break;
                }
                written -= left;
                slices = &slices[1..];
                skip = 0;
            }
        }
        Ok(())
    }

    fn allocate(&self, position: u64, len: u64) -> io::Result<()> {
        let before = self.len()?;
        loop {
            match fallocate(&self.file, FallocateFlags::empty(), position, len) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::OPNOTSUPP) => return self.grow_sparse(position, len, before),
                Err(error) => {
                    // ext4 keeps the part it got: give it back, or a failed call would eat the last free space.
                    if self.len()? > before {
                        self.file.set_len(before)?;
                    }
                    return Err(error.into());
                }
            }
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn map(&self, len: u64) -> io::Result<Bytes> {
        if len > self.len()? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a map must not reach beyond the end of its file",
            ));
        }
        if len == 0 {
            return Ok(Bytes::new());
        }
        let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        // SAFETY: the map is read-only. Its bytes may be read only where they no longer change: callers append through
        // `write_at` beyond what they hand out, and neither overwrite nor truncate a range while slices of it live
        // (the contract of `DiskFile::truncate`). The directory is locked against other brokers.
        let map = unsafe { MmapOptions::new().len(len).map(&self.file)? };
        Ok(Bytes::from_owner(map))
    }
}

impl OsFile {
    /// For file systems without `fallocate`: writes zeros, since a sparse file would fail later, and by a signal.
    fn grow_sparse(&self, position: u64, len: u64, before: u64) -> io::Result<()> {
        let zeros = [0; 65536];
        let end = position + len;
        let mut at = before.max(position);
        while at < end {
            let count = (end - at).min(zeros.len() as u64) as usize;
            if let Err(error) = self.file.write_all_at(&zeros[..count], at) {
                self.file.set_len(before)?;
                return Err(error);
            }
            at += count as u64;
        }
        Ok(())
    }
}
