//! One record of the log.
//!
//! ```text
//! 0   crc32c u32   of bytes 4..32 and the body
//! 4   length u32   of the body
//! 8   segment u64  the number of the segment that it was written to
//! 16  durable u64  all bytes of the segment before this position were synced when this record was written
//! 24  kind u8      1 entry | 2 truncation | 3 purge
//! 25  zero         7 bytes
//! 32  body, then zeros up to a multiple of 8
//!
//! entry:       an entry as in codec.rs, its index one more than the last one's
//! truncation:  option of log id: the entries after it are gone (all, if there is none)
//! purge:       log id: the entries up to it are in a snapshot
//! ```
//!
//! `durable` is the proof that tells rot from a torn tail: if a record is broken and a later one says that the place had
//! been synced, the broken one was once whole.

use bytes::Bytes;
use openraft::entry::RaftEntry;

use crate::codec::{Malformed, Put, Reader};
use crate::types::{Entry, LogId};

/// Bytes of a record before its body.
pub(super) const HEADER_BYTES: usize = 32;
/// Records begin at multiples of this.
pub(super) const ALIGNMENT: usize = 8;

const ENTRY: u8 = 1;
const TRUNCATION: u8 = 2;
const PURGE: u8 = 3;

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    Entry(Entry),
    Truncation(Option<LogId>),
    Purge(LogId),
}

/// A record's body, encoded where it came from, to be framed where it is written.
#[derive(Clone, Debug)]
pub(super) struct Body {
    kind: u8,
    bytes: Vec<u8>,
    pub(super) effect: Effect,
}

/// What a record does to the end and the start of the log.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    Append(LogId),
    Truncate(Option<LogId>),
    Purge(LogId),
}

impl Body {
    pub(super) fn entry(entry: &Entry) -> Body {
        let mut bytes = Vec::with_capacity(64);
        bytes.entry(entry);
        Body { kind: ENTRY, bytes, effect: Effect::Append(entry.log_id()) }
    }

    pub(super) fn truncation(after: Option<LogId>) -> Body {
        let mut bytes = Vec::new();
        bytes.log_id_option(after.as_ref());
        Body { kind: TRUNCATION, bytes, effect: Effect::Truncate(after) }
    }

    pub(super) fn purge(upto: LogId) -> Body {
        let mut bytes = Vec::new();
        bytes.log_id(&upto);
        Body { kind: PURGE, bytes, effect: Effect::Purge(upto) }
    }

    /// Bytes that the record takes in a segment.
    pub(super) fn framed_bytes(&self) -> usize {
        (HEADER_BYTES + self.bytes.len()).next_multiple_of(ALIGNMENT)
    }

    /// Appends the record to what is about to be written to a segment.
    pub(super) fn frame(&self, segment: u64, durable: u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.u32(u32::try_from(self.bytes.len()).expect("payloads are bounded far below 4 GiB"));
        out.u64(segment);
        out.u64(durable);
        out.u8(self.kind);
        out.extend_from_slice(&[0; 7]);
        out.extend_from_slice(&self.bytes);
        let crc = crc32c::crc32c(&out[start + 4..]);
        out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
        out.resize(start + self.framed_bytes(), 0);
    }
}

/// A record found in a segment, whole and in its place.
#[derive(Debug)]
pub(super) struct Framed {
    kind: u8,
    body: Bytes,
    pub(super) durable: u64,
    /// Bytes it takes.
    pub(super) framed_bytes: usize,
}

impl Framed {
    /// The record that begins `bytes`, if there is a whole one that was written to this segment.
    pub(super) fn read(bytes: &[u8], segment: u64) -> Option<Framed> {
        let header = bytes.get(..HEADER_BYTES)?;
        let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("4 bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("8 bytes"));
        if u64_at(8) != segment {
            return None;
        }
        let end = HEADER_BYTES.checked_add(u32_at(4) as usize)?;
        let body = bytes.get(HEADER_BYTES..end)?;
        if crc32c::crc32c(&bytes[4..end]) != u32_at(0) {
            return None;
        }
        Some(Framed {
            kind: header[24],
            body: Bytes::copy_from_slice(body),
            durable: u64_at(16),
            framed_bytes: end.next_multiple_of(ALIGNMENT),
        })
    }

    /// What it says.
    pub(super) fn decode(self) -> Result<Record, Malformed> {
        let mut reader = Reader::new(self.body);
        let record = match self.kind {
            ENTRY => Record::Entry(reader.entry()?),
            TRUNCATION => Record::Truncation(reader.log_id_option()?),
            PURGE => Record::Purge(reader.log_id()?),
            _ => return Err(Malformed { what: "record kind" }),
        };
        reader.end()?;
        Ok(record)
    }
}
