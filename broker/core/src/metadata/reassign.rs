//! Replicas moved from brokers to brokers (KIP-455): new ones are added, catch up, and only then the old ones go: first
//! out of the in-sync set, when the leader lets them, and then out of the replicas. All that is in `transition`.

use highwater_proto::{BrokerId, TopicPartition};

use super::command::{Outcome, PartitionResult, Reassignment};
use super::image::Image;
use super::partition::{Partition, without};
use super::placement::Placement;
use super::record::Record;
use super::refusal::ReassignError;
use super::transition::{Draft, difference};

/// Starts, changes or takes back reassignments; each is done or refused alone.
#[must_use]
pub fn reassign(image: &Image, wanted: &[Reassignment]) -> (Vec<Record>, Outcome) {
    let mut image = image.clone();
    let (mut records, mut results) = (Vec::new(), Vec::with_capacity(wanted.len()));
    for Reassignment { partition, replicas } in wanted {
        let decided = match replicas {
            Some(replicas) => start(&image, *partition, replicas),
            None => take_back(&image, *partition),
        };
        let result = decided.map(|(record, state)| {
            if let Some(record) = record {
                image.anticipate(&record).expect("a decided record applies");
                records.push(record);
            }
            state
        });
        results.push(PartitionResult { partition: *partition, result });
    }
    (records, Outcome::Reassigned { results })
}

type Decided = Result<(Option<Record>, Partition), ReassignError>;

fn start(image: &Image, id: TopicPartition, target: &[BrokerId]) -> Decided {
    let partition = image.partition(id).ok_or(ReassignError::UnknownPartition)?;
    Placement::takers(image).check(id.partition.0, target, &partition.replicas)?;
    let mut draft = Draft::of(partition);
    aim(&mut draft.wanted, target);
    decided(image, id, partition, draft)
}

/// Makes these the replicas that stay. Replicas that an earlier reassignment was adding and that are not wanted any more
/// go at once, unless they count already: then they go like the others.
pub(super) fn aim(partition: &mut Partition, target: &[BrokerId]) {
    let counted = |id: &BrokerId| partition.isr.contains(id) || partition.elr.contains(id);
    let uncounted: Vec<BrokerId> = partition.adding.iter().filter(|id| !counted(id)).copied().collect();
    let settled = without(&partition.replicas, &uncounted);
    let original = without(&settled, &partition.adding);
    partition.adding = without(&without(target, &original), &partition.isr);
    partition.removing = without(&settled, target);
    partition.replicas = [target, &partition.removing].concat();
    let replicas = &partition.replicas;
    partition.elr.retain(|id| replicas.contains(id));
    partition.last_known_elr.retain(|id| replicas.contains(id));
}

fn take_back(image: &Image, id: TopicPartition) -> Decided {
    let partition = image.partition(id).ok_or(ReassignError::UnknownPartition)?;
    if !partition.is_reassigning() {
        return Err(ReassignError::NoneUnderWay);
    }
    let original = without(&partition.replicas, &partition.adding);
    let counted: Vec<BrokerId> = [&partition.isr[..], &partition.elr[..]].concat();
    let lost = !counted.is_empty() && !counted.iter().any(|id| original.contains(id));
    if original.is_empty() || lost {
        return Err(ReassignError::CannotTakeBack);
    }
    let mut draft = Draft::of(partition);
    aim(&mut draft.wanted, &original);
    decided(image, id, partition, draft)
}

fn decided(image: &Image, id: TopicPartition, partition: &Partition, draft: Draft) -> Decided {
    let topic = image.topic(id.topic).ok_or(ReassignError::UnknownPartition)?;
    let active = |id: BrokerId| image.is_active(id);
    let next = draft.settle(&active, topic);
    Ok(match difference(id, partition, &next) {
        Some((record, state)) => (Some(record), state),
        None => (None, partition.clone()),
    })
}

#[cfg(test)]
#[path = "reassign_tests.rs"]
mod tests;
