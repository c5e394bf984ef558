//! The marker: how far the log is known to be durable, and the last committed log id.
//!
//! ```text
//! slot body: 0 segment u64 | 8 end u64 | 16 has committed u8, 7 zero | 24 term u64 | 32 index u64   (magic HWRAFTMK)
//! ```
//!
//! It is written after the sync that it tells of, in two slots in turn, and synced itself only when the node stops. So it is
//! always true: exact after the process was killed, perhaps behind after a power cut, and nothing (which is true too) if a power cut
//! tore both slots. Damage to the log before the marked end was durable once, so it is rot and not a torn write.
//! A committed log id that is behind only means that more is applied again from what the leader says.

use std::io;
use std::path::Path;

use bytes::Bytes;
use highwater_env::Disk;

use super::files::at;
use super::slots::{BODY_BYTES, Slot, Slots, Which};
use crate::StartError;
use crate::codec::{Put, Reader};
use crate::types::LogId;

pub(super) const FILE: &str = "marker";
pub(super) const MAGIC: &[u8; 8] = b"HWRAFTMK";

/// What the marker says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marker {
    /// The segment that was written last; 0 if nothing is known.
    pub(super) segment: u64,
    /// All bytes before this position of it are durable.
    pub(super) end: u64,
    /// Entries up to this one are committed.
    pub(super) committed: Option<LogId>,
}

/// The marker's file.
#[derive(Debug)]
pub(super) struct MarkerFile {
    slots: Slots,
    sequence: u64,
}

impl MarkerFile {
    /// What is on disk. Creates the file if there is none.
    pub(super) fn open(disk: &dyn Disk, directory: &Path) -> Result<(MarkerFile, Marker), StartError> {
        let path = directory.join(FILE);
        if !disk.exists(&path).map_err(at(&path))? {
            let slot = Slot { sequence: 0, body: encode(&Marker::default()) };
            let slots = Slots::create(disk, directory, FILE, MAGIC, slot).map_err(at(&path))?;
            return Ok((MarkerFile { slots, sequence: 0 }, Marker::default()));
        }
        let (slots, found) = Slots::open(disk, &path, MAGIC).map_err(at(&path))?;
        let newest = found.iter().flatten().max_by_key(|slot| slot.sequence);
        let marker = newest.and_then(decode).unwrap_or_default();
        Ok((MarkerFile { slots, sequence: newest.map_or(0, |slot| slot.sequence) }, marker))
    }

    /// Makes the marker exact for a power cut too, when the node stops in peace.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.slots.sync()
    }

    /// Writes the marker, for a process that is killed to find.
    pub(super) fn write(&mut self, marker: &Marker) -> io::Result<()> {
        self.sequence += 1;
        let which = if self.sequence.is_multiple_of(2) { Which::First } else { Which::Second };
        self.slots.write(which, Slot { sequence: self.sequence, body: encode(marker) })
    }
}

pub(super) fn encode(marker: &Marker) -> [u8; BODY_BYTES] {
    let mut bytes = Vec::with_capacity(BODY_BYTES);
    bytes.u64(marker.segment);
    bytes.u64(marker.end);
    bytes.u64(u64::from(marker.committed.is_some()));
    if let Some(committed) = &marker.committed {
        bytes.log_id(committed);
    }
    bytes.resize(BODY_BYTES, 0);
    bytes.try_into().expect("resized to it")
}

fn decode(slot: &Slot) -> Option<Marker> {
    let mut reader = Reader::new(Bytes::copy_from_slice(&slot.body));
    let (segment, end) = (reader.u64().ok()?, reader.u64().ok()?);
    let committed = if reader.u64().ok()? == 0 { None } else { Some(reader.log_id().ok()?) };
    Some(Marker { segment, end, committed })
}
