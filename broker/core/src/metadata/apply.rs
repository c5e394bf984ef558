//! Records applied to an image: the same code live, at start-up and from a snapshot, deterministic to the last bit.

use std::sync::Arc;

use highwater_proto::museum::{self, Bug};
use highwater_proto::{BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId};
use thiserror::Error;

use super::broker::{Broker, Cluster, ClusterId};
use super::digest::{of_broker, of_partition, of_topic};
use super::image::Image;
use super::partition::{Partition, brokers};
use super::record::{BrokerIds, ConfigValue, Entry, METADATA_VERSION, PartitionState, Record, change};
use super::topic::Topic;
use crate::topic_name;

/// Who holds what a broker wrote that stood alone, before there were clusters.
const LONE_BROKER: BrokerId = BrokerId(1);

/// Why a record cannot be applied. Each means that the log and the state machine disagree: a reason to stop, never to
/// go on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// Records that this version does not know.
    #[error(
        "metadata entry {index} is of version {version}, and this program reads up to {METADATA_VERSION}; start a newer one"
    )]
    UnknownVersion {
        /// Its place in the log.
        index: u64,
        /// Its version.
        version: u32,
    },
    /// A kind of record that this version does not know.
    #[error("metadata record {index} is of a kind that this version does not know; start a newer one")]
    UnknownKind {
        /// Its place in the log.
        index: u64,
    },
    /// The record contradicts the state.
    #[error("metadata record {index} contradicts the state: it {problem}")]
    Contradiction {
        /// Its place in the log.
        index: u64,
        /// What is wrong.
        problem: &'static str,
    },
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Its records are in the image.
    Accepted,
    /// It was decided against another state than the one it met, and changed nothing (M-63).
    Stale {
        /// What it was based on.
        based_on: u64,
        /// What it should have been based on.
        accepted: u64,
    },
    /// It, or one after it, was applied before.
    Before,
}

/// What is wrong with one record.
enum Problem {
    UnknownKind,
    Contradiction(&'static str),
}

impl From<&'static str> for Problem {
    fn from(problem: &'static str) -> Problem {
        Problem::Contradiction(problem)
    }
}

impl Problem {
    fn at(self, index: u64) -> ApplyError {
        match self {
            Problem::UnknownKind => ApplyError::UnknownKind { index },
            Problem::Contradiction(problem) => ApplyError::Contradiction { index, problem },
        }
    }
}

impl Image {
    /// Applies the entry at `index` as a whole. An entry that is not based on the last accepted one changes nothing but
    /// [`Image::applied`], on every broker alike.
    ///
    /// # Errors
    /// [`ApplyError`]; the image is unchanged then.
    pub fn apply_entry(&mut self, index: u64, entry: &Entry) -> Result<Applied, ApplyError> {
        if index <= self.applied {
            return Ok(Applied::Before);
        }
        if entry.based_on != self.accepted && !museum::active(Bug::ZombieDecides) {
            self.applied = index;
            return Ok(Applied::Stale { based_on: entry.based_on, accepted: self.accepted });
        }
        if entry.version > METADATA_VERSION {
            return Err(ApplyError::UnknownVersion { index, version: entry.version });
        }
        let mut next = self.clone();
        for record in &entry.records {
            next.apply_change(index, record).map_err(|problem| problem.at(index))?;
        }
        next.applied = index;
        next.accepted = index;
        debug_assert_eq!(next.check_invariants(), Ok(()));
        *self = next;
        Ok(Applied::Accepted)
    }

    /// Applies the record at `index` of a log that has one record in each entry. A record at or below
    /// [`Image::applied`] was applied before and changes nothing.
    ///
    /// # Errors
    /// [`ApplyError`]; the image is unchanged then.
    pub fn apply(&mut self, index: u64, record: &Record) -> Result<(), ApplyError> {
        let entry =
            Entry { version: METADATA_VERSION, based_on: self.accepted, records: vec![record.clone()] };
        self.apply_entry(index, &entry).map(drop)
    }

    /// Applies a record that was decided but is not in the log yet, so that the next decision of the same entry sees it.
    /// Neither [`Image::applied`] nor [`Image::accepted`] move.
    ///
    /// # Errors
    /// [`ApplyError`], with the index of the last accepted entry; the image may not be used then.
    pub fn anticipate(&mut self, record: &Record) -> Result<(), ApplyError> {
        self.apply_change(self.accepted, record).map_err(|problem| problem.at(self.accepted))
    }

    /// Notes that the log holds something at `index` that is no entry of the metadata.
    pub fn pass(&mut self, index: u64) {
        self.applied = self.applied.max(index);
    }

    fn apply_change(&mut self, index: u64, record: &Record) -> Result<(), Problem> {
        use change::Change;
        match record.change.as_ref().ok_or(Problem::UnknownKind)? {
            Change::TopicCreated(created) => self.apply_created(created)?,
            Change::TopicDeleted(deleted) => self.apply_deleted(topic_id(&deleted.topic_id)?)?,
            Change::PartitionsAdded(added) => self.apply_partitions_added(added)?,
            Change::ConfigsChanged(changed) => self.apply_configs(changed)?,
            Change::ProducerIdsTaken(taken) => {
                if taken.end <= self.producer_ids_end {
                    return Err("hands producer ids out again".into());
                }
                self.producer_ids_end = taken.end;
            }
            Change::ClusterFormed(formed) => self.apply_formed(formed)?,
            Change::BrokerIdTaken(taken) => self.apply_id_taken(taken.broker_id)?,
            Change::BrokerRegistered(registered) => self.apply_registered(registered)?,
            Change::BrokerUnregistered(gone) => self.apply_unregistered(BrokerId(gone.broker_id))?,
            Change::BrokerChanged(changed) => self.apply_broker(index, changed)?,
            Change::PartitionChanged(changed) => self.apply_partition(index, changed)?,
            Change::MetadataVersionRaised(raised) => {
                if raised.version <= self.metadata_version {
                    return Err("lowers the version of the metadata".into());
                }
                self.metadata_version = raised.version;
            }
            Change::SnapshotTaken(taken) => {
                self.accepted = taken.accepted;
                self.next_broker_id = taken.next_broker_id;
                self.unregistered_ids =
                    Arc::new(taken.unregistered_ids.iter().map(|id| BrokerId(*id)).collect());
            }
        }
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
            partitions: partitions(created.partitions, &created.assignments)?,
            configs: created.configs.iter().filter_map(set).collect(),
            created_ms: created.created_ms,
        };
        self.add_digest(of_topic(&topic));
        topic.indexed().for_each(|(index, partition)| self.add_digest(of_partition(id, index, partition)));
        Arc::make_mut(&mut self.names).insert(topic.name.clone(), id);
        Arc::make_mut(&mut self.collision_keys).insert(topic_name::collision_key(&topic.name), id);
        Arc::make_mut(&mut self.topics).insert(id, Arc::new(topic));
        Ok(())
    }

    fn apply_deleted(&mut self, id: TopicId) -> Result<(), &'static str> {
        let topic = Arc::make_mut(&mut self.topics).remove(&id).ok_or("deletes a topic that isn't there")?;
        self.take_digest(of_topic(&topic));
        topic.indexed().for_each(|(index, partition)| self.take_digest(of_partition(id, index, partition)));
        Arc::make_mut(&mut self.names).remove(&topic.name);
        Arc::make_mut(&mut self.collision_keys).remove(&topic_name::collision_key(&topic.name));
        Ok(())
    }

    fn apply_partitions_added(&mut self, added: &change::PartitionsAdded) -> Result<(), &'static str> {
        let topic = self.topic_mut(&added.topic_id)?;
        let (id, has) = (topic.id, topic.partition_count());
        if added.partitions <= has {
            return Err("lowers the number of partitions");
        }
        let before = of_topic(topic);
        topic.partitions.extend(partitions(added.partitions - has, &added.assignments)?);
        let added = topic.indexed().skip_while(|(index, _)| index.0 < has);
        let digests = added.map(|(index, added)| of_partition(id, index, added));
        let after = digests.fold(of_topic(topic), u64::wrapping_add);
        self.take_digest(before);
        self.add_digest(after);
        Ok(())
    }

    fn apply_configs(&mut self, changed: &change::ConfigsChanged) -> Result<(), &'static str> {
        let topic = self.topic_mut(&changed.topic_id)?;
        let before = of_topic(topic);
        for ConfigValue { name, value } in &changed.configs {
            match value {
                Some(value) => topic.configs.insert(name.clone(), value.clone()),
                None => topic.configs.remove(name),
            };
        }
        let after = of_topic(topic);
        self.take_digest(before);
        self.add_digest(after);
        Ok(())
    }

    fn apply_formed(&mut self, formed: &change::ClusterFormed) -> Result<(), &'static str> {
        if self.cluster.is_some() {
            return Err("forms a cluster that is there already");
        }
        let id =
            formed.cluster_id.as_slice().try_into().map_err(|_| "names a cluster by other than 16 bytes")?;
        self.cluster = Some(Arc::new(Cluster { id: ClusterId(id), name: formed.name.clone() }));
        formed.broker_ids.iter().try_for_each(|id| self.apply_id_taken(*id))
    }

    fn apply_id_taken(&mut self, id: i32) -> Result<(), &'static str> {
        if id < self.next_broker_id {
            return Err("gives a broker id away again");
        }
        self.next_broker_id = id.checked_add(1).ok_or("gives the last broker id away")?;
        Arc::make_mut(&mut self.unregistered_ids).insert(BrokerId(id));
        Ok(())
    }

    fn apply_registered(&mut self, registered: &change::BrokerRegistered) -> Result<(), &'static str> {
        let broker = Broker::from_wire(registered)?;
        if self.broker(broker.id).is_some_and(|before| before.epoch >= broker.epoch) {
            return Err("registers a broker in an epoch that is not newer");
        }
        let known = Arc::make_mut(&mut self.unregistered_ids).remove(&broker.id)
            || self.brokers.contains_key(&broker.id);
        if !known && self.cluster.is_some() && broker.id.0 < self.next_broker_id {
            return Err("registers a broker that was removed");
        }
        self.next_broker_id = self.next_broker_id.max(broker.id.0.saturating_add(1));
        self.put_broker(broker);
        Ok(())
    }

    fn apply_unregistered(&mut self, id: BrokerId) -> Result<(), &'static str> {
        let gone = Arc::make_mut(&mut self.brokers).remove(&id).ok_or("removes a broker that isn't there")?;
        self.take_digest(of_broker(&gone));
        Ok(())
    }

    fn apply_broker(&mut self, at: u64, changed: &change::BrokerChanged) -> Result<(), &'static str> {
        let id = BrokerId(changed.broker_id);
        let mut broker = self.broker(id).cloned().ok_or("changes a broker that isn't there")?;
        broker.fenced = changed.fenced.unwrap_or(broker.fenced);
        broker.draining = changed.draining.unwrap_or(broker.draining);
        broker.stopping = changed.stopping.unwrap_or(broker.stopping);
        if changed.fenced == Some(false) {
            broker.served_epoch = Some(broker.epoch);
        }
        if changed.fenced == Some(true) {
            broker.deposed_at = at;
        }
        self.put_broker(broker);
        Ok(())
    }

    fn put_broker(&mut self, broker: Broker) {
        self.add_digest(of_broker(&broker));
        let before = Arc::make_mut(&mut self.brokers).insert(broker.id, Arc::new(broker));
        if let Some(before) = before {
            self.take_digest(of_broker(&before));
        }
    }

    fn apply_partition(&mut self, at: u64, changed: &change::PartitionChanged) -> Result<(), &'static str> {
        let topic = self.topic_mut(&changed.topic_id)?;
        let id = topic.id;
        let missing = "changes a partition that isn't there";
        let index = usize::try_from(changed.partition).map_err(|_| missing)?;
        let partition = topic.partitions.get_mut(index).ok_or(missing)?;
        let index = PartitionIndex(changed.partition);
        let (before, led) = (of_partition(id, index, partition), partition.leader);
        change_partition(partition, changed)?;
        let (after, leads) = (of_partition(id, index, partition), partition.leader);
        self.take_digest(before);
        self.add_digest(after);
        let deposed = led.filter(|_| led != leads).and_then(|id| self.broker(id));
        // One entry may depose it many times over.
        if let Some(deposed) = deposed.filter(|broker| broker.deposed_at != at) {
            self.put_broker(Broker { deposed_at: at, ..deposed.clone() });
        }
        Ok(())
    }

    fn topic_mut(&mut self, id: &[u8]) -> Result<&mut Topic, &'static str> {
        let topic = Arc::make_mut(&mut self.topics).get_mut(&topic_id(id)?);
        topic.map(Arc::make_mut).ok_or("changes a topic that isn't there")
    }
}

/// A change's epochs are not in the record: they rise by one, so they cannot fall (I7).
pub(super) fn change_partition(
    partition: &mut Partition,
    changed: &change::PartitionChanged,
) -> Result<(), &'static str> {
    let set = |list: &mut Vec<BrokerId>, to: &Option<BrokerIds>| {
        if let Some(to) = to {
            *list = brokers(&to.ids);
        }
    };
    set(&mut partition.replicas, &changed.replicas);
    set(&mut partition.isr, &changed.isr);
    set(&mut partition.elr, &changed.elr);
    set(&mut partition.last_known_elr, &changed.last_known_elr);
    set(&mut partition.adding, &changed.adding);
    set(&mut partition.removing, &changed.removing);
    partition.recovering = changed.recovering.unwrap_or(partition.recovering);
    if let Some(leader) = changed.leader {
        let before = partition.leader.or(partition.last_leader);
        partition.leader = Some(BrokerId(leader)).filter(|_| leader >= 0);
        partition.last_leader = before.filter(|_| partition.leader.is_none());
        let step = i32::from(!museum::active(Bug::ElectionKeepsEpoch));
        let epoch = partition.leader_epoch.0.checked_add(step).ok_or("starts one leader epoch too many")?;
        partition.leader_epoch = LeaderEpoch(epoch);
    }
    let epoch = partition.partition_epoch.0.checked_add(1).ok_or("changes a partition once too often")?;
    partition.partition_epoch = PartitionEpoch(epoch);
    partition.check()
}

fn partitions(count: i32, assignments: &[PartitionState]) -> Result<Vec<Partition>, &'static str> {
    let count = usize::try_from(count).map_err(|_| "has fewer than no partitions")?;
    if assignments.is_empty() {
        return Ok(vec![Partition::new(vec![LONE_BROKER], vec![LONE_BROKER]); count]);
    }
    if assignments.len() != count {
        return Err("assigns other than each partition once");
    }
    let partitions: Vec<Partition> = assignments.iter().map(Partition::from_wire).collect();
    partitions.iter().try_for_each(Partition::check)?;
    Ok(partitions)
}

fn topic_id(bytes: &[u8]) -> Result<TopicId, &'static str> {
    TopicId::from_wire(bytes).ok_or("names a topic by other than 16 bytes")
}
