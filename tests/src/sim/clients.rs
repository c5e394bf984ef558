//! Producers: idempotent, each with one batch under way to a partition, retried until it is acknowledged or given up.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use highwater_core::replication::AcksError;
use highwater_log::AppendError;
use highwater_proto::record::{BatchBuilder, Compression};
use highwater_proto::{Offset, ProducerId};
use highwater_server::ProduceError;
use highwater_server::simulation::AckedBatch;

use super::broker::node;
use super::events::Event;
use super::world::{World, key};
use crate::history::{Kind, Op, Origin, Outcome, Value};

const REQUEST_MS: u64 = 1500;
const DELIVERY_MS: u64 = 10_000;
const BATCH_BYTES_MAX: usize = 4096;

/// A producer.
#[derive(Debug)]
pub(super) struct Producer {
    /// Its number in the history.
    number: u32,
    /// Its id for each partition: a fresh one after a batch whose fate is unknown.
    ids: Vec<ProducerId>,
    /// The next sequence on the wire, per partition.
    sequences: Vec<i32>,
    /// Counts its values.
    sent: u64,
    pub(super) pending: Vec<Option<Pending>>,
}

/// A batch that is not acknowledged yet.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    attempt: u64,
    attempts: u32,
    batch: Bytes,
    values: Vec<u64>,
    op: u64,
    began: u64,
    sent_at: u64,
    retry_at: Option<u64>,
}

/// What a producer hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Acked(Offset),
    /// Nothing was written by this attempt.
    Refused,
    /// It may have been written; worth another attempt.
    Retry,
    /// No attempt will do better.
    Hopeless,
}

/// Acknowledgements of brokers that have not been sent yet.
pub(super) type Outbox = Arc<Mutex<Vec<(usize, u64, Result<AckedBatch, ProduceError>)>>>;

impl Producer {
    pub(super) fn new(number: usize, partitions: i32) -> Producer {
        Producer {
            number: u32::try_from(number).expect("a few"),
            ids: vec![ProducerId(i64::try_from(number).expect("a few")); partitions as usize],
            sequences: vec![0; partitions as usize],
            sent: 0,
            pending: vec![None; partitions as usize],
        }
    }
}

fn answer_of(result: &Result<AckedBatch, ProduceError>) -> Answer {
    match result {
        Ok(acked) => Answer::Acked(acked.base_offset),
        Err(ProduceError::Acks(AcksError::NotEnoughReplicas { .. })) => Answer::Refused,
        Err(ProduceError::Append(error)) => match &**error {
            AppendError::Producer(_) => Answer::Hopeless,
            _ => Answer::Retry,
        },
        Err(ProduceError::Batch(_)) => Answer::Hopeless,
        Err(_) => Answer::Retry,
    }
}

impl World {
    /// The producer looks after what is pending, and sends something new if it may.
    pub(super) fn produce_on(&mut self, client: usize) {
        for partition in 0..self.plan.partitions {
            let Some(pending) = &self.producers[client].pending[partition as usize] else { continue };
            let (began, late) = (pending.began, self.now - pending.sent_at > REQUEST_MS);
            let due =
                pending.retry_at.is_some_and(|at| at <= self.now) || (pending.retry_at.is_none() && late);
            if self.now - began > DELIVERY_MS {
                self.give_up(client, partition, Outcome::Info);
            } else if due {
                self.send_batch(client, partition);
            }
        }
        let idle: Vec<i32> = (0..self.plan.partitions)
            .filter(|partition| self.producers[client].pending[*partition as usize].is_none())
            .collect();
        if !self.quiet
            && let Some(partition) = self.pick(&idle)
        {
            self.new_batch(client, partition);
            self.send_batch(client, partition);
        }
        if !self.quiet || self.producers[client].pending.iter().any(Option::is_some) {
            self.plan_in(15 + self.random.below(80), Event::Producer { client });
        }
    }

    fn new_batch(&mut self, client: usize, partition: i32) {
        let count = 1 + self.random.below(3);
        let len = 40 + usize::try_from(self.random.below(400)).expect("small");
        let now_ms = self.wall_ms();
        let producer = &mut self.producers[client];
        let mut builder = BatchBuilder::new(Compression::None, BATCH_BYTES_MAX);
        let mut values = Vec::new();
        for _ in 0..count {
            let value = Value { producer: producer.number, sequence: producer.sent };
            let bytes = value.encode(Origin::of(&key(partition)), b"", len);
            builder.try_append(now_ms, None, Some(&bytes), &[]).expect("a small record");
            values.push(producer.sent);
            producer.sent += 1;
        }
        let sequence = producer.sequences[partition as usize];
        let batch = builder.finish(Some((producer.ids[partition as usize], 0, sequence)));
        let op = self.next_op;
        self.next_op += count;
        let (began, sent_at, retry_at) = (self.now, self.now, None);
        let pending = Pending { attempt: 0, attempts: 0, batch, values, op, began, sent_at, retry_at };
        self.producers[client].pending[partition as usize] = Some(pending);
    }

    fn send_batch(&mut self, client: usize, partition: i32) {
        let leader = self.believed_leader(partition);
        let (now, attempt) = (self.now, self.next_attempt());
        let Some(pending) = &mut self.producers[client].pending[partition as usize] else { return };
        pending.attempt = attempt;
        pending.attempts += 1;
        pending.sent_at = now;
        pending.retry_at = None;
        let batch = pending.batch.clone();
        let Some(node) = leader else {
            return self.produced(client, attempt, Answer::Retry);
        };
        let run = self.nodes[node].run;
        // Most requests are quick; some wander about.
        let delay =
            if self.random.below(40) == 0 { self.random.below(3000) } else { 1 + self.random.below(3) };
        self.plan_in(delay, Event::Produce { node, run, client, attempt, partition, batch });
    }

    /// A batch reaches a broker.
    pub(super) fn produce_at(
        &mut self,
        at: usize,
        client: usize,
        attempt: u64,
        partition: i32,
        batch: &Bytes,
    ) {
        let Some(process) = &self.nodes[at].process else {
            return self.plan_in(1, Event::Produced { client, attempt, answer: Answer::Retry });
        };
        let partition = Arc::clone(&process.partitions[partition as usize]);
        let outbox = Arc::clone(&self.outbox);
        let before = partition.inspect(highwater_log::PartitionLog::log_end);
        let ack = move |result| outbox.lock().expect("one thread").push((client, attempt, result));
        partition.append(batch, -1, Box::new(ack));
        if partition.inspect(highwater_log::PartitionLog::log_end) > before {
            self.check_writer(at, &partition);
        }
        self.touched(at);
    }

    /// Sends what a broker has acknowledged, after a look at whether it may.
    pub(super) fn send_answers(&mut self, at: usize) {
        let answers = std::mem::take(&mut *self.outbox.lock().expect("one thread"));
        for (client, attempt, result) in answers {
            if let Ok(acked) = &result {
                self.check_ack(at, client, attempt, acked);
            }
            let answer = answer_of(&result);
            self.plan_in(1 + self.random.below(3), Event::Produced { client, attempt, answer });
        }
    }

    /// Which partition an attempt is for, if it is still under way.
    pub(super) fn partition_of(&self, client: usize, attempt: u64) -> Option<i32> {
        let mut pending = self.producers[client].pending.iter();
        let at = pending.position(|it| it.as_ref().is_some_and(|it| it.attempt == attempt))?;
        i32::try_from(at).ok()
    }

    /// A producer hears.
    pub(super) fn produced(&mut self, client: usize, attempt: u64, answer: Answer) {
        let Some(partition) = self.partition_of(client, attempt) else { return };
        let give_up = self.random.below(4) == 0;
        let retry_at = Some(self.now + 20 + self.random.below(150));
        let Some(pending) = &mut self.producers[client].pending[partition as usize] else { return };
        let first = pending.attempts == 1;
        match answer {
            Answer::Acked(base) => {
                let pending = pending.clone();
                let count = i32::try_from(pending.values.len()).expect("a few");
                self.producers[client].sequences[partition as usize] += count;
                self.record_sends(client, partition, &pending, Outcome::Ok, Some(base));
                self.producers[client].pending[partition as usize] = None;
            }
            // The only attempt wrote nothing: the same sequence may be used again.
            Answer::Refused if first && give_up => {
                let pending = pending.clone();
                self.record_sends(client, partition, &pending, Outcome::Fail, None);
                self.producers[client].pending[partition as usize] = None;
            }
            Answer::Refused | Answer::Retry => pending.retry_at = retry_at,
            Answer::Hopeless => {
                self.hopeless += 1;
                self.give_up(client, partition, Outcome::Info);
            }
        }
    }

    /// What became of a batch stays unknown. The producer begins anew, under another id: the sequence may be used up.
    fn give_up(&mut self, client: usize, partition: i32, outcome: Outcome) {
        let Some(pending) = self.producers[client].pending[partition as usize].take() else { return };
        self.record_sends(client, partition, &pending, outcome, None);
        self.fresh_ids += 1;
        let producer = &mut self.producers[client];
        producer.ids[partition as usize] = ProducerId(1_000_000 + self.fresh_ids);
        producer.sequences[partition as usize] = 0;
    }

    /// What is pending when a run is broken off stays unknown.
    pub(super) fn record_pending(&mut self) {
        for client in 0..self.producers.len() {
            for partition in 0..self.plan.partitions {
                if let Some(pending) = self.producers[client].pending[partition as usize].take() {
                    self.record_sends(client, partition, &pending, Outcome::Info, None);
                }
            }
        }
    }

    fn record_sends(
        &mut self,
        client: usize,
        partition: i32,
        pending: &Pending,
        outcome: Outcome,
        base: Option<Offset>,
    ) {
        let number = self.producers[client].number;
        for (at, sequence) in (0..).zip(&pending.values) {
            let offset = base.map(|base| base.0 + at);
            let kind = Kind::Send { key: key(partition), producer: number, sequence: *sequence, offset };
            self.ops.push(Op {
                idx: pending.op + at.cast_unsigned(),
                t_invoke: pending.began * 1000,
                t_complete: Some(self.now * 1000),
                proc: number,
                outcome,
                error: None,
                deadline_us: Some(DELIVERY_MS * 1000),
                kind,
            });
        }
    }

    /// Whom a client takes for the leader: what some broker says.
    pub(super) fn believed_leader(&self, partition: i32) -> Option<usize> {
        let up: Vec<usize> = (0..self.nodes.len())
            .filter(|at| self.nodes[*at].process.is_some() && !self.is_paused(*at))
            .collect();
        let teller = self.pick(&up)?;
        let image = &self.nodes[teller].image;
        let partition = image.partition(super::broker::partition_id(partition))?;
        partition.leader.map(node)
    }
}
