//! An image as records and back: what a snapshot holds. The round trip is exact.

use super::apply::ApplyError;
use super::image::Image;
use super::record::{ConfigValue, Record, change};
use super::topic::Topic;

impl Image {
    /// The records that make this image from an empty one, for a snapshot.
    #[must_use]
    pub fn to_records(&self) -> Vec<Record> {
        let mut changes: Vec<change::Change> = Vec::with_capacity(self.topics.len() + self.brokers.len() + 4);
        if self.producer_ids_end > 0 {
            changes.push(change::Change::ProducerIdsTaken(change::ProducerIdsTaken {
                end: self.producer_ids_end,
            }));
        }
        changes.extend(self.cluster().map(|cluster| {
            change::Change::ClusterFormed(change::ClusterFormed {
                cluster_id: cluster.id.0.to_vec(),
                name: cluster.name.clone(),
                broker_ids: Vec::new(),
            })
        }));
        if self.metadata_version > 1 {
            changes.push(change::Change::MetadataVersionRaised(change::MetadataVersionRaised {
                version: self.metadata_version,
            }));
        }
        changes.extend(self.topics.values().map(|topic| {
            change::Change::TopicCreated(change::TopicCreated {
                assignments: topic.partitions.iter().map(super::Partition::to_wire).collect(),
                ..topic_head(topic)
            })
        }));
        changes.extend(self.brokers().map(|broker| change::Change::BrokerRegistered(broker.to_wire())));
        changes.push(change::Change::SnapshotTaken(change::SnapshotTaken {
            accepted: self.accepted,
            next_broker_id: self.next_broker_id,
            unregistered_ids: self.unregistered_ids.iter().map(|id| id.0).collect(),
        }));
        changes.into_iter().map(Record::from).collect()
    }

    /// Builds the image that [`Image::to_records`] described, as of `applied`.
    ///
    /// # Errors
    /// [`ApplyError`] if the records contradict each other.
    pub fn from_records(applied: u64, records: &[Record]) -> Result<Image, ApplyError> {
        let mut image = Image { applied, accepted: applied, ..Image::default() };
        for record in records {
            image.anticipate(record)?;
        }
        debug_assert_eq!(image.check_invariants(), Ok(()));
        Ok(image)
    }
}

/// A topic without its partitions.
pub(super) fn topic_head(topic: &Topic) -> change::TopicCreated {
    let configs = topic.configs.iter();
    change::TopicCreated {
        topic_id: topic.id.0.to_vec(),
        name: topic.name.clone(),
        partitions: topic.partition_count(),
        configs: configs.map(|(k, v)| ConfigValue { name: k.clone(), value: Some(v.clone()) }).collect(),
        created_ms: topic.created_ms,
        assignments: Vec::new(),
    }
}
