//! The fetch response as bytes: encoded by hand, so that stored batches go out as they are, between the encoded parts.
//!
//! Source: the public protocol definition of FetchResponse, versions 4 to 17.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::BrokerId;

use crate::listener::kafka::answer::{Envelope, fill_in_length};
use crate::listener::kafka::brokers::Hinted;
use crate::listener::kafka::outbox::Part;

/// The first version with compact forms and tagged fields.
const FLEXIBLE: i16 = 12;
/// The first version that names topics by id.
const TOPIC_IDS: i16 = 13;

/// The first version that says who leads instead (KIP-951).
pub(super) const HINTS: i16 = 16;
/// The tags of what it says.
const CURRENT_LEADER: u32 = 1;
const NODE_ENDPOINTS: u32 = 0;

/// A whole response.
#[derive(Default)]
pub(super) struct Response {
    /// The error of the request as a whole; versions before 7 have no place for it.
    pub(super) error: i16,
    /// The fetch session, or 0.
    pub(super) session: i32,
    /// By topic.
    pub(super) topics: Vec<TopicPart>,
    /// The leaders that partitions tell of.
    pub(super) hinted: Hinted,
}

/// One topic of a response.
#[derive(Debug)]
pub(super) struct TopicPart {
    /// For versions before 13.
    pub(super) name: Bytes,
    /// For later ones.
    pub(super) id: [u8; 16],
    /// By partition.
    pub(super) partitions: Vec<PartitionPart>,
}

/// One partition of a response.
#[derive(Debug)]
pub(super) struct PartitionPart {
    pub(super) index: i32,
    pub(super) error: i16,
    pub(super) high_watermark: i64,
    pub(super) last_stable: i64,
    pub(super) log_start: i64,
    /// Transactions that were aborted: none so far, which readers of committed records are told by an empty list and
    /// others by null.
    pub(super) aborted: Aborted,
    /// Who leads the partition and in which epoch, where the client asked somebody else (KIP-951).
    pub(super) leader: Option<(BrokerId, i32)>,
    /// The in-sync replica that this client should rather read from (KIP-392).
    pub(super) preferred: Option<BrokerId>,
    /// Stored batches.
    pub(super) records: Vec<Part>,
}

/// The list of aborted transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aborted {
    /// Nobody asked.
    Null,
    /// There are none.
    Empty,
}

/// Writes the encoded parts, with the batches between them.
struct Encoder {
    version: i16,
    /// What is being written.
    buffer: BytesMut,
    /// The first part, once it is whole.
    first: Option<BytesMut>,
    /// The parts after it.
    parts: Vec<Part>,
    /// Bytes in those.
    bytes: usize,
}

impl Response {
    /// The answer in parts, to be sent one after the other.
    pub(super) fn encode(self, envelope: &Envelope) -> Vec<Part> {
        let version = envelope.version;
        let partitions: usize = self.topics.iter().map(|topic| topic.partitions.len()).sum();
        let buffer = envelope.begin(64 + self.topics.len() * 64 + partitions * 64);
        let parts = Vec::with_capacity(1 + 2 * partitions);
        let mut encoder = Encoder { version, buffer, first: None, parts, bytes: 0 };
        encoder.response(self);
        encoder.finish()
    }
}

impl Encoder {
    fn flexible(&self) -> bool {
        self.version >= FLEXIBLE
    }

    fn response(&mut self, response: Response) {
        self.buffer.put_i32(0);
        if self.version >= 7 {
            self.buffer.put_i16(response.error);
            self.buffer.put_i32(response.session);
        }
        self.count(response.topics.len());
        for topic in response.topics {
            if self.version >= TOPIC_IDS {
                self.buffer.put_slice(&topic.id);
            } else if self.flexible() {
                self.varint(topic.name.len() as u32 + 1);
                self.buffer.put_slice(&topic.name);
            } else {
                self.buffer.put_i16(topic.name.len() as i16);
                self.buffer.put_slice(&topic.name);
            }
            self.count(topic.partitions.len());
            for partition in topic.partitions {
                self.partition(partition);
            }
            self.no_tags();
        }
        self.endpoints(response.hinted);
    }

    /// The leaders that partitions tell of, as a tagged field if there are any.
    fn endpoints(&mut self, hinted: Hinted) {
        let brokers = hinted.into_brokers();
        if self.version < HINTS || brokers.len() == 0 {
            return self.no_tags();
        }
        let count = brokers.len();
        let outer = std::mem::take(&mut self.buffer);
        self.count(count);
        for broker in brokers {
            self.buffer.put_i32(broker.id.0);
            self.text(Some(&broker.host));
            self.buffer.put_i32(broker.port);
            self.text(broker.rack.as_deref());
            self.no_tags();
        }
        let field = std::mem::replace(&mut self.buffer, outer);
        self.tagged(NODE_ENDPOINTS, &field);
    }

    /// The only tagged field of a structure.
    fn tagged(&mut self, tag: u32, field: &[u8]) {
        self.varint(1);
        self.varint(tag);
        self.varint(field.len() as u32);
        self.buffer.put_slice(field);
    }

    fn text(&mut self, text: Option<&str>) {
        let Some(text) = text else { return self.buffer.put_u8(0) };
        self.varint(text.len() as u32 + 1);
        self.buffer.put_slice(text.as_bytes());
    }

    fn partition(&mut self, partition: PartitionPart) {
        self.buffer.put_i32(partition.index);
        self.buffer.put_i16(partition.error);
        self.buffer.put_i64(partition.high_watermark);
        self.buffer.put_i64(partition.last_stable);
        if self.version >= 5 {
            self.buffer.put_i64(partition.log_start);
        }
        match (partition.aborted, self.flexible()) {
            (Aborted::Null, true) => self.buffer.put_u8(0),
            (Aborted::Null, false) => self.buffer.put_i32(-1),
            (Aborted::Empty, _) => self.count(0),
        }
        if self.version >= 11 {
            self.buffer.put_i32(partition.preferred.map_or(-1, |id| id.0));
        }
        let size: usize = partition.records.iter().map(Part::len).sum();
        if self.flexible() {
            self.varint(size as u32 + 1);
        } else {
            self.buffer.put_i32(size as i32);
        }
        if size > 0 {
            self.flush_buffer();
            self.bytes += size;
            self.parts.extend(partition.records);
        }
        match partition.leader {
            Some((id, epoch)) if self.version >= HINTS => {
                let mut field = [0; 9];
                field[..4].copy_from_slice(&id.0.to_be_bytes());
                field[4..8].copy_from_slice(&epoch.to_be_bytes());
                self.tagged(CURRENT_LEADER, &field);
            }
            _ => self.no_tags(),
        }
    }

    fn count(&mut self, count: usize) {
        if self.flexible() {
            self.varint(count as u32 + 1);
        } else {
            self.buffer.put_i32(count as i32);
        }
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    fn no_tags(&mut self) {
        if self.flexible() {
            self.buffer.put_u8(0);
        }
    }

    /// Ends the present part. The first one is kept apart: its length field is filled in at the end.
    fn flush_buffer(&mut self) {
        let part = self.buffer.split();
        if self.first.is_none() {
            self.first = Some(part);
        } else {
            self.bytes += part.len();
            self.parts.push(part.freeze().into());
        }
    }

    fn finish(mut self) -> Vec<Part> {
        self.flush_buffer();
        let mut first = self.first.take().expect("just flushed");
        fill_in_length(&mut first, self.bytes);
        let mut parts = Vec::with_capacity(1 + self.parts.len());
        parts.push(first.freeze().into());
        parts.append(&mut self.parts);
        parts
    }
}

#[cfg(test)]
#[path = "fetch_encoding_tests.rs"]
mod tests;
