//! `partition.state`: how far the log is known to be flushed, and where it starts.
//!
//! Two slots, at 0 and at 4,096, written in turn, so that a torn write spoils at most the older one's successor. The
//! valid slot with the higher sequence number counts. Big-endian:
//!
//! ```text
//!  0  u32  magic "HWPS"
//!  4  u16  version 1
//!  6  u16  flags: 1 closed cleanly, 2 a sync failed after this marker
//!  8  u64  sequence number of this write
//! 16  i64  log start offset
//! 24  i64  flushed end: all records below it were synced
//! 32  i64  base offset of the segment in which the flushed end lies
//! 40  u64  position of the flushed end in that segment
//! 48  i64  high watermark
//! 56  i32  last leader epoch; -1 none
//! 60  u32  CRC-32C of bytes 0 to 59
//! ```
//! Written after each group flush without a sync of its own: the data was synced before, so a slot always tells the
//! truth; after a killed process it is exact, after a power cut it is the last one that reached the device. A bad
//! batch below the flushed end is therefore rot, and one beyond it a torn tail (rule M-20).

use std::io::{self, IoSlice};

use highwater_env::DiskFile;
use highwater_proto::record::crc32c;
use highwater_proto::{LeaderEpoch, Offset};

/// The file's name in the partition's directory.
pub const STATE_FILE: &str = "partition.state";

const MAGIC: u32 = u32::from_be_bytes(*b"HWPS");
const VERSION: u16 = 1;
/// Bytes of a slot.
pub const SLOT_BYTES: usize = 64;
const CRC_AT: usize = 60;
/// Distance of the two slots: a page each.
const SLOT_STRIDE_BYTES: u64 = 4096;
const FLAG_CLEAN: u16 = 1;
const FLAG_SYNC_FAILED: u16 = 2;

/// How the last life of the log ended, as far as it could say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It has not: the process was killed, or the power went.
    Open,
    /// Everything was flushed and closed.
    Clean,
    /// A sync failed: what lies beyond the marker may be in the page cache and not on the device.
    SyncFailed,
}

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// How the log was left.
    pub ending: Ending,
    /// The first offset that may be read.
    pub log_start: Offset,
    /// All records below it were synced.
    pub flushed_end: Offset,
    /// The segment in which the flushed end lies.
    pub segment_base: Offset,
    /// Where in that segment, in bytes.
    pub position: u64,
    /// The high watermark when this was written.
    pub high_watermark: Offset,
    /// The newest leader epoch, or [`LeaderEpoch::UNKNOWN`].
    pub last_epoch: LeaderEpoch,
}

impl PartitionState {
    /// The slot's bytes.
    pub fn encode(&self, sequence: u64) -> [u8; SLOT_BYTES] {
        let flags = match self.ending {
            Ending::Open => 0,
            Ending::Clean => FLAG_CLEAN,
            Ending::SyncFailed => FLAG_SYNC_FAILED,
        };
        let mut slot = Vec::with_capacity(SLOT_BYTES);
        slot.extend(MAGIC.to_be_bytes());
        slot.extend(VERSION.to_be_bytes());
        slot.extend(flags.to_be_bytes());
        slot.extend(sequence.to_be_bytes());
        slot.extend(self.log_start.0.to_be_bytes());
        slot.extend(self.flushed_end.0.to_be_bytes());
        slot.extend(self.segment_base.0.to_be_bytes());
        slot.extend(self.position.to_be_bytes());
        slot.extend(self.high_watermark.0.to_be_bytes());
        slot.extend(self.last_epoch.0.to_be_bytes());
        slot.extend(crc32c(&slot).to_be_bytes());
        slot.try_into().expect("the fields add up to a slot")
    }

    /// Reads a slot; `None` if it was never written, or is torn, rotten or of another version.
    pub fn decode(slot: &[u8]) -> Option<(u64, PartitionState)> {
        let slot: &[u8; SLOT_BYTES] = slot.first_chunk()?;
        let crc = u32::from_be_bytes(bytes_at(slot, CRC_AT));
        if u32::from_be_bytes(bytes_at(slot, 0)) != MAGIC
            || u16::from_be_bytes(bytes_at(slot, 4)) != VERSION
            || crc != crc32c(&slot[..CRC_AT])
        {
            return None;
        }
        let ending = match u16::from_be_bytes(bytes_at(slot, 6)) {
            0 => Ending::Open,
            FLAG_CLEAN => Ending::Clean,
            FLAG_SYNC_FAILED => Ending::SyncFailed,
            _ => return None,
        };
        let offset = |at| i64::from_be_bytes(bytes_at(slot, at));
        let state = PartitionState {
            ending,
            log_start: Offset(offset(16)),
            flushed_end: Offset(offset(24)),
            segment_base: Offset(offset(32)),
            position: u64::from_be_bytes(bytes_at(slot, 40)),
            high_watermark: Offset(offset(48)),
            last_epoch: LeaderEpoch(i32::from_be_bytes(bytes_at(slot, 56))),
        };
        let sane = state.log_start.0 >= 0
            && state.log_start <= state.flushed_end
            && state.segment_base.0 >= 0
            && state.segment_base <= state.flushed_end;
        sane.then(|| (u64::from_be_bytes(bytes_at(slot, 8)), state))
    }
}

fn bytes_at<const N: usize>(slot: &[u8; SLOT_BYTES], at: usize) -> [u8; N] {
    slot[at..at + N].try_into().expect("a slice of N bytes is an array of N")
}

/// Reads the newest valid slot with its sequence number.
pub fn read_state(file: &dyn DiskFile) -> io::Result<Option<(u64, PartitionState)>> {
    let mut newest: Option<(u64, PartitionState)> = None;
    for position in [0, SLOT_STRIDE_BYTES] {
        let mut slot = [0; SLOT_BYTES];
        if file.read_at(position, &mut slot)? < SLOT_BYTES {
            continue;
        }
        if let Some(found) = PartitionState::decode(&slot)
            && newest.is_none_or(|(sequence, _)| found.0 > sequence)
        {
            newest = Some(found);
        }
    }
    Ok(newest)
}

/// Writes the slot whose turn it is. Not synced.
pub fn write_state(file: &dyn DiskFile, sequence: u64, state: &PartitionState) -> io::Result<()> {
    let slot = state.encode(sequence);
    file.write_at((sequence % 2) * SLOT_STRIDE_BYTES, &[IoSlice::new(&slot)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> PartitionState {
        PartitionState {
            ending: Ending::Clean,
            log_start: Offset(0x0102_0304),
            flushed_end: Offset(0x0102_0304_0506),
            segment_base: Offset(0x1112_1314),
            position: 0x2122_2324,
            high_watermark: Offset(0x3132),
            last_epoch: LeaderEpoch(7),
        }
    }

    #[test]
    fn the_layout_is_pinned_byte_by_byte() {
        let slot = state().encode(0x42);
        #[rustfmt::skip]
        let fields: [u8; CRC_AT] = [
            b'H', b'W', b'P', b'S', 0, 1, 0, 1,
            0, 0, 0, 0, 0, 0, 0, 0x42,
            0, 0, 0, 0, 1, 2, 3, 4,
            0, 0, 1, 2, 3, 4, 5, 6,
            0, 0, 0, 0, 0x11, 0x12, 0x13, 0x14,
            0, 0, 0, 0, 0x21, 0x22, 0x23, 0x24,
            0, 0, 0, 0, 0, 0, 0x31, 0x32,
            0, 0, 0, 7,
        ];
        assert_eq!(slot[..CRC_AT], fields);
        assert_eq!(PartitionState::decode(&slot), Some((0x42, state())));
    }

    #[test]
    fn any_flipped_bit_makes_a_slot_invalid() {
        let slot = state().encode(3);
        for bit in 0..SLOT_BYTES * 8 {
            let mut flipped = slot;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(PartitionState::decode(&flipped), None, "bit {bit}");
        }
    }
}
