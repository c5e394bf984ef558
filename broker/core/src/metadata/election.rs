//! Leaders elected because somebody asked: the preferred ones, or unclean ones where nobody else is left. Elections that
//! follow from brokers coming and going are the transition's.

use highwater_proto::{BrokerId, TopicPartition};

use super::command::{ElectionKind, Outcome, PartitionResult};
use super::image::Image;
use super::partition::{Partition, numbers};
use super::record::Record;
use super::refusal::ElectionError;
use super::transition::{Choice, Draft, difference};

/// Elects leaders for these partitions, or for all for which there is something to do.
#[must_use]
pub fn elect(
    image: &Image,
    kind: ElectionKind,
    partitions: Option<&[TopicPartition]>,
) -> (Vec<Record>, Outcome) {
    let all = || image.partitions().map(|(id, ..)| id).collect();
    let wanted: Vec<TopicPartition> = partitions.map_or_else(all, <[_]>::to_vec);
    let mut image = image.clone();
    let (mut records, mut results) = (Vec::new(), Vec::new());
    for partition in wanted {
        let elected = elect_one(&image, kind, partition);
        if partitions.is_none() && matches!(elected, Err(ElectionError::NotNeeded { .. })) {
            continue;
        }
        let result = elected.map(|(record, leader)| {
            image.anticipate(&record).expect("a decided record applies");
            records.push(record);
            leader
        });
        results.push(PartitionResult { partition, result });
    }
    (records, Outcome::Elected { results })
}

fn elect_one(
    image: &Image,
    kind: ElectionKind,
    id: TopicPartition,
) -> Result<(Record, BrokerId), ElectionError> {
    let topic = image.topic(id.topic).ok_or(ElectionError::UnknownPartition)?;
    let partition = topic.partition(id.partition).ok_or(ElectionError::UnknownPartition)?;
    let mut draft = Draft::of(partition);
    draft.choice = match kind {
        ElectionKind::Preferred => preferred(partition)?,
        ElectionKind::Unclean => unclean(partition)?,
    };
    let active = |id: BrokerId| image.is_active(id);
    let next = draft.settle(&active, topic);
    let nobody = || ElectionError::NobodyAlive { replicas: numbers(&partition.replicas) };
    let leader = next.leader.ok_or_else(nobody)?;
    let (record, _) = difference(id, partition, &next).ok_or_else(nobody)?;
    Ok((record, leader))
}

fn preferred(partition: &Partition) -> Result<Choice, ElectionError> {
    let preferred = partition.preferred_leader().ok_or(ElectionError::UnknownPartition)?;
    if partition.leader == Some(preferred) {
        return Err(ElectionError::NotNeeded { leader: preferred });
    }
    if !partition.isr.contains(&preferred) {
        return Err(ElectionError::PreferredNotAvailable { preferred });
    }
    Ok(Choice::Preferred)
}

fn unclean(partition: &Partition) -> Result<Choice, ElectionError> {
    match partition.leader {
        Some(leader) => Err(ElectionError::NotNeeded { leader }),
        None => Ok(Choice::Unclean),
    }
}
