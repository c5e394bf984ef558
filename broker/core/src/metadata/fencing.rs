//! Brokers that are not heard of, come back into service, or go: who leads without them, and what they are counted for.

use highwater_proto::{BrokerEpoch, BrokerId, TopicPartition};

use super::broker::Broker;
use super::command::Outcome;
use super::image::Image;
use super::partition::Partition;
use super::record::{Record, change};
use super::refusal::LifeError;
use super::transition::sweep;

/// The broker, if this is its present life (M-61).
///
/// # Errors
/// [`LifeError`].
pub fn living(image: &Image, broker: BrokerId, epoch: BrokerEpoch) -> Result<&Broker, LifeError> {
    let registered = image.broker(broker).ok_or(LifeError::Unregistered { broker })?;
    if registered.epoch != epoch {
        return Err(LifeError::StaleEpoch { broker, epoch, registered: registered.epoch });
    }
    Ok(registered)
}

/// Fences a broker: it leaves every in-sync set, and others lead.
///
/// # Errors
/// [`LifeError`], and nothing changes.
pub fn fence(image: &Image, broker: BrokerId, epoch: BrokerEpoch) -> Result<Vec<Record>, LifeError> {
    if living(image, broker, epoch)?.fenced {
        return Ok(Vec::new());
    }
    let fenced = Some(true);
    let mut records = vec![changed(change::BrokerChanged { fenced, ..of(broker) })];
    records.extend(leave(image, broker));
    Ok(records)
}

/// Unfences a broker that has carried the metadata out up to `applied`: its own registration, and whatever took
/// leaderships from it since, or it would go on leading beside those who lead now. Partitions that had
/// nobody to lead them and for which it is eligible are led by it.
///
/// # Errors
/// [`LifeError`], and nothing changes.
pub fn unfence(
    image: &Image,
    broker: BrokerId,
    epoch: BrokerEpoch,
    applied: u64,
) -> Result<Vec<Record>, LifeError> {
    let registered = living(image, broker, epoch)?;
    if registered.stopping {
        return Err(LifeError::Stopping { broker });
    }
    let needed = u64::try_from(epoch.0).unwrap_or(0).max(registered.deposed_at);
    if applied < needed {
        return Err(LifeError::Behind { broker, applied, needed });
    }
    if !registered.fenced {
        return Ok(Vec::new());
    }
    let fenced = Some(false);
    let mut records = vec![changed(change::BrokerChanged { fenced, ..of(broker) })];
    let active = |id: BrokerId| id == broker || image.is_active(id);
    let waits = |partition: &Partition| {
        let for_it = partition.elr.contains(&broker) || partition.last_leader == Some(broker);
        partition.leader.is_none() && for_it
    };
    records.extend(sweep(image, &active, waits, |_, draft| draft));
    Ok(records)
}

/// Lets a broker go: it leads nothing and is in no in-sync set from here on, whatever it still does.
///
/// # Errors
/// [`LifeError`], and nothing changes.
pub fn stop(
    image: &Image,
    broker: BrokerId,
    epoch: BrokerEpoch,
) -> Result<(Vec<Record>, Outcome), LifeError> {
    let leaderless = |image: &Image| {
        let without = image.partitions().filter(|(_, _, it)| it.leader.is_none() && it.elr.contains(&broker));
        u32::try_from(without.count()).unwrap_or(u32::MAX)
    };
    if living(image, broker, epoch)?.stopping {
        return Ok((Vec::new(), Outcome::Stopping { leaderless: leaderless(image) }));
    }
    let stopping = Some(true);
    let mut records = vec![changed(change::BrokerChanged { stopping, ..of(broker) })];
    records.extend(leave(image, broker));
    let mut after = image.clone();
    for record in &records {
        after.anticipate(record).expect("a decided record applies");
    }
    Ok((records, Outcome::Stopping { leaderless: leaderless(&after) }))
}

/// Takes note that these replicas of a broker lost something that was flushed (I20): they are neither in sync nor
/// eligible. Who leads begins another epoch, so that it forgets what it knew of the replica: it could let it join for what it
/// had before. Partitions that it doesn't hold, or that are gone, are passed over.
///
/// # Errors
/// [`LifeError`], and nothing changes.
pub fn report_unclean(
    image: &Image,
    broker: BrokerId,
    epoch: BrokerEpoch,
    partitions: &[TopicPartition],
) -> Result<Vec<Record>, LifeError> {
    living(image, broker, epoch)?;
    let active = |id: BrokerId| image.is_active(id);
    let mut partitions = partitions.to_vec();
    partitions.sort_unstable();
    partitions.dedup();
    let records = partitions.into_iter().filter_map(|id| {
        let (topic, partition) = (image.topic(id.topic)?, image.partition(id)?);
        let mut draft = super::transition::Draft::of(partition);
        draft.tainted.push(broker);
        let next = draft.settle(&active, topic);
        if !partition.replicas.contains(&broker) {
            return None;
        }
        let epochs = super::transition::LeaderEpochs::Renew;
        Some(super::transition::change_between(id, partition, &next, epochs).0)
    });
    Ok(records.collect())
}

fn leave(image: &Image, broker: BrokerId) -> Vec<Record> {
    let active = |id: BrokerId| id != broker && image.is_active(id);
    sweep(image, &active, |partition| partition.isr.contains(&broker), |_, draft| draft)
}

pub(super) fn of(broker: BrokerId) -> change::BrokerChanged {
    change::BrokerChanged { broker_id: broker.0, ..change::BrokerChanged::default() }
}

pub(super) fn changed(changed: change::BrokerChanged) -> Record {
    change::Change::BrokerChanged(changed).into()
}

#[cfg(test)]
#[path = "fencing_tests.rs"]
mod tests;
