//! In-sync sets changed by their leaders: a compare-and-set over partition, leader and broker epochs (M-05, M-06,
//! KIP-497, KIP-841, KIP-903).

use highwater_proto::museum::{self, Bug};
use highwater_proto::{BrokerEpoch, BrokerId};

use super::command::{AlterPartition, Outcome, PartitionResult};
use super::fencing::living;
use super::image::Image;
use super::partition::{Partition, has_duplicates, numbers};
use super::record::Record;
use super::refusal::{AlterPartitionError, LifeError};
use super::transition::{Draft, difference};

/// Changes in-sync sets on behalf of their leader; each is done or refused alone.
///
/// # Errors
/// [`LifeError`], and nothing changes.
pub fn alter_partitions(
    image: &Image,
    broker: BrokerId,
    epoch: BrokerEpoch,
    changes: &[AlterPartition],
) -> Result<(Vec<Record>, Outcome), LifeError> {
    living(image, broker, epoch)?;
    let mut image = image.clone();
    let (mut records, mut results) = (Vec::new(), Vec::with_capacity(changes.len()));
    for change in changes {
        let decided = alter_partition(&image, broker, change);
        let result = decided.and_then(|(record, state)| {
            if let Some(record) = record {
                image.anticipate(&record).expect("a decided record applies");
                records.push(record);
            }
            match state.leader_epoch == change.leader_epoch {
                true => Ok(state),
                false => Err(AlterPartitionError::NewLeaderElected),
            }
        });
        results.push(PartitionResult { partition: change.partition, result });
    }
    Ok((records, Outcome::PartitionsAltered { results }))
}

/// The record, if there is something to change, and the state after it.
fn alter_partition(
    image: &Image,
    broker: BrokerId,
    change: &AlterPartition,
) -> Result<(Option<Record>, Partition), AlterPartitionError> {
    let unknown = AlterPartitionError::UnknownPartition;
    let topic = image.topic(change.partition.topic).ok_or(unknown.clone())?;
    let partition = topic.partition(change.partition.partition).ok_or(unknown)?;
    check_epochs(partition, broker, change)?;
    let isr: Vec<BrokerId> = change.isr.iter().map(|(id, _)| *id).collect();
    check_set(partition, broker, &isr, change)?;
    for (id, epoch) in &change.isr {
        check_member(image, *id, *epoch)?;
    }
    let mut draft = Draft::of(partition);
    draft.wanted.isr = isr;
    draft.wanted.recovering = partition.recovering && !change.recovered;
    let active = |id: BrokerId| image.is_active(id);
    let next = draft.settle(&active, topic);
    Ok(match difference(change.partition, partition, &next) {
        Some((record, state)) => (Some(record), state),
        None => (None, partition.clone()),
    })
}

fn check_epochs(
    partition: &Partition,
    broker: BrokerId,
    change: &AlterPartition,
) -> Result<(), AlterPartitionError> {
    let (leader_epoch, partition_epoch) = (partition.leader_epoch, partition.partition_epoch);
    if change.leader_epoch > leader_epoch || change.partition_epoch > partition_epoch {
        return Err(AlterPartitionError::NewerEpoch);
    }
    if change.leader_epoch < leader_epoch {
        return Err(AlterPartitionError::FencedLeaderEpoch { epoch: change.leader_epoch, now: leader_epoch });
    }
    if partition.leader != Some(broker) {
        return Err(AlterPartitionError::NotLeader { broker });
    }
    if change.partition_epoch < partition_epoch && !museum::active(Bug::AlterWithoutCompare) {
        let (epoch, now) = (change.partition_epoch, partition_epoch);
        return Err(AlterPartitionError::InvalidUpdateVersion { epoch, now });
    }
    Ok(())
}

fn check_set(
    partition: &Partition,
    leader: BrokerId,
    isr: &[BrokerId],
    change: &AlterPartition,
) -> Result<(), AlterPartitionError> {
    let wrong = |problem: String| Err(AlterPartitionError::InvalidIsr { isr: numbers(isr), problem });
    if has_duplicates(isr) {
        return wrong("a broker is in it twice".to_owned());
    }
    if !isr.contains(&leader) {
        return wrong(format!("the leader, broker {leader}, is missing"));
    }
    if let Some(stranger) = isr.iter().find(|id| !partition.replicas.contains(id)) {
        return wrong(format!("broker {stranger} is not a replica"));
    }
    if partition.recovering && !change.recovered && isr.len() > 1 {
        return wrong("the leader has not recovered yet from its unclean election".to_owned());
    }
    Ok(())
}

fn check_member(image: &Image, id: BrokerId, epoch: BrokerEpoch) -> Result<(), AlterPartitionError> {
    let ineligible = |problem: String| Err(AlterPartitionError::IneligibleReplica { broker: id, problem });
    match image.broker(id) {
        None => ineligible("it is not registered".to_owned()),
        Some(broker) if broker.epoch != epoch && !museum::active(Bug::StaleLifeJoins) => {
            ineligible(format!("it fetched in epoch {epoch}, and is registered in epoch {}", broker.epoch))
        }
        Some(broker) if broker.fenced => ineligible("it is fenced".to_owned()),
        Some(broker) if broker.stopping => ineligible("it is shutting down".to_owned()),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
#[path = "isr_tests.rs"]
mod tests;
