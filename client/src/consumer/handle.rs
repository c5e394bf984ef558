//! The consumer as its user holds it, and what it decides about answers and failures.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use highwater_proto::{BrokerId, ErrorCode, Offset, PartitionIndex, grpc};

use crate::client::Client;
use crate::consumer::assignment::{Assigned, Assignment, Cursor};
use crate::consumer::config::ConsumerConfig;
use crate::consumer::failures::Repairs;
use crate::consumer::position::{Position, resolve};
use crate::consumer::records::{BatchReader, ConsumerRecord, FetchedBatch, Records};
use crate::consumer::session::{Event, Session};
use crate::consumer::stream::RecordStream;
use crate::error::ConsumeError;
use crate::metadata::{Freshness, TopicInfo};

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
    pub(super) client: Client,
    pub(super) config: ConsumerConfig,
    pub(super) assignment: Assignment,
    pub(super) sessions: Vec<Session>,
    /// Which session is polled first; rotates, so that a busy leader cannot starve the others.
    pub(super) first_session: usize,
    pub(super) repairs: Repairs,
    /// Received and not handed out yet.
    pub(super) pending: VecDeque<FetchedBatch>,
    /// The batch that `next` and `stream` are in.
    pub(super) current: Option<(FetchedBatch, BatchReader)>,
    pub(super) errors: VecDeque<ConsumeError>,
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

    /// Adds partitions, each at an offset of its own.
    ///
    /// # Errors
    /// When topic or partitions do not exist.
    pub async fn assign_offsets(
        &mut self,
        topic: &str,
        offsets: &[(i32, Offset)],
    ) -> Result<(), ConsumeError> {
        let partitions: Vec<i32> = offsets.iter().map(|(partition, _)| *partition).collect();
        let info = self.checked(topic, &partitions).await?;
        self.put(&info, offsets);
        Ok(())
    }

    async fn assign_some(
        &mut self,
        topic: &str,
        partitions: Option<&[i32]>,
        position: Position,
    ) -> Result<(), ConsumeError> {
        let info = self.checked(topic, partitions.unwrap_or_default()).await?;
        let wanted = partitions.map_or_else(|| (0..).take(info.partitions.len()).collect(), <[i32]>::to_vec);
        let offsets = resolve(&self.client, &info, &wanted, position).await?;
        let offsets: Vec<(i32, Offset)> = wanted.into_iter().zip(offsets).collect();
        self.put(&info, &offsets);
        Ok(())
    }

    /// The topic, which must have these partitions. Borrowed mutably, for a consumer cannot be shared between threads and a
    /// future that held a shared borrow could not move to another one.
    async fn checked(&mut self, topic: &str, partitions: &[i32]) -> Result<Arc<TopicInfo>, ConsumeError> {
        self.config.validate()?;
        let info = self.client.topic(topic, Freshness::ANEW).await?;
        let count = i32::try_from(info.partitions.len()).unwrap_or(i32::MAX);
        match partitions.iter().find(|partition| !(0..count).contains(partition)) {
            None => Ok(info),
            Some(unknown) => Err(ConsumeError::UnknownPartition {
                topic: topic.to_owned(),
                partition: PartitionIndex(*unknown),
                partitions: count,
            }),
        }
    }

    fn put(&mut self, info: &TopicInfo, offsets: &[(i32, Offset)]) {
        for (partition, offset) in offsets {
            let index = self.assignment.put(Assigned::new(info, PartitionIndex(*partition), *offset));
            self.forget_received(index);
        }
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
