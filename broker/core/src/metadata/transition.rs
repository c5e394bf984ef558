//! How a partition gets from one state to the next: the one place where in-sync sets, eligible replicas, reassignments
//! and leaders are settled together, so that every decision keeps the same rules (KIP-966, M-09).

use highwater_proto::museum::{self, Bug};
use highwater_proto::{BrokerId, TopicPartition};

use super::apply::change_partition;
use super::image::Image;
use super::partition::{Partition, numbers, without};
use super::record::{BrokerIds, Record, change};
use super::topic::Topic;

/// Who may be elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Whoever leads stays, if it is in sync.
    Keep,
    /// The preferred leader, if it is in sync.
    Preferred,
    /// If nobody in sync or eligible is there, any replica that is (M-15).
    Unclean,
}

/// What a decision wants of a partition; [`Draft::settle`] makes it legal.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    /// The partition as it is.
    before: Partition,
    /// Replicas, in-sync set and reassignment as they should be.
    pub(super) wanted: Partition,
    /// May have lost something: not eligible any more.
    pub(super) tainted: Vec<BrokerId>,
    /// Have lost everything: not even eligible once.
    pub(super) empty: Vec<BrokerId>,
    /// Who may be elected.
    pub(super) choice: Choice,
}

impl Draft {
    pub(super) fn of(partition: &Partition) -> Draft {
        Draft {
            before: partition.clone(),
            wanted: partition.clone(),
            tainted: Vec::new(),
            empty: Vec::new(),
            choice: Choice::Keep,
        }
    }

    /// The state that comes of it, epochs not yet counted. `active` says who may lead and be in sync.
    pub(super) fn settle(mut self, active: &dyn Fn(BrokerId) -> bool, topic: &Topic) -> Partition {
        let min_insync_replicas = topic.min_insync_replicas();
        let lost = |id: &BrokerId| self.tainted.contains(id) || self.empty.contains(id);
        self.wanted.isr.retain(|id| active(*id) && !lost(id));
        complete_reassignment(&mut self.wanted, min_insync_replicas);
        self.settle_eligible();
        self.elect(active, topic);
        // With enough in sync the high watermark moves on, and whoever is not among them falls behind it.
        let next = &mut self.wanted;
        if next.isr.len() >= next.min_isr(min_insync_replicas) {
            next.elr.clear();
            next.last_known_elr.clear();
        }
        self.wanted
    }

    /// Below `min_isr` the high watermark stands still, so whoever leaves the in-sync set still holds everything below
    /// it, and stays eligible until it may have lost something.
    fn settle_eligible(&mut self) {
        let (before, next) = (&self.before, &mut self.wanted);
        next.elr.clear();
        next.last_known_elr.clear();
        for id in before.replicas.iter().filter(|id| next.replicas.contains(id) && !next.isr.contains(id)) {
            let eligible = before.isr.contains(id) || before.elr.contains(id);
            if eligible && !self.tainted.contains(id) && !self.empty.contains(id) {
                next.elr.push(*id);
            } else if (eligible || before.last_known_elr.contains(id)) && !self.empty.contains(id) {
                next.last_known_elr.push(*id);
            }
        }
    }

    fn elect(&mut self, active: &dyn Fn(BrokerId) -> bool, topic: &Topic) {
        let next = &mut self.wanted;
        let first = |list: &[BrokerId]| next.replicas.iter().find(|id| list.contains(id)).copied();
        let leaving = next.leaving(topic.min_insync_replicas());
        let kept = self.before.leader.filter(|id| next.isr.contains(id) && !leaving.contains(id));
        let preferred = next.preferred_leader().filter(|id| next.isr.contains(id));
        let in_sync = match self.choice {
            Choice::Preferred => preferred.or(kept),
            Choice::Keep | Choice::Unclean => kept,
        };
        next.leader = in_sync.or_else(|| first(&next.isr));
        if next.leader.is_some() {
            return;
        }
        let there = |list: &[BrokerId]| {
            let there: Vec<BrokerId> = list.iter().copied().filter(|id| active(*id)).collect();
            first(&there)
        };
        if let Some(eligible) = there(&next.elr) {
            next.leader = Some(eligible);
            next.isr = vec![eligible];
            next.elr.retain(|id| *id != eligible);
            return;
        }
        let survivor = match self.choice {
            _ if museum::active(Bug::UncleanByDefault) => there(&next.replicas),
            Choice::Unclean => there(&next.last_known_elr).or_else(|| there(&next.replicas)),
            Choice::Keep | Choice::Preferred => self.last_leader(topic).filter(|id| active(*id)),
        };
        let next = &mut self.wanted;
        if let Some(survivor) = survivor {
            next.leader = Some(survivor);
            next.isr = vec![survivor];
            next.elr.clear();
            next.last_known_elr.clear();
            next.recovering = true;
        }
    }

    /// A topic that acknowledges from memory has given up what all of its counted replicas lose at once. When they have,
    /// its last leader, which had all there was, goes on with what it still has; others wait for a person to decide.
    fn last_leader(&self, topic: &Topic) -> Option<BrokerId> {
        let next = &self.wanted;
        let all_lost = next.elr.is_empty() && !topic.acknowledges_from_disk();
        self.before.last_leader.filter(|id| all_lost && next.last_known_elr.contains(id))
    }
}

/// A reassignment is through when it has what it needs and none of those that it takes away is in sync any more: the
/// leader, which is one that stays, lets them go as soon as it knows that they follow it. Taken away at once, one that has
/// just led would go on for as long as its lease holds, and show readers what is old by then (M-60).
fn complete_reassignment(partition: &mut Partition, min_insync_replicas: usize) {
    let in_sync = |id: &BrokerId| partition.isr.contains(id) && !museum::active(Bug::LeavesUnheard);
    let waits = !partition.can_complete(min_insync_replicas) || partition.removing.iter().any(in_sync);
    if partition.is_reassigning() && !waits {
        partition.replicas = partition.target_replicas();
        let removing = std::mem::take(&mut partition.removing);
        partition.isr.retain(|id| !removing.contains(id));
        partition.adding.clear();
    }
}

/// The record that leads from the one to the other with the state it makes, or `None` if they are the same. A leader
/// that loses a replica starts a new epoch, so that it forgets what it knew of that one.
pub(super) fn difference(
    id: TopicPartition,
    before: &Partition,
    next: &Partition,
) -> Option<(Record, Partition)> {
    (before != next).then(|| change_between(id, before, next, LeaderEpochs::Keep))
}

/// Whether a leader that stays goes on in its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaderEpochs {
    /// It does, unless the change asks for another one.
    Keep,
    /// It begins another one, and forgets what it knew of its followers.
    Renew,
}

/// The record that leads from one state to the next, which may be the same, with the state it makes.
pub(super) fn change_between(
    id: TopicPartition,
    before: &Partition,
    next: &Partition,
    epochs: LeaderEpochs,
) -> (Record, Partition) {
    let list = |was: &[BrokerId], is: &[BrokerId]| (was != is).then(|| BrokerIds { ids: numbers(is) });
    let lost = !without(&before.replicas, &next.replicas).is_empty();
    let unclean = next.recovering && !before.recovering;
    let renewed = (lost || epochs == LeaderEpochs::Renew) && next.leader.is_some();
    let elected = before.leader != next.leader || unclean || renewed;
    let changed = change::PartitionChanged {
        topic_id: id.topic.0.to_vec(),
        partition: id.partition.0,
        leader: elected.then(|| next.leader.map_or(-1, |leader| leader.0)),
        replicas: list(&before.replicas, &next.replicas),
        isr: list(&before.isr, &next.isr),
        elr: list(&before.elr, &next.elr),
        last_known_elr: list(&before.last_known_elr, &next.last_known_elr),
        adding: list(&before.adding, &next.adding),
        removing: list(&before.removing, &next.removing),
        recovering: (before.recovering != next.recovering).then_some(next.recovering),
    };
    let mut after = before.clone();
    change_partition(&mut after, &changed).expect("a settled partition is a legal one");
    (change::Change::PartitionChanged(changed).into(), after)
}

/// Settles every partition that `concerned` picks, as `draft` wants it.
pub(super) fn sweep(
    image: &Image,
    active: &dyn Fn(BrokerId) -> bool,
    concerned: impl Fn(&Partition) -> bool,
    draft: impl Fn(&Topic, Draft) -> Draft,
) -> Vec<Record> {
    let partitions = image.partitions().filter(|(_, _, partition)| concerned(partition));
    partitions
        .filter_map(|(id, topic, partition)| {
            let next = draft(topic, Draft::of(partition)).settle(active, topic);
            difference(id, partition, &next).map(|(record, _)| record)
        })
        .collect()
}
