//! Consumers: each reads all partitions, one question at a time, and sometimes asks where the end is.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use highwater_proto::record::{DecodeLimits, batches, decode_records};
use highwater_proto::{LeaderEpoch, Offset};
use highwater_server::service::OffsetQuery;
use highwater_server::simulation::Partition;

use super::events::Event;
use super::world::{World, key};
use crate::history::{BadRead, Kind, ListSpec, Op, Origin, Outcome, PollMode, Read, Value};

const REQUEST_MS: u64 = 1500;
const FETCH_BYTES: usize = 4096;

/// A consumer.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) proc: u32,
    pub(super) positions: Vec<Offset>,
    waiting: Option<Waiting>,
    /// Reads what is there at the end, and then stops.
    pub(super) drains: bool,
}

#[derive(Debug)]
struct Waiting {
    attempt: u64,
    asked: Asked,
    op: u64,
    began: u64,
}

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Records { partition: i32, from: Offset },
    Latest { partition: i32 },
    Earliest { partition: i32 },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PollAnswer {
    Records { reads: Vec<Read>, bad: Vec<BadRead>, next: Offset },
    Offset(Offset),
    Refused(String),
}

impl Consumer {
    pub(super) fn new(proc: u32, partitions: i32, drains: bool) -> Consumer {
        Consumer { proc, positions: vec![Offset::ZERO; partitions as usize], waiting: None, drains }
    }
}

/// Runs what never waits in a simulation.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("simulated disks are in memory"),
    }
}

impl World {
    /// The consumer asks for something, unless it waits.
    pub(super) fn consume_on(&mut self, client: usize) {
        if self.consumers[client]
            .waiting
            .as_ref()
            .is_some_and(|waiting| self.now - waiting.began > REQUEST_MS)
        {
            let waiting = self.consumers[client].waiting.take().expect("just seen");
            self.record_question(client, &waiting, Outcome::Info, None);
        }
        if self.consumers[client].waiting.is_none() {
            let partition = i32::try_from(self.random.below(self.plan.partitions.cast_unsigned().into()))
                .expect("below the count");
            let from = self.consumers[client].positions[partition as usize];
            let asked = match self.random.below(20) {
                0 => Asked::Latest { partition },
                1 => Asked::Earliest { partition },
                _ => Asked::Records { partition, from },
            };
            self.question(client, asked);
        }
        if !self.over {
            let wait = if self.consumers[client].drains { 4 } else { 30 + self.random.below(90) };
            self.plan_in(wait, Event::Consumer { client });
        }
    }

    fn question(&mut self, client: usize, asked: Asked) {
        let (Asked::Records { partition, .. } | Asked::Latest { partition } | Asked::Earliest { partition }) =
            asked;
        let Some(node) = self.believed_leader(partition) else { return };
        let (attempt, op, began) = (self.next_attempt(), self.next_op, self.now);
        self.next_op += 1;
        self.consumers[client].waiting = Some(Waiting { attempt, asked, op, began });
        let run = self.nodes[node].run;
        self.plan_in(1 + self.random.below(3), Event::Fetch { node, run, client, attempt, asked });
    }

    /// A question reaches a broker.
    pub(super) fn fetch_at(&mut self, at: usize, client: usize, attempt: u64, asked: Asked) {
        let answer = match &self.nodes[at].process {
            None => PollAnswer::Refused("nobody is there".to_owned()),
            Some(process) => answer(&process.partitions, asked),
        };
        let answer = if self.rotten { without_damage(answer) } else { answer };
        let answer = Arc::new(answer);
        self.plan_in(1 + self.random.below(3), Event::Fetched { client, attempt, answer });
    }

    /// A consumer hears.
    pub(super) fn fetched(&mut self, client: usize, attempt: u64, answer: &PollAnswer) {
        let consumer = &mut self.consumers[client];
        let Some(waiting) = consumer.waiting.take_if(|waiting| waiting.attempt == attempt) else { return };
        if let (Asked::Records { partition, .. }, PollAnswer::Records { next, .. }) = (waiting.asked, answer)
        {
            consumer.positions[partition as usize] = *next;
        }
        let outcome = match answer {
            PollAnswer::Refused(_) => Outcome::Fail,
            _ => Outcome::Ok,
        };
        self.record_question(client, &waiting, outcome, Some(answer));
    }

    fn record_question(
        &mut self,
        client: usize,
        waiting: &Waiting,
        outcome: Outcome,
        answer: Option<&PollAnswer>,
    ) {
        let offset = match answer {
            Some(PollAnswer::Offset(offset)) => Some(offset.0),
            _ => None,
        };
        let list =
            |partition, spec| Kind::ListOffsets { key: key(partition), spec, offset, timestamp_ms: None };
        let kind = match waiting.asked {
            Asked::Latest { partition } => list(partition, ListSpec::Latest),
            Asked::Earliest { partition } => list(partition, ListSpec::Earliest),
            Asked::Records { partition, .. } => {
                let (reads, bad) = match answer {
                    Some(PollAnswer::Records { reads, bad, .. }) => (reads.clone(), bad.clone()),
                    _ => (Vec::new(), Vec::new()),
                };
                let bad = [(key(partition), bad)].into_iter().filter(|(_, bad)| !bad.is_empty()).collect();
                let reads = [(key(partition), reads)].into_iter().collect();
                Kind::Poll { mode: PollMode::Leader, reads, bad, ends: std::collections::BTreeMap::new() }
            }
        };
        let error = match answer {
            Some(PollAnswer::Refused(reason)) => Some(reason.clone()),
            _ => None,
        };
        self.ops.push(Op {
            idx: waiting.op,
            t_invoke: waiting.began * 1000,
            t_complete: Some(self.now * 1000),
            proc: self.consumers[client].proc,
            outcome,
            error,
            deadline_us: Some(REQUEST_MS * 1000),
            kind,
        });
    }
}

fn answer(partitions: &[Arc<Partition>], asked: Asked) -> PollAnswer {
    let refused = |error: &dyn std::fmt::Display| PollAnswer::Refused(error.to_string());
    let find = |partition: i32, query| {
        let found = at_once(partitions[partition as usize].find_offset(query, LeaderEpoch::UNKNOWN));
        match found {
            Ok(found) => found.offset.map_or(PollAnswer::Refused("no offset".into()), PollAnswer::Offset),
            Err(error) => refused(&error),
        }
    };
    match asked {
        Asked::Latest { partition } => find(partition, OffsetQuery::Latest),
        Asked::Earliest { partition } => find(partition, OffsetQuery::Earliest),
        Asked::Records { partition, from } => {
            let fetch = partitions[partition as usize].fetch(from, FETCH_BYTES, LeaderEpoch::UNKNOWN);
            match at_once(fetch) {
                Ok(fetched) => decode(partition, from, &fetched.records),
                Err(error) => refused(&error),
            }
        }
    }
}

/// A client takes nothing from a batch that does not agree with its checksum: it asks again.
fn without_damage(answer: PollAnswer) -> PollAnswer {
    match answer {
        PollAnswer::Records { reads, bad, .. } if reads.is_empty() && !bad.is_empty() => {
            PollAnswer::Refused(format!("what came is damaged: {bad:?}"))
        }
        PollAnswer::Records { reads, next, .. } => PollAnswer::Records { reads, bad: Vec::new(), next },
        other => other,
    }
}

/// What a client makes of the bytes: batches are whole, so what comes before `from` is passed over.
fn decode(partition: i32, from: Offset, bytes: &bytes::Bytes) -> PollAnswer {
    let origin = Origin::of(&key(partition));
    let (mut reads, mut bad, mut next) = (Vec::new(), Vec::new(), from);
    for batch in batches(bytes.clone()) {
        let records = batch.and_then(|batch| decode_records(&batch, &DecodeLimits::default()));
        let records = match records {
            Ok(records) => records,
            Err(error) => {
                bad.push(BadRead { offset: next.0, problem: error.to_string() });
                break;
            }
        };
        for record in records {
            let Ok(record) = record else {
                bad.push(BadRead { offset: next.0, problem: "a record cannot be decoded".into() });
                break;
            };
            if record.offset < from {
                continue;
            }
            let offset = record.offset;
            match Value::decode(record.value.as_deref().unwrap_or_default(), origin, b"") {
                Ok(value) => reads.push(Read { offset, timestamp_ms: record.timestamp_ms, value }),
                Err(error) => bad.push(BadRead { offset: offset.0, problem: error.to_string() }),
            }
            next = Offset(offset.0 + 1);
        }
    }
    PollAnswer::Records { reads, bad, next }
}
