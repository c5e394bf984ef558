//! A simulated file: what readers see, and what a power cut would leave of it.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use memmap2::{MmapOptions, MmapRaw};

use super::time::SimRandom;

/// The device writes sectors whole; of several unsynced ones any subset survives.
pub(super) const SECTOR_BYTES: u64 = 512;

/// A file's bytes at a fixed address, so that maps see later writes as they do on a real machine.
#[derive(Debug)]
struct Pages {
    memory: MmapRaw,
}

impl Pages {
    fn new(capacity: usize) -> io::Result<Pages> {
        let memory = MmapOptions::new().len(capacity).no_reserve_swap().map_anon()?;
        Ok(Pages { memory: MmapRaw::from(memory) })
    }

    fn slice(&self, from: u64, to: u64) -> &[u8] {
        assert!(from <= to && to <= self.memory.len() as u64);
        // SAFETY: within the map (asserted), which lives as long as `self`. Writes go through `write` under the disk's
        // lock; a `Bytes` handed out by `map` is read under the same contract as a map of a real file.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(from as usize), (to - from) as usize) }
    }

    fn write(&self, position: u64, bytes: &[u8]) {
        assert!(position + bytes.len() as u64 <= self.memory.len() as u64);
        // SAFETY: within the map (asserted); writers are serialised by the disk's lock, and `bytes` is not part of it.
        unsafe {
            std::ptr::copy(bytes.as_ptr(), self.memory.as_mut_ptr().add(position as usize), bytes.len());
        }
    }

    fn fill_zero(&self, from: u64, to: u64) {
        assert!(from <= to && to <= self.memory.len() as u64);
        // SAFETY: as in `write`.
        unsafe { std::ptr::write_bytes(self.memory.as_mut_ptr().add(from as usize), 0, (to - from) as usize) }
    }
}

struct MapOwner {
    pages: Arc<Pages>,
    len: u64,
}

impl AsRef<[u8]> for MapOwner {
    fn as_ref(&self) -> &[u8] {
        self.pages.slice(0, self.len)
    }
}

/// One simulated file.
#[derive(Debug)]
pub(super) struct FileNode {
    pages: Arc<Pages>,
    len: u64,
    durable: Vec<u8>,
    /// Sectors whose bytes a sync would have to write.
    dirty: BTreeSet<u64>,
    /// Whether a name leads here.
    pub(super) linked: bool,
}

impl FileNode {
    pub(super) fn new(capacity: usize) -> io::Result<FileNode> {
        Ok(FileNode {
            pages: Arc::new(Pages::new(capacity)?),
            len: 0,
            durable: Vec::new(),
            dirty: BTreeSet::new(),
            linked: true,
        })
    }

    /// The same file on another disk.
    pub(super) fn copy(&self) -> io::Result<FileNode> {
        let pages = Pages::new(self.pages.memory.len())?;
        pages.write(0, self.pages.slice(0, self.len));
        Ok(FileNode {
            pages: Arc::new(pages),
            len: self.len,
            durable: self.durable.clone(),
            dirty: self.dirty.clone(),
            linked: self.linked,
        })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn capacity(&self) -> u64 {
        self.pages.memory.len() as u64
    }

    pub(super) fn read_at(&self, position: u64, buffer: &mut [u8]) -> usize {
        let from = position.min(self.len);
        let to = position.saturating_add(buffer.len() as u64).min(self.len);
        let bytes = self.pages.slice(from, to);
        buffer[..bytes.len()].copy_from_slice(bytes);
        bytes.len()
    }

    /// Writes the first `limit` bytes of the slices.
    pub(super) fn write_at(&mut self, position: u64, slices: &[IoSlice<'_>], limit: u64) {
        let mut at = position;
        let end = position + limit;
        for slice in slices {
            let count = (end - at).min(slice.len() as u64);
            self.pages.write(at, &slice[..count as usize]);
            at += count;
        }
        self.len = self.len.max(end);
        self.mark_dirty(position, end);
    }

    pub(super) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    pub(super) fn truncate(&mut self, len: u64) {
        if len < self.len {
            self.pages.fill_zero(len, self.len);
            self.mark_dirty(len, self.len);
        }
        self.len = len;
    }

    fn mark_dirty(&mut self, from: u64, to: u64) {
        if from < to {
            self.dirty.extend(from / SECTOR_BYTES..=(to - 1) / SECTOR_BYTES);
        }
    }

    pub(super) fn sync(&mut self) {
        self.durable.resize(self.len as usize, 0);
        for sector in std::mem::take(&mut self.dirty) {
            persist(&self.pages, &mut self.durable, sector);
        }
    }

    /// A sync that fails: some sectors made it, and none is remembered as unsynced.
    pub(super) fn fail_sync(&mut self, random: &SimRandom) {
        if random.below(2) == 0 {
            self.durable.resize(self.durable.len().max(self.len as usize), 0);
        }
        for sector in std::mem::take(&mut self.dirty) {
            if random.below(2) == 0 {
                persist(&self.pages, &mut self.durable, sector);
            }
        }
    }

    /// What the power cut leaves: the synced bytes, with any of the unsynced sectors and either length.
    pub(super) fn crash(&mut self, random: &SimRandom) -> io::Result<()> {
        let mode = random.below(4);
        let len = match mode {
            0 => self.len,
            1 => self.durable.len() as u64,
            _ => [self.len, self.durable.len() as u64][random.below(2) as usize],
        };
        self.durable.resize(len as usize, 0);
        for sector in std::mem::take(&mut self.dirty) {
            if mode == 0 || (mode > 1 && random.below(2) == 0) {
                persist(&self.pages, &mut self.durable, sector);
            }
        }
        // Maps made before the crash keep the old memory; nobody of the new life sees it.
        let pages = Pages::new(self.pages.memory.len())?;
        pages.write(0, &self.durable);
        self.pages = Arc::new(pages);
        self.len = len;
        Ok(())
    }

    /// Changes a byte behind everybody's back, in memory and on the device.
    pub(super) fn flip(&mut self, position: u64, mask: u8) {
        if position < self.len {
            let byte = self.pages.slice(position, position + 1)[0] ^ mask;
            self.pages.write(position, &[byte]);
        }
        if let Some(byte) = self.durable.get_mut(position as usize) {
            *byte ^= mask;
        }
    }

    pub(super) fn map(&self, len: u64) -> Bytes {
        Bytes::from_owner(MapOwner { pages: Arc::clone(&self.pages), len })
    }

    pub(super) fn contents(&self) -> &[u8] {
        self.pages.slice(0, self.len)
    }
}

/// Copies one sector to the durable bytes, as far as they reach.
fn persist(pages: &Pages, durable: &mut [u8], sector: u64) {
    let from = sector * SECTOR_BYTES;
    let to = (from + SECTOR_BYTES).min(durable.len() as u64);
    if from < to {
        durable[from as usize..to as usize].copy_from_slice(pages.slice(from, to));
    }
}
