//! The bytes of Raft's own things, shared by the log, the snapshot files and the wire. All integers are little endian.
//!
//! ```text
//! option of x  0, or 1 and x                       (u8)
//! log id       term u64, index u64
//! vote         term u64, voted for u64, committed u8 (0 or 1)
//! bytes        length u32, bytes
//! entry        log id, kind u8: 0 blank | 1 payload, bytes | 2 membership
//! membership   configs u32, each: voters u32, ids u64..; nodes u32, each: id u64, address bytes (UTF-8)
//! stored       option of log id, membership        (a membership and the entry that set it)
//! ```
//!
//! A reader never allocates more than the bytes it was given can fill.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::{BasicNode, EntryPayload};

use crate::types::{Entry, LogId, Membership, Payload, StoredMembership, Vote, log_id, term_of};

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
#[error("malformed {what}")]
pub(crate) struct Malformed {
    /// What was being read.
    pub(crate) what: &'static str,
}

const fn malformed(what: &'static str) -> Malformed {
    Malformed { what }
}

const BLANK: u8 = 0;
const PAYLOAD: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// Appends to a buffer.
pub(crate) trait Put {
    fn u8(&mut self, value: u8);
    fn u32(&mut self, value: u32);
    fn u64(&mut self, value: u64);
    fn bytes(&mut self, value: &[u8]);

    fn log_id(&mut self, id: &LogId) {
        self.u64(term_of(id));
        self.u64(id.index);
    }

    fn log_id_option(&mut self, id: Option<&LogId>) {
        self.u8(u8::from(id.is_some()));
        if let Some(id) = id {
            self.log_id(id);
        }
    }

    fn vote(&mut self, vote: &Vote) {
        self.u64(vote.leader_id().term);
        self.u64(vote.leader_id().voted_for);
        self.u8(u8::from(vote.is_committed()));
    }

    fn entry(&mut self, entry: &Entry) {
        self.log_id(&entry.log_id());
        match &entry.payload {
            EntryPayload::Blank => self.u8(BLANK),
            EntryPayload::Normal(payload) => {
                self.u8(PAYLOAD);
                self.bytes(&payload.0);
            }
            EntryPayload::Membership(membership) => {
                self.u8(MEMBERSHIP);
                self.membership(membership);
            }
        }
    }

    fn membership(&mut self, membership: &Membership) {
        let configs = membership.get_joint_config();
        self.u32(count(configs.len()));
        for voters in configs {
            self.u32(count(voters.len()));
            voters.iter().for_each(|id| self.u64(*id));
        }
        self.u32(count(membership.nodes().count()));
        for (id, node) in membership.nodes() {
            self.u64(*id);
            self.bytes(node.addr.as_bytes());
        }
    }

    fn stored_membership(&mut self, stored: &StoredMembership) {
        self.log_id_option(stored.log_id().as_ref());
        self.membership(stored.membership());
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).expect("payloads and memberships are bounded far below 4 GiB")
}

impl Put for Vec<u8> {
    fn u8(&mut self, value: u8) {
        self.push(value);
    }

    fn u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, value: &[u8]) {
        self.u32(count(value.len()));
        self.extend_from_slice(value);
    }
}

/// Reads from the front of a buffer.
pub(crate) struct Reader {
    bytes: Bytes,
}

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Reader {
        Reader { bytes }
    }

    /// Takes the next `len` bytes, sharing the buffer.
    pub(crate) fn take(&mut self, len: usize) -> Result<Bytes, Malformed> {
        if len > self.bytes.len() {
            return Err(malformed("length: more than there is"));
        }
        Ok(self.bytes.split_to(len))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        Ok(taken.as_ref().try_into().expect("N bytes were taken"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(malformed("flag")),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, Malformed> {
        let len = self.u32()? as usize;
        self.take(len)
    }

    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| malformed("text"))
    }

    pub(crate) fn log_id(&mut self) -> Result<LogId, Malformed> {
        Ok(log_id(self.u64()?, self.u64()?))
    }

    pub(crate) fn log_id_option(&mut self) -> Result<Option<LogId>, Malformed> {
        if self.flag()? { self.log_id().map(Some) } else { Ok(None) }
    }

    pub(crate) fn vote(&mut self) -> Result<Vote, Malformed> {
        let (term, voted_for) = (self.u64()?, self.u64()?);
        Ok(if self.flag()? { Vote::new_committed(term, voted_for) } else { Vote::new(term, voted_for) })
    }

    pub(crate) fn entry(&mut self) -> Result<Entry, Malformed> {
        let id = self.log_id()?;
        let payload = match self.u8()? {
            BLANK => EntryPayload::Blank,
            PAYLOAD => EntryPayload::Normal(Payload(self.bytes()?)),
            MEMBERSHIP => EntryPayload::Membership(self.membership()?),
            _ => return Err(malformed("entry kind")),
        };
        Ok(Entry::new(id, payload))
    }

    pub(crate) fn membership(&mut self) -> Result<Membership, Malformed> {
        let mut configs = Vec::new();
        for _ in 0..self.u32()? {
            let mut voters = BTreeSet::new();
            for _ in 0..self.u32()? {
                voters.insert(self.u64()?);
            }
            configs.push(voters);
        }
        let mut nodes = BTreeMap::new();
        for _ in 0..self.u32()? {
            nodes.insert(self.u64()?, BasicNode { addr: self.text()? });
        }
        if configs.is_empty() && nodes.is_empty() {
            return Ok(Membership::default());
        }
        Membership::new(configs, nodes).map_err(|_| malformed("membership: a voter without a node"))
    }

    pub(crate) fn stored_membership(&mut self) -> Result<StoredMembership, Malformed> {
        let id = self.log_id_option()?;
        Ok(StoredMembership::new(id, self.membership()?))
    }

    /// All was read.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.bytes.is_empty() { Ok(()) } else { Err(malformed("end: bytes are left")) }
    }
}
