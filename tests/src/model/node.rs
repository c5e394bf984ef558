//! What one broker does when something reaches it: the glue between the production state machines and a model log, kept to
//! what the broker's own glue does.

use std::time::Duration;

use highwater_core::replication::{
    Assignment, EpochError, Follower, Leader, LeaderStart, Position, Progress, Rules, StreamError,
    Truncation, answer, check_acks,
};
use highwater_proto::{BrokerEpoch, LeaderEpoch, Offset};

use super::controller::Meta;
use super::state::{Bounds, Entry, Message, Node, Role, World, id, node};

/// Everything happens at this time, except that which waits for a later one.
pub(super) const NOW: Duration = Duration::ZERO;

impl Bounds {
    pub(super) fn rules(&self) -> Rules {
        let lag_max = Duration::from_secs(1);
        Rules { durability: self.durability, min_in_sync: self.min_in_sync, lag_max }
    }
}

/// What a leader is told of the metadata.
fn assignment(meta: &Meta) -> Assignment {
    Assignment {
        replicas: meta.replicas(),
        isr: meta.isr().to_vec(),
        leaving: Vec::new(),
        partition_epoch: meta.partition_epoch(),
        recovering: meta.recovering(),
    }
}

impl World {
    /// Lets brokers apply entries that change nothing for them: who does not lead does not care who is in sync.
    pub(super) fn apply_what_changes_nothing(&mut self) {
        for at in 0..self.nodes.len() {
            while self.nodes[at].applied < self.metadata.len() {
                let (node, meta) = (&self.nodes[at], &self.metadata[self.nodes[at].applied]);
                let same = match &node.role {
                    Role::Follower(known) => {
                        meta.leader() == Some(known.leader()) && meta.leader_epoch() == known.epoch()
                    }
                    Role::Idle => meta.leader().is_none(),
                    Role::Leader(_) | Role::Down => false,
                };
                if !same {
                    break;
                }
                self.nodes[at].applied += 1;
            }
        }
        self.forget_metadata();
    }

    /// The broker applies the next entry of the metadata.
    pub(super) fn apply_metadata(&mut self, bounds: &Bounds, at: usize) {
        let meta = self.metadata[self.nodes[at].applied].clone();
        self.nodes[at].applied += 1;
        self.take_role(bounds, at, &meta);
        self.apply_what_changes_nothing();
        self.forget_fenced();
    }

    /// The broker becomes what the metadata says that it is.
    pub(super) fn take_role(&mut self, bounds: &Bounds, at: usize, meta: &Meta) {
        let (epoch, leader) = (meta.leader_epoch(), meta.leader());
        if let Role::Leader(known) = &mut self.nodes[at].role
            && leader == Some(id(at))
            && known.epoch() == epoch
        {
            return self.leader_step(at, |leader, _| leader.assigned(assignment(meta), NOW));
        }
        let known = match &self.nodes[at].role {
            Role::Leader(known) => Some(known.epoch()),
            Role::Follower(known) => Some(known.epoch()),
            Role::Down | Role::Idle => None,
        };
        if known.is_some_and(|known| known > epoch) {
            return self.fail("I7: a leader epoch fell");
        }
        match leader {
            None => self.nodes[at].role = Role::Idle,
            Some(leader) if leader == id(at) => self.lead(bounds, at, meta),
            Some(_) if known == Some(epoch) => {}
            Some(leader) => {
                let node = &mut self.nodes[at];
                node.role = Role::Follower(Follower::new(leader, epoch, node.high_watermark));
                if bounds.messages > 0 {
                    self.ask(at);
                }
            }
        }
    }

    fn lead(&mut self, bounds: &Bounds, at: usize, meta: &Meta) {
        let node = &mut self.nodes[at];
        // M-02: before anything is appended.
        node.disk.assign_epoch(meta.leader_epoch().0);
        let start = LeaderStart {
            id: id(at),
            broker_epoch: node.life,
            epoch: meta.leader_epoch(),
            log_end: node.disk.end(),
            flushed_end: node.disk.flushed_end(),
            high_watermark: node.high_watermark,
            assignment: assignment(meta),
            rules: bounds.rules(),
        };
        let before = node.high_watermark;
        let leader = Leader::new(start, NOW);
        let now = leader.high_watermark();
        node.role = Role::Leader(leader);
        node.high_watermark = now;
        if now > before {
            self.commit(at, now);
        }
    }

    /// Lets a leader take a step, and looks at what it did.
    pub(super) fn leader_step(
        &mut self,
        at: usize,
        step: impl FnOnce(&mut Leader, &mut Node) -> Option<Offset>,
    ) {
        let mut role = std::mem::replace(&mut self.nodes[at].role, Role::Idle);
        let Role::Leader(leader) = &mut role else { unreachable!("only leaders are asked to lead") };
        let before = leader.high_watermark();
        let rose = step(leader, &mut self.nodes[at]);
        if let Err(broken) = leader.check_invariants(before) {
            self.fail(broken);
        }
        if rose.is_some() != (leader.high_watermark() > before) {
            self.fail("a leader says when its high watermark rose");
        }
        let end = leader.high_watermark();
        self.nodes[at].role = role;
        if end > before {
            self.nodes[at].high_watermark = end;
            self.commit(at, end);
        }
    }

    pub(super) fn produce(&mut self, at: usize) {
        let Role::Leader(leader) = &self.nodes[at].role else { return };
        let (in_sync, min) = leader.in_sync();
        if check_acks(-1, in_sync, min).is_err() {
            return;
        }
        let epoch = leader.epoch().0;
        match self.writers.iter().find(|(known, _)| *known == epoch) {
            None => self.writers.push((epoch, at)),
            Some((_, writer)) if *writer == at => {}
            Some(_) => self.fail("I6: one writer in each epoch"),
        }
        self.produced += 1;
        let value = self.produced;
        self.leader_step(at, |leader, node| {
            node.disk.append(Entry { epoch, value });
            leader.appended(node.disk.end(), NOW)
        });
    }

    pub(super) fn flush(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.disk.flush();
        match &node.role {
            Role::Leader(_) => self.leader_step(at, |leader, node| leader.flushed(node.disk.flushed_end())),
            _ => self.report(at),
        }
    }

    /// Drops the messages that production would refuse for ever: of an epoch that their receiver has left.
    fn forget_fenced(&mut self) {
        let nodes = &self.nodes;
        self.network.retain(|message| {
            let (to, epoch, from) = match message {
                Message::Ask { from, to, position, .. } => (*to, position.leader_epoch, *from),
                Message::Progress { from, to, progress } => (*to, progress.leader_epoch, *from),
                Message::Answer { from, to, epoch, .. } | Message::Batch { from, to, epoch, .. } => {
                    (*to, *epoch, *from)
                }
                Message::Alter { .. } => return true,
            };
            let refused = match &nodes[to].role {
                Role::Leader(leader) => leader.check(id(from), epoch),
                Role::Follower(follower) => follower.check(epoch),
                Role::Down | Role::Idle => Ok(()),
            };
            !matches!(refused, Err(StreamError::Epoch(EpochError::Fenced { .. })))
        });
    }

    /// A follower begins a stream anew.
    pub(super) fn ask(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let Role::Follower(follower) = &mut node.role else { return };
        let position = follower.ask(&node.disk);
        let message = Message::Ask { from: at, to: node_of(follower), life: node.life, position };
        self.send(message);
    }

    /// A follower that copies says what it has.
    pub(super) fn report(&mut self, at: usize) {
        let node = &self.nodes[at];
        let Role::Follower(follower) = &node.role else { return };
        if !follower.is_copying() {
            return;
        }
        let progress = Progress {
            broker: id(at),
            broker_epoch: node.life,
            leader_epoch: follower.epoch(),
            log_end: node.disk.end(),
            flushed_end: node.disk.flushed_end(),
        };
        let message = Message::Progress { from: at, to: node_of(follower), progress };
        self.send(message);
    }

    /// A leader sends a follower what it lacks, one record at a time, and the high watermark.
    pub(super) fn feed(&mut self, at: usize, to: usize) {
        let node = &self.nodes[at];
        let Role::Leader(leader) = &node.role else { return };
        let Some((base, _)) = leader.follower(id(to)) else { return };
        let from = usize::try_from(base.0).expect("never negative");
        let entries: Vec<Entry> =
            node.disk.log.get(from..).unwrap_or_default().iter().take(1).copied().collect();
        let message = Message::Batch {
            from: at,
            to,
            life: self.nodes[to].life,
            epoch: leader.epoch(),
            base: base.0,
            entries,
            high_watermark: leader.high_watermark(),
        };
        self.send(message);
    }

    /// A message arrives.
    pub(super) fn deliver(&mut self, bounds: &Bounds, message: Message) {
        match message {
            Message::Ask { from, to, life, position } => self.asked(from, to, life, position),
            Message::Answer { to, life, epoch, asked, answer, .. } => {
                let node = &mut self.nodes[to];
                let Role::Follower(follower) = &mut node.role else { return };
                let current = Position {
                    leader_epoch: follower.epoch(),
                    log_end: node.disk.end(),
                    last_epoch: node
                        .disk
                        .epochs
                        .last()
                        .map_or(LeaderEpoch::UNKNOWN, |(epoch, _)| LeaderEpoch(*epoch)),
                };
                // A stream gives each question its own answer.
                if node.life != life || follower.is_copying() || asked != current {
                    return;
                }
                match follower.answered(epoch, answer, &node.disk) {
                    Err(_) => {}
                    Ok(cut) => self.cut(to, cut),
                }
            }
            Message::Batch { to, life, epoch, base, entries, high_watermark, .. } => {
                self.batch(bounds, to, (life, epoch), base, &entries, high_watermark);
            }
            Message::Progress { to, progress, .. } => {
                if matches!(self.nodes[to].role, Role::Leader(_)) {
                    self.leader_step(to, |leader, _| leader.progressed(progress, NOW).ok().flatten());
                }
            }
            Message::Alter { from, life, proposal } => self.altered(bounds, from, life, &proposal),
        }
    }

    fn asked(&mut self, from: usize, to: usize, life: BrokerEpoch, position: Position) {
        let node = &self.nodes[to];
        let Role::Leader(leader) = &node.role else { return };
        if leader.check(id(from), position.leader_epoch).is_err() {
            return;
        }
        let answer = answer(&node.disk, position);
        let message =
            Message::Answer { from: to, to: from, life, epoch: leader.epoch(), asked: position, answer };
        self.send(message);
    }

    fn cut(&mut self, at: usize, cut: Truncation) {
        match cut {
            Truncation::None => return self.report(at),
            Truncation::To { end, below_high_watermark } => {
                if below_high_watermark {
                    self.fail("I11: no follower cuts below its high watermark");
                }
                self.nodes[at].disk.truncate(end);
            }
            Truncation::Reset { at: end } => {
                if self.nodes[at].high_watermark > end {
                    self.fail("I11: no follower gives up what is committed");
                }
                self.nodes[at].disk.truncate(end);
            }
        }
        if let Role::Follower(follower) = &self.nodes[at].role {
            self.nodes[at].high_watermark = follower.high_watermark();
        }
        self.ask(at);
    }

    fn batch(
        &mut self,
        bounds: &Bounds,
        at: usize,
        (life, epoch): (BrokerEpoch, LeaderEpoch),
        base: i64,
        entries: &[Entry],
        high_watermark: Offset,
    ) {
        let node = &mut self.nodes[at];
        let Role::Follower(follower) = &mut node.role else { return };
        if life != node.life
            || follower.check(epoch).is_err()
            || !follower.is_copying()
            || base != node.disk.end().0
        {
            return;
        }
        for entry in entries {
            node.disk.append(*entry);
        }
        if let Ok(Some(known)) = follower.told(epoch, high_watermark, node.disk.end()) {
            node.high_watermark = known;
        }
        if bounds.durability == highwater_core::settings::Durability::Replicated {
            self.report(at);
        }
    }
}

fn node_of(follower: &Follower) -> usize {
    node(follower.leader())
}
