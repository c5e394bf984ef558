//! Requests that change the metadata, decided against an image: records to apply, or why not.

use std::collections::BTreeMap;

use highwater_proto::TopicId;
use thiserror::Error;

use super::image::{Image, Topic};
use super::record::{ConfigValue, Record, change};
use crate::settings::{Bounds, SettingError, TopicSettings, accepted_key, closest_key, key};
use crate::topic_name::{self, TopicNameError};

/// Most partitions of one topic, and of one broker.
pub const PARTITIONS_MAX: i64 = 100_000;
/// Producer ids handed out per record.
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// Why a change of the metadata is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MetadataError {
    /// The name breaks a rule.
    #[error(transparent)]
    Name(#[from] TopicNameError),
    /// A setting breaks a rule.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// There is one already.
    #[error("topic '{name}' exists already")]
    Exists {
        /// Its name.
        name: String,
    },
    /// Differs from an existing one only in `.` against `_`.
    #[error("topic '{name}' collides with '{existing}': names must differ in more than '.' and '_'")]
    Collides {
        /// The new name.
        name: String,
        /// The one that is there.
        existing: String,
    },
    /// There is none.
    #[error("there is no topic '{name}'")]
    NoSuchTopic {
        /// As it was asked for.
        name: String,
    },
    /// None has this id.
    #[error("no topic has the id {id}")]
    NoSuchTopicId {
        /// As it was asked for.
        id: TopicId,
    },
    /// Elements can be added to and taken from lists only.
    #[error("'{name}' is not a list, so nothing can be added to it or taken from it")]
    NotAList {
        /// The setting.
        name: &'static str,
    },
    /// Not a possible number of partitions.
    #[error("{partitions} partitions are not possible: {problem}")]
    Partitions {
        /// As it was asked for.
        partitions: i64,
        /// Why not.
        problem: String,
    },
    /// Not a possible number of replicas.
    #[error("replication factor {factor} is not possible with {brokers} broker(s)")]
    ReplicationFactor {
        /// As it was asked for.
        factor: i32,
        /// How many brokers there are.
        brokers: i32,
    },
}

/// What a new topic should be.
#[derive(Clone, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas of each.
    pub replication_factor: i32,
    /// Overrides.
    pub configs: BTreeMap<String, String>,
}

/// What happens to one setting of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigEdit {
    /// It gets this value.
    Set(String),
    /// It goes back to its default.
    Reset,
    /// These elements, with commas between, are added to the list it is, unless they are in it.
    Append(String),
    /// These elements, with commas between, are taken from the list it is.
    Subtract(String),
}

/// What decisions depend on besides the image.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The broker's defaults for topic settings.
    pub broker_defaults: &'a BTreeMap<String, String>,
    /// How many brokers there are.
    pub brokers: i32,
}

/// Creates a topic under `fresh_id`, which the caller drew at random.
///
/// # Errors
/// [`MetadataError`], and nothing changes.
pub fn create_topic(
    image: &Image,
    context: Context<'_>,
    topic: &NewTopic,
    fresh_id: TopicId,
    now_ms: i64,
) -> Result<Record, MetadataError> {
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
    check_partitions(image, i64::from(topic.partitions), 0)?;
    if !(1..=context.brokers).contains(&topic.replication_factor) {
        return Err(MetadataError::ReplicationFactor {
            factor: topic.replication_factor,
            brokers: context.brokers,
        });
    }
    TopicSettings::resolve(&topic.configs, context.broker_defaults)?;
    let configs = topic.configs.iter().map(|(name, value)| set(name, value));
    Ok(change(change::Change::TopicCreated(change::TopicCreated {
        topic_id: fresh_id.0.to_vec(),
        name: topic.name.clone(),
        partitions: topic.partitions,
        configs: configs.collect(),
        created_ms: now_ms,
    })))
}

/// Deletes a topic.
///
/// # Errors
/// [`MetadataError::NoSuchTopic`].
pub fn delete_topic(image: &Image, name: &str) -> Result<Record, MetadataError> {
    let topic = existing(image, name)?;
    Ok(change(change::Change::TopicDeleted(change::TopicDeleted { topic_id: topic.id.0.to_vec() })))
}

/// Deletes the topic with this id.
///
/// # Errors
/// [`MetadataError::NoSuchTopicId`].
pub fn delete_topic_with_id(image: &Image, id: TopicId) -> Result<Record, MetadataError> {
    let topic = image.topic(id).ok_or(MetadataError::NoSuchTopicId { id })?;
    delete_topic(image, &topic.name)
}

/// Raises a topic's number of partitions to `total`.
///
/// # Errors
/// [`MetadataError`], and nothing changes.
pub fn add_partitions(image: &Image, name: &str, total: i32) -> Result<Record, MetadataError> {
    let topic = existing(image, name)?;
    if total <= topic.partitions {
        let problem =
            format!("topic '{name}' has {} already, and partitions are never taken away", topic.partitions);
        return Err(MetadataError::Partitions { partitions: i64::from(total), problem });
    }
    check_partitions(image, i64::from(total), i64::from(topic.partitions))?;
    let topic_id = topic.id.0.to_vec();
    Ok(change(change::Change::PartitionsAdded(change::PartitionsAdded { topic_id, partitions: total })))
}

/// Edits some settings. The result as a whole must be legal.
///
/// # Errors
/// [`MetadataError`], and nothing changes.
pub fn alter_configs(
    image: &Image,
    context: Context<'_>,
    name: &str,
    edits: &BTreeMap<String, ConfigEdit>,
) -> Result<Record, MetadataError> {
    let topic = existing(image, name)?;
    let mut changes = BTreeMap::new();
    for (name, edit) in edits {
        changes.insert(name.clone(), edited(topic, context, name, edit)?);
    }
    change_configs(topic, context, &changes)
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
) -> Result<Record, MetadataError> {
    let topic = existing(image, name)?;
    let mut changes: BTreeMap<String, Option<String>> =
        topic.configs.keys().map(|name| (name.clone(), None)).collect();
    changes.extend(configs.iter().map(|(name, value)| (name.clone(), Some(value.clone()))));
    change_configs(topic, context, &changes)
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
    let unknown = || SettingError::Unknown { name: name.to_owned(), closest: closest_key(name) };
    let key = key(name).or_else(|| accepted_key(name)).ok_or_else(unknown)?;
    if !matches!(key.bounds, Bounds::Words(_)) {
        return Err(MetadataError::NotAList { name: key.name });
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
    topic: &Topic,
    context: Context<'_>,
    changes: &BTreeMap<String, Option<String>>,
) -> Result<Record, MetadataError> {
    let mut configs = topic.configs.clone();
    for (name, value) in changes {
        match value {
            Some(value) => drop(configs.insert(name.clone(), value.clone())),
            None if key(name).or_else(|| accepted_key(name)).is_none() => {
                return Err(SettingError::Unknown { name: name.clone(), closest: closest_key(name) }.into());
            }
            None => drop(configs.remove(name)),
        }
    }
    TopicSettings::resolve(&configs, context.broker_defaults)?;
    let configs =
        changes.iter().map(|(name, value)| ConfigValue { name: name.clone(), value: value.clone() });
    let topic_id = topic.id.0.to_vec();
    Ok(change(change::Change::ConfigsChanged(change::ConfigsChanged {
        topic_id,
        configs: configs.collect(),
    })))
}

/// Takes the next block of producer ids: the record, and the half-open range it takes.
#[must_use]
pub fn take_producer_ids(image: &Image) -> (Record, std::ops::Range<i64>) {
    let start = image.producer_ids_end();
    let end = start + PRODUCER_ID_BLOCK;
    (change(change::Change::ProducerIdsTaken(change::ProducerIdsTaken { end })), start..end)
}

fn existing<'a>(image: &'a Image, name: &str) -> Result<&'a Topic, MetadataError> {
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

fn change(change: change::Change) -> Record {
    Record { change: Some(change) }
}

fn set(name: &str, value: &str) -> ConfigValue {
    ConfigValue { name: name.to_owned(), value: Some(value.to_owned()) }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
