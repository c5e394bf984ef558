//! Where the consumer stands in each of its partitions.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use highwater_proto::record::{BatchHeader, batches, verify_crc};
use highwater_proto::{BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId, grpc};

use crate::consumer::config::{ConsumerConfig, Verification};
use crate::consumer::records::FetchedBatch;
use crate::error::ConsumeError;
use crate::metadata::TopicInfo;

/// What a partition waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// To be put into its leader's session.
    Absent,
    /// Nothing: its leader's session has it.
    Placed,
    /// A repair under way: metadata or offsets are being asked for.
    Repairing,
    /// The caller: it was told of an error, and the next call tries again.
    Failed,
    /// [`Consumer::resume`](crate::Consumer::resume).
    Paused,
}

/// One assigned partition.
#[derive(Debug)]
pub(crate) struct Assigned {
    pub(crate) topic: Arc<str>,
    pub(crate) topic_id: TopicId,
    pub(crate) partition: PartitionIndex,
    pub(crate) leader: Option<BrokerId>,
    pub(crate) leader_epoch: LeaderEpoch,
    /// Which metadata `leader` is from.
    pub(crate) version: u64,
    /// Next offset to hand out.
    pub(crate) position: Offset,
    /// Next offset to receive; ahead of `position` by what is received and not handed out.
    pub(crate) fetch_from: Offset,
    /// Changes with every new cursor, so that answers to an older one are told.
    pub(crate) generation: u32,
    pub(crate) cursor: Cursor,
    pub(crate) high_watermark: Option<Offset>,
    /// Failures in a row.
    pub(crate) failures: u32,
}

impl Assigned {
    pub(crate) fn new(topic: &TopicInfo, partition: PartitionIndex, position: Offset) -> Assigned {
        let mut assigned = Assigned {
            topic: topic.name.clone(),
            topic_id: topic.id,
            partition,
            leader: None,
            leader_epoch: LeaderEpoch::UNKNOWN,
            version: 0,
            position,
            fetch_from: position,
            generation: 0,
            cursor: Cursor::Absent,
            high_watermark: None,
            failures: 0,
        };
        assigned.learn(topic);
        assigned
    }

    /// Takes over what newer metadata says.
    pub(crate) fn learn(&mut self, topic: &TopicInfo) {
        self.topic_id = topic.id;
        self.version = topic.version;
        let leader = usize::try_from(self.partition.0).ok().and_then(|index| topic.partitions.get(index));
        self.leader = leader.and_then(|leader| leader.broker);
        self.leader_epoch = leader.map_or(LeaderEpoch::UNKNOWN, |leader| leader.epoch);
    }

    /// Stands at `position` from now on; whatever was received is void.
    pub(crate) fn move_to(&mut self, position: Offset) {
        self.position = position;
        self.fetch_from = position;
    }

    /// A new cursor for the session.
    pub(crate) fn place(&mut self) -> grpc::FetchPosition {
        self.generation = self.generation.wrapping_add(1);
        self.cursor = Cursor::Placed;
        grpc::FetchPosition {
            topic_id: self.topic_id.to_wire(),
            partition: self.partition.0,
            offset: self.fetch_from.0,
            max_bytes: 0,
            cursor_generation: self.generation,
            current_leader_epoch: self.leader_epoch.0,
        }
    }

    /// Takes the records of a response: splits, checks and appends them to `out`.
    pub(crate) fn receive(
        &mut self,
        records: Bytes,
        config: &ConsumerConfig,
        out: &mut Vec<FetchedBatch>,
    ) -> Result<(), ConsumeError> {
        for batch in batches(records) {
            let bytes = batch.map_err(|error| self.corrupt(error.to_string()))?;
            if config.verification == Verification::Checksum {
                verify_crc(&bytes).map_err(|error| self.corrupt(error.to_string()))?;
            }
            let header = BatchHeader::parse(&bytes).map_err(|error| self.corrupt(error.to_string()))?;
            let end = header.next_offset();
            if end <= self.fetch_from {
                continue;
            }
            let (topic, from) = ((self.topic.clone(), self.topic_id), self.fetch_from);
            let max_bytes = config.max_decompressed_bytes;
            out.push(FetchedBatch::new(topic, self.partition, header, bytes, from, max_bytes));
            self.fetch_from = end;
        }
        Ok(())
    }

    fn corrupt(&self, reason: String) -> ConsumeError {
        let (topic, partition) = (self.topic.to_string(), self.partition);
        ConsumeError::Corrupt { topic, partition, offset: self.fetch_from, reason }
    }
}

/// All assigned partitions, found by identity (as answers name them) and by name (as callers do).
#[derive(Debug, Default)]
pub(crate) struct Assignment {
    pub(crate) partitions: Vec<Assigned>,
    by_id: HashMap<(TopicId, i32), usize>,
}

impl Assignment {
    /// Adds a partition, or moves the one that is there already.
    pub(crate) fn put(&mut self, assigned: Assigned) -> usize {
        let key = (assigned.topic_id, assigned.partition.0);
        if let Some(index) = self.index_of(&assigned.topic, assigned.partition) {
            let generation = self.partitions[index].generation;
            self.partitions[index] = Assigned { generation, ..assigned };
            self.by_id.insert(key, index);
            return index;
        }
        self.partitions.push(assigned);
        self.by_id.insert(key, self.partitions.len() - 1);
        self.partitions.len() - 1
    }

    /// Takes a partition out.
    pub(crate) fn take(&mut self, index: usize) -> Assigned {
        let taken = self.partitions.remove(index);
        self.reindex();
        taken
    }

    /// After topic ids or places changed.
    pub(crate) fn reindex(&mut self) {
        let keys = self.partitions.iter().map(|p| (p.topic_id, p.partition.0));
        self.by_id = keys.zip(0..).collect();
    }

    pub(crate) fn index_of_batch(&self, batch: &FetchedBatch) -> Option<usize> {
        self.by_id.get(&(batch.topic_id, batch.partition().0)).copied()
    }

    pub(crate) fn index_of_id(&self, topic_id: &[u8], partition: i32) -> Option<usize> {
        self.by_id.get(&(TopicId::from_wire(topic_id)?, partition)).copied()
    }

    pub(crate) fn index_of(&self, topic: &str, partition: PartitionIndex) -> Option<usize> {
        self.partitions.iter().position(|p| p.partition == partition && *p.topic == *topic)
    }
}
