//! The state machine of one partition on the producer's side: batches filling, waiting, numbered, in flight.
//!
//! It decides and never waits: no clock but the `now` it is given, no I/O, no tasks. Its lock is short: a record is
//! encoded under it, a batch is compressed and summed outside of it.
//!
//! Invariants: batches are numbered in the order in which they were filled, and once numbered keep number and order
//! through every retry; the oldest unsettled one is at most `max_in_flight` behind the newest numbered one; while one of them is being recovered none
//! leaves, so that the broker sees each of them only after its predecessor.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use highwater_proto::grpc;
use highwater_proto::record::AppendError;
use highwater_proto::{BrokerId, ErrorCode, Offset, PartitionIndex};
use tokio::time::Instant;

use crate::error::ProduceError;
use crate::producer::batch::{Identity, OpenBatch, SentBatch, Whereabouts, renumber, sequence_after};
use crate::producer::config::{Acks, ProducerConfig};
use crate::producer::delivery::{BatchOutcome, Delivery, Written};
use crate::producer::effects::{Appended, Drained, Effects, Recovery, Route, Schedule};
use crate::producer::record::Record;
use crate::producer::sender::BrokerSender;

/// One partition's batches.
#[derive(Debug)]
pub(crate) struct PartitionQueue {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: PartitionIndex,
    config: Arc<ProducerConfig>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    route: Route,
    identity: Option<Identity>,
    /// Whether the broker has acknowledged a batch under this identity.
    is_known: bool,
    next_sequence: i32,
    next_id: u64,
    open: Option<OpenBatch>,
    sealed: VecDeque<OpenBatch>,
    sent: VecDeque<SentBatch>,
    bytes_in_flight: usize,
    /// From the sizes of the batches that left: what the next one is likely to need.
    expected_bytes: usize,
    phase: Phase,
    /// On the sender's list already.
    scheduled: bool,
    /// A linger timer for the open batch is set.
    timed: bool,
    /// A flush waits for the open batch.
    hurry: bool,
    /// Recoveries since the last success.
    failures: u32,
}

#[derive(Clone, Debug)]
enum Phase {
    Running,
    /// A batch failed. `begun` once nothing is in flight any more and the recovery was handed out.
    Recovering {
        plan: Recovery,
        begun: bool,
    },
    Closed(ProduceError),
}

impl PartitionQueue {
    pub(crate) fn new(
        topic: Arc<str>,
        partition: PartitionIndex,
        config: Arc<ProducerConfig>,
        route: Route,
        identity: Option<Identity>,
    ) -> PartitionQueue {
        // Without a leader the first batch has nowhere to go; recovery finds one.
        let inner = Inner {
            route,
            identity,
            is_known: false,
            next_sequence: 0,
            next_id: 0,
            open: None,
            sealed: VecDeque::new(),
            sent: VecDeque::new(),
            bytes_in_flight: 0,
            expected_bytes: 1_024,
            phase: Phase::Running,
            scheduled: false,
            timed: false,
            hurry: false,
            failures: 0,
        };
        PartitionQueue { topic, partition, config, inner: Mutex::new(inner) }
    }

    /// Takes a record. Its bytes are in the batch when this returns.
    pub(crate) fn append(
        &self,
        record: &Record<'_>,
        timestamp_ms: i64,
        reserved_bytes: usize,
    ) -> Result<Appended, ProduceError> {
        let mut inner = self.lock();
        if let Phase::Closed(error) = &inner.phase {
            return Err(error.clone());
        }
        let mut sealed = false;
        let index = loop {
            let fresh = inner.open.is_none();
            let expected_bytes = inner.expected_bytes;
            let open = inner.open.get_or_insert_with(|| self.open_batch(expected_bytes));
            match open.append(record, timestamp_ms, reserved_bytes) {
                Ok(index) => break index,
                Err(AppendError::Full { .. }) if !fresh => {
                    sealed = true;
                    let full = inner.open.take();
                    inner.sealed.extend(full);
                }
                Err(error) => return Err(self.refuse(&mut inner, &error)),
            }
        };
        let open = inner.open.as_ref().expect("the record was just put there");
        let delivery = Delivery::new(open.outcome.clone(), index, timestamp_ms);
        let schedule = self.next_step(&mut inner);
        let completes = sealed || matches!(schedule, Some(Schedule::Now(_)));
        Ok(Appended { delivery, sealed, completes, schedule })
    }

    fn open_batch(&self, expected_bytes: usize) -> OpenBatch {
        let (compression, batch_bytes) = (self.config.compression, self.config.batch_bytes);
        OpenBatch::new(self.topic.clone(), self.partition, compression, batch_bytes, expected_bytes)
    }

    fn refuse(&self, inner: &mut Inner, error: &AppendError) -> ProduceError {
        if inner.open.as_ref().is_some_and(OpenBatch::is_empty) {
            inner.open = None;
        }
        let topic = self.topic.to_string();
        ProduceError::Encode { topic, partition: self.partition, reason: error.to_string() }
    }

    /// Which list the queue belongs on now, if it is not there already.
    fn next_step(&self, inner: &mut Inner) -> Option<Schedule> {
        if inner.scheduled || !matches!(inner.phase, Phase::Running) {
            return None;
        }
        if self.is_drainable(inner, Instant::now) {
            return Some(match inner.route.sender.clone() {
                Some(sender) => {
                    inner.scheduled = true;
                    Schedule::Now(sender)
                }
                None => Schedule::Nowhere,
            });
        }
        if self.config.linger.is_zero() || inner.timed {
            return None;
        }
        let due = inner.open.as_ref()?.created + self.config.linger;
        let sender = inner.route.sender.clone()?;
        inner.timed = true;
        Some(Schedule::At(due, sender))
    }

    /// Whether a batch may leave now.
    fn is_drainable(&self, inner: &Inner, now: impl FnOnce() -> Instant) -> bool {
        if !matches!(inner.phase, Phase::Running) {
            return false;
        }
        // A broker that does not know the producer takes any sequence as its first (M-33). Were a second batch on its
        // way while the first is refused, it would stand before it for good; so the first one goes alone.
        let is_unknown = inner.identity.is_some() && !inner.is_known;
        if is_unknown && inner.sent.iter().any(|batch| batch.whereabouts != Whereabouts::Waiting) {
            return false;
        }
        if inner.sent.iter().any(|batch| batch.whereabouts == Whereabouts::Waiting) {
            return true;
        }
        // Counted from the oldest unsettled batch and not by their number: the broker remembers the last five of a
        // producer, so the oldest must be among them when it is sent again, whatever came through after it.
        let oldest = inner.sent.front().map_or(inner.next_id, |batch| batch.id);
        if inner.next_id - oldest >= self.config.max_in_flight as u64 {
            return false;
        }
        !inner.sealed.is_empty() || self.may_leave_partial(inner, now)
    }

    /// Whether the open batch may leave as it is: at once while little is on its way, else when it is full.
    fn may_leave_partial(&self, inner: &Inner, now: impl FnOnce() -> Instant) -> bool {
        let Some(open) = &inner.open else { return false };
        if inner.hurry {
            return true;
        }
        if self.config.linger.is_zero() {
            inner.bytes_in_flight <= self.config.busy_bytes() || open.size_bytes() >= self.config.batch_bytes
        } else {
            now() >= open.created + self.config.linger
        }
    }

    /// Takes the next batch to send over `by`; the effects say when the queue is due again.
    ///
    /// Only the one task that feeds the leader's connection gets something, so encoding outside the lock cannot reorder. A
    /// broker that led before may still have the queue on its list when it comes back: it gets nothing.
    pub(crate) fn drain(&self, by: &Arc<BrokerSender>) -> (Option<Drained>, Effects) {
        let mut effects = Effects::default();
        let mut inner = self.lock();
        if !inner.route.sender.as_ref().is_some_and(|sender| Arc::ptr_eq(sender, by)) {
            return (None, effects);
        }
        inner.scheduled = false;
        if !self.is_drainable(&inner, Instant::now) {
            effects.schedule = self.next_step(&mut inner);
            return (None, effects);
        }
        let drained = match self.drain_waiting(&mut inner) {
            Some(again) => Some(again),
            None => {
                let (id, batch, numbered) = self.number(&mut inner);
                drop(inner);
                let payload = batch.encode(numbered);
                inner = self.lock();
                self.hand_over(&mut inner, id, payload, &mut effects)
            }
        };
        effects.schedule = self.next_step(&mut inner);
        (drained, effects)
    }

    fn drain_waiting(&self, inner: &mut Inner) -> Option<Drained> {
        let batch = inner.sent.iter_mut().find(|b| b.whereabouts == Whereabouts::Waiting)?;
        batch.whereabouts = Whereabouts::InFlight;
        batch.attempts += 1;
        let (id, payload) = (batch.id, batch.payload.clone());
        inner.bytes_in_flight += payload.len();
        Some(self.drained(inner, id, payload))
    }

    fn number(&self, inner: &mut Inner) -> (u64, OpenBatch, Option<(Identity, i32)>) {
        let batch = inner.sealed.pop_front().or_else(|| inner.open.take());
        let batch = batch.expect("a drainable queue has a batch");
        if inner.open.is_none() {
            inner.hurry = false;
        }
        let numbered = inner.identity.map(|identity| (identity, inner.next_sequence));
        if numbered.is_some() {
            inner.next_sequence = sequence_after(inner.next_sequence, batch.records());
        }
        inner.expected_bytes = batch.size_bytes().max(inner.expected_bytes / 2);
        let id = inner.next_id;
        inner.next_id += 1;
        inner.sent.push_back(SentBatch {
            id,
            records: batch.records(),
            payload: bytes::Bytes::new(),
            outcome: batch.outcome.clone(),
            created: batch.created,
            reserved_bytes: batch.reserved_bytes,
            attempts: 0,
            whereabouts: Whereabouts::Encoding,
            last: String::new(),
        });
        (id, batch, numbered)
    }

    fn hand_over(
        &self,
        inner: &mut Inner,
        id: u64,
        payload: bytes::Bytes,
        effects: &mut Effects,
    ) -> Option<Drained> {
        // The producer may have been closed while the batch was encoded; then it is gone.
        let batch = inner.sent.iter_mut().rev().find(|b| b.id == id)?;
        batch.payload = payload.clone();
        batch.whereabouts = Whereabouts::InFlight;
        batch.attempts = 1;
        if self.config.acks == Acks::None {
            let batch = inner.sent.pop_back().expect("it was just found");
            effects.released_bytes += batch.reserved_bytes;
            effects.settled.push((batch.outcome, Ok(Written { base_offset: None, append_time_ms: None })));
        } else {
            inner.bytes_in_flight += payload.len();
        }
        Some(self.drained(inner, id, payload))
    }

    fn drained(&self, inner: &Inner, id: u64, batch: bytes::Bytes) -> Drained {
        let topic_id = inner.route.topic_id.to_wire();
        Drained { id, part: grpc::ProducePartition { topic_id, partition: self.partition.0, batch } }
    }

    /// Takes the broker's answer to batch `id`.
    pub(crate) fn answered(&self, id: u64, answer: &grpc::ProducePartitionResult) -> Effects {
        let mut effects = Effects::default();
        let mut guard = self.lock();
        let inner = &mut *guard;
        let Some(position) =
            inner.sent.iter().position(|b| b.id == id && b.whereabouts == Whereabouts::InFlight)
        else {
            return effects; // given up in the meantime
        };
        inner.bytes_in_flight -= inner.sent[position].payload.len();
        match ErrorCode::from_wire(answer.error) {
            ErrorCode::None | ErrorCode::DuplicateSequenceNumber => {
                let written = Written {
                    base_offset: (answer.base_offset >= 0).then_some(Offset(answer.base_offset)),
                    append_time_ms: (answer.log_append_time_ms >= 0).then_some(answer.log_append_time_ms),
                };
                inner.settle_at(position, Ok(written), &mut effects);
                inner.failures = 0;
                inner.is_known = true;
            }
            code => self.refused(inner, position, code, &answer.message, &mut effects),
        }
        self.follow_up(inner, &mut effects);
        effects
    }

    fn refused(
        &self,
        inner: &mut Inner,
        position: usize,
        code: ErrorCode,
        message: &str,
        effects: &mut Effects,
    ) {
        let message = if message.is_empty() { code.text() } else { message };
        let stale = code.retry() == highwater_proto::error_code::Retry::RefreshMetadata;
        match code {
            // Answered to a batch whose predecessor failed, or to one that follows a gap this producer knows of
            // (a batch it gave up). Either way nothing of it was written: brokers answer real duplicates as such.
            ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId
                if inner.identity.is_some() =>
            {
                let first = position == 0;
                inner.wait_again(position, format!("{message} ({code:?})"));
                inner.plan_recovery(|plan| plan.new_identity |= first);
            }
            ErrorCode::InvalidProducerEpoch | ErrorCode::ProducerFenced => {
                let error = ProduceError::Fenced { code, message: message.to_owned() };
                inner.settle_at(position, Err(error.clone()), effects);
                effects.fenced = Some(error);
            }
            code if code.is_retriable() => {
                let version = inner.route.version;
                inner.wait_again(position, format!("{message} ({code:?})"));
                inner.plan_recovery(|plan| {
                    plan.stale_version = stale.then_some(version).or(plan.stale_version)
                });
            }
            code => {
                let error = ProduceError::Refused {
                    topic: self.topic.to_string(),
                    partition: self.partition,
                    code,
                    message: message.to_owned(),
                };
                inner.settle_at(position, Err(error), effects);
            }
        }
    }

    /// The connection broke before batch `id` was answered.
    pub(crate) fn lost(&self, id: u64, reason: &str) -> Effects {
        let mut effects = Effects::default();
        let mut guard = self.lock();
        let inner = &mut *guard;
        let found = inner.sent.iter().position(|b| b.id == id && b.whereabouts == Whereabouts::InFlight);
        if let Some(position) = found {
            inner.bytes_in_flight -= inner.sent[position].payload.len();
            inner.wait_again(position, reason.to_owned());
            let version = inner.route.version;
            inner.plan_recovery(|plan| plan.stale_version = Some(version));
            self.follow_up(inner, &mut effects);
        }
        effects
    }

    /// After a recovery: the batches that wait are sent again, over `route`, numbered anew if `identity` says so.
    pub(crate) fn resume(&self, route: Route, identity: Option<Identity>) -> Effects {
        let mut effects = Effects::default();
        let mut guard = self.lock();
        let inner = &mut *guard;
        if matches!(inner.phase, Phase::Closed(_)) {
            return effects;
        }
        inner.route = route;
        // It may be on the list of the broker that led before, which nobody works off any more.
        inner.scheduled = false;
        inner.timed = false;
        if let Some(identity) = identity {
            inner.identity = Some(identity);
            inner.is_known = false;
            inner.next_sequence = 0;
            for batch in &mut inner.sent {
                batch.payload = renumber(&batch.payload, identity, inner.next_sequence);
                inner.next_sequence = sequence_after(inner.next_sequence, batch.records);
            }
        }
        inner.phase = Phase::Running;
        self.follow_up(inner, &mut effects);
        effects
    }

    /// Puts the partition into recovery although nothing failed: it has no leader, or may have another one.
    pub(crate) fn reroute(&self) -> Effects {
        let mut effects = Effects::default();
        let mut guard = self.lock();
        let version = guard.route.version;
        guard.plan_recovery(|plan| plan.stale_version = Some(version));
        self.follow_up(&mut guard, &mut effects);
        effects
    }

    /// Whether an answer about this topic is about this queue.
    pub(crate) fn is_topic(&self, wire_id: &[u8]) -> bool {
        self.lock().route.topic_id.0[..] == *wire_id
    }

    /// Whether its batches go to this broker.
    pub(crate) fn is_routed_to(&self, broker: BrokerId) -> bool {
        self.lock().route.sender.as_ref().is_some_and(|sender| sender.broker == broker)
    }

    /// Gives up what is older than `delivery_timeout`.
    pub(crate) fn expire(&self, now: Instant) -> Effects {
        let mut effects = Effects::default();
        let mut guard = self.lock();
        let inner = &mut *guard;
        let timeout = self.config.delivery_timeout;
        let is_over = |created: Instant| now.saturating_duration_since(created) >= timeout;
        while let Some(batch) = inner.sent.front() {
            if batch.whereabouts == Whereabouts::Encoding || !is_over(batch.created) {
                break;
            }
            if batch.whereabouts == Whereabouts::InFlight {
                inner.bytes_in_flight -= batch.payload.len();
            }
            let error = self.timed_out(timeout, batch.attempts, &batch.last);
            inner.settle_at(0, Err(error), &mut effects);
        }
        let trouble = inner.route.sender.as_ref().and_then(|sender| sender.trouble());
        let last = trouble.as_deref().unwrap_or("the partition's leader is not known");
        while let Some(batch) = inner.sealed.pop_front_if(|batch| is_over(batch.created)) {
            self.give_up(batch, timeout, last, &mut effects);
        }
        if inner.sealed.is_empty() && inner.open.as_ref().is_some_and(|open| is_over(open.created)) {
            let open = inner.open.take().expect("it was just looked at");
            self.give_up(open, timeout, last, &mut effects);
        }
        self.follow_up(inner, &mut effects);
        effects
    }

    fn give_up(&self, batch: OpenBatch, timeout: Duration, last: &str, effects: &mut Effects) {
        effects.released_bytes += batch.reserved_bytes;
        effects.settled.push((batch.outcome, Err(self.timed_out(timeout, 0, last))));
    }

    fn timed_out(&self, after: Duration, attempts: u32, last: &str) -> ProduceError {
        let last = if last.is_empty() { "none" } else { last }.to_owned();
        ProduceError::TimedOut {
            topic: self.topic.to_string(),
            partition: self.partition,
            after,
            attempts,
            last,
        }
    }

    /// Fails everything that is not acknowledged, and every later append.
    pub(crate) fn close(&self, error: &ProduceError) -> Effects {
        let mut effects = Effects::default();
        let mut inner = self.lock();
        inner.phase = Phase::Closed(error.clone());
        inner.bytes_in_flight = 0;
        for batch in inner.sent.drain(..) {
            effects.released_bytes += batch.reserved_bytes;
            effects.settled.push((batch.outcome, Err(error.clone())));
        }
        let open = inner.open.take();
        for batch in inner.sealed.drain(..).chain(open) {
            effects.released_bytes += batch.reserved_bytes;
            effects.settled.push((batch.outcome, Err(error.clone())));
        }
        effects
    }

    /// Lets the open batch leave without waiting, and lists everything that is not settled yet.
    pub(crate) fn hurry(&self) -> (Vec<Arc<BatchOutcome>>, Effects) {
        let mut effects = Effects::default();
        let mut inner = self.lock();
        inner.hurry = inner.open.is_some();
        let mut unsettled: Vec<_> = inner.sent.iter().map(|batch| batch.outcome.clone()).collect();
        unsettled.extend(inner.sealed.iter().chain(&inner.open).map(|batch| batch.outcome.clone()));
        self.follow_up(&mut inner, &mut effects);
        (unsettled, effects)
    }

    /// A linger timer fired, or something else may have made a batch ready.
    pub(crate) fn look_again(&self) -> Effects {
        let mut effects = Effects::default();
        let mut inner = self.lock();
        inner.timed = false;
        self.follow_up(&mut inner, &mut effects);
        effects
    }

    /// Decides what comes after any change: recovery once nothing is in flight, or the next batch.
    fn follow_up(&self, inner: &mut Inner, effects: &mut Effects) {
        let settled = inner.sent.iter().all(|batch| batch.whereabouts == Whereabouts::Waiting);
        if let Phase::Recovering { plan, begun } = &mut inner.phase {
            if settled && !*begun {
                *begun = true;
                plan.failures = inner.failures;
                inner.failures = inner.failures.saturating_add(1);
                effects.recover = Some(*plan);
            }
            return;
        }
        effects.schedule = self.next_step(inner);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn settle_at(&mut self, position: usize, result: Result<Written, ProduceError>, effects: &mut Effects) {
        if let Some(batch) = self.sent.remove(position) {
            effects.released_bytes += batch.reserved_bytes;
            effects.settled.push((batch.outcome, result));
        }
    }

    fn wait_again(&mut self, position: usize, reason: String) {
        let batch = &mut self.sent[position];
        batch.whereabouts = Whereabouts::Waiting;
        batch.last = reason;
    }

    fn plan_recovery(&mut self, change: impl FnOnce(&mut Recovery)) {
        match &mut self.phase {
            Phase::Recovering { plan, .. } => change(plan),
            Phase::Running => {
                let mut plan = Recovery::default();
                change(&mut plan);
                self.phase = Phase::Recovering { plan, begun: false };
            }
            Phase::Closed(_) => {}
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
