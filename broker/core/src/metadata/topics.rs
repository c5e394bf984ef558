//! Topics created, deleted, widened, their settings changed; and producer ids, which belong to nobody.
//!
//! `min.insync.replicas` and `durability` decide what an acknowledgement means, and every broker must read them alike:
//! where the defaults of the controller's configuration say something about them, a topic gets that written into its own
//! settings.

use std::collections::BTreeMap;
use std::ops::Range;

use highwater_proto::{BrokerId, TopicId, TopicPartition};

use super::command::{ConfigEdit, NewTopic};
use super::decide::Context;
use super::image::Image;
use super::partition::Partition;
use super::placement::Placement;
use super::record::{ConfigValue, PartitionState, Record, change};
use super::refusal::{MetadataError, PlacementError};
use super::topic::{DURABILITY, MIN_INSYNC_REPLICAS, Topic};
use super::transition::{Draft, difference};
use crate::settings::{Bounds, SettingError, TopicSettings, accepted_key, closest_key, key};
use crate::topic_name;

/// Most partitions of one topic, and of one cluster.
pub const PARTITIONS_MAX: i64 = 100_000;
/// Producer ids handed out per record.
pub const PRODUCER_ID_BLOCK: i64 = 1000;
/// Replicas from which on a topic that doesn't say wants two of them in sync.
const REPLICAS_FOR_TWO_IN_SYNC: usize = 3;

/// Creates a topic under [`Context::fresh_id`].
///
/// # Errors
/// [`MetadataError`], and nothing changes.
pub fn create_topic(
    image: &Image,
    context: Context<'_>,
    topic: &NewTopic,
) -> Result<(Record, Topic), MetadataError> {
    topic_name::check(&topic.name)?;
    match image.topic_colliding(&topic.name) {
        Some(existing) if existing.name == topic.name => {
            return Err(MetadataError::Exists { name: topic.name.clone() });
        }
        Some(existing) => {
            return Err(MetadataError::Collides {
                name: topic.name.clone(),
                existing: existing.name.clone(),
            });
        }
        None => {}
    }
    TopicSettings::resolve(&topic.configs, context.broker_defaults)?;
    let partitions: Vec<Partition> = assignments(image, context, topic)?
        .into_iter()
        .map(|held| Partition::new(held.clone(), held))
        .collect();
    let factor = partitions.iter().map(|partition| partition.replicas.len()).max().unwrap_or(1);
    let mut configs = topic.configs.clone();
    for name in [DURABILITY, MIN_INSYNC_REPLICAS] {
        if let Some(value) = common_default(context, name, factor).filter(|_| !configs.contains_key(name)) {
            configs.insert(name.to_owned(), value);
        }
    }
    let created = Topic {
        id: context.fresh_id,
        name: topic.name.clone(),
        partitions,
        configs,
        created_ms: context.now_ms,
    };
    let assignments = created.partitions.iter().map(Partition::to_wire).collect();
    let head = super::snapshot::topic_head(&created);
    let record = change::Change::TopicCreated(change::TopicCreated { assignments, ..head });
    Ok((record.into(), created))
}

/// Who shall hold each partition of a new topic.
fn assignments(
    image: &Image,
    context: Context<'_>,
    topic: &NewTopic,
) -> Result<Vec<Vec<BrokerId>>, MetadataError> {
    let given = topic.assignments.len();
    if given > 0 {
        if topic.partitions != -1 && usize::try_from(topic.partitions) != Ok(given) {
            let partitions = i64::from(topic.partitions);
            return Err(PlacementError::Count { assignments: given, partitions }.into());
        }
        check_partitions(image, i64::try_from(given).unwrap_or(i64::MAX), 0)?;
        let factor = match topic.replication_factor {
            -1 => topic.assignments[0].len(),
            factor => usize::try_from(factor).unwrap_or(0),
        };
        check_assignments(image, &topic.assignments, 0, factor)?;
        return Ok(topic.assignments.clone());
    }
    let default = |given: i32, otherwise| if given == -1 { otherwise } else { given };
    let partitions = default(topic.partitions, context.default_partitions);
    check_partitions(image, i64::from(partitions), 0)?;
    let mut placement = Placement::new(image, context.fresh_id);
    let factor = placement.factor(default(topic.replication_factor, context.default_replication_factor))?;
    Ok((0..partitions).map(|_| placement.place(factor)).collect())
}

fn check_assignments(
    image: &Image,
    assignments: &[Vec<BrokerId>],
    first: i32,
    factor: usize,
) -> Result<(), PlacementError> {
    let placement = Placement::takers(image);
    for (partition, replicas) in (first..).zip(assignments) {
        placement.check(partition, replicas, &[])?;
        if replicas.len() != factor {
            let problem = format!("every partition of the topic has {factor} replica(s)");
            let replicas = super::partition::numbers(replicas);
            return Err(PlacementError::Assignment { partition, replicas, problem });
        }
    }
    Ok(())
}

/// What a topic that doesn't say gets written into its settings, for those settings that all brokers must read alike.
fn common_default(context: Context<'_>, name: &str, factor: usize) -> Option<String> {
    match (context.broker_defaults.get(name), name) {
        (Some(value), DURABILITY | MIN_INSYNC_REPLICAS) => Some(value.clone()),
        (None, MIN_INSYNC_REPLICAS) if factor >= REPLICAS_FOR_TWO_IN_SYNC => Some("2".to_owned()),
        _ => None,
    }
}

/// Deletes a topic.
///
/// # Errors
/// [`MetadataError::NoSuchTopic`].
pub fn delete_topic(image: &Image, name: &str) -> Result<Record, MetadataError> {
    let topic = existing(image, name)?;
    Ok(change::Change::TopicDeleted(change::TopicDeleted { topic_id: topic.id.0.to_vec() }).into())
}

/// Deletes the topic with this id.
///
/// # Errors
/// [`MetadataError::NoSuchTopicId`].
pub fn delete_topic_with_id(image: &Image, id: TopicId) -> Result<Record, MetadataError> {
    let topic = image.topic(id).ok_or(MetadataError::NoSuchTopicId { id })?;
    delete_topic(image, &topic.name)
}

/// Raises a topic's number of partitions to `total`; the new ones have as many replicas as the others.
///
/// # Errors
/// [`MetadataError`], and nothing changes.
pub fn add_partitions(
    image: &Image,
    name: &str,
    total: i32,
    assignments: &[Vec<BrokerId>],
) -> Result<Record, MetadataError> {
    let topic = existing(image, name)?;
    let has = topic.partition_count();
    if total <= has {
        let problem = format!("topic '{name}' has {has} already, and partitions are never taken away");
        return Err(MetadataError::Partitions { partitions: i64::from(total), problem });
    }
    check_partitions(image, i64::from(total), i64::from(has))?;
    let factor = topic.replication_factor();
    let placed = if assignments.is_empty() {
        let mut placement = Placement::new(image, topic.id);
        let factor = placement.factor(i32::try_from(factor).unwrap_or(i32::MAX))?;
        (has..total).map(|_| placement.place(factor)).collect()
    } else {
        if i64::try_from(assignments.len()) != Ok(i64::from(total - has)) {
            let (assignments, partitions) = (assignments.len(), i64::from(total - has));
            return Err(PlacementError::Count { assignments, partitions }.into());
        }
        check_assignments(image, assignments, has, factor)?;
        assignments.to_vec()
    };
    let state = |held: Vec<BrokerId>| Partition::new(held.clone(), held).to_wire();
    let assignments: Vec<PartitionState> = placed.into_iter().map(state).collect();
    let topic_id = topic.id.0.to_vec();
    Ok(change::Change::PartitionsAdded(change::PartitionsAdded { topic_id, partitions: total, assignments })
        .into())
}

/// Edits some settings. The result as a whole must be legal. Partitions may change with them: nobody stays eligible
/// beside enough in-sync replicas.
///
/// # Errors
/// [`MetadataError`], and nothing changes.
pub fn alter_configs(
    image: &Image,
    context: Context<'_>,
    name: &str,
    edits: &BTreeMap<String, ConfigEdit>,
) -> Result<Vec<Record>, MetadataError> {
    let topic = existing(image, name)?;
    let mut changes = BTreeMap::new();
    for (name, edit) in edits {
        changes.insert(name.clone(), edited(topic, context, name, edit)?);
    }
    change_configs(image, topic, context, changes)
}

/// Gives a topic exactly these settings; all others go back to their defaults.
///
/// # Errors
/// [`MetadataError`], and nothing changes.
pub fn replace_configs(
    image: &Image,
    context: Context<'_>,
    name: &str,
    configs: &BTreeMap<String, String>,
) -> Result<Vec<Record>, MetadataError> {
    let topic = existing(image, name)?;
    let mut changes: BTreeMap<String, Option<String>> =
        topic.configs.keys().map(|name| (name.clone(), None)).collect();
    changes.extend(configs.iter().map(|(name, value)| (name.clone(), Some(value.clone()))));
    change_configs(image, topic, context, changes)
}

/// The value that an edit leaves behind; `None` is the default.
fn edited(
    topic: &Topic,
    context: Context<'_>,
    name: &str,
    edit: &ConfigEdit,
) -> Result<Option<String>, MetadataError> {
    let (added, taken) = match edit {
        ConfigEdit::Set(value) => return Ok(Some(value.clone())),
        ConfigEdit::Reset => return Ok(None),
        ConfigEdit::Append(elements) => (elements.as_str(), ""),
        ConfigEdit::Subtract(elements) => ("", elements.as_str()),
    };
    let unknown =
        || SettingError::Unknown { name: name.to_owned(), closest: closest_key(name).map(str::to_owned) };
    let key = key(name).or_else(|| accepted_key(name)).ok_or_else(unknown)?;
    if !matches!(key.bounds, Bounds::Words(_)) {
        return Err(MetadataError::NotAList { name: key.name.to_owned() });
    }
    let now = topic.configs.get(name).or_else(|| context.broker_defaults.get(name));
    let mut list: Vec<&str> = elements(now.map_or(key.default, String::as_str)).collect();
    for element in elements(added) {
        if !list.contains(&element) {
            list.push(element);
        }
    }
    list.retain(|element| !elements(taken).any(|taken| taken == *element));
    Ok(Some(list.join(",")))
}

fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|element| !element.is_empty())
}

fn change_configs(
    image: &Image,
    topic: &Topic,
    context: Context<'_>,
    mut changes: BTreeMap<String, Option<String>>,
) -> Result<Vec<Record>, MetadataError> {
    let mut after = topic.clone();
    for (name, value) in &mut changes {
        if value.is_none() {
            *value = common_default(context, name, topic.replication_factor());
        }
        match value {
            Some(value) => drop(after.configs.insert(name.clone(), value.clone())),
            None if key(name).or_else(|| accepted_key(name)).is_none() => {
                return Err(SettingError::Unknown {
                    name: name.clone(),
                    closest: closest_key(name).map(str::to_owned),
                }
                .into());
            }
            None => drop(after.configs.remove(name)),
        }
    }
    TopicSettings::resolve(&after.configs, context.broker_defaults)?;
    let configs = changes.into_iter().map(|(name, value)| ConfigValue { name, value }).collect();
    let topic_id = topic.id.0.to_vec();
    let changed = change::Change::ConfigsChanged(change::ConfigsChanged { topic_id, configs });
    let mut records = vec![changed.into()];
    let active = |id: BrokerId| image.is_active(id);
    let promises = |topic: &Topic| (topic.min_insync_replicas(), topic.acknowledges_from_disk());
    for (index, partition) in after.indexed().filter(|_| promises(&after) != promises(topic)) {
        let next = Draft::of(partition).settle(&active, &after);
        let id = TopicPartition::new(topic.id, index);
        records.extend(difference(id, partition, &next).map(|(record, _)| record));
    }
    Ok(records)
}

/// Takes the next block of producer ids: the record, and the half-open range it takes.
#[must_use]
pub fn take_producer_ids(image: &Image) -> (Record, Range<i64>) {
    let start = image.producer_ids_end();
    let end = start + PRODUCER_ID_BLOCK;
    (change::Change::ProducerIdsTaken(change::ProducerIdsTaken { end }).into(), start..end)
}

pub(super) fn existing<'a>(image: &'a Image, name: &str) -> Result<&'a Topic, MetadataError> {
    image
        .topic_named(name)
        .ok_or_else(|| MetadataError::NoSuchTopic { name: name.escape_default().to_string() })
}

fn check_partitions(image: &Image, wanted: i64, has: i64) -> Result<(), MetadataError> {
    let wrong = |problem: String| Err(MetadataError::Partitions { partitions: wanted, problem });
    if wanted < 1 {
        return wrong("a topic has at least one".to_owned());
    }
    if image.partition_count() - has + wanted > PARTITIONS_MAX {
        let there = image.partition_count();
        return wrong(format!("there are {there} in all, and the limit is {PARTITIONS_MAX}"));
    }
    Ok(())
}

#[cfg(test)]
#[path = "topics_tests.rs"]
mod tests;
