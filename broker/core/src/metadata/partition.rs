//! One partition as the cluster knows it: who holds it, who is in sync, who leads, and the epochs that order all that.

use highwater_proto::{BrokerId, LeaderEpoch, PartitionEpoch};
use serde::{Deserialize, Serialize};

use super::record::PartitionState;

/// Replicas, leader and epochs of a partition. [`Partition::check`] says what always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Who holds it, the preferred leader first. Includes those being added and those being removed.
    pub replicas: Vec<BrokerId>,
    /// Who is in sync: each holds everything below the high watermark, is unfenced and not shutting down.
    pub isr: Vec<BrokerId>,
    /// Who is not in sync, but holds everything below the high watermark, since that stands still while there are fewer
    /// in-sync replicas than [`Partition::min_isr`] (KIP-966). May be fenced.
    pub elr: Vec<BrokerId>,
    /// Who was eligible since then and lost that, by an unclean restart for example: the best that is left for an
    /// unclean election.
    pub last_known_elr: Vec<BrokerId>,
    /// Who leads; one of the in-sync replicas.
    pub leader: Option<BrokerId>,
    /// Who led last, while nobody does.
    #[serde(default)]
    pub last_leader: Option<BrokerId>,
    /// Counts leaders. Never falls.
    pub leader_epoch: LeaderEpoch,
    /// Counts changes. Never falls.
    pub partition_epoch: PartitionEpoch,
    /// Replicas that a reassignment adds.
    pub adding: Vec<BrokerId>,
    /// Replicas that a reassignment takes away.
    pub removing: Vec<BrokerId>,
    /// Whether its leader was elected uncleanly and has not yet said that it recovered (M-15): it is alone in sync.
    pub recovering: bool,
}

impl Partition {
    /// A new partition, all of whose replicas are in sync because there is nothing to hold.
    #[must_use]
    pub fn new(replicas: Vec<BrokerId>, isr: Vec<BrokerId>) -> Partition {
        Partition { leader: isr.first().copied(), replicas, isr, ..Partition::default() }
    }

    /// The least number of in-sync replicas with which the high watermark may move, for a topic with this setting:
    /// never more than there are replicas, before or after the reassignment under way.
    #[must_use]
    pub fn min_isr(&self, min_insync_replicas: usize) -> usize {
        min_insync_replicas.min(self.replication_factor()).max(1)
    }

    /// How many replicas it has when no reassignment is under way; the smaller of before and after while one is.
    #[must_use]
    pub fn replication_factor(&self) -> usize {
        self.replicas.len() - self.adding.len().max(self.removing.len())
    }

    /// Whether replicas are being exchanged.
    #[must_use]
    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// The replicas that stay once the reassignment under way, if any, is through.
    #[must_use]
    pub fn target_replicas(&self) -> Vec<BrokerId> {
        without(&self.replicas, &self.removing)
    }

    /// Whether the reassignment under way, if any, has what it needs: everybody it adds is in sync, and so are enough of
    /// those that stay that taking the others away loses nothing and stops nobody.
    #[must_use]
    pub fn can_complete(&self, min_insync_replicas: usize) -> bool {
        let target = self.target_replicas();
        let staying = target.iter().filter(|id| self.isr.contains(id)).count();
        let added = self.adding.iter().all(|id| self.isr.contains(id));
        added && staying >= min_insync_replicas.min(target.len()).max(1)
    }

    /// The replicas that nothing but a place among the in-sync ones keeps here: their leader lets them go.
    #[must_use]
    pub fn leaving(&self, min_insync_replicas: usize) -> &[BrokerId] {
        if self.can_complete(min_insync_replicas) { &self.removing } else { &[] }
    }

    /// Who should lead, if it is in sync.
    #[must_use]
    pub fn preferred_leader(&self) -> Option<BrokerId> {
        self.replicas.first().copied()
    }

    /// What must hold of every partition, whatever its brokers do: the lists are sets, in-sync and eligible replicas are
    /// disjoint and replicas, the leader is in sync.
    ///
    /// # Errors
    /// What is broken.
    pub fn check(&self) -> Result<(), &'static str> {
        let lists =
            [&self.replicas, &self.isr, &self.elr, &self.last_known_elr, &self.adding, &self.removing];
        if lists.iter().any(|list| has_duplicates(list)) {
            return Err("a broker is twice in a list of a partition");
        }
        if self.replicas.is_empty() {
            return Err("a partition has no replicas");
        }
        if lists.iter().any(|list| list.iter().any(|id| !self.replicas.contains(id))) {
            return Err("in-sync, eligible, added and removed brokers are replicas");
        }
        if intersect(&self.isr, &self.elr)
            || intersect(&self.isr, &self.last_known_elr)
            || intersect(&self.elr, &self.last_known_elr)
        {
            return Err("a broker is in sync, or eligible, or was eligible");
        }
        if intersect(&self.adding, &self.removing) || self.target_replicas().is_empty() {
            return Err("a reassignment leaves a partition with nobody, or adds whom it removes");
        }
        match self.leader {
            Some(leader) if !self.isr.contains(&leader) => Err("the leader is in sync"),
            None if !self.isr.is_empty() => Err("somebody leads while somebody is in sync"),
            Some(_) if self.last_leader.is_some() => Err("nobody is the last leader while somebody leads"),
            _ if self.recovering && self.isr.len() > 1 => Err("a recovering leader is alone in sync"),
            _ if self.leader_epoch.0 < 0 || self.partition_epoch.0 < 0 => Err("epochs are not negative"),
            _ => Ok(()),
        }
    }

    pub(super) fn to_wire(&self) -> PartitionState {
        PartitionState {
            replicas: numbers(&self.replicas),
            isr: numbers(&self.isr),
            elr: numbers(&self.elr),
            last_known_elr: numbers(&self.last_known_elr),
            leader: self.leader.map(|id| id.0),
            leader_epoch: self.leader_epoch.0,
            partition_epoch: self.partition_epoch.0,
            adding: numbers(&self.adding),
            removing: numbers(&self.removing),
            recovering: self.recovering,
            last_leader: self.last_leader.map(|id| id.0),
        }
    }

    pub(super) fn from_wire(state: &PartitionState) -> Partition {
        Partition {
            replicas: brokers(&state.replicas),
            isr: brokers(&state.isr),
            elr: brokers(&state.elr),
            last_known_elr: brokers(&state.last_known_elr),
            leader: state.leader.map(BrokerId),
            leader_epoch: LeaderEpoch(state.leader_epoch),
            partition_epoch: PartitionEpoch(state.partition_epoch),
            adding: brokers(&state.adding),
            removing: brokers(&state.removing),
            recovering: state.recovering,
            last_leader: state.last_leader.map(BrokerId),
        }
    }
}

pub(super) fn numbers(ids: &[BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}

pub(super) fn brokers(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().map(|id| BrokerId(*id)).collect()
}

/// The first list, in its order, less those of the second.
pub(super) fn without(list: &[BrokerId], less: &[BrokerId]) -> Vec<BrokerId> {
    list.iter().filter(|id| !less.contains(id)).copied().collect()
}

pub(super) fn has_duplicates(list: &[BrokerId]) -> bool {
    list.iter().enumerate().any(|(at, id)| list[..at].contains(id))
}

fn intersect(one: &[BrokerId], other: &[BrokerId]) -> bool {
    one.iter().any(|id| other.contains(id))
}
