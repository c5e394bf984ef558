//! What is to happen, and when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use bytes::Bytes;
use highwater_core::metadata::{Command, Outcome, Refusal};
use highwater_proto::BrokerEpoch;

use super::clients::Answer;
use super::consumers::{Asked, PollAnswer};

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// The next message of a connection arrives, if there is one.
    Arrive { connection: u64, to: Side },
    /// A broker's copy of the metadata log grows to so many entries.
    Metadata { node: usize, from: usize, end: usize },
    /// A request reaches the controller.
    ToController { from: usize, run: u64, to: usize, command: Command, why: Why },
    /// The controller's entry was committed.
    Committed { term: u64 },
    /// A broker hears from the controller.
    FromController { to: usize, run: u64, why: Why, answer: Result<Outcome, Refusal> },
    /// A broker's heartbeat arrives, which it sent then.
    Beat { from: usize, to: usize, life: BrokerEpoch, sent: u64, applied: u64 },
    /// The answer to it.
    Lease { to: usize, run: u64, until: u64 },
    /// A broker says that it is alive.
    SendBeat { node: usize, run: u64 },
    /// A broker that has no life yet asks for one.
    Register { node: usize, run: u64 },
    /// A flush ends.
    Flush { node: usize, run: u64 },
    /// A partition's in-sync replicas are looked at.
    Attend { node: usize, run: u64 },
    /// An answer to a proposal has been waited for long enough.
    ProposalWait { node: usize, run: u64, partition: i32, serial: u64 },
    /// Streams are opened, broken, and asked again.
    Tick,
    /// The controller looks who was not heard of.
    Sessions { term: u64 },
    /// A broker's process starts.
    Start { node: usize },
    /// A producer does the next thing.
    Producer { client: usize },
    /// A batch reaches a broker.
    Produce { node: usize, run: u64, client: usize, attempt: u64, partition: i32, batch: Bytes },
    /// A producer hears.
    Produced { client: usize, attempt: u64, answer: Answer },
    /// A consumer does the next thing.
    Consumer { client: usize },
    /// A question of a consumer reaches a broker.
    Fetch { node: usize, run: u64, client: usize, attempt: u64, asked: Asked },
    /// A consumer hears.
    Fetched { client: usize, attempt: u64, answer: Arc<PollAnswer> },
    /// Something goes wrong.
    Nemesis,
    /// A fault is taken back.
    Heal { fault: u64 },
    /// All faults are.
    HealAll,
    /// No more sends.
    Quiet,
    /// Has everything been read?
    Drain,
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Leader,
    Follower,
}

/// What a broker asked the controller for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Register,
    ReportUnclean,
    Stop,
    Alter {
        partition: i32,
        epoch: i32,
        serial: u64,
    },
    Resign {
        serial: u64,
    },
    /// Nobody waits for the answer.
    Own,
}

/// The future: events by time, and by the order in which they were planned.
#[derive(Debug, Default)]
pub(super) struct Future {
    heap: BinaryHeap<Reverse<(u64, u64)>>,
    events: std::collections::BTreeMap<u64, Event>,
    planned: u64,
}

impl Future {
    pub(super) fn plan(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.heap.push(Reverse((at, self.planned)));
        self.events.insert(self.planned, event);
    }

    /// A number that was never given.
    pub(super) fn serial(&mut self) -> u64 {
        self.planned += 1;
        self.planned
    }

    pub(super) fn next(&mut self) -> Option<(u64, Event)> {
        let Reverse((at, number)) = self.heap.pop()?;
        let event = self.events.remove(&number).expect("planned once, taken once");
        Some((at, event))
    }
}
