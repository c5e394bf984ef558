//! One Produce stream: requests in, appended in order; answers out as their records become safe.
//!
//! What a connection may have unanswered is bounded in bytes: when the budget is used up the stream is not read, and
//! HTTP/2 flow control pushes back to the client. A request's share is given back only when its answer was taken by the
//! transport, so a client that never reads cannot make answers pile up either.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use highwater_proto::grpc::{ProducePartitionResult, ProduceRequest, ProduceResponse};
use highwater_proto::{ErrorCode, TopicPartition};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Duration, Instant};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::log_api::partition_id;
use crate::listener::error_map::Coded;
use crate::service::{BatchOutcome, PendingProduce, ProduceItem, Services};

/// What a request costs of the budget besides its bytes.
const REQUEST_BYTES: usize = 512;
/// Longest and default wait for an acknowledgement.
const TIMEOUT_MAX: Duration = Duration::from_secs(300);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

type Answer = Result<(ProduceResponse, OwnedSemaphorePermit), Status>;

/// Serves one stream until the client ends it.
pub(super) fn open(
    services: &Arc<Services>,
    requests: Streaming<ProduceRequest>,
    shutdown: CancellationToken,
) -> impl Stream<Item = Result<ProduceResponse, Status>> + Send + use<> {
    let (answers, receiver) = mpsc::unbounded_channel::<Answer>();
    let budget_bytes = services.config().connection_inflight_bytes.min(Semaphore::MAX_PERMITS >> 1);
    let stream = ProduceStream {
        services: Arc::clone(services),
        answers,
        budget: Arc::new(Semaphore::new(budget_bytes)),
        budget_bytes,
        waiting: VecDeque::new(),
    };
    tokio::spawn(stream.run(requests, shutdown));
    UnboundedReceiverStream::new(receiver).map(|answer| answer.map(|(response, _permit)| response))
}

struct ProduceStream {
    services: Arc<Services>,
    answers: mpsc::UnboundedSender<Answer>,
    budget: Arc<Semaphore>,
    budget_bytes: usize,
    /// Requests by deadline; clients keep one time-out, so the order of arrival is close to it.
    waiting: VecDeque<(Instant, Weak<PendingProduce>)>,
}

impl ProduceStream {
    async fn run(mut self, mut requests: Streaming<ProduceRequest>, shutdown: CancellationToken) {
        self.services.metrics().streams_open.inc();
        loop {
            let deadline = self.next_deadline();
            let expiry = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                request = requests.next() => match request {
                    Some(Ok(request)) => {
                        if let Err(status) = self.accept(request).await {
                            let _ = self.answers.send(Err(status));
                            break;
                        }
                    }
                    Some(Err(status)) => {
                        tracing::debug!(%status, "produce stream ended by its client");
                        break;
                    }
                    None => break,
                },
                () = expiry => self.expire(),
                () = shutdown.cancelled() => break,
            }
        }
        self.drain().await;
        self.services.metrics().streams_open.dec();
    }

    /// Appends a request's batches. Waits while the budget is used up.
    async fn accept(&mut self, request: ProduceRequest) -> Result<(), Status> {
        let started = Instant::now();
        let bytes: usize = request.partitions.iter().map(|p| p.batch.len()).sum::<usize>() + REQUEST_BYTES;
        let share = u32::try_from(bytes.min(self.budget_bytes)).unwrap_or(u32::MAX);
        let permit = self.reserve(share).await?;
        let mut items = Vec::with_capacity(request.partitions.len());
        for partition in request.partitions {
            let id = partition_id(&partition.topic_id, partition.partition)?;
            items.push(ProduceItem { partition: id, batch: partition.batch });
        }
        let ids: Vec<TopicPartition> = items.iter().map(|item| item.partition).collect();
        let (answers, correlation, acks) = (self.answers.clone(), request.correlation, request.acks);
        let metrics = Arc::clone(self.services.metrics());
        let reply = move |outcomes: Vec<BatchOutcome>| {
            metrics.produce_seconds.observe(started.elapsed().as_secs_f64());
            if acks != 0 {
                let partitions = outcomes.into_iter().map(result).collect();
                let response = ProduceResponse { correlation, partitions, throttle_ms: 0 };
                // A stream that is gone needs no answer.
                let _ = answers.send(Ok((response, permit)));
            }
        };
        let pending = PendingProduce::new(ids, Box::new(reply));
        self.services.produce(acks, items, &pending).await;
        if !pending.is_settled() {
            let timeout = match request.timeout_ms {
                0 => TIMEOUT_DEFAULT,
                ms => Duration::from_millis(u64::from(ms)).min(TIMEOUT_MAX),
            };
            self.waiting.push_back((started + timeout, Arc::downgrade(&pending)));
        }
        Ok(())
    }

    /// Takes a share of the budget. While it waits, requests still run out of time.
    async fn reserve(&mut self, share: u32) -> Result<OwnedSemaphorePermit, Status> {
        let budget = Arc::clone(&self.budget);
        let mut reservation = std::pin::pin!(budget.acquire_many_owned(share));
        loop {
            let deadline = self.next_deadline().unwrap_or_else(|| Instant::now() + TIMEOUT_MAX);
            tokio::select! {
                biased;
                permit = &mut reservation => return permit.map_err(|_| Status::unavailable("closing")),
                () = tokio::time::sleep_until(deadline) => self.expire(),
                () = self.answers.closed() => return Err(Status::cancelled("the client is gone")),
            }
        }
    }

    fn next_deadline(&mut self) -> Option<Instant> {
        while let Some((deadline, pending)) = self.waiting.front() {
            if pending.upgrade().is_some_and(|pending| !pending.is_settled()) {
                return Some(*deadline);
            }
            self.waiting.pop_front();
        }
        None
    }

    fn expire(&mut self) {
        let now = Instant::now();
        while let Some((deadline, pending)) = self.waiting.pop_front() {
            if deadline > now {
                self.waiting.push_front((deadline, pending));
                return;
            }
            if pending.upgrade().is_some_and(|pending| pending.expire() > 0) {
                self.services.metrics().produces_timed_out.inc();
            }
        }
    }

    /// Lets what was accepted be answered before the stream ends.
    async fn drain(&mut self) {
        let budget = Arc::clone(&self.budget);
        while let Some(deadline) = self.next_deadline() {
            let all = u32::try_from(self.budget_bytes).unwrap_or(u32::MAX);
            tokio::select! {
                // The whole budget is free when every answer was taken.
                _ = budget.acquire_many(all) => return,
                () = self.answers.closed() => return,
                () = tokio::time::sleep_until(deadline) => self.expire(),
            }
        }
    }
}

fn result(outcome: BatchOutcome) -> ProducePartitionResult {
    let BatchOutcome { partition, result } = outcome;
    let (topic_id, partition) = (partition.topic.to_wire(), partition.partition.0);
    match result {
        Ok(acked) => ProducePartitionResult {
            topic_id,
            partition,
            error: ErrorCode::None.to_wire(),
            message: String::new(),
            base_offset: acked.base_offset.0,
            log_append_time_ms: acked.append_time_ms.unwrap_or(-1),
            log_start_offset: acked.log_start.0,
        },
        Err(error) => ProducePartitionResult {
            topic_id,
            partition,
            error: error.code().to_wire(),
            message: error.to_string(),
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
        },
    }
}
