//! The consumer as its user holds it, and what it decides about answers and failures.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use highwater_proto::error_code::Retry;
use highwater_proto::{BrokerId, ErrorCode, Offset, PartitionIndex, grpc};

use crate::client::Client;
use crate::consumer::assignment::{Assigned, Assignment, Cursor};
use crate::consumer::config::{ConsumerConfig, OffsetReset};
use crate::consumer::position::{Position, resolve};
use crate::consumer::records::{BatchReader, ConsumerRecord, FetchedBatch, Records};
use crate::consumer::repair::{Cure, Patient, repair};
use crate::consumer::session::{Event, Session};
use crate::consumer::stream::RecordStream;
use crate::error::{AdminError, ConsumeError};
use crate::metadata::Freshness;

/// How often "no such topic" may be the answer about an assigned topic before the caller hears of it: metadata of a
/// broker that has just started may lag.
const NOT_FOUND_PATIENCE: u32 = 3;

/// Reads assigned partitions. Make it with [`Client::consumer`](crate::Client::consumer).
///
/// ```no_run
/// # async fn example(client: highwater_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use futures_util::StreamExt;
/// use highwater_client::{ConsumerConfig, Position};
/// use std::time::Duration;
///
/// let mut consumer = client.consumer(ConsumerConfig::default());
/// consumer.assign("orders", 0, Position::Beginning).await?;
///
/// // Batch-wise, with a bound on the wait:
/// for record in consumer.poll(Duration::from_secs(1)).await?.iter() {
///     println!("{}", record?.offset);
/// }
/// // Or record by record:
/// let mut records = consumer.stream();
/// while let Some(record) = records.next().await {
///     println!("{}", record?.offset);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    config: ConsumerConfig,
    assignment: Assignment,
    sessions: Vec<Session>,
    /// Which session is polled first; rotates, so that a busy leader cannot starve the others.
    first_session: usize,
    repairs: Repairs,
    /// Received and not handed out yet.
    pending: VecDeque<FetchedBatch>,
    /// The batch that `next` and `stream` are in.
    current: Option<(FetchedBatch, BatchReader)>,
    errors: VecDeque<ConsumeError>,
}

#[derive(Default)]
struct Repairs(FuturesUnordered<BoxFuture<'static, (Patient, Result<Cure, AdminError>)>>);

impl std::fmt::Debug for Repairs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} repairs", self.0.len())
    }
}

impl Consumer {
    pub(crate) fn new(client: Client, config: ConsumerConfig) -> Consumer {
        Consumer {
            client,
            config,
            assignment: Assignment::default(),
            sessions: Vec::new(),
            first_session: 0,
            repairs: Repairs::default(),
            pending: VecDeque::new(),
            current: None,
            errors: VecDeque::new(),
        }
    }

    /// Adds a partition, or moves it if it is there already.
    ///
    /// # Errors
    /// When topic or partition do not exist, or the position cannot be looked up.
    pub async fn assign(
        &mut self,
        topic: &str,
        partition: i32,
        position: Position,
    ) -> Result<(), ConsumeError> {
        self.assign_some(topic, Some(&[partition]), position).await
    }

    /// Adds every partition that the topic has now.
    ///
    /// # Errors
    /// As [`Consumer::assign`].
    pub async fn assign_all(&mut self, topic: &str, position: Position) -> Result<(), ConsumeError> {
        self.assign_some(topic, None, position).await
    }

    async fn assign_some(
        &mut self,
        topic: &str,
        partitions: Option<&[i32]>,
        position: Position,
    ) -> Result<(), ConsumeError> {
        self.config.validate()?;
        let info = self.client.topic(topic, Freshness::ANEW).await?;
        let count = i32::try_from(info.partitions.len()).unwrap_or(i32::MAX);
        let wanted = partitions.map_or_else(|| (0..count).collect(), <[i32]>::to_vec);
        if let Some(unknown) = wanted.iter().find(|p| !(0..count).contains(p)) {
            let partition = PartitionIndex(*unknown);
            return Err(ConsumeError::UnknownPartition {
                topic: topic.to_owned(),
                partition,
                partitions: count,
            });
        }
        let offsets = resolve(&self.client, &info, &wanted, position).await?;
        for (partition, offset) in wanted.into_iter().zip(offsets) {
            let index = self.assignment.put(Assigned::new(&info, PartitionIndex(partition), offset));
            self.forget_received(index);
        }
        Ok(())
    }

    /// Takes a partition out.
    ///
    /// # Errors
    /// [`ConsumeError::NotAssigned`].
    pub fn unassign(&mut self, topic: &str, partition: i32) -> Result<(), ConsumeError> {
        let index = self.index_of(topic, partition)?;
        self.forget_received(index);
        self.assignment.take(index);
        Ok(())
    }

    /// Moves a partition to another place; what was prefetched from the old one is dropped.
    ///
    /// # Errors
    /// [`ConsumeError::NotAssigned`], or the position cannot be looked up.
    pub async fn seek(
        &mut self,
        topic: &str,
        partition: i32,
        position: Position,
    ) -> Result<(), ConsumeError> {
        let index = self.index_of(topic, partition)?;
        let offset = match position {
            Position::Offset(offset) => offset,
            _ => {
                let info = self.client.topic(topic, Freshness::Cached).await?;
                let offsets = resolve(&self.client, &info, &[partition], position).await?;
                offsets.into_iter().next().expect("one offset was asked for")
            }
        };
        self.assignment.partitions[index].move_to(offset);
        self.forget_received(index);
        Ok(())
    }

    /// Stops reading a partition; its position stays.
    ///
    /// # Errors
    /// [`ConsumeError::NotAssigned`].
    pub fn pause(&mut self, topic: &str, partition: i32) -> Result<(), ConsumeError> {
        let index = self.index_of(topic, partition)?;
        let position = self.assignment.partitions[index].position;
        self.assignment.partitions[index].move_to(position);
        self.forget_received(index);
        self.assignment.partitions[index].cursor = Cursor::Paused;
        Ok(())
    }

    /// Goes on with a paused partition where it stopped.
    ///
    /// # Errors
    /// [`ConsumeError::NotAssigned`].
    pub fn resume(&mut self, topic: &str, partition: i32) -> Result<(), ConsumeError> {
        let index = self.index_of(topic, partition)?;
        if self.assignment.partitions[index].cursor == Cursor::Paused {
            self.forget_received(index);
        }
        Ok(())
    }

    /// The offset of the next record that will be handed out.
    ///
    /// # Errors
    /// [`ConsumeError::NotAssigned`].
    pub fn position(&self, topic: &str, partition: i32) -> Result<Offset, ConsumeError> {
        Ok(self.assignment.partitions[self.index_of(topic, partition)?].position)
    }

    /// The end of what can be read, as the last answer said; `None` before the first.
    ///
    /// # Errors
    /// [`ConsumeError::NotAssigned`].
    pub fn high_watermark(&self, topic: &str, partition: i32) -> Result<Option<Offset>, ConsumeError> {
        Ok(self.assignment.partitions[self.index_of(topic, partition)?].high_watermark)
    }

    /// Waits up to `max_wait` for batches and returns what is there; empty when the time is over. Dropping the future
    /// loses nothing.
    ///
    /// # Errors
    /// What a retry inside the consumer does not cure. The position stays before whatever was not handed out.
    pub async fn poll(&mut self, max_wait: Duration) -> Result<Records, ConsumeError> {
        let received = std::future::poll_fn(|cx| self.poll_received(cx));
        match tokio::time::timeout(max_wait, received).await {
            Ok(Ok(())) => Ok(self.hand_out()),
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(Records::default()),
        }
    }

    /// The next record; `None` when nothing is assigned. Dropping the future loses nothing.
    ///
    /// # Errors
    /// As [`Consumer::poll`].
    pub async fn next(&mut self) -> Result<Option<ConsumerRecord>, ConsumeError> {
        std::future::poll_fn(|cx| self.poll_record(cx)).await.transpose()
    }

    /// The records as an endless [`Stream`](futures_util::Stream). It may be dropped and taken again: it holds
    /// nothing of its own.
    pub fn stream(&mut self) -> RecordStream<'_> {
        RecordStream::new(self)
    }

    pub(crate) fn poll_record(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<ConsumerRecord, ConsumeError>>> {
        loop {
            if let Some((batch, reader)) = &mut self.current {
                let index = self.assignment.index_of_batch(batch);
                match reader.next() {
                    Some(Ok(record)) => {
                        self.set_position(index, record.offset.advance(1));
                        return Poll::Ready(Some(Ok(record)));
                    }
                    ended => {
                        let next = batch.next_offset();
                        self.current = None;
                        match ended {
                            Some(Err(error)) => {
                                self.fetch_again(index);
                                return Poll::Ready(Some(Err(error)));
                            }
                            _ => self.set_position(index, next),
                        }
                    }
                }
            } else if let Some(batch) = self.pending.pop_front() {
                let index = self.assignment.index_of_batch(&batch);
                match batch.reader() {
                    Ok(reader) => self.current = Some((batch, reader)),
                    Err(error) => {
                        self.fetch_again(index);
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            } else if self.assignment.partitions.is_empty() {
                return Poll::Ready(None);
            } else if let Err(error) = std::task::ready!(self.poll_received(cx)) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn hand_out(&mut self) -> Records {
        let mut batches = Vec::with_capacity(self.pending.len() + 1);
        if let Some((mut batch, _)) = self.current.take() {
            if let Some(index) = self.assignment.index_of_batch(&batch) {
                batch.skip_to(self.assignment.partitions[index].position);
            }
            batches.push(batch);
        }
        batches.extend(self.pending.drain(..));
        for batch in &batches {
            let index = self.assignment.index_of_batch(batch);
            self.set_position(index, batch.next_offset());
        }
        Records { batches }
    }

    fn set_position(&mut self, index: Option<usize>, position: Offset) {
        if let Some(index) = index {
            let partition = &mut self.assignment.partitions[index];
            partition.position = partition.position.max(position);
        }
    }

    /// Ready once something is pending.
    fn poll_received(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConsumeError>> {
        loop {
            if self.current.is_some() || !self.pending.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if let Some(error) = self.errors.pop_front() {
                return Poll::Ready(Err(error));
            }
            let mut progress = self.poll_repairs(cx);
            self.place_cursors();
            for turn in 0..self.sessions.len() {
                let at = (self.first_session + turn) % self.sessions.len();
                let session = &mut self.sessions[at];
                let broker = session.broker;
                let is_wanted = self
                    .assignment
                    .partitions
                    .iter()
                    .any(|p| p.leader == Some(broker) && p.cursor == Cursor::Placed);
                match session.poll(&self.client, &self.config, is_wanted, cx) {
                    Poll::Pending => continue,
                    Poll::Ready(Event::Answer(answer)) => self.take_answer(answer),
                    Poll::Ready(Event::Broke(reason)) => self.lost(broker, &reason),
                }
                self.first_session = at + 1;
                progress = true;
                break;
            }
            if !progress {
                return Poll::Pending;
            }
        }
    }

    /// Puts every partition that is to be read into its leader's session.
    fn place_cursors(&mut self) {
        for index in 0..self.assignment.partitions.len() {
            let partition = &self.assignment.partitions[index];
            if let (Cursor::Absent, Some(broker)) = (partition.cursor, partition.leader) {
                self.restart_session(broker);
            }
        }
        for index in 0..self.assignment.partitions.len() {
            let partition = &self.assignment.partitions[index];
            match (partition.cursor, partition.leader) {
                (Cursor::Failed, _) | (Cursor::Absent, None) => self.start_repair(index, None),
                (Cursor::Absent, Some(broker)) => {
                    let at = self.session_of(broker);
                    let position = self.assignment.partitions[index].place();
                    self.sessions[at].place(position);
                }
                _ => {}
            }
        }
    }

    fn session_of(&mut self, broker: BrokerId) -> usize {
        match self.sessions.iter().position(|session| session.broker == broker) {
            Some(at) => at,
            None => {
                self.sessions.push(Session::new(broker));
                self.sessions.len() - 1
            }
        }
    }

    fn take_answer(&mut self, answer: grpc::FetchResponse) {
        let mut received = Vec::new();
        for result in answer.partitions {
            let Some(index) = self.assignment.index_of_id(&result.topic_id, result.partition) else {
                continue;
            };
            let partition = &mut self.assignment.partitions[index];
            if partition.cursor != Cursor::Placed || partition.generation != result.cursor_generation {
                continue;
            }
            if result.error != ErrorCode::None.to_wire() {
                self.take_error(index, &result);
                continue;
            }
            partition.high_watermark = Some(Offset(result.high_watermark));
            partition.failures = 0;
            if let Err(error) = partition.receive(result.records, &self.config, &mut received) {
                // The session's cursor is past the damage: ask for it again when the caller does.
                self.leave_session(index);
                self.assignment.partitions[index].cursor = Cursor::Failed;
                self.errors.push_back(error);
            }
        }
        self.pending.extend(received);
    }

    fn take_error(&mut self, index: usize, result: &grpc::FetchPartitionResult) {
        let code = ErrorCode::from_wire(result.error);
        self.leave_session(index);
        let partition = &mut self.assignment.partitions[index];
        let (topic, number) = (partition.topic.to_string(), partition.partition);
        match (code, self.config.offset_reset) {
            (ErrorCode::OffsetOutOfRange, OffsetReset::Earliest) => {
                self.start_repair(index, Some(Position::Beginning));
            }
            (ErrorCode::OffsetOutOfRange, OffsetReset::Latest) => {
                self.start_repair(index, Some(Position::End));
            }
            (ErrorCode::OffsetOutOfRange, OffsetReset::Fail) => {
                partition.cursor = Cursor::Failed;
                self.errors.push_back(ConsumeError::OffsetOutOfRange {
                    topic,
                    partition: number,
                    offset: partition.fetch_from,
                    log_start: Offset(result.log_start_offset),
                    log_end: Offset(result.high_watermark),
                });
            }
            (code, _) if code.retry() != Retry::Never => self.start_repair(index, None),
            (code, _) => {
                partition.cursor = Cursor::Failed;
                let message =
                    if result.message.is_empty() { code.text() } else { &result.message }.to_owned();
                self.errors.push_back(ConsumeError::Refused { topic, partition: number, code, message });
            }
        }
    }

    /// The connection to a leader broke: its partitions go on at the next offset, there or at another leader.
    fn lost(&mut self, broker: BrokerId, reason: &str) {
        tracing::debug!(broker = broker.0, reason, "fetch stream ended");
        let failures = self.sessions.iter().find(|s| s.broker == broker).map_or(0, |s| s.failures);
        for index in 0..self.assignment.partitions.len() {
            let partition = &mut self.assignment.partitions[index];
            if partition.leader == Some(broker) && partition.cursor == Cursor::Placed {
                partition.cursor = Cursor::Absent;
                if failures > 1 {
                    self.start_repair(index, None);
                }
            }
        }
    }

    fn start_repair(&mut self, index: usize, reset_to: Option<Position>) {
        self.leave_session(index);
        let partition = &mut self.assignment.partitions[index];
        partition.cursor = Cursor::Repairing;
        partition.generation = partition.generation.wrapping_add(1);
        let patient = Patient {
            topic: partition.topic.clone(),
            partition: partition.partition,
            generation: partition.generation,
            stale_version: partition.version,
            wait: self.client.config().backoff().wait(partition.failures),
            reset_to,
        };
        partition.failures = partition.failures.saturating_add(1);
        self.repairs.0.push(Box::pin(repair(self.client.clone(), patient)));
    }

    /// Takes a partition out of its leader's session.
    fn leave_session(&mut self, index: usize) {
        let partition = &self.assignment.partitions[index];
        let session = self.sessions.iter_mut().find(|session| Some(session.broker) == partition.leader);
        if let Some(session) = session.filter(|_| partition.cursor == Cursor::Placed) {
            let (topic_id, partition) = (partition.topic_id.to_wire(), partition.partition.0);
            session.forget(grpc::FetchPartitionId { topic_id, partition });
        }
    }

    fn poll_repairs(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        while let Poll::Ready(Some((patient, result))) = self.repairs.0.poll_next_unpin(cx) {
            let index = self.assignment.index_of(&patient.topic, patient.partition);
            let Some(index) = index.filter(|index| {
                let partition = &self.assignment.partitions[*index];
                partition.generation == patient.generation && partition.cursor == Cursor::Repairing
            }) else {
                continue;
            };
            progress = true;
            match result {
                Ok(cure) => self.cured(index, &cure),
                Err(error) => self.not_cured(index, &patient, error),
            }
        }
        progress
    }

    fn cured(&mut self, index: usize, cure: &Cure) {
        let partition = &mut self.assignment.partitions[index];
        let is_another = partition.topic_id != cure.topic.id;
        partition.learn(&cure.topic);
        partition.cursor = Cursor::Absent;
        if let Some(position) = cure.position {
            partition.move_to(position);
        }
        if is_another {
            // The topic was deleted and made anew: offsets of the old one say nothing about it.
            let message = "the topic was deleted and created again; seek to go on in the new one".to_owned();
            let error = ConsumeError::Refused {
                topic: partition.topic.to_string(),
                partition: partition.partition,
                code: ErrorCode::UnknownTopicId,
                message,
            };
            self.assignment.reindex();
            match self.config.offset_reset {
                OffsetReset::Fail => self.errors.push_back(error),
                OffsetReset::Earliest => self.start_repair(index, Some(Position::Beginning)),
                OffsetReset::Latest => self.start_repair(index, Some(Position::End)),
            }
        }
    }

    fn not_cured(&mut self, index: usize, patient: &Patient, error: AdminError) {
        let partition = &mut self.assignment.partitions[index];
        let is_told = if error.is_not_found() {
            partition.failures >= NOT_FOUND_PATIENCE
        } else {
            !error.is_retriable()
        };
        if is_told {
            partition.cursor = Cursor::Failed;
            self.errors.push_back(error.into());
        } else {
            self.start_repair(index, patient.reset_to);
        }
    }

    /// A batch could not be decoded: what was received is void, and is fetched again when the caller asks.
    fn fetch_again(&mut self, index: Option<usize>) {
        if let Some(index) = index {
            let position = self.assignment.partitions[index].position;
            self.assignment.partitions[index].move_to(position);
            self.forget_received(index);
            self.assignment.partitions[index].cursor = Cursor::Failed;
        }
    }

    /// Drops what was received for a partition, and has its leader's session begin anew.
    fn forget_received(&mut self, index: usize) {
        let partition = &mut self.assignment.partitions[index];
        let (topic, number, leader) = (partition.topic.clone(), partition.partition, partition.leader);
        let was_placed = partition.cursor == Cursor::Placed;
        partition.cursor = Cursor::Absent;
        let is_other = |batch: &FetchedBatch| batch.partition() != number || *batch.topic() != topic;
        self.pending.retain(is_other);
        if self.current.as_ref().is_some_and(|(batch, _)| !is_other(batch)) {
            self.current = None;
        }
        if let Some(broker) = leader.filter(|_| was_placed) {
            self.restart_session(broker);
        }
    }

    /// Has a leader's stream begin anew if requests are out on it: a cursor added to the stream would wait behind
    /// them, and they may be waiting for data.
    fn restart_session(&mut self, broker: BrokerId) {
        let session = self.sessions.iter_mut().find(|session| session.broker == broker);
        if session.is_some_and(Session::restart) {
            for partition in &mut self.assignment.partitions {
                if partition.leader == Some(broker) && partition.cursor == Cursor::Placed {
                    partition.cursor = Cursor::Absent;
                }
            }
        }
    }

    fn index_of(&self, topic: &str, partition: i32) -> Result<usize, ConsumeError> {
        let number = PartitionIndex(partition);
        self.assignment
            .index_of(topic, number)
            .ok_or_else(|| ConsumeError::NotAssigned { topic: topic.to_owned(), partition: number })
    }
}
