//! What a state of the model is made of.

use std::sync::Arc;

use highwater_core::replication::{FollowAnswer, Follower, IsrProposal, Leader, LogView, Position, Progress};
use highwater_core::settings::Durability;
use highwater_proto::{BrokerEpoch, BrokerId, LeaderEpoch, Offset};

use super::controller::Meta;

/// How many brokers, each of which is a replica.
pub(super) const BROKERS: usize = 3;

/// How far the model goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Records that are produced in all.
    pub values: u8,
    /// The last leader epoch; the first is 0.
    pub leader_epochs: i32,
    /// The last partition epoch.
    pub partition_epochs: i32,
    /// How often a broker crashes and loses what it did not flush.
    pub crashes: u8,
    /// How often a broker loses its disk.
    pub wipes: u8,
    /// How many messages between replicas are under way at once. With 0 they arrive as soon as they are sent; proposals
    /// to the controller may be late in any case.
    pub messages: usize,
    /// How many entries of the metadata log a broker may be behind.
    pub metadata_lag: usize,
    /// Whether what was flushed counts, or what was written.
    pub durability: Durability,
    /// `min.insync.replicas`.
    pub min_in_sync: usize,
}

/// A record: who led when it was written, and which of the produced values it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) epoch: i32,
    pub(super) value: u8,
}

/// A replica's log, as much of it as matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Disk {
    pub(super) log: Vec<Entry>,
    /// Each leader epoch with its first offset.
    pub(super) epochs: Vec<(i32, i64)>,
    /// How many records are flushed.
    pub(super) flushed: usize,
}

/// What a broker does for the partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// Its process is gone.
    Down,
    /// Nobody leads, as far as it knows.
    Idle,
    /// It leads.
    Leader(Leader),
    /// It follows.
    Follower(Follower),
}

/// One broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) disk: Disk,
    pub(super) role: Role,
    pub(super) life: BrokerEpoch,
    pub(super) high_watermark: Offset,
    /// How many entries of the metadata log it has applied.
    pub(super) applied: usize,
    /// It lost its disk and has not registered since.
    pub(super) wiped: bool,
    /// Names its disk.
    pub(super) disk_id: u8,
}

/// A message under way. At most one of each kind from one broker to another: a later one overtakes the earlier and it is
/// lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Message {
    Ask {
        from: usize,
        to: usize,
        life: BrokerEpoch,
        position: Position,
    },
    Answer {
        from: usize,
        to: usize,
        life: BrokerEpoch,
        epoch: LeaderEpoch,
        asked: Position,
        answer: FollowAnswer,
    },
    Batch {
        from: usize,
        to: usize,
        life: BrokerEpoch,
        epoch: LeaderEpoch,
        base: i64,
        entries: Vec<Entry>,
        high_watermark: Offset,
    },
    Progress {
        from: usize,
        to: usize,
        progress: Progress,
    },
    Alter {
        from: usize,
        life: BrokerEpoch,
        proposal: IsrProposal,
    },
}

impl Message {
    /// Two messages of one slot replace each other.
    pub(super) fn slot(&self) -> (u8, usize, usize) {
        match self {
            Message::Ask { from, to, .. } => (0, *from, *to),
            Message::Answer { from, to, .. } => (1, *from, *to),
            Message::Batch { from, to, .. } => (2, *from, *to),
            Message::Progress { from, to, .. } => (3, *from, *to),
            Message::Alter { from, .. } => (4, *from, BROKERS),
        }
    }
}

/// A state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub(super) bounds: Bounds,
    pub(super) nodes: Vec<Node>,
    /// The metadata after each entry that somebody has not applied yet, oldest first; the last one holds.
    pub(super) metadata: Vec<Arc<Meta>>,
    /// By slot.
    pub(super) network: Vec<Message>,
    /// Everything that any leader ever showed: the true high watermark, which no broker knows.
    pub(super) committed: Vec<Entry>,
    /// Who wrote in each leader epoch.
    pub(super) writers: Vec<(i32, usize)>,
    pub(super) produced: u8,
    pub(super) crashes: u8,
    pub(super) wipes: u8,
    /// What a step broke.
    pub(super) broken: Option<&'static str>,
}

impl World {
    /// The metadata that holds.
    pub(super) fn now(&self) -> &Arc<Meta> {
        self.metadata.last().expect("there is always a first one")
    }

    pub(super) fn fail(&mut self, what: &'static str) {
        self.broken.get_or_insert(what);
    }

    /// Sends a message; the one before it in its slot is lost.
    pub(super) fn send(&mut self, message: Message) {
        if self.bounds.messages == 0 && !matches!(message, Message::Alter { .. }) {
            let bounds = self.bounds;
            return self.deliver(&bounds, message);
        }
        match self.network.binary_search_by_key(&message.slot(), Message::slot) {
            Ok(at) => self.network[at] = message,
            Err(at) => self.network.insert(at, message),
        }
    }

    /// Takes note of what a leader showed.
    pub(super) fn commit(&mut self, leader: usize, end: Offset) {
        let end = usize::try_from(end.0).expect("never negative");
        let log = &self.nodes[leader].disk.log;
        if log.len() < end {
            return self.fail("I11: the high watermark is within the leader's log");
        }
        let common = end.min(self.committed.len());
        if log[..common] != self.committed[..common] {
            return self.fail("I8: what was shown once stays");
        }
        if end > self.committed.len() {
            self.committed = log[..end].to_vec();
        }
    }

    /// Drops what everybody has applied of the metadata.
    pub(super) fn forget_metadata(&mut self) {
        let alive = self.nodes.iter().filter(|node| node.role != Role::Down);
        let least = alive.map(|node| node.applied).min().unwrap_or(self.metadata.len());
        let drop = least.min(self.metadata.len()).saturating_sub(1);
        self.metadata.drain(..drop);
        for node in &mut self.nodes {
            node.applied = node.applied.saturating_sub(drop);
        }
    }
}

impl Disk {
    pub(super) fn end(&self) -> Offset {
        offset(self.log.len())
    }

    pub(super) fn flushed_end(&self) -> Offset {
        offset(self.flushed)
    }

    /// As `PartitionLog::assign_epoch`: an epoch that wrote nothing is replaced.
    pub(super) fn assign_epoch(&mut self, epoch: i32) {
        let start = self.end().0;
        if self.epochs.last().is_none_or(|(last, _)| *last < epoch) {
            self.epochs.retain(|(_, other)| *other < start);
            self.epochs.push((epoch, start));
        }
    }

    pub(super) fn append(&mut self, entry: Entry) {
        self.assign_epoch(entry.epoch);
        self.log.push(entry);
    }

    pub(super) fn truncate(&mut self, end: Offset) {
        self.log.truncate(usize::try_from(end.0).unwrap_or(0));
        self.epochs.retain(|(_, start)| *start < end.0);
        self.flushed = self.flushed.min(self.log.len());
    }

    pub(super) fn flush(&mut self) {
        self.flushed = self.log.len();
    }

    /// What is there after a crash.
    pub(super) fn crash(&mut self) {
        self.truncate(self.flushed_end());
    }
}

impl LogView for Disk {
    fn log_start(&self) -> Offset {
        Offset::ZERO
    }

    fn log_end(&self) -> Offset {
        self.end()
    }

    fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.last().map(|(epoch, _)| LeaderEpoch(*epoch))
    }

    fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let at = self.epochs.iter().rposition(|(known, _)| *known <= epoch.0)?;
        let end = self.epochs.get(at + 1).map_or(self.end().0, |(_, start)| *start);
        Some((LeaderEpoch(self.epochs[at].0), Offset(end)))
    }
}

pub(super) fn offset(count: usize) -> Offset {
    Offset(i64::try_from(count).expect("a short log"))
}

pub(super) fn id(node: usize) -> BrokerId {
    BrokerId(i32::try_from(node).expect("a few brokers") + 1)
}

pub(super) fn node(id: BrokerId) -> usize {
    usize::try_from(id.0 - 1).expect("ids start at 1")
}
