//! What the metadata makes of this replica: leader, follower, or neither; and what a leader asks of the metadata.
//!
//! Changes may be told more than once, late, or with steps left out (M-62): only what is newer than what is known has an
//! effect, and a change of the leader's epoch always begins a new part.

use std::sync::Arc;

use highwater_core::replication::{Assignment, Follower, IsrProposal, Leader, LeaderStart, ProposalOutcome};
use highwater_log::Health;
use highwater_proto::museum::{self, Bug};
use highwater_proto::{BrokerEpoch, BrokerId, LeaderEpoch, Offset};

use super::outcome::{DeleteRecordsError, ProduceError};
use super::owner::{Partition, Released, Role, State, Told};
use super::watch::{Watch, Watcher};

/// What the metadata says of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duty {
    /// Who leads, if anybody.
    pub leader: Option<BrokerId>,
    /// In which epoch.
    pub leader_epoch: LeaderEpoch,
    /// Replicas, in-sync replicas and their epoch.
    pub assignment: Assignment,
    /// Whether this replica is in sync or eligible to lead: then nothing of it may be given up.
    pub counted: bool,
    /// How many replicas there are when none is being moved: no more than these can be asked to be in sync.
    pub replication_factor: usize,
    /// This broker's own epoch.
    pub broker_epoch: BrokerEpoch,
}

impl Duty {
    /// What a partition's state in the metadata makes of its replica on this life of a broker.
    #[must_use]
    pub fn of(
        known: &highwater_core::metadata::Partition,
        min_insync_replicas: usize,
        (broker, epoch): (BrokerId, BrokerEpoch),
    ) -> Duty {
        Duty {
            leader: known.leader,
            leader_epoch: known.leader_epoch,
            assignment: Assignment {
                replicas: known.replicas.clone(),
                isr: known.isr.clone(),
                leaving: known.leaving(min_insync_replicas).to_vec(),
                partition_epoch: known.partition_epoch,
                recovering: known.recovering,
            },
            counted: known.isr.contains(&broker) || known.elr.contains(&broker),
            replication_factor: known.replication_factor(),
            broker_epoch: epoch,
        }
    }
}

/// What a look at the in-sync replicas led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The controller should be asked for this.
    Change(IsrProposal),
    /// This replica lost what it had flushed, or cannot write: somebody else should lead (I20).
    Resign,
    /// Nothing.
    Nothing,
}

impl Partition {
    /// Takes on what the metadata says. Cheap if it says nothing new.
    pub fn assign(self: &Arc<Partition>, duty: Duty) {
        let settings = self.settings();
        let now = self.now();
        let mut released = Released::default();
        let mut state = self.lock();
        let known = (state.told.leader_epoch, state.told.partition_epoch);
        if state.gone || (duty.leader_epoch, duty.assignment.partition_epoch) < known {
            return;
        }
        if (duty.leader_epoch, duty.assignment.partition_epoch) > known {
            state.resigning = false;
        }
        let same_leader = duty.leader == state.told.leader && duty.leader_epoch == state.told.leader_epoch;
        let same_life = duty.broker_epoch == state.told.broker_epoch;
        let high_watermark = state.high_watermark();
        state.replication_factor = duty.replication_factor;
        state.told = Told {
            leader: duty.leader,
            leader_epoch: duty.leader_epoch,
            partition_epoch: duty.assignment.partition_epoch,
            broker_epoch: duty.broker_epoch,
            counted: duty.counted,
        };
        match duty.leader {
            Some(id) if id == self.around.broker => match &mut state.role {
                Role::Leader(leader) if same_leader && same_life => {
                    let mut rules = leader.rules();
                    rules.min_in_sync = self.rules(&settings, duty.replication_factor).min_in_sync;
                    let mut rose = leader.assigned(duty.assignment, now).is_some();
                    rose |= leader.set_rules(rules).is_some();
                    if rose {
                        state.release(&mut released);
                    }
                    state.give_up_below_minimum(&mut released);
                    state.release_deletions(&mut released);
                    self.want_attention(&mut state);
                }
                _ => {
                    state.end_part(&mut released);
                    self.lead(&mut state, duty, high_watermark, &mut released);
                }
            },
            Some(_) if same_leader && same_life && matches!(state.role, Role::Follower(_)) => {}
            Some(id) => {
                state.end_part(&mut released);
                state.log.set_high_watermark(high_watermark);
                state.role = Role::Follower(Follower::new(id, duty.leader_epoch, high_watermark));
                if *state.log.health() != Health::Good {
                    self.want_attention(&mut state);
                }
                released.watches.extend(state.tail.clone());
            }
            None => {
                state.end_part(&mut released);
                state.log.set_high_watermark(high_watermark);
                state.role = Role::Idle;
            }
        }
        drop(state);
        released.run();
    }

    fn lead(
        self: &Arc<Partition>,
        state: &mut State,
        duty: Duty,
        high_watermark: Offset,
        released: &mut Released,
    ) {
        if *state.log.health() != Health::Good {
            // Never serve, never acknowledge: the controller is asked to let somebody else lead.
            state.role = Role::Idle;
            self.want_attention(state);
            return;
        }
        // M-02: the epoch begins here, before anything is appended in it.
        state.log.assign_epoch(duty.leader_epoch);
        let settings = self.settings();
        let rules = self.rules(&settings, duty.replication_factor);
        let sole = duty.assignment.replicas.len() == 1;
        let start = LeaderStart {
            id: self.around.broker,
            broker_epoch: duty.broker_epoch,
            epoch: duty.leader_epoch,
            log_end: state.log.log_end(),
            flushed_end: state.log.flushed_end().get(),
            high_watermark,
            assignment: duty.assignment,
            rules,
        };
        state.role = Role::Leader(Box::new(Leader::new(start, self.now())));
        state.release(released);
        if state.log.flushed_end().get() < state.log.log_end() {
            self.want_flush(state);
        }
        if !sole {
            self.want_attention(state);
        }
    }

    /// Queues the partition for a look at its in-sync replicas.
    pub(super) fn want_attention(self: &Arc<Partition>, state: &mut State) {
        if !std::mem::replace(&mut state.attending, true) {
            self.around.attention.push(Arc::clone(self));
        }
    }

    /// Whether the in-sync replicas should change. `life` gives the registered life of a broker that may be in sync.
    /// Returns, too, whether to look again before long though nothing happens: somebody is behind.
    pub fn propose(&self, life: impl Fn(BrokerId) -> Option<BrokerEpoch>) -> (Wish, bool) {
        let now = self.now();
        let mut state = self.lock();
        state.attending = false;
        if state.gone {
            return (Wish::Nothing, false);
        }
        if !state.is_sound() {
            state.resigning = state.told.counted || state.may_be_heard();
            return (if state.resigning { Wish::Resign } else { Wish::Nothing }, false);
        }
        let Role::Leader(leader) = &mut state.role else { return (Wish::Nothing, false) };
        let wish = leader.propose(life, now);
        let again = leader.is_unsettled();
        (wish.map_or(Wish::Nothing, Wish::Change), again)
    }

    /// What became of the proposal made last, in that leader epoch.
    pub fn proposal_answered(self: &Arc<Partition>, epoch: LeaderEpoch, outcome: ProposalOutcome) {
        let mut released = Released::default();
        let mut state = self.lock();
        if let Role::Leader(leader) = &mut state.role
            && leader.epoch() == epoch
            && leader.proposal_answered(outcome).is_some()
        {
            state.release(&mut released);
        }
        drop(state);
        released.run();
    }

    /// Looks at the partition's in-sync replicas again.
    pub fn attend_again(self: &Arc<Partition>) {
        let mut state = self.lock();
        self.want_attention(&mut state);
    }

    /// Marks `watch` whenever a follower's feed has news, and once at once.
    pub fn watch_feed(&self, watch: Watch) {
        self.lock().feeds.push(watch.clone());
        watch.mark();
    }

    /// Ends what [`Partition::watch_feed`] began.
    pub fn unwatch_feed(&self, watcher: &Arc<Watcher>, slot: usize) {
        self.lock().feeds.retain(|watch| !watch.is(watcher, slot));
    }

    /// Marks `watch` whenever this follower has more to report, and once at once. There is one at a time.
    pub fn watch_tail(&self, watch: Watch) {
        self.lock().tail = Some(watch.clone());
        watch.mark();
    }

    /// Ends what [`Partition::watch_tail`] began, unless another one has taken its place.
    pub fn unwatch_tail(&self, watcher: &Arc<Watcher>, slot: usize) {
        let mut state = self.lock();
        if state.tail.as_ref().is_some_and(|watch| watch.is(watcher, slot)) {
            state.tail = None;
        }
    }
}

impl State {
    /// Whether a leader may still let this replica join for what it had before it was found to be damaged: in the epoch
    /// in which that was found, it may have asked for it already.
    pub(super) fn may_be_heard(&self) -> bool {
        self.damaged_in.is_some_and(|epoch| self.told.leader_epoch <= epoch)
    }

    /// This part is over: whoever waits on it is sent elsewhere. What was appended may or may not survive.
    fn end_part(&mut self, released: &mut Released) {
        let not_leader = self.not_leader();
        let lost = |parked: super::owner::Parked| match museum::active(Bug::AckWhenDeposed) {
            true => (parked.ack, Ok(parked.acked)),
            false => (parked.ack, Err(ProduceError::NotLeader(not_leader))),
        };
        released.acks.extend(self.parked.drain(..).map(lost));
        let deletions = self.deletions.drain(..);
        released
            .deletions
            .extend(deletions.map(|parked| (parked, Err(DeleteRecordsError::NotLeader(not_leader)))));
        self.follower_starts.clear();
        released.watches.extend(self.watches.iter().cloned());
        released.watches.extend(self.feeds.iter().cloned());
    }

    /// M-10, the second time: fewer replicas are in sync than must be, so the high watermark stands still (M-09), and whoever
    /// waits for it would wait for a replica to come back. It is told that its records are written, and not by enough: they
    /// may still be lost, or become visible.
    pub(super) fn give_up_below_minimum(&mut self, released: &mut Released) {
        let Role::Leader(leader) = &self.role else { return };
        let (in_sync, min) = leader.in_sync();
        if in_sync < min {
            let too_few = |parked: super::owner::Parked| {
                (parked.ack, Err(ProduceError::TooFewAfterAppend { in_sync, min }))
            };
            released.acks.extend(self.parked.drain(..).map(too_few));
        }
    }

    /// Which deletions has every in-sync replica carried out?
    pub(super) fn release_deletions(&mut self, released: &mut Released) {
        let Role::Leader(leader) = &self.role else { return };
        if self.deletions.is_empty() {
            return;
        }
        let starts = &self.follower_starts;
        let start_of = |id: BrokerId| starts.iter().find(|(known, _)| *known == id).map(|(_, start)| *start);
        let others: Vec<BrokerId> =
            leader.assignment().isr.iter().copied().filter(|id| *id != leader.id()).collect();
        let everywhere = |parked: &super::owner::ParkedDeletion| {
            others.iter().all(|id| start_of(*id).is_some_and(|start| start >= parked.log_start))
        };
        let log_start = self.log.log_start();
        let (done, waiting) = std::mem::take(&mut self.deletions).into_iter().partition(everywhere);
        self.deletions = waiting;
        let done: Vec<super::owner::ParkedDeletion> = done;
        released.deletions.extend(done.into_iter().map(|parked| (parked, Ok(log_start))));
    }
}
