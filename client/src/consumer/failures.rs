//! What the consumer decides when an answer is an error, a connection breaks, or a repair comes back.

use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use highwater_proto::error_code::Retry;
use highwater_proto::{BrokerId, ErrorCode, Offset, grpc};

use crate::consumer::assignment::Cursor;
use crate::consumer::config::OffsetReset;
use crate::consumer::handle::Consumer;
use crate::consumer::position::Position;
use crate::consumer::repair::{Cure, Patient, repair};
use crate::error::{AdminError, ConsumeError};

/// How often "no such topic" may be the answer about an assigned topic before the caller hears of it: metadata of a
/// broker that has just started may lag.
const NOT_FOUND_PATIENCE: u32 = 3;

/// Repairs under way.
#[derive(Default)]
pub(super) struct Repairs(FuturesUnordered<BoxFuture<'static, (Patient, Result<Cure, AdminError>)>>);

impl std::fmt::Debug for Repairs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} repairs", self.0.len())
    }
}

impl Consumer {
    pub(super) fn take_error(&mut self, index: usize, result: &grpc::FetchPartitionResult) {
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
    pub(super) fn lost(&mut self, broker: BrokerId, reason: &str) {
        tracing::debug!(broker = broker.0, reason, "fetch stream ended");
        self.client.suspect(broker);
        for index in 0..self.assignment.partitions.len() {
            let partition = &mut self.assignment.partitions[index];
            if partition.leader == Some(broker) && partition.cursor == Cursor::Placed {
                partition.cursor = Cursor::Absent;
                self.start_repair(index, None);
            }
        }
    }

    pub(super) fn start_repair(&mut self, index: usize, reset_to: Option<Position>) {
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
    pub(super) fn leave_session(&mut self, index: usize) {
        let partition = &self.assignment.partitions[index];
        let session = self.sessions.iter_mut().find(|session| Some(session.broker) == partition.leader);
        if let Some(session) = session.filter(|_| partition.cursor == Cursor::Placed) {
            let (topic_id, partition) = (partition.topic_id.to_wire(), partition.partition.0);
            session.forget(grpc::FetchPartitionId { topic_id, partition });
        }
    }

    pub(super) fn poll_repairs(&mut self, cx: &mut Context<'_>) -> bool {
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
}
