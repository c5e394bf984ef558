//! Brokers that leave for good: first their replicas move to others, then they are removed, and their id is never used
//! again.

use highwater_proto::{BrokerId, TopicId};

use super::command::Outcome;
use super::fencing::{changed, of};
use super::image::Image;
use super::partition::without;
use super::placement::Placement;
use super::reassign::aim;
use super::record::{Record, change};
use super::refusal::RemovalError;
use super::transition::{Draft, difference, sweep};

/// Plans the move of everything that a broker holds to others; it gets no new replicas from here on. Asked for again,
/// it plans what is left: what was assigned to it by hand since, say.
///
/// # Errors
/// [`RemovalError`], and nothing changes.
pub fn drain(image: &Image, broker: BrokerId) -> Result<(Vec<Record>, Outcome), RemovalError> {
    let draining = image.broker(broker).ok_or(RemovalError::Unregistered { broker })?.draining;
    let mut records = Vec::new();
    let mut after = image.clone();
    if !draining {
        records.push(changed(change::BrokerChanged { draining: Some(true), ..of(broker) }));
        after.anticipate(&records[0]).expect("a decided record applies");
    }
    let image = &after;
    let mut placement = Placement::new(image, TopicId([0; 16]));
    let active = |id: BrokerId| image.is_active(id);
    let mut topic_placed = None;
    for (id, topic, partition) in image.partitions() {
        if !partition.target_replicas().contains(&broker) {
            continue;
        }
        if topic_placed.replace(topic.id) != Some(topic.id) {
            placement.turn_to(topic);
        }
        let target = placement.replace(partition, broker).ok_or_else(|| RemovalError::TooFewBrokers {
            broker,
            topic: topic.name.clone(),
            factor: partition.target_replicas().len(),
            live: placement.live(),
        })?;
        let mut draft = Draft::of(partition);
        aim(&mut draft.wanted, &target);
        let next = draft.settle(&active, topic);
        records.extend(difference(id, partition, &next).map(|(record, _)| record));
    }
    Ok((records, Outcome::Draining { partitions: replicas_of(image, broker) }))
}

/// Lets a broker have replicas again, and takes back the reassignments that move its own away, where the others that
/// they add do not count yet.
///
/// # Errors
/// [`RemovalError`], and nothing changes.
pub fn cancel(image: &Image, broker: BrokerId) -> Result<Vec<Record>, RemovalError> {
    if !image.broker(broker).ok_or(RemovalError::Unregistered { broker })?.draining {
        return Err(RemovalError::NotDraining { broker });
    }
    let mut records = vec![changed(change::BrokerChanged { draining: Some(false), ..of(broker) })];
    let active = |id: BrokerId| image.is_active(id);
    let leaving = |partition: &super::Partition| {
        let counts = |id: &BrokerId| partition.isr.contains(id) || partition.elr.contains(id);
        partition.removing.contains(&broker) && !partition.adding.iter().any(counts)
    };
    records.extend(sweep(image, &active, leaving, |_, mut draft| {
        let target = without(&draft.wanted.replicas, &draft.wanted.adding);
        aim(&mut draft.wanted, &target);
        draft
    }));
    Ok(records)
}

/// Removes a broker that holds nothing, and is drained or dead.
///
/// # Errors
/// [`RemovalError`], and nothing changes.
pub fn remove(image: &Image, broker: BrokerId) -> Result<Record, RemovalError> {
    let registered = image.broker(broker).ok_or(RemovalError::Unregistered { broker })?;
    let partitions = replicas_of(image, broker);
    if partitions > 0 {
        return Err(RemovalError::HoldsReplicas { broker, partitions });
    }
    if registered.is_active() && !registered.draining {
        return Err(RemovalError::Alive { broker });
    }
    Ok(change::Change::BrokerUnregistered(change::BrokerUnregistered { broker_id: broker.0 }).into())
}

/// How many partitions a broker holds.
#[must_use]
pub fn replicas_of(image: &Image, broker: BrokerId) -> u32 {
    let held = image.partitions().filter(|(_, _, partition)| partition.replicas.contains(&broker));
    u32::try_from(held.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "drain_tests.rs"]
mod tests;
