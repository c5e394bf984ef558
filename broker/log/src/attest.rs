//! Where the data ends in a segment that is written over an old one, as it is.
//!
//! Such a file is full of old bytes, and none of them tells that it is old: a batch left there may stand where the next
//! one is expected and have the offset that is expected, as when a topic is created anew; a record's value may hold whole
//! batches; and a write that was cut short may end in the middle of an old batch. So recovery believes what the file's
//! own last page attests, and nothing else. The file's name carries the id that was drawn for this life of the file
//! (`{base offset}.{id in hex}.log`), so what earlier lives attested does not count. Big-endian:
//!
//! ```text
//! the file's last 4,096 bytes:
//!     0  slot A, 512  slot B     written in turn by the flushes, each before its sync, which covers it
//!  1024  slot C                  written after each append, for the case that the process is killed
//!
//! slot:  0  u32  magic "HWAE"
//!        4  u16  version 1
//!        6  u16  0
//!        8  u64  the file's id
//!       16  u64  start: a position up to which all was synced before this slot was written
//!       24  i64  the offset there
//!       32  u64  end: a position up to which this slot speaks
//!       40  i64  the offset there
//!       48  u64  digest of the batches from start to end
//!       56  u32  CRC-32C of bytes 0 to 55
//! ```
//! A valid slot proves that everything before its start was synced: it was written later than that. Its end counts if the
//! batches from start to end are whole and have its digest, which takes in the id, and each batch's checksum, size,
//! offset and epoch. Whatever the device made of a flush that did not finish, either all of it is there, or the furthest
//! start is where the last finished flush ended. A flush writes the slot that the last finished one did not.

use std::io::{self, IoSlice};

use highwater_env::DiskFile;
use highwater_proto::Offset;
use highwater_proto::record::{BatchHeader, crc32c};

use crate::scan::Scanner;

/// Bytes at a file's end that hold the slots.
pub(crate) const PAGE_BYTES: u64 = 4096;
/// Bytes of a slot.
pub(crate) const SLOT_BYTES: usize = 60;
const SLOT_STRIDE_BYTES: u64 = 512;
/// Number of the slot that appends write.
const APPEND_SLOT: u64 = 2;
const SLOTS: u64 = 3;
const MAGIC: u32 = u32::from_be_bytes(*b"HWAE");
const VERSION: u16 = 1;
const CRC_AT: usize = 56;

/// Drawn for each life of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentId(pub(crate) u64);

/// A boundary between batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// In bytes from the file's beginning.
    pub(crate) position: u64,
    /// Of the batch that begins there, or will.
    pub(crate) offset: Offset,
}

/// What a run of batches comes to. Not meant to withstand who knows the id; nobody who writes records does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digest(u64);

impl Digest {
    fn new(id: SegmentId) -> Digest {
        Digest(mix(id.0))
    }

    fn with(self, header: &BatchHeader) -> Digest {
        let words = [
            header.base_offset.0.cast_unsigned(),
            u64::from(header.crc) << 32 | header.size_bytes() as u64,
            u64::from(header.leader_epoch.0.cast_unsigned()),
        ];
        words.iter().fold(self, |Digest(state), word| Digest(mix(state ^ word)))
    }
}

/// A mixing step in which every bit of the input moves about half of the output's (after Steele, Lea and Flood,
/// "Fast splittable pseudorandom number generators").
pub(crate) fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attestation {
    start: Place,
    end: Place,
    digest: Digest,
}

impl Attestation {
    fn encode(&self, id: SegmentId) -> [u8; SLOT_BYTES] {
        let mut slot = [0; SLOT_BYTES];
        slot[..4].copy_from_slice(&MAGIC.to_be_bytes());
        slot[4..6].copy_from_slice(&VERSION.to_be_bytes());
        let words = [
            id.0,
            self.start.position,
            self.start.offset.0.cast_unsigned(),
            self.end.position,
            self.end.offset.0.cast_unsigned(),
            self.digest.0,
        ];
        for (place, word) in slot[8..CRC_AT].as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *place = word.to_be_bytes();
        }
        let crc = crc32c(&slot[..CRC_AT]);
        slot[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
        slot
    }

    /// Reads a slot; `None` if it was never written, is torn or rotten, or of another version or life.
    fn decode(slot: &[u8], id: SegmentId) -> Option<Attestation> {
        let slot: &[u8; SLOT_BYTES] = slot.first_chunk()?;
        let number = |at: usize| u32::from_be_bytes([slot[at], slot[at + 1], slot[at + 2], slot[at + 3]]);
        let long = |at: usize| (u64::from(number(at)) << 32) | u64::from(number(at + 4));
        let place = |at| Place { position: long(at), offset: Offset(long(at + 8).cast_signed()) };
        let found = Attestation { start: place(16), end: place(32), digest: Digest(long(48)) };
        let valid = number(0) == MAGIC
            && number(4) == u32::from(VERSION) << 16
            && number(CRC_AT) == crc32c(&slot[..CRC_AT])
            && long(8) == id.0
            && found.start.position <= found.end.position
            && found.start.offset <= found.end.offset;
        valid.then_some(found)
    }
}

/// Bytes to be written into a file.
#[derive(Debug)]
pub(crate) struct SlotWrite {
    pub(crate) position: u64,
    pub(crate) slot: [u8; SLOT_BYTES],
}

impl SlotWrite {
    /// Writes them; not synced.
    pub(crate) fn run(&self, file: &dyn DiskFile) -> io::Result<()> {
        file.write_at(self.position, &[IoSlice::new(&self.slot)])
    }
}

/// Attests the segment that is being written.
#[derive(Debug)]
pub(crate) struct Attester {
    id: SegmentId,
    /// Where the page with the slots begins, and data must end.
    page_at: u64,
    /// Where the last finished flush ended, and the batches since.
    start: Place,
    digest: Digest,
    end: Place,
    /// The same for a flush under way: where it ends, and the batches since.
    flushing: Option<(Place, Digest)>,
    /// The flushes' slot that the next one writes.
    turn: u64,
    /// All pages before it were written in this life.
    touched_bytes: u64,
}

/// What an append is about to add.
#[derive(Debug)]
pub(crate) struct Step {
    end: Place,
    digest: Digest,
    flushing: Option<(Place, Digest)>,
    pub(crate) write: SlotWrite,
}

impl Attester {
    /// For a file that begins a new life: nothing is attested.
    pub(crate) fn new(id: SegmentId, base: Offset, page_at: u64) -> Attester {
        let start = Place { position: 0, offset: base };
        Attester {
            id,
            page_at,
            start,
            digest: Digest::new(id),
            end: start,
            flushing: None,
            turn: 0,
            touched_bytes: 0,
        }
    }

    /// How many zeros a write that ends here is to be followed by. An old page that is written in part must be read
    /// first, and may have to come from the device; a whole one need not.
    pub(crate) fn padding_bytes(&self, end: u64) -> usize {
        if end <= self.touched_bytes { 0 } else { (end.next_multiple_of(PAGE_BYTES) - end) as usize }
    }

    /// What is to be written after a batch, for it to count.
    pub(crate) fn step(&self, stored: &BatchHeader) -> Step {
        let position = self.end.position + stored.size_bytes() as u64;
        let end = Place { position, offset: stored.next_offset() };
        let digest = self.digest.with(stored);
        let flushing = self.flushing.map(|(place, digest)| (place, digest.with(stored)));
        let attestation = Attestation { start: self.start, end, digest };
        let write = self.slot_write(APPEND_SLOT, &attestation);
        Step { end, digest, flushing, write }
    }

    /// A step was written.
    pub(crate) fn advance(&mut self, step: Step) {
        (self.end, self.digest, self.flushing) = (step.end, step.digest, step.flushing);
        self.touched_bytes = self.touched_bytes.max(step.end.position.next_multiple_of(PAGE_BYTES));
    }

    /// A flush begins: what it must write before it syncs.
    pub(crate) fn begin_flush(&mut self) -> SlotWrite {
        let attestation = Attestation { start: self.start, end: self.end, digest: self.digest };
        self.flushing = Some((self.end, Digest::new(self.id)));
        self.slot_write(self.turn, &attestation)
    }

    /// The flush under way has finished: all that it covered is on the device, and its slot too.
    pub(crate) fn complete_flush(&mut self) {
        if let Some((start, digest)) = self.flushing.take() {
            (self.start, self.digest) = (start, digest);
            self.turn = (self.turn + 1) % APPEND_SLOT;
        }
    }

    /// The flush under way came to nothing.
    pub(crate) fn abandon_flush(&mut self) {
        self.flushing = None;
    }

    fn slot_write(&self, number: u64, attestation: &Attestation) -> SlotWrite {
        let slot = attestation.encode(self.id);
        SlotWrite { position: self.page_at + number * SLOT_STRIDE_BYTES, slot }
    }
}

/// What a file attests of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attested {
    /// Everything before it was synced.
    pub(crate) synced: Place,
    /// Everything before it was written, and is there.
    pub(crate) end: Place,
    /// The furthest that any slot speaks of, there or not.
    pub(crate) claimed_bytes: u64,
}

/// Reads the slots of a file of this length and looks at the batches they speak of, but not below `known`, which is known
/// to be synced.
pub(crate) fn judge(
    file: &dyn DiskFile,
    file_bytes: u64,
    id: SegmentId,
    known: Place,
) -> io::Result<Attested> {
    let mut attested = Attested { synced: known, end: known, claimed_bytes: known.position };
    let Some(page_at) = file_bytes.checked_sub(PAGE_BYTES) else { return Ok(attested) };
    let mut slots = Vec::new();
    for number in 0..SLOTS {
        let mut raw = [0; SLOT_BYTES];
        if file.read_at(page_at + number * SLOT_STRIDE_BYTES, &mut raw)? == SLOT_BYTES {
            slots.extend(Attestation::decode(&raw, id).filter(|slot| slot.end.position <= page_at));
        }
    }
    for slot in &slots {
        attested.synced = attested.synced.max(slot.start);
        attested.claimed_bytes = attested.claimed_bytes.max(slot.end.position);
    }
    attested.end = attested.synced;
    slots.sort_by_key(|slot| std::cmp::Reverse(slot.end.position));
    for slot in slots {
        if slot.end.position > attested.end.position && is_there(file, id, &slot)? {
            attested.end = slot.end;
        }
    }
    Ok(attested)
}

/// Moves the attesting page of a file that gets no more data closer to the data's end, and cuts off what is behind it, if
/// that is a good part of the file.
pub(crate) fn shrink(file: &dyn DiskFile, data_bytes: u64) -> io::Result<()> {
    let file_bytes = file.len()?;
    let page_at = data_bytes.next_multiple_of(PAGE_BYTES);
    let shrunk_bytes = page_at + PAGE_BYTES;
    if shrunk_bytes + PAGE_BYTES > file_bytes || shrunk_bytes > file_bytes / 4 * 3 {
        return Ok(());
    }
    let mut page = [0; PAGE_BYTES as usize];
    file.read_exact_at(file_bytes - PAGE_BYTES, &mut page)?;
    file.write_at(page_at, &[IoSlice::new(&page)])?;
    // Until it is there, the old one counts: the file's length says which.
    file.sync_data()?;
    file.truncate(shrunk_bytes)
}

/// Whether the batches that a slot speaks of are there.
fn is_there(file: &dyn DiskFile, id: SegmentId, slot: &Attestation) -> io::Result<bool> {
    let mut scanner = Scanner::new(file, slot.end.position);
    let (mut place, mut digest) = (slot.start, Digest::new(id));
    while place.position < slot.end.position {
        let Ok(header) = scanner.header(place.position)? else { return Ok(false) };
        if header.base_offset < place.offset || !scanner.checksum_is_right(place.position, &header)? {
            return Ok(false);
        }
        digest = digest.with(&header);
        place.position += header.size_bytes() as u64;
        place.offset = header.next_offset();
    }
    Ok(place == slot.end && digest == slot.digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attestation() -> Attestation {
        Attestation {
            start: Place { position: 0x0102_0304, offset: Offset(0x1112) },
            end: Place { position: 0x0102_0405, offset: Offset(0x1113) },
            digest: Digest(0x3132_3334_3536_3738),
        }
    }

    #[test]
    fn the_layout_is_pinned_byte_by_byte() {
        #[rustfmt::skip]
        let fields: [u8; CRC_AT] = [
            b'H', b'W', b'A', b'E', 0, 1, 0, 0,
            0, 0, 0, 0, 0, 0, 0x21, 0x22,
            0, 0, 0, 0, 1, 2, 3, 4,
            0, 0, 0, 0, 0, 0, 0x11, 0x12,
            0, 0, 0, 0, 1, 2, 4, 5,
            0, 0, 0, 0, 0, 0, 0x11, 0x13,
            0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38,
        ];
        let slot = attestation().encode(SegmentId(0x2122));
        assert_eq!(slot[..CRC_AT], fields);
        assert_eq!(Attestation::decode(&slot, SegmentId(0x2122)), Some(attestation()));
    }

    #[test]
    fn a_slot_of_another_life_or_with_a_flipped_bit_says_nothing() {
        let slot = attestation().encode(SegmentId(7));
        assert_eq!(Attestation::decode(&slot, SegmentId(8)), None);
        for bit in 0..SLOT_BYTES * 8 {
            let mut flipped = slot;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Attestation::decode(&flipped, SegmentId(7)), None, "bit {bit}");
        }
    }
}
