//! One Fetch stream: a session with a cursor per partition; each request gets one answer, in order.
//!
//! Clients send a few requests ahead, so that the next answer is under way while the last one is read. A request that
//! changes the session ends the wait of the one before it, so that a seek is never held up by a long poll.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use highwater_proto::grpc::{FetchPartitionResult, FetchRequest, FetchResponse};
use highwater_proto::{ErrorCode, LeaderEpoch, Offset};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::log_api::partition_id;
use crate::listener::error_map::Coded;
use crate::partition::ServedBy;
use crate::service::{FetchAnswer, FetchDemand, FetchSession, PartitionNews, Position, Services};

/// Most requests sent ahead; the stream is not read beyond it.
const REQUESTS_AHEAD_MAX: usize = 64;
/// Answers made before the transport took the last one.
const ANSWERS_AHEAD: usize = 1;
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// Bytes of one answer when the client doesn't say.
const ANSWER_BYTES_DEFAULT: usize = 1 << 20;

/// Serves one stream until the client ends it.
pub(super) fn open(
    services: &Arc<Services>,
    requests: Streaming<FetchRequest>,
    shutdown: CancellationToken,
) -> impl Stream<Item = Result<FetchResponse, Status>> + Send + use<> {
    let (answers, receiver) = mpsc::channel(ANSWERS_AHEAD);
    let stream = FetchStream {
        session: FetchSession::new(services),
        services: Arc::clone(services),
        requests,
        ahead: VecDeque::new(),
        ended: false,
    };
    tokio::spawn(stream.run(answers, shutdown));
    ReceiverStream::new(receiver)
}

struct FetchStream {
    services: Arc<Services>,
    session: FetchSession,
    requests: Streaming<FetchRequest>,
    ahead: VecDeque<FetchRequest>,
    ended: bool,
}

impl FetchStream {
    async fn run(
        mut self,
        answers: mpsc::Sender<Result<FetchResponse, Status>>,
        shutdown: CancellationToken,
    ) {
        self.services.metrics().streams_open.inc();
        let serve = async {
            while let Some(request) = self.next_request().await {
                let answer = self.answer(request).await;
                let failed = answer.is_err();
                if answers.send(answer).await.is_err() || failed {
                    break;
                }
            }
        };
        tokio::select! {
            () = serve => {}
            () = answers.closed() => {}
            () = shutdown.cancelled() => {
                let _ = answers.try_send(Err(Status::unavailable("the broker is shutting down")));
            }
        }
        self.services.metrics().streams_open.dec();
    }

    async fn next_request(&mut self) -> Option<FetchRequest> {
        if let Some(request) = self.ahead.pop_front() {
            return Some(request);
        }
        match self.requests.next().await {
            Some(Ok(request)) => Some(request),
            Some(Err(_)) | None => None,
        }
    }

    async fn answer(&mut self, request: FetchRequest) -> Result<FetchResponse, Status> {
        for id in &request.forget {
            self.session.forget(partition_id(&id.topic_id, id.partition)?);
        }
        for position in &request.positions {
            self.session.set(Position {
                partition: partition_id(&position.topic_id, position.partition)?,
                offset: Offset(position.offset),
                max_bytes: position.max_bytes as usize,
                generation: position.cursor_generation,
                epoch: LeaderEpoch(position.current_leader_epoch),
                served_by: ServedBy::Leader,
            });
        }
        let answer = self.gather(&request).await;
        self.services.metrics().fetches_answered.inc();
        let partitions = answer.news.into_iter().map(result).collect();
        Ok(FetchResponse { correlation: request.correlation, partitions, throttle_ms: 0 })
    }

    /// Collects until there is enough, or time is up, or the next request wants something else.
    async fn gather(&mut self, request: &FetchRequest) -> FetchAnswer {
        let cap = self.services.config().fetch_max_bytes;
        let asked = if request.max_bytes == 0 { ANSWER_BYTES_DEFAULT } else { request.max_bytes as usize };
        let wait = Duration::from_millis(u64::from(request.max_wait_ms)).min(WAIT_MAX);
        let demand = FetchDemand {
            min_bytes: request.min_bytes as usize,
            max_bytes: asked.min(cap),
            deadline: Instant::now() + wait,
        };
        let mut answer = FetchAnswer::default();
        loop {
            self.session.collect(&demand, &mut answer).await;
            let enough = answer.bytes >= demand.min_bytes.min(demand.max_bytes)
                || answer.failed.is_some()
                || answer.full.is_some();
            if enough
                || wait.is_zero()
                || self.is_superseded()
                || self.wait_for_news(demand.deadline).await.is_err()
            {
                return answer;
            }
        }
    }

    /// Whether the next request changes the session, so that this one should not wait on.
    fn is_superseded(&self) -> bool {
        self.ahead.front().is_some_and(|next| !next.positions.is_empty() || !next.forget.is_empty())
    }

    /// Waits until a partition has news. `Err`: time is up, or another request came that ends the wait.
    async fn wait_for_news(&mut self, deadline: Instant) -> Result<(), ()> {
        if self.session.has_news() {
            return Ok(());
        }
        loop {
            let readable = !self.ended && self.ahead.len() < REQUESTS_AHEAD_MAX;
            tokio::select! {
                biased;
                () = self.session.marked_again() => return Ok(()),
                () = tokio::time::sleep_until(deadline) => return Err(()),
                request = self.requests.next(), if readable => match request {
                    Some(Ok(request)) => {
                        self.ahead.push_back(request);
                        if self.is_superseded() {
                            return Err(());
                        }
                    }
                    Some(Err(_)) | None => {
                        self.ended = true;
                        return Err(());
                    }
                },
            }
        }
    }
}

fn result(news: PartitionNews) -> FetchPartitionResult {
    let (topic_id, partition) = (news.partition.topic.to_wire(), news.partition.partition.0);
    let cursor_generation = news.generation;
    match news.answer {
        Ok(found) => FetchPartitionResult {
            topic_id,
            partition,
            error: ErrorCode::None.to_wire(),
            message: String::new(),
            high_watermark: found.high_watermark.0,
            last_stable_offset: found.high_watermark.0,
            log_start_offset: found.log_start.0,
            leader_epoch: found.epoch.0,
            cursor_generation,
            records: found.records,
        },
        Err(error) => FetchPartitionResult {
            topic_id,
            partition,
            error: error.code().to_wire(),
            message: error.to_string(),
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            leader_epoch: -1,
            cursor_generation,
            records: Bytes::new(),
        },
    }
}
