//! Walking through a segment's batches in order, with or without their checksums.
//!
//! Memory is bounded by a window, whatever lengths the bytes claim. Nothing is judged here beyond where the walk had to
//! stop: whether that is the end, a torn tail or rot is for recovery to say.

use std::io;

use highwater_env::DiskFile;
use highwater_proto::record::{BatchHeader, HEADER_BYTES};

const WINDOW_BYTES: usize = 256 << 10;
/// The checksum covers the batch from here on.
const CHECKED_FROM: u64 = 21;

/// Why a walk stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ScanStop {
    /// At the limit.
    End,
    /// There are only zeros where a header would be.
    Zeros,
    /// The bytes are no batch, or the batch goes on beyond the limit.
    NoBatch,
    /// The checksum is wrong.
    Checksum,
    /// A whole batch, of offsets the log has had before: left from an earlier life of the file.
    Stale,
}

/// Where a walk stopped, and why.
#[derive(Clone, Debug)]
pub(crate) struct Stopped {
    pub(crate) position: u64,
    pub(crate) reason: ScanStop,
}

/// Reads batch after batch through a window.
pub(crate) struct Scanner<'a> {
    file: &'a dyn DiskFile,
    limit: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Scanner<'a> {
    /// Looks at nothing from `limit` on.
    pub(crate) fn new(file: &'a dyn DiskFile, limit: u64) -> Scanner<'a> {
        Scanner { file, limit, window: Vec::new(), window_at: 0 }
    }

    /// The file that is read.
    pub(crate) fn file(&self) -> &dyn DiskFile {
        self.file
    }

    /// The header of the batch at this position, all of which must lie below the limit.
    pub(crate) fn header(&mut self, position: u64) -> io::Result<Result<BatchHeader, ScanStop>> {
        if position >= self.limit {
            return Ok(Err(ScanStop::End));
        }
        let limit = self.limit;
        let raw = self.bytes(position, HEADER_BYTES)?;
        if raw.iter().all(|byte| *byte == 0) {
            return Ok(Err(ScanStop::Zeros));
        }
        match BatchHeader::parse(raw) {
            Ok(header) if position + header.size_bytes() as u64 <= limit => Ok(Ok(header)),
            Ok(_) | Err(_) => Ok(Err(ScanStop::NoBatch)),
        }
    }

    /// Whether the checksum of the batch at this position is right.
    pub(crate) fn checksum_is_right(&mut self, position: u64, header: &BatchHeader) -> io::Result<bool> {
        let end = position + header.size_bytes() as u64;
        let mut at = position + CHECKED_FROM;
        let mut crc = 0;
        while at < end {
            let count = (end - at).min(WINDOW_BYTES as u64) as usize;
            let raw = self.bytes(at, count)?;
            if raw.is_empty() {
                return Ok(false);
            }
            crc = crc32c::crc32c_append(crc, raw);
            at += raw.len() as u64;
        }
        Ok(crc == header.crc)
    }

    /// Up to `count` bytes from `position`; fewer only at the limit or at the end of the file.
    fn bytes(&mut self, position: u64, count: usize) -> io::Result<&[u8]> {
        let count = (count as u64).min(self.limit.saturating_sub(position)) as usize;
        let window_end = self.window_at + self.window.len() as u64;
        if position < self.window_at || position + count as u64 > window_end {
            let wanted = (WINDOW_BYTES as u64).min(self.limit - position) as usize;
            self.window.resize(wanted.max(count), 0);
            self.window_at = position;
            let read = self.file.read_at(position, &mut self.window)?;
            self.window.truncate(read);
        }
        let from = (position - self.window_at) as usize;
        let to = (from + count).min(self.window.len());
        Ok(&self.window[from.min(to)..to])
    }
}

/// Visits the headers from `position` to `limit`, where batches follow each other without a gap in bytes.
pub(crate) fn scan_headers(
    file: &dyn DiskFile,
    position: u64,
    limit: u64,
    mut visit: impl FnMut(u64, &BatchHeader),
) -> io::Result<Stopped> {
    let mut scanner = Scanner::new(file, limit);
    let mut position = position;
    loop {
        match scanner.header(position)? {
            Ok(header) => {
                visit(position, &header);
                position += header.size_bytes() as u64;
            }
            Err(reason) => return Ok(Stopped { position, reason }),
        }
    }
}
