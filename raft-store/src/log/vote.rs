//! The vote on disk: a term, whom this node voted for in it, and whether that one became leader.
//!
//! ```text
//! slot body: 0 term u64 | 8 voted for u64 | 16 kind u8 | 17.. zero      (file: see slots.rs, magic HWRAFTVT)
//! kind:      0 no vote was given yet | 1 a vote | 2 a vote for a node that became leader
//! ```
//!
//! The file is there from the beginning, so a missing one is known to be missing. Both slots are written and synced, one after the other, before a save returns. So a torn write leaves the vote before
//! it (which then still counts) in the other slot, and one slot that rots later takes no vote back: a node that forgot a
//! vote could give it twice.

use std::io;
use std::path::Path;

use bytes::Bytes;
use highwater_env::Disk;

use super::files::at;
use super::slots::{BODY_BYTES, Slot, Slots, Which};
use crate::StartError;
use crate::codec::{Malformed, Put, Reader};
use crate::types::Vote;

pub(super) const FILE: &str = "vote";
pub(super) const MAGIC: &[u8; 8] = b"HWRAFTVT";
const NONE: u8 = 0;
const GIVEN: u8 = 1;
const COMMITTED: u8 = 2;

/// The vote's file.
#[derive(Debug)]
pub(super) struct VoteFile {
    slots: Slots,
    sequence: u64,
}

impl VoteFile {
    /// What is on disk; a new file if there is none. Repairs a slot that a crash tore.
    pub(super) fn open(disk: &dyn Disk, directory: &Path) -> Result<(VoteFile, Option<Vote>), StartError> {
        let path = directory.join(FILE);
        if !disk.exists(&path).map_err(at(&path))? {
            let slot = Slot { sequence: 0, body: encode(None) };
            let slots = Slots::create(disk, directory, FILE, MAGIC, slot).map_err(at(&path))?;
            return Ok((VoteFile { slots, sequence: 0 }, None));
        }
        let (slots, found) = Slots::open(disk, &path, MAGIC).map_err(at(&path))?;
        let newest = found.iter().flatten().max_by_key(|slot| slot.sequence).copied();
        let damaged = |what: &'static str| StartError::damaged(&path, what);
        let slot = newest.ok_or_else(|| damaged("neither copy of the vote has the right checksum"))?;
        let vote = decode(&slot).map_err(|_| damaged("the vote cannot be read"))?;
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
        Ok((VoteFile { slots, sequence: slot.sequence }, vote))
    }

    /// Makes a vote durable.
    pub(super) fn save(&mut self, vote: &Vote) -> io::Result<()> {
        let slot = Slot { sequence: self.sequence + 1, body: encode(Some(vote)) };
        for which in [Which::First, Which::Second] {
            self.slots.write(which, slot)?;
            self.slots.sync()?;
        }
        self.sequence = slot.sequence;
        Ok(())
    }
}

pub(super) fn encode(vote: Option<&Vote>) -> [u8; BODY_BYTES] {
    let mut bytes = Vec::with_capacity(BODY_BYTES);
    if let Some(vote) = vote {
        bytes.u64(vote.leader_id.term);
        bytes.u64(vote.leader_id.voted_for);
        bytes.u8(if vote.is_committed() { COMMITTED } else { GIVEN });
    }
    bytes.resize(BODY_BYTES, 0);
    bytes.try_into().expect("resized to it")
}

fn decode(slot: &Slot) -> Result<Option<Vote>, Malformed> {
    let mut reader = Reader::new(Bytes::copy_from_slice(&slot.body));
    let (term, voted_for) = (reader.u64()?, reader.u64()?);
    match reader.u8()? {
        NONE => Ok(None),
        GIVEN => Ok(Some(Vote::new(term, voted_for))),
        COMMITTED => Ok(Some(Vote::new_committed(term, voted_for))),
        _ => Err(Malformed { what: "vote" }),
    }
}
