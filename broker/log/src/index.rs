//! `{base_offset:020}.index`: where in the segment an offset or a time is to be found.
//!
//! One file serves both questions: an entry stands for a batch and holds its offset, its position and the largest
//! timestamp of all batches *before* it in the segment. For an offset, start at the last entry not beyond it; for a
//! time, at the last entry before which everything is older. The index is a cache: it is checked when read and built
//! anew from the segment if anything is wrong (rule M-25). Big-endian:
//!
//! ```text
//!     0  slot A, 512  slot B      written in turn; the valid one with the higher sequence number counts
//!  1024  entries of 16 bytes      u32 offset - base offset, u32 position, i64 largest timestamp before
//!
//! slot:  0  u32  magic "HWIX"
//!        4  u16  version 1
//!        6  u16  flags: 1 the segment is sealed
//!        8  u64  sequence number of this write
//!       16  u64  bytes of the segment that the entries cover; all of its data if sealed
//!       24  i64  offset after those bytes
//!       32  i64  largest timestamp in those bytes; -1 none
//!       40  i64  when the first batch was appended, ms since 1970
//!       48  u32  number of entries
//!       52  u32  CRC-32C of the entries
//!       56  u32  0
//!       60  u32  CRC-32C of bytes 0 to 59
//! ```
//! The batch at position 0 has no entry: every search may start there.

use std::io::{self, IoSlice};

use highwater_env::DiskFile;
use highwater_proto::Offset;
use highwater_proto::record::crc32c;

/// Bytes of a slot.
pub const SLOT_BYTES: usize = 64;
/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 16;
/// Where the entries begin.
pub const ENTRIES_AT: u64 = 1024;
const SLOT_STRIDE_BYTES: u64 = 512;
const MAGIC: u32 = u32::from_be_bytes(*b"HWIX");
const VERSION: u16 = 1;
const FLAG_SEALED: u16 = 1;
const CRC_AT: usize = 60;

/// One batch that a search can start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The batch's base offset, relative to the segment's.
    pub relative_offset: u32,
    /// Where the batch begins in the segment, in bytes.
    pub position: u32,
    /// The largest timestamp of the batches before it; milliseconds since 1970.
    pub max_timestamp_before_ms: i64,
}

impl IndexEntry {
    /// Where a search starts that no entry helps.
    pub const START: IndexEntry =
        IndexEntry { relative_offset: 0, position: 0, max_timestamp_before_ms: i64::MIN };

    /// The entry's bytes.
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut raw = [0; ENTRY_BYTES];
        raw[..4].copy_from_slice(&self.relative_offset.to_be_bytes());
        raw[4..8].copy_from_slice(&self.position.to_be_bytes());
        raw[8..].copy_from_slice(&self.max_timestamp_before_ms.to_be_bytes());
        raw
    }

    fn decode(raw: &[u8; ENTRY_BYTES]) -> IndexEntry {
        let number = |at| u32::from_be_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
        let time = raw[8..].try_into().expect("8 of 16 bytes are left");
        IndexEntry {
            relative_offset: number(0),
            position: number(4),
            max_timestamp_before_ms: i64::from_be_bytes(time),
        }
    }
}

/// Whether more data may follow in the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// It is the active one: the index covers a part of it.
    Open,
    /// It is complete: the index covers all of it.
    Sealed,
}

/// What a slot says of the segment and the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexHeader {
    /// Whether more data may follow.
    pub seal: Seal,
    /// Bytes of the segment that the entries cover.
    pub data_bytes: u64,
    /// The offset after those bytes.
    pub end: Offset,
    /// The largest timestamp in those bytes, or -1; milliseconds since 1970.
    pub max_timestamp_ms: i64,
    /// When the first batch was appended; milliseconds since 1970.
    pub created_ms: i64,
    /// How many entries there are.
    pub entries_count: u32,
    /// Their CRC-32C.
    pub entries_crc: u32,
}

impl IndexHeader {
    /// The slot's bytes.
    pub fn encode(&self, sequence: u64) -> [u8; SLOT_BYTES] {
        let flags = if self.seal == Seal::Sealed { FLAG_SEALED } else { 0 };
        let mut slot = Vec::with_capacity(SLOT_BYTES);
        slot.extend(MAGIC.to_be_bytes());
        slot.extend(VERSION.to_be_bytes());
        slot.extend(flags.to_be_bytes());
        slot.extend(sequence.to_be_bytes());
        slot.extend(self.data_bytes.to_be_bytes());
        slot.extend(self.end.0.to_be_bytes());
        slot.extend(self.max_timestamp_ms.to_be_bytes());
        slot.extend(self.created_ms.to_be_bytes());
        slot.extend(self.entries_count.to_be_bytes());
        slot.extend(self.entries_crc.to_be_bytes());
        slot.extend(0_u32.to_be_bytes());
        slot.extend(crc32c(&slot).to_be_bytes());
        slot.try_into().expect("the fields add up to a slot")
    }

    /// Reads a slot; `None` if it was never written, or is torn, rotten or of another version.
    pub fn decode(slot: &[u8]) -> Option<(u64, IndexHeader)> {
        let slot: &[u8; SLOT_BYTES] = slot.first_chunk()?;
        let number = |at: usize| u32::from_be_bytes([slot[at], slot[at + 1], slot[at + 2], slot[at + 3]]);
        let long = |at: usize| (u64::from(number(at)) << 32) | u64::from(number(at + 4));
        let flags = number(4) & 0xffff;
        if number(0) != MAGIC
            || number(4) >> 16 != u32::from(VERSION)
            || flags > u32::from(FLAG_SEALED)
            || number(CRC_AT) != crc32c(&slot[..CRC_AT])
        {
            return None;
        }
        let header = IndexHeader {
            seal: if flags == 0 { Seal::Open } else { Seal::Sealed },
            data_bytes: long(16),
            end: Offset(long(24).cast_signed()),
            max_timestamp_ms: long(32).cast_signed(),
            created_ms: long(40).cast_signed(),
            entries_count: number(48),
            entries_crc: number(52),
        };
        Some((long(8), header))
    }
}

/// Reads the newest valid slot with its sequence number.
pub fn read_header(file: &dyn DiskFile) -> io::Result<Option<(u64, IndexHeader)>> {
    let mut raw = [0; ENTRIES_AT as usize];
    let read = file.read_at(0, &mut raw)?;
    let mut newest: Option<(u64, IndexHeader)> = None;
    for at in [0, SLOT_STRIDE_BYTES as usize] {
        if let Some(slot) = raw[..read].get(at..at + SLOT_BYTES)
            && let Some(found) = IndexHeader::decode(slot)
            && newest.is_none_or(|(sequence, _)| found.0 > sequence)
        {
            newest = Some(found);
        }
    }
    Ok(newest)
}

/// Reads the entries a header speaks of; `None` unless their checksum and order are right.
pub fn read_entries(file: &dyn DiskFile, header: &IndexHeader) -> io::Result<Option<Vec<IndexEntry>>> {
    let bytes = header.entries_count as usize * ENTRY_BYTES;
    if bytes > 0 && file.len()? < ENTRIES_AT + bytes as u64 {
        return Ok(None);
    }
    let mut raw = vec![0; bytes];
    file.read_exact_at(ENTRIES_AT, &mut raw)?;
    if crc32c(&raw) != header.entries_crc {
        return Ok(None);
    }
    let (chunks, _) = raw.as_chunks::<ENTRY_BYTES>();
    let entries: Vec<IndexEntry> = chunks.iter().map(IndexEntry::decode).collect();
    let rising = entries.windows(2).all(|pair| {
        pair[0].relative_offset < pair[1].relative_offset
            && pair[0].position < pair[1].position
            && pair[0].max_timestamp_before_ms <= pair[1].max_timestamp_before_ms
    });
    let inside = entries.last().is_none_or(|last| u64::from(last.position) < header.data_bytes);
    Ok((rising && inside).then_some(entries))
}

/// Writes entries from this number on. Not synced.
pub fn write_entries(file: &dyn DiskFile, from: usize, entries: &[IndexEntry]) -> io::Result<()> {
    let raw: Vec<u8> = entries.iter().flat_map(IndexEntry::encode).collect();
    file.write_at(ENTRIES_AT + (from * ENTRY_BYTES) as u64, &[IoSlice::new(&raw)])
}

/// Writes the slot whose turn it is. Not synced.
pub fn write_header(file: &dyn DiskFile, sequence: u64, header: &IndexHeader) -> io::Result<()> {
    let slot = header.encode(sequence);
    file.write_at((sequence % 2) * SLOT_STRIDE_BYTES, &[IoSlice::new(&slot)])
}

/// The last entry whose batch does not begin after this offset (relative to the segment's base).
pub(crate) fn seek_offset(entries: &[IndexEntry], relative_offset: u32) -> IndexEntry {
    let after = entries.partition_point(|entry| entry.relative_offset <= relative_offset);
    before(entries, after)
}

/// The last entry that begins at or before this position.
pub(crate) fn seek_position(entries: &[IndexEntry], position: u64) -> IndexEntry {
    let after = entries.partition_point(|entry| u64::from(entry.position) <= position);
    before(entries, after)
}

/// The last entry before which every record is older than this.
pub(crate) fn seek_time(entries: &[IndexEntry], timestamp_ms: i64) -> IndexEntry {
    let after = entries.partition_point(|entry| entry.max_timestamp_before_ms < timestamp_ms);
    before(entries, after)
}

fn before(entries: &[IndexEntry], after: usize) -> IndexEntry {
    after.checked_sub(1).map_or(IndexEntry::START, |at| entries[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> IndexHeader {
        IndexHeader {
            seal: Seal::Sealed,
            data_bytes: 0x0102_0304_0506,
            end: Offset(0x1112_1314),
            max_timestamp_ms: -1,
            created_ms: 0x2122,
            entries_count: 0x3132,
            entries_crc: 0x4142_4344,
        }
    }

    #[test]
    fn the_layout_is_pinned_byte_by_byte() {
        #[rustfmt::skip]
        let fields: [u8; CRC_AT] = [
            b'H', b'W', b'I', b'X', 0, 1, 0, 1,
            0, 0, 0, 0, 0, 0, 0, 9,
            0, 0, 1, 2, 3, 4, 5, 6,
            0, 0, 0, 0, 0x11, 0x12, 0x13, 0x14,
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0, 0, 0, 0, 0, 0, 0x21, 0x22,
            0, 0, 0x31, 0x32, 0x41, 0x42, 0x43, 0x44,
            0, 0, 0, 0,
        ];
        let slot = header().encode(9);
        assert_eq!(slot[..CRC_AT], fields);
        assert_eq!(IndexHeader::decode(&slot), Some((9, header())));
        let entry = IndexEntry { relative_offset: 0x0102, position: 0x0304_0506, max_timestamp_before_ms: 7 };
        assert_eq!(entry.encode(), [0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 0, 0, 0, 7]);
    }

    #[test]
    fn searches_start_at_the_last_entry_that_cannot_be_too_late() {
        let entry = |relative_offset, position, max_timestamp_before_ms| IndexEntry {
            relative_offset,
            position,
            max_timestamp_before_ms,
        };
        let entries = [entry(10, 100, 5), entry(20, 200, 5), entry(30, 300, 9)];
        for (offset, position) in [(0, 0), (9, 0), (10, 100), (29, 200), (u32::MAX, 300)] {
            assert_eq!(seek_offset(&entries, offset).position, position, "offset {offset}");
        }
        for (time, position) in [(i64::MIN, 0), (5, 0), (6, 200), (9, 200), (10, 300)] {
            assert_eq!(seek_time(&entries, time).position, position, "time {time}");
        }
        for (at, position) in [(0, 0), (99, 0), (100, 100), (u64::MAX, 300)] {
            assert_eq!(seek_position(&entries, at).position, position, "position {at}");
        }
    }
}
