//! What must hold after every step: the cheap forms of I1 to I11 and I17, over the brokers as they are.

use std::sync::Arc;

use highwater_core::settings::Durability;
use highwater_log::PartitionLog;
use highwater_proto::Offset;
use highwater_proto::record::{BatchHeader, batches};
use highwater_server::simulation::{AckedBatch, Partition};

use super::broker::{id, node, partition_id};
use super::world::World;

impl World {
    pub(super) fn violated(&mut self, what: String) {
        self.violations.push(format!("at {} ms: {what}", self.now));
    }

    /// I8, I9 and I11 of every partition of a broker; notes how far leaders have come.
    pub(super) fn check_broker(&mut self, at: usize) {
        let Some(process) = &self.nodes[at].process else { return };
        let mut wrong = Vec::new();
        for (number, partition) in process.partitions.iter().enumerate() {
            let details = partition.details();
            let (high_watermark, end) = (details.high_watermark, details.log_end);
            if high_watermark > end || details.flushed_end > end || details.log_start > high_watermark {
                wrong.push(format!("I11: broker {at}, partition {number}: {details:?}"));
            }
            let best = &mut self.true_high_watermarks[number];
            if !details.followers.is_empty() {
                if self.plan.durability == Durability::Fsync
                    && high_watermark > *best
                    && details.flushed_end < high_watermark
                {
                    wrong.push(format!("I9: leader {at} shows what it has not flushed: {details:?}"));
                }
                *best = (*best).max(high_watermark);
            } else if high_watermark > *best {
                wrong.push(format!(
                    "I1: follower {at} of partition {number} is ahead of every leader: {details:?}"
                ));
            }
        }
        for what in wrong {
            self.violated(what);
        }
    }

    /// I2 and I3: whoever may lead has everything that was ever shown.
    pub(super) fn check_candidates(&mut self) {
        let image = &self.nodes[self.controller.node].image;
        let mut wrong = Vec::new();
        for number in 0..self.plan.partitions {
            let Some(state) = image.partition(partition_id(number)) else { continue };
            let shown = self.true_high_watermarks[number as usize];
            for member in state.isr.iter().chain(&state.elr) {
                let at = node(*member);
                let life = image.broker(*member).map(|broker| broker.epoch);
                let process = self.nodes[at].process.as_ref().filter(|process| process.life == life);
                let Some(process) = process else { continue };
                let end = process.partitions[number as usize].inspect(|log| match self.plan.durability {
                    Durability::Fsync => log.flushed_end().get(),
                    Durability::Replicated => log.log_end(),
                });
                if end < shown {
                    wrong.push(format!(
                        "I3: broker {at} may lead partition {number} with {end} records; {shown} were shown: {state:?}"
                    ));
                }
            }
            if let Err(problem) = state.check() {
                wrong.push(format!("I5: partition {number}: {problem}"));
            }
        }
        for what in wrong {
            self.violated(what);
        }
    }

    /// I6: in a leader epoch one process of one broker writes.
    pub(super) fn check_writer(&mut self, at: usize, partition: &Arc<Partition>) {
        let details = partition.details();
        let writer = (at, self.nodes[at].run);
        let known = *self.writers.entry((details.id.partition.0, details.epoch)).or_insert(writer);
        if known != writer {
            self.violated(format!(
                "I6: {known:?} and {writer:?} wrote in epoch {} of partition {}",
                details.epoch, details.id.partition
            ));
        }
    }

    /// I10: what is acknowledged is below the acknowledging leader's high watermark, or was below an earlier one's.
    pub(super) fn check_ack(&mut self, at: usize, client: usize, attempt: u64, acked: &AckedBatch) {
        let Some(number) = self.partition_of(client, attempt) else { return };
        let Some(process) = &self.nodes[at].process else { return };
        let details = process.partitions[number as usize].details();
        if acked.base_offset >= details.high_watermark {
            self.violated(format!(
                "I10: broker {at} acknowledged {} and shows {details:?}",
                acked.base_offset
            ));
        }
    }

    /// I17: equal entries, equal images.
    pub(super) fn check_digest(&mut self, at: usize) {
        let image = &self.nodes[at].image;
        let digest = image.digest();
        let known = *self.digests.entry(image.accepted()).or_insert(digest);
        if known != digest {
            let accepted = image.accepted();
            self.violated(format!("I17: broker {at} has another image than others at entry {accepted}"));
        }
    }

    /// What every replica thinks of a partition.
    fn picture(&self, number: i32) -> String {
        let mut text = format!("\n    controller {:?}", self.controller.node);
        for (at, node) in self.nodes.iter().enumerate() {
            let Some(process) = &node.process else {
                text += &format!("\n    broker {at} is down");
                continue;
            };
            let partition = &process.partitions[number as usize];
            let life = node.image.broker(id(at)).map(|broker| (broker.epoch, broker.fenced));
            text += &format!(
                "\n    broker {at}: life {:?} registered {life:?} has {} of {}, {:?}, {:?}, {:?}",
                process.life,
                node.has,
                self.metadata.len(),
                partition.standing(),
                partition.details(),
                partition.inspect(|log| log.epochs().entries().to_vec()),
            );
        }
        for connection in self.connections.values() {
            text += &format!("\n    stream {} -> {}", connection.leader, connection.follower);
        }
        text
    }

    /// I1, byte for byte: every replica of every partition is the same, all of it is shown, and all are in sync. `None` if
    /// so; otherwise what is missing yet.
    pub(super) fn unconverged(&self) -> Option<String> {
        let image = &self.nodes[self.controller.node].image;
        for number in 0..self.plan.partitions {
            let state = image.partition(partition_id(number))?;
            if state.isr.len() < state.replicas.len() {
                return Some(format!("partition {number}: {state:?}{}", self.picture(number)));
            }
            let mut first: Option<(usize, Offset, Vec<u8>)> = None;
            for replica in &state.replicas {
                let at = node(*replica);
                let Some(process) = &self.nodes[at].process else {
                    return Some(format!("broker {at} is down"));
                };
                let partition = &process.partitions[number as usize];
                let details = partition.details();
                if details.high_watermark < details.log_end {
                    return Some(format!("broker {} of partition {number}: {details:?}", id(at)));
                }
                let bytes = partition.inspect(whole);
                let (_, end, expected) = first.get_or_insert_with(|| (at, details.log_end, bytes.clone()));
                if *end != details.log_end || *expected != bytes {
                    return Some(format!("I1: partition {number}: {}", difference(expected, &bytes)));
                }
            }
        }
        None
    }
}

/// Where two logs part ways.
fn difference(one: &[u8], other: &[u8]) -> String {
    let headers = |bytes: &[u8]| {
        let batches = batches(bytes::Bytes::copy_from_slice(bytes));
        let headers = batches.map(|batch| batch.and_then(|batch| BatchHeader::parse(&batch)));
        headers.collect::<Vec<_>>()
    };
    let (ours, theirs) = (headers(one), headers(other));
    let at = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs);
    let at = at.unwrap_or_else(|| ours.len().min(theirs.len()));
    format!(
        "{} and {} batches, first {:?}, then {:?}",
        ours.len(),
        theirs.len(),
        ours.get(at),
        theirs.get(at)
    )
}

/// Everything in a log.
fn whole(log: &PartitionLog) -> Vec<u8> {
    let (mut from, end, mut bytes) = (log.log_start(), log.log_end(), Vec::new());
    while from < end {
        let slice = match log.plan_read(from, end, usize::MAX).and_then(|plan| plan.read()) {
            Ok(slice) => slice,
            Err(error) => {
                bytes.extend_from_slice(error.to_string().as_bytes());
                break;
            }
        };
        bytes.extend_from_slice(&slice.bytes);
        from = slice.next;
    }
    bytes
}
