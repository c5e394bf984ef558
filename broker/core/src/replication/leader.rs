//! A leader's side: what each replica has made safe, the high watermark, and who should be in sync.
//!
//! It lives as long as one leader epoch (M-04: what was known of followers in an earlier one says nothing). Invariants:
//! the high watermark never falls (I8), never passes what the leader itself counts (I9, M-12) and rises only while the
//! committed in-sync replicas are enough (M-09); see `invariants`.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use highwater_proto::museum::{self, Bug};
use highwater_proto::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch};

use super::reports::{Assignment, EpochError, IsrProposal, Progress, Rules, StreamError};
use crate::settings::Durability;

/// A follower that was ejected waits this long before it may return,
const REJOIN_FIRST: Duration = Duration::from_millis(250);
/// twice as long each time, up to this,
const REJOIN_MAX: Duration = Duration::from_secs(30);
/// and its ejections are forgotten after so much time in sync.
const REJOIN_FORGET: Duration = Duration::from_secs(60);

/// A partition that this broker leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leader {
    pub(super) id: BrokerId,
    pub(super) broker_epoch: BrokerEpoch,
    pub(super) epoch: LeaderEpoch,
    pub(super) epoch_start: Offset,
    pub(super) rules: Rules,
    pub(super) log_end: Offset,
    pub(super) flushed_end: Offset,
    pub(super) high_watermark: Offset,
    pub(super) assignment: Assignment,
    pub(super) pending: Option<Pending>,
    pub(super) followers: BTreeMap<BrokerId, Replica>,
}

/// A proposal that has not been decided yet, as far as the leader knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending {
    pub(super) isr: Vec<(BrokerId, BrokerEpoch)>,
    pub(super) partition_epoch: PartitionEpoch,
    /// The answer was lost: it may have been carried out. To be sent again as it is.
    resend: bool,
}

/// What the leader knows of a follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replica {
    /// The life that reported in this leader's epoch; `None` if it has not.
    pub(super) reported: Option<BrokerEpoch>,
    pub(super) log_end: Offset,
    pub(super) flushed_end: Offset,
    /// When it had everything that the leader had.
    caught_up_at: Duration,
    /// The leader's end when it reported last, and when that was.
    last_report: (Offset, Duration),
    /// How often it was ejected lately, and when it may return.
    ejections: u32,
    rejoin_at: Duration,
    /// When it came back last.
    joined_at: Duration,
}

/// How a new leader starts.
#[derive(Clone, Debug)]
pub struct LeaderStart {
    /// This broker.
    pub id: BrokerId,
    /// This life of it.
    pub broker_epoch: BrokerEpoch,
    /// The epoch it leads in. It has been assigned to the log, at the log's end, before anything is appended (M-02).
    pub epoch: LeaderEpoch,
    /// Where its log ends: the start of its epoch.
    pub log_end: Offset,
    /// Up to where that is flushed.
    pub flushed_end: Offset,
    /// What it knew to be committed as a follower, or from before a restart.
    pub high_watermark: Offset,
    /// What the metadata says.
    pub assignment: Assignment,
    /// The topic's settings.
    pub rules: Rules,
}

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalOutcome {
    /// Carried out; the new assignment comes, or has come, with the metadata.
    Accepted,
    /// Nobody knows: the answer was lost. It may still be carried out (M-06).
    Unanswered,
    /// Refused for what has changed meanwhile: the metadata will say what.
    Outdated,
    /// Refused, and not because of anything that the metadata will tell: it may be tried anew.
    Refused,
}

impl Leader {
    /// Takes a partition over.
    #[must_use]
    pub fn new(start: LeaderStart, now: Duration) -> Leader {
        let LeaderStart { id, broker_epoch, epoch, log_end, flushed_end, high_watermark, assignment, rules } =
            start;
        let mut leader = Leader {
            id,
            broker_epoch,
            epoch,
            epoch_start: log_end,
            rules,
            log_end,
            flushed_end: flushed_end.min(log_end),
            high_watermark: high_watermark.min(log_end),
            assignment,
            pending: None,
            followers: BTreeMap::new(),
        };
        leader.know_replicas(now);
        leader.advance();
        leader
    }

    /// The first offset readers must not see.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The high watermark as an answer to "where is the end?": `None` until it has reached the start of this leader's
    /// epoch, because an earlier leader may have shown more (M-13).
    #[must_use]
    pub fn latest(&self) -> Option<Offset> {
        let known = self.high_watermark >= self.epoch_start || museum::active(Bug::LatestTooEarly);
        known.then_some(self.high_watermark)
    }

    /// This broker.
    #[must_use]
    pub fn id(&self) -> BrokerId {
        self.id
    }

    /// The settings in force.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// The leader's epoch.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// What the metadata said last.
    #[must_use]
    pub fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    /// Whether there is no other replica.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.assignment.replicas.len() < 2
    }

    /// How many committed in-sync replicas there are, and how many there must be.
    #[must_use]
    pub fn in_sync(&self) -> (usize, usize) {
        (self.assignment.isr.len(), self.rules.min_in_sync)
    }

    /// Whoever may be in sync: the committed in-sync replicas and those that a proposal under way adds. Those that it
    /// takes away count until that is committed (M-06).
    pub fn maximal_isr(&self) -> impl Iterator<Item = BrokerId> + '_ {
        let proposed = self.pending.iter().flat_map(|pending| pending.isr.iter().map(|(id, _)| *id));
        let added = proposed.filter(|id| !self.assignment.isr.contains(id));
        let added = added.filter(|_| !museum::active(Bug::ExpansionCountsLate));
        let leaves = |id: &BrokerId| {
            museum::active(Bug::ShrinkCountsEarly)
                && self.pending.as_ref().is_some_and(|it| it.isr.iter().all(|(member, _)| member != id))
        };
        self.assignment.isr.iter().copied().filter(move |id| !leaves(id)).chain(added)
    }

    /// What a follower has said it has: the end of its log, and how far it is flushed.
    #[must_use]
    pub fn follower(&self, id: BrokerId) -> Option<(Offset, Offset)> {
        let replica = self.followers.get(&id)?;
        replica.reported.map(|_| (replica.log_end, replica.flushed_end))
    }

    /// The log grew. Returns the new high watermark if it rose.
    pub fn appended(&mut self, log_end: Offset, now: Duration) -> Option<Offset> {
        assert!(log_end >= self.log_end, "the log end fell from {} to {log_end}", self.log_end);
        let (before, durability) = (self.log_end, self.rules.durability);
        for replica in self.followers.values_mut() {
            if replica.reported.is_some() && replica.counted(durability) >= before {
                replica.caught_up_at = now;
            }
        }
        self.log_end = log_end;
        self.advance()
    }

    /// A flush completed. Returns the new high watermark if it rose.
    pub fn flushed(&mut self, flushed_end: Offset) -> Option<Offset> {
        assert!(flushed_end <= self.log_end, "flushed to {flushed_end}, past the log end {}", self.log_end);
        self.flushed_end = self.flushed_end.max(flushed_end);
        self.advance()
    }

    /// Whether requests of a follower in this epoch are for this leader (M-03).
    ///
    /// # Errors
    /// [`StreamError`].
    pub fn check(&self, broker: BrokerId, asked: LeaderEpoch) -> Result<(), StreamError> {
        if !museum::active(Bug::LeaderTakesAnyEpoch) {
            EpochError::check(asked, self.epoch)?;
        }
        if self.followers.contains_key(&broker) { Ok(()) } else { Err(StreamError::NotAReplica(broker)) }
    }

    /// A follower said what it has, in this leader's epoch and after the logs were found to agree up to there. Returns the
    /// new high watermark if it rose.
    ///
    /// # Errors
    /// [`StreamError`]; nothing changed then.
    pub fn progressed(&mut self, progress: Progress, now: Duration) -> Result<Option<Offset>, StreamError> {
        let Progress { broker, broker_epoch, leader_epoch, log_end, flushed_end } = progress;
        self.check(broker, leader_epoch)?;
        let (leader_end, durability) = (self.log_end, self.rules.durability);
        let replica = self.followers.get_mut(&broker).ok_or(StreamError::NotAReplica(broker))?;
        if replica.reported.is_some_and(|known| known > broker_epoch) {
            return Err(StreamError::StaleBroker(broker));
        }
        replica.reported = Some(broker_epoch);
        replica.log_end = log_end.min(leader_end);
        replica.flushed_end = flushed_end.min(replica.log_end);
        let counted = replica.counted(durability);
        if counted >= leader_end {
            replica.caught_up_at = now;
        } else if counted >= replica.last_report.0 {
            replica.caught_up_at = replica.caught_up_at.max(replica.last_report.1);
        }
        replica.last_report = (leader_end, now);
        Ok(self.advance())
    }

    /// The metadata changed. An assignment that is not newer than what is known changes nothing (M-06, M-62). Returns
    /// the new high watermark if it rose.
    pub fn assigned(&mut self, assignment: Assignment, now: Duration) -> Option<Offset> {
        if assignment.partition_epoch <= self.assignment.partition_epoch {
            return None;
        }
        for id in &assignment.isr {
            let joined = !self.assignment.isr.contains(id);
            if let Some(replica) = self.followers.get_mut(id).filter(|_| joined) {
                replica.joined_at = now;
                replica.caught_up_at = now;
            }
        }
        self.assignment = assignment;
        self.pending = None;
        self.know_replicas(now);
        self.advance()
    }

    /// The topic's settings changed. What was shown stays shown.
    pub fn set_rules(&mut self, rules: Rules) -> Option<Offset> {
        self.rules = rules;
        self.advance()
    }

    /// Whether the in-sync replicas should change; at most one proposal is under way. `life` gives the registered life of
    /// a broker that may be in sync: one that is neither fenced nor about to stop (M-05).
    pub fn propose(
        &mut self,
        life: impl Fn(BrokerId) -> Option<BrokerEpoch>,
        now: Duration,
    ) -> Option<IsrProposal> {
        if let Some(pending) = &mut self.pending {
            return std::mem::take(&mut pending.resend)
                .then(|| self.pending.as_ref().map(|pending| self.proposal(pending)))
                .flatten();
        }
        let joining = self.joining(&life, now);
        let lagging: Vec<BrokerId> = self.lagging(now).collect();
        let leaving: Vec<BrokerId> = self.dismissed().chain(lagging.iter().copied()).collect();
        if joining.is_empty() && leaving.is_empty() && !self.assignment.recovering {
            return None;
        }
        let known = |id: BrokerId| {
            let reported = self.followers.get(&id).and_then(|replica| replica.reported);
            let own = (id == self.id).then_some(self.broker_epoch);
            own.or(reported).or_else(|| life(id)).map(|epoch| (id, epoch))
        };
        let staying = self.assignment.isr.iter().copied().filter(|id| !leaving.contains(id));
        let isr: Vec<(BrokerId, BrokerEpoch)> = staying.filter_map(known).chain(joining).collect();
        for id in lagging {
            if let Some(replica) = self.followers.get_mut(&id) {
                replica.eject(now);
            }
        }
        let pending = Pending { isr, partition_epoch: self.assignment.partition_epoch, resend: false };
        let proposal = self.proposal(&pending);
        self.pending = Some(pending);
        Some(proposal)
    }

    /// Whether time alone may lead to a proposal: one is under way, an in-sync follower is behind, or one that left may
    /// return later.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        let durability = self.rules.durability;
        let Assignment { isr, leaving, .. } = &self.assignment;
        self.pending.is_some()
            || self.followers.iter().any(|(id, replica)| {
                let counted = replica.counted(durability);
                if isr.contains(id) {
                    replica.reported.is_none() || counted < self.log_end || leaving.contains(id)
                } else {
                    !leaving.contains(id)
                        && replica.reported.is_some()
                        && counted >= self.high_watermark
                        && counted >= self.epoch_start
                }
            })
    }

    /// What became of the proposal that [`Leader::propose`] returned last. Returns the new high watermark if it rose.
    pub fn proposal_answered(&mut self, outcome: ProposalOutcome) -> Option<Offset> {
        match outcome {
            // Until the metadata says what holds, the largest possible set counts.
            ProposalOutcome::Accepted | ProposalOutcome::Outdated => {}
            ProposalOutcome::Unanswered => {
                if let Some(pending) = &mut self.pending {
                    pending.resend = true;
                }
            }
            ProposalOutcome::Refused => self.pending = None,
        }
        self.advance()
    }

    fn proposal(&self, pending: &Pending) -> IsrProposal {
        IsrProposal {
            leader_epoch: self.epoch,
            partition_epoch: pending.partition_epoch,
            isr: pending.isr.clone(),
        }
    }

    /// Followers that have earned their place (M-05): not fenced, of the registered life, with everything that is
    /// committed and with everything that was there before this leader.
    fn joining(
        &self,
        life: &impl Fn(BrokerId) -> Option<BrokerEpoch>,
        now: Duration,
    ) -> Vec<(BrokerId, BrokerEpoch)> {
        let Assignment { isr, leaving, .. } = &self.assignment;
        let outside = self.followers.iter().filter(|(id, _)| !isr.contains(id) && !leaving.contains(id));
        outside
            .filter(|(_, replica)| self.has_earned_its_place(replica, now))
            .filter_map(|(id, replica)| replica.reported.map(|epoch| (*id, epoch)))
            .filter(|(id, epoch)| life(*id) == Some(*epoch) || museum::active(Bug::StaleLifeJoins))
            .collect()
    }

    fn has_earned_its_place(&self, replica: &Replica, now: Duration) -> bool {
        let counted = replica.counted(self.rules.durability);
        replica.reported.is_some()
            && (counted >= self.high_watermark || museum::active(Bug::JoinBelowHighWatermark))
            && (counted >= self.epoch_start || museum::active(Bug::JoinBelowEpochStart))
            && now >= replica.rejoin_at
    }

    /// In-sync replicas that are not wanted any more and have followed in this epoch. One that has not may have led before
    /// and not know yet that it does not: what is acknowledged must still wait for it, or it would show readers an old
    /// state for as long as its lease holds (M-60).
    fn dismissed(&self) -> impl Iterator<Item = BrokerId> {
        let follows =
            |id: &BrokerId| self.followers.get(id).is_some_and(|replica| replica.reported.is_some());
        let Assignment { isr, leaving, .. } = &self.assignment;
        leaving.iter().copied().filter(move |id| isr.contains(id) && follows(id))
    }

    /// In-sync followers that hold the others up.
    fn lagging(&self, now: Duration) -> impl Iterator<Item = BrokerId> {
        let isr = self.assignment.isr.iter().filter_map(|id| Some((*id, self.followers.get(id)?)));
        let behind = isr.filter(move |(_, replica)| {
            let caught_up =
                replica.reported.is_some() && replica.counted(self.rules.durability) >= self.log_end;
            !caught_up && now.saturating_sub(replica.caught_up_at) > self.rules.lag_max
        });
        behind.map(|(id, _)| id)
    }

    /// Keeps a record of each other replica, and of no other broker.
    fn know_replicas(&mut self, now: Duration) {
        let (own, replicas) = (self.id, &self.assignment.replicas);
        self.followers.retain(|id, _| replicas.contains(id));
        for id in replicas.iter().filter(|id| **id != own) {
            self.followers.entry(*id).or_insert_with(|| Replica::unknown(now));
        }
    }

    /// What this replica itself counts for (M-12).
    pub(super) fn own_end(&self) -> Offset {
        match self.rules.durability {
            Durability::Fsync if museum::active(Bug::LeaderCountsUnflushed) => self.log_end,
            Durability::Fsync => self.flushed_end,
            Durability::Replicated => self.log_end,
        }
    }

    /// Moves the high watermark over the maximal in-sync replicas (I9), if enough are committed (M-09). While a proposal
    /// is under way it waits for those, too, that would be in the next one (M-07).
    fn advance(&mut self) -> Option<Offset> {
        let few = self.assignment.isr.len() < self.rules.min_in_sync;
        if few && !museum::active(Bug::HighWatermarkBelowMinimum) {
            return None;
        }
        let mut end = self.own_end();
        for id in self.maximal_isr().filter(|id| *id != self.id) {
            let replica = self.followers.get(&id);
            end = end.min(replica.map_or(Offset::ZERO, |replica| replica.counted(self.rules.durability)));
        }
        if self.pending.is_some() {
            let waiting = self.followers.values().filter(|replica| {
                replica.reported.is_some()
                    && replica.counted(self.rules.durability) >= self.high_watermark.max(self.epoch_start)
                    && replica.ejections == 0
            });
            for replica in waiting {
                end = end.min(replica.counted(self.rules.durability));
            }
        }
        if end <= self.high_watermark {
            return None;
        }
        self.high_watermark = end;
        Some(end)
    }
}

/// Times are left out: what is equal but for them hashes alike.
impl Hash for Replica {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.reported, self.log_end, self.flushed_end, self.ejections == 0).hash(state);
    }
}

impl Replica {
    fn unknown(now: Duration) -> Replica {
        Replica {
            reported: None,
            log_end: Offset::ZERO,
            flushed_end: Offset::ZERO,
            caught_up_at: now,
            last_report: (Offset(i64::MAX), now),
            ejections: 0,
            rejoin_at: Duration::ZERO,
            joined_at: now,
        }
    }

    /// What this replica counts for; nothing before it reported to this leader.
    pub(super) fn counted(&self, durability: Durability) -> Offset {
        match (self.reported, durability) {
            (None, _) => Offset::ZERO,
            (Some(_), Durability::Fsync) if museum::active(Bug::FollowerCountsUnflushed) => self.log_end,
            (Some(_), Durability::Fsync) => self.flushed_end,
            (Some(_), Durability::Replicated) => self.log_end,
        }
    }

    fn eject(&mut self, now: Duration) {
        if now.saturating_sub(self.joined_at) > REJOIN_FORGET {
            self.ejections = 0;
        }
        let wait = REJOIN_FIRST.saturating_mul(1 << self.ejections.min(10)).min(REJOIN_MAX);
        self.ejections += 1;
        self.rejoin_at = now + wait;
    }
}

#[cfg(test)]
#[path = "leader_tests.rs"]
mod tests;
