//! The vote on disk: a term, whom this node voted for in it, and whether that one became leader.
//!
//! ```text
//! slot body: 0 term u64 | 8 voted for u64 | 16 committed u8 | 17.. zero      (file: see slots.rs, magic HWRAFTVT)
//! ```
//!
//! Both slots are written and synced, one after the other, before a save returns. So a torn write leaves the vote before
//! it (which then still counts) in the other slot, and one slot that rots later takes no vote back: a node that forgot a
//! vote could give it twice.

use std::io;
use std::path::Path;

use bytes::Bytes;
use highwater_env::Disk;

use super::files::at;
use super::slots::{BODY_BYTES, Slot, Slots, Which};
use crate::StartError;
use crate::codec::{Put, Reader};
use crate::types::Vote;

pub(super) const FILE: &str = "vote";
pub(super) const MAGIC: &[u8; 8] = b"HWRAFTVT";

/// The vote's file; there is none before the first vote.
#[derive(Debug)]
pub(super) struct VoteFile {
    slots: Option<Slots>,
    sequence: u64,
}

impl VoteFile {
    /// What is on disk. Repairs a slot that a crash tore.
    pub(super) fn open(disk: &dyn Disk, directory: &Path) -> Result<(VoteFile, Option<Vote>), StartError> {
        let path = directory.join(FILE);
        if !disk.exists(&path).map_err(at(&path))? {
            return Ok((VoteFile { slots: None, sequence: 0 }, None));
        }
        let (slots, found) = Slots::open(disk, &path, MAGIC).map_err(at(&path))?;
        let newest = found.iter().flatten().max_by_key(|slot| slot.sequence).copied();
        let damaged = |what: &'static str| StartError::damaged(&path, what);
        let slot = newest.ok_or_else(|| damaged("neither copy of the vote has the right checksum"))?;
        let vote = decode(&slot).ok_or_else(|| damaged("the vote cannot be read"))?;
        if found[0] != found[1] {
            // The newest copy may be in memory only, after a failed sync. The other one is written first, so that at no
            // moment both are in doubt.
            let order = if found[0] == Some(slot) {
                [Which::Second, Which::First]
            } else {
                [Which::First, Which::Second]
            };
            for which in order {
                slots.write(which, slot).map_err(at(&path))?;
                slots.sync().map_err(at(&path))?;
            }
        }
        Ok((VoteFile { slots: Some(slots), sequence: slot.sequence }, Some(vote)))
    }

    /// Makes a vote durable.
    pub(super) fn save(&mut self, disk: &dyn Disk, directory: &Path, vote: &Vote) -> io::Result<()> {
        let slot = Slot { sequence: self.sequence + 1, body: encode(vote) };
        if let Some(slots) = &self.slots {
            for which in [Which::First, Which::Second] {
                slots.write(which, slot)?;
                slots.sync()?;
            }
        } else {
            self.slots = Some(Slots::create(disk, directory, FILE, MAGIC, slot)?);
        }
        self.sequence = slot.sequence;
        Ok(())
    }
}

pub(super) fn encode(vote: &Vote) -> [u8; BODY_BYTES] {
    let mut bytes = Vec::with_capacity(BODY_BYTES);
    bytes.vote(vote);
    bytes.resize(BODY_BYTES, 0);
    bytes.try_into().expect("resized to it")
}

fn decode(slot: &Slot) -> Option<Vote> {
    Reader::new(Bytes::copy_from_slice(&slot.body)).vote().ok()
}
