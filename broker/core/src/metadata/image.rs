//! The state that the records make: every topic by id and by name.

use std::collections::BTreeMap;

use highwater_proto::{PartitionIndex, TopicId, TopicPartition};
use prost::Message;
use thiserror::Error;

use super::record::{ConfigValue, Record, change};
use crate::topic_name;

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its identity.
    pub id: TopicId,
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// The settings that were set on it.
    pub configs: BTreeMap<String, String>,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_ms: i64,
}

impl Topic {
    /// Its partitions, in order.
    pub fn partition_ids(&self) -> impl Iterator<Item = TopicPartition> + use<> {
        let id = self.id;
        (0..self.partitions).map(move |index| TopicPartition::new(id, PartitionIndex(index)))
    }
}

/// Why a record cannot be applied. Each means that the log and the state machine disagree: a reason to stop, never to
/// go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// A kind of record that this version does not know.
    #[error("metadata record {index} is of a kind that this version does not know; start a newer one")]
    UnknownKind {
        /// Its place in the log.
        index: u64,
    },
    /// The record contradicts the state.
    #[error("metadata record {index} contradicts the state: {problem}")]
    Contradiction {
        /// Its place in the log.
        index: u64,
        /// What is wrong.
        problem: &'static str,
    },
}

/// The whole metadata at one index of its log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    applied: u64,
    topics: BTreeMap<TopicId, Topic>,
    names: BTreeMap<String, TopicId>,
    collision_keys: BTreeMap<String, TopicId>,
    producer_ids_end: i64,
}

impl Image {
    /// Index of the last record applied; 0 is none.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The topic with this id.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(&id)
    }

    /// The topic with this name.
    #[must_use]
    pub fn topic_named(&self, name: &str) -> Option<&Topic> {
        self.names.get(name).and_then(|id| self.topics.get(id))
    }

    /// The topic whose name equals this one once `.` and `_` are folded.
    #[must_use]
    pub fn topic_colliding(&self, name: &str) -> Option<&Topic> {
        self.collision_keys.get(&topic_name::collision_key(name)).and_then(|id| self.topics.get(id))
    }

    /// Every topic, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.names.values().filter_map(|id| self.topics.get(id))
    }

    /// Whether this partition exists.
    #[must_use]
    pub fn has(&self, id: TopicPartition) -> bool {
        self.topic(id.topic).is_some_and(|topic| (0..topic.partitions).contains(&id.partition.0))
    }

    /// How many partitions all topics have together.
    #[must_use]
    pub fn partition_count(&self) -> i64 {
        self.topics.values().map(|topic| i64::from(topic.partitions)).sum()
    }

    /// The first producer id that nobody was ever given.
    #[must_use]
    pub fn producer_ids_end(&self) -> i64 {
        self.producer_ids_end
    }

    /// Applies the record at `index`. A record at or below [`Image::applied`] was applied before and changes nothing.
    ///
    /// # Errors
    /// [`ApplyError`]; the image is unchanged then.
    pub fn apply(&mut self, index: u64, record: &Record) -> Result<(), ApplyError> {
        if index <= self.applied {
            return Ok(());
        }
        let wrong = |problem| ApplyError::Contradiction { index, problem };
        match &record.change {
            Some(change::Change::TopicCreated(created)) => self.apply_created(created).map_err(wrong)?,
            Some(change::Change::TopicDeleted(deleted)) => {
                let id = topic_id(&deleted.topic_id).map_err(wrong)?;
                let topic =
                    self.topics.remove(&id).ok_or_else(|| wrong("deletes a topic that isn't there"))?;
                self.names.remove(&topic.name);
                self.collision_keys.remove(&topic_name::collision_key(&topic.name));
            }
            Some(change::Change::PartitionsAdded(added)) => {
                let topic = self.topic_mut(&added.topic_id).map_err(wrong)?;
                if added.partitions <= topic.partitions {
                    return Err(wrong("lowers the number of partitions"));
                }
                topic.partitions = added.partitions;
            }
            Some(change::Change::ConfigsChanged(changed)) => {
                let topic = self.topic_mut(&changed.topic_id).map_err(wrong)?;
                for ConfigValue { name, value } in &changed.configs {
                    match value {
                        Some(value) => topic.configs.insert(name.clone(), value.clone()),
                        None => topic.configs.remove(name),
                    };
                }
            }
            Some(change::Change::ProducerIdsTaken(taken)) => {
                if taken.end <= self.producer_ids_end {
                    return Err(wrong("hands producer ids out again"));
                }
                self.producer_ids_end = taken.end;
            }
            None => return Err(ApplyError::UnknownKind { index }),
        }
        self.applied = index;
        debug_assert_eq!(self.check_invariants(), Ok(()));
        Ok(())
    }

    fn apply_created(&mut self, created: &change::TopicCreated) -> Result<(), &'static str> {
        let id = topic_id(&created.topic_id)?;
        if self.topics.contains_key(&id) || self.topic_colliding(&created.name).is_some() {
            return Err("creates a topic that is there already");
        }
        if created.partitions < 1 {
            return Err("creates a topic without partitions");
        }
        let set = |config: &ConfigValue| config.value.clone().map(|value| (config.name.clone(), value));
        let topic = Topic {
            id,
            name: created.name.clone(),
            partitions: created.partitions,
            configs: created.configs.iter().filter_map(set).collect(),
            created_ms: created.created_ms,
        };
        self.names.insert(topic.name.clone(), id);
        self.collision_keys.insert(topic_name::collision_key(&topic.name), id);
        self.topics.insert(id, topic);
        Ok(())
    }

    fn topic_mut(&mut self, id: &[u8]) -> Result<&mut Topic, &'static str> {
        self.topics.get_mut(&topic_id(id)?).ok_or("changes a topic that isn't there")
    }

    /// What must hold of every image.
    ///
    /// # Errors
    /// The invariant that is broken.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        if self.names.len() != self.topics.len() || self.collision_keys.len() != self.topics.len() {
            return Err("every topic has one name and no name collides");
        }
        let named =
            |(name, id): (&String, &TopicId)| self.topics.get(id).is_some_and(|topic| topic.name == *name);
        if !self.names.iter().all(named) {
            return Err("names lead to their topics");
        }
        if self.topics.iter().any(|(id, topic)| topic.id != *id || topic.partitions < 1) {
            return Err("topics are filed under their ids and have partitions");
        }
        Ok(())
    }

    /// The records that make this image from an empty one, for a snapshot.
    #[must_use]
    pub fn to_records(&self) -> Vec<Record> {
        let mut changes: Vec<change::Change> = Vec::with_capacity(self.topics.len() + 1);
        if self.producer_ids_end > 0 {
            changes.push(change::Change::ProducerIdsTaken(change::ProducerIdsTaken {
                end: self.producer_ids_end,
            }));
        }
        changes.extend(self.topics.values().map(|topic| {
            let configs = topic.configs.iter();
            change::Change::TopicCreated(change::TopicCreated {
                topic_id: topic.id.0.to_vec(),
                name: topic.name.clone(),
                partitions: topic.partitions,
                configs: configs
                    .map(|(k, v)| ConfigValue { name: k.clone(), value: Some(v.clone()) })
                    .collect(),
                created_ms: topic.created_ms,
            })
        }));
        changes.into_iter().map(|change| Record { change: Some(change) }).collect()
    }

    /// Builds the image that [`Image::to_records`] described, as of `applied`.
    ///
    /// # Errors
    /// [`ApplyError`] if the records contradict each other.
    pub fn from_records(applied: u64, records: &[Record]) -> Result<Image, ApplyError> {
        let mut image = Image::default();
        for (index, record) in (1_u64..).zip(records) {
            image.apply(index, record)?;
        }
        image.applied = applied;
        Ok(image)
    }

    /// CRC-32C over the state in canonical order: equal on every broker at equal index.
    #[must_use]
    pub fn digest(&self) -> u32 {
        let start = crc32c::crc32c(&self.applied.to_be_bytes());
        self.to_records()
            .iter()
            .fold(start, |crc, record| crc32c::crc32c_append(crc, &record.encode_length_delimited_to_vec()))
    }
}

fn topic_id(bytes: &[u8]) -> Result<TopicId, &'static str> {
    TopicId::from_wire(bytes).ok_or("names a topic by other than 16 bytes")
}
