//! A digest of an image that costs nothing to keep: the sum of the digests of its parts, so that a change of one part
//! touches one term. Equal on every broker at the same accepted entry (I17).

use highwater_proto::{PartitionIndex, TopicId};
use prost::Message;

use super::broker::Broker;
use super::image::Image;
use super::partition::Partition;
use super::record::change;
use super::snapshot::topic_head;
use super::topic::Topic;

impl Image {
    /// The digest of the state after the last accepted entry. Two brokers that accepted the same entries and differ in
    /// it must stop: neither can know who is right.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut scalars = Vec::with_capacity(64);
        scalars.extend_from_slice(&self.accepted.to_be_bytes());
        scalars.extend_from_slice(&self.producer_ids_end.to_be_bytes());
        scalars.extend_from_slice(&self.metadata_version.to_be_bytes());
        scalars.extend_from_slice(&self.next_broker_id.to_be_bytes());
        self.unregistered_ids.iter().for_each(|id| scalars.extend_from_slice(&id.0.to_be_bytes()));
        if let Some(cluster) = self.cluster() {
            scalars.extend_from_slice(&cluster.id.0);
            scalars.extend_from_slice(cluster.name.as_bytes());
        }
        self.digests.wrapping_add(hash(b'i', &scalars))
    }

    /// The sum that [`Image`] keeps, made from scratch.
    pub(super) fn digests_afresh(&self) -> u64 {
        let brokers = self.brokers().map(of_broker);
        let topics = self.topics().map(of_topic);
        let partitions = self.partitions().map(|(id, _, it)| of_partition(id.topic, id.partition, it));
        brokers.chain(topics).chain(partitions).fold(0, u64::wrapping_add)
    }

    pub(super) fn add_digest(&mut self, digest: u64) {
        self.digests = self.digests.wrapping_add(digest);
    }

    pub(super) fn take_digest(&mut self, digest: u64) {
        self.digests = self.digests.wrapping_sub(digest);
    }
}

pub(super) fn of_broker(broker: &Broker) -> u64 {
    hash(b'b', &broker.to_wire().encode_to_vec())
}

/// Without its partitions.
pub(super) fn of_topic(topic: &Topic) -> u64 {
    hash(b't', &topic_head(topic).encode_to_vec())
}

pub(super) fn of_partition(topic: TopicId, index: PartitionIndex, partition: &Partition) -> u64 {
    let whole = change::PartitionsAdded {
        topic_id: topic.0.to_vec(),
        partitions: index.0,
        assignments: vec![partition.to_wire()],
    };
    hash(b'p', &whole.encode_to_vec())
}

/// FNV-1a over 64 bits, and a final mix (that of `splitmix64`) so that sums of hashes keep all their bits.
fn hash(kind: u8, bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let mut hash = bytes.iter().fold(step(0xcbf2_9ce4_8422_2325, &kind), step);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
