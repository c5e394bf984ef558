//! A segment file: a header, then records one after the other, then zeros that were allocated ahead.
//!
//! ```text
//! 0    magic           HWRAFTLG
//! 8    crc32c u32      of bytes 0..8 and 12..128
//! 12   version u32     1
//! 16   number u64      1, 2, 3, ... as in the name
//! 24   previous end u64 where the records of the segment before this one end; 0 if this is the first
//! 32   last            has u64, term u64, index u64: the last log id when this segment began
//! 56   purged          has u64, term u64, index u64: the last purged log id then
//! 80   zero
//! 128  records
//! ```
//!
//! A segment gets its name when its header and its length are durable, and the one before it was synced to its end. So
//! a named segment without a valid header is damaged, and so is any but the last that does not end where it should.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use highwater_env::{Disk, DiskFile};

use super::files;
use super::record::{ALIGNMENT, Framed, HEADER_BYTES};
use crate::codec::{Malformed, Put, Reader};
use crate::types::LogId;

/// Where records begin.
pub(super) const RECORDS_AT: u64 = 128;
const MAGIC: &[u8; 8] = b"HWRAFTLG";
const VERSION: u32 = 1;
const SUFFIX: &str = ".log";

/// What a segment says about the log before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: u64,
    pub(super) previous_end: u64,
    pub(super) last: Option<LogId>,
    pub(super) purged: Option<LogId>,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; RECORDS_AT as usize] {
        let mut bytes = MAGIC.to_vec();
        bytes.u32(0);
        bytes.u32(VERSION);
        bytes.u64(self.number);
        bytes.u64(self.previous_end);
        for id in [&self.last, &self.purged] {
            bytes.u64(u64::from(id.is_some()));
            bytes.u64(id.map_or(0, |id| id.leader_id.term));
            bytes.u64(id.map_or(0, |id| id.index));
        }
        bytes.resize(RECORDS_AT as usize, 0);
        let mut bytes: [u8; RECORDS_AT as usize] = bytes.try_into().expect("resized to it");
        let crc = checksum(&bytes);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Header, Malformed> {
        let bytes: &[u8; RECORDS_AT as usize] =
            bytes.first_chunk().ok_or(Malformed { what: "segment header: too short" })?;
        if bytes[..8] != MAGIC[..] || bytes[8..12] != checksum(bytes).to_le_bytes() {
            return Err(Malformed { what: "segment header: wrong checksum" });
        }
        if bytes[12..16] != VERSION.to_le_bytes() {
            return Err(Malformed { what: "segment header: written by another version" });
        }
        let mut reader = Reader::new(Bytes::copy_from_slice(&bytes[16..]));
        let (number, previous_end) = (reader.u64()?, reader.u64()?);
        let mut id = || {
            let has = reader.u64()? != 0;
            let id = reader.log_id()?;
            Ok::<_, Malformed>(has.then_some(id))
        };
        Ok(Header { number, previous_end, last: id()?, purged: id()? })
    }
}

fn checksum(bytes: &[u8; RECORDS_AT as usize]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..8]), &bytes[12..])
}

/// A segment's file name.
pub(super) fn name(number: u64) -> String {
    format!("{number:020}{SUFFIX}")
}

/// The number in a file name, if it is a segment's.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let number = digits.parse().ok()?;
    (digits.len() == 20).then_some(number)
}

/// A new segment of `len` bytes, durable and named.
pub(super) fn create(
    disk: &dyn Disk,
    directory: &Path,
    header: &Header,
    len: u64,
) -> io::Result<Arc<dyn DiskFile>> {
    files::publish(disk, directory, &name(header.number), len, &header.encode())
}

/// The whole records at the start of a segment's bytes, and where they end.
pub(super) fn records(bytes: &[u8], number: u64) -> (Vec<Framed>, u64) {
    let mut found = Vec::new();
    let mut at = RECORDS_AT as usize;
    while let Some(record) = bytes.get(at..).and_then(|rest| Framed::read(rest, number)) {
        at += record.framed_bytes;
        found.push(record);
    }
    (found, at as u64)
}

/// Whether a record among what remains behind `end` proves that what is at `end` was durable once.
pub(super) fn proves_rot(bytes: &[u8], number: u64, end: u64, remains: (u64, u64)) -> bool {
    let first = (end as usize + ALIGNMENT).max(remains.0 as usize - HEADER_BYTES);
    (first..remains.1 as usize)
        .step_by(ALIGNMENT)
        .filter_map(|at| Framed::read(&bytes[at..], number))
        .any(|record| record.durable > end)
}

/// The bytes after `end` that are not zero, as a half-open range, give or take a page.
pub(super) fn remains(bytes: &[u8], end: u64) -> Option<(u64, u64)> {
    const PAGE: usize = 4096;
    let rest = bytes.get(end as usize..)?;
    // Whole pages are compared, because there are many and almost all are zero.
    let is_zero = |page: &[u8]| *page == [0; PAGE][..page.len()];
    let first = rest.chunks(PAGE).position(|page| !is_zero(page))? * PAGE;
    let behind = rest.rchunks(PAGE).position(|page| !is_zero(page))? * PAGE;
    Some((end + first as u64, end + (rest.len() - behind) as u64))
}
