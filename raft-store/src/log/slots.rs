//! A small file of two slots, each with its own checksum and sequence number, on pages of their own.
//!
//! ```text
//! page 0 (at 0), page 1 (at 4096):
//!   0   magic        8 bytes
//!   8   crc32c u32   of bytes 0..8 and 12..64
//!   12  version u32  1
//!   16  sequence u64 the higher of two valid slots is the newer one
//!   24  body         40 bytes, the owner's
//! ```
//!
//! A torn write harms one slot only. What the two slots mean to each other is the owner's to say.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use highwater_env::{Disk, DiskFile};

use super::files;

/// Bytes of a slot that belong to its owner.
pub(super) const BODY_BYTES: usize = 40;
const SLOT_BYTES: usize = 64;
const PAGE_BYTES: u64 = 4096;
const VERSION: u32 = 1;

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) sequence: u64,
    pub(super) body: [u8; BODY_BYTES],
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    First,
    Second,
}

/// An open slot file.
#[derive(Debug)]
pub(super) struct Slots {
    file: Arc<dyn DiskFile>,
    magic: &'static [u8; 8],
}

impl Slots {
    /// A new file with the same slot twice, durable.
    pub(super) fn create(
        disk: &dyn Disk,
        directory: &Path,
        name: &str,
        magic: &'static [u8; 8],
        slot: Slot,
    ) -> io::Result<Slots> {
        let mut bytes = vec![0; 2 * PAGE_BYTES as usize];
        let encoded = encode(magic, slot);
        bytes[..SLOT_BYTES].copy_from_slice(&encoded);
        bytes[PAGE_BYTES as usize..][..SLOT_BYTES].copy_from_slice(&encoded);
        let file = files::publish(disk, directory, name, 2 * PAGE_BYTES, &bytes)?;
        Ok(Slots { file, magic })
    }

    /// An existing file, and what its slots hold; `None` where a slot is not valid.
    pub(super) fn open(
        disk: &dyn Disk,
        path: &Path,
        magic: &'static [u8; 8],
    ) -> io::Result<(Slots, [Option<Slot>; 2])> {
        let slots = Slots { file: disk.open(path)?, magic };
        let found = [slots.read(Which::First)?, slots.read(Which::Second)?];
        Ok((slots, found))
    }

    fn read(&self, which: Which) -> io::Result<Option<Slot>> {
        let mut bytes = [0; SLOT_BYTES];
        let read = self.file.read_at(position(which), &mut bytes)?;
        Ok(if read == SLOT_BYTES { decode(self.magic, &bytes) } else { None })
    }

    /// Writes one slot; durable only after [`Slots::sync`].
    pub(super) fn write(&self, which: Which, slot: Slot) -> io::Result<()> {
        self.file.write_at(position(which), &[IoSlice::new(&encode(self.magic, slot))])
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

const fn position(which: Which) -> u64 {
    match which {
        Which::First => 0,
        Which::Second => PAGE_BYTES,
    }
}

fn checksum(bytes: &[u8; SLOT_BYTES]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..8]), &bytes[12..])
}

pub(super) fn encode(magic: &[u8; 8], slot: Slot) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[..8].copy_from_slice(magic);
    bytes[12..16].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&slot.sequence.to_le_bytes());
    bytes[24..].copy_from_slice(&slot.body);
    let crc = checksum(&bytes);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(magic: &[u8; 8], bytes: &[u8; SLOT_BYTES]) -> Option<Slot> {
    let valid = bytes[..8] == magic[..]
        && bytes[8..12] == checksum(bytes).to_le_bytes()
        && bytes[12..16] == VERSION.to_le_bytes();
    let sequence = u64::from_le_bytes(bytes[16..24].try_into().expect("8 bytes"));
    let body = bytes[24..].try_into().expect("40 bytes");
    valid.then_some(Slot { sequence, body })
}
