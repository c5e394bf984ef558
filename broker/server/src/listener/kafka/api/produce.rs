//! Produce: batches are appended at once; the answer follows when they are as safe as the client asked.
//!
//! A batch goes from the receive buffer to the log as it is: it is a slice of the frame.

use std::sync::Arc;

use bytes::Bytes;
use highwater_proto::record::{BatchError, BatchHeader, Compression};
use highwater_proto::{ErrorCode, PartitionIndex, TopicPartition};
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

use crate::listener::error_map::Coded;
use crate::listener::kafka::Context;
use crate::listener::kafka::answer::{Envelope, Refusal};
use crate::listener::kafka::brokers::{Hinted, Reachable};
use crate::partition::AckedBatch;
use crate::service::{BatchOutcome, PendingProduce, ProduceFailure, ProduceItem};

/// The first version whose clients understand zstd.
const ZSTD_VERSION_MIN: i16 = 7;
/// The first version that says who leads instead (KIP-951).
const HINTS: i16 = 10;
/// Longest wait for records to become safe.
const TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// A produce request whose batches are with their partitions.
#[derive(Debug)]
pub(in crate::listener::kafka) struct Started {
    envelope: Envelope,
    acks: i16,
    topics: Vec<(TopicName, Vec<Slot>)>,
    pending: Arc<PendingProduce>,
    outcomes: oneshot::Receiver<Vec<BatchOutcome>>,
    /// When whatever is not safe yet is answered as timed out.
    pub(in crate::listener::kafka) deadline: Instant,
}

/// One partition of the request.
#[derive(Debug)]
struct Slot {
    index: i32,
    /// Refused here, or to be taken from the outcomes in turn.
    refused: Option<Refused>,
}

#[derive(Debug)]
struct Refused {
    code: ErrorCode,
    message: &'static str,
}

/// Hands the batches to their partitions.
pub(in crate::listener::kafka) async fn start(
    context: &Context,
    envelope: Envelope,
    request: ProduceRequest,
) -> Started {
    let began = Instant::now();
    let image = context.services.image();
    let mut items = Vec::new();
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let id = image.topic_named(&topic.name).map(|topic| topic.id);
        let mut slots = Vec::with_capacity(topic.partition_data.len());
        for PartitionProduceData { index, records, .. } in topic.partition_data {
            let batch = records.unwrap_or_default();
            let refused = match (id, check(&batch, envelope.version)) {
                (None, _) => Some(Refused {
                    code: ErrorCode::UnknownTopicOrPartition,
                    message: "this broker has no such topic",
                }),
                (_, Err(refused)) => Some(refused),
                (Some(id), Ok(())) => {
                    items.push(ProduceItem {
                        partition: TopicPartition::new(id, PartitionIndex(index)),
                        batch,
                    });
                    None
                }
            };
            slots.push(Slot { index, refused });
        }
        // A copy, so that the answer's way does not hold the receive buffer.
        topics.push((TopicName(StrBytes::from_string(topic.name.to_string())), slots));
    }
    drop(image);
    let (tell, outcomes) = oneshot::channel();
    let metrics = Arc::clone(context.services.metrics());
    let reply = move |outcomes| {
        metrics.produce_seconds.observe(began.elapsed().as_secs_f64());
        // A connection that is gone needs no answer.
        let _ = tell.send(outcomes);
    };
    let pending = PendingProduce::new(items.iter().map(|item| item.partition).collect(), Box::new(reply));
    context.services.produce(i32::from(request.acks), items, &pending).await;
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)).min(TIMEOUT_MAX);
    Started { envelope, acks: request.acks, topics, pending, outcomes, deadline: began + timeout }
}

/// What can be said of a batch before its partition looks at it.
fn check(batch: &Bytes, version: i16) -> Result<(), Refused> {
    let refused = |code, message| Err(Refused { code, message });
    let not_one = "a partition's records must be exactly one whole record batch";
    match batch.get(MAGIC_AT) {
        None => return refused(ErrorCode::InvalidRecord, not_one),
        Some(0 | 1) => {
            let message = "messages of magic 0 and 1 are not taken; send record batches";
            return refused(ErrorCode::InvalidRecord, message);
        }
        Some(2) => {}
        Some(_) => return refused(ErrorCode::CorruptMessage, "the magic byte is of no known format"),
    }
    let header = match BatchHeader::parse(batch) {
        Ok(header) => header,
        Err(BatchError::Truncated { .. } | BatchError::Length { .. }) => {
            return refused(ErrorCode::InvalidRecord, not_one);
        }
        // What is malformed otherwise, the partition says better.
        Err(_) => return Ok(()),
    };
    if header.size_bytes() != batch.len() {
        return refused(ErrorCode::InvalidRecord, not_one);
    }
    if header.base_offset.0 != 0 {
        return refused(ErrorCode::InvalidRecord, "a produced batch's base offset must be 0");
    }
    if version < ZSTD_VERSION_MIN && matches!(header.compression(), Ok(Compression::Zstd)) {
        return refused(ErrorCode::UnsupportedCompressionType, "zstd needs version 7 of Produce");
    }
    Ok(())
}

/// Where the magic byte is, in old messages and in batches.
const MAGIC_AT: usize = 16;

impl Started {
    /// Answers as timed out whatever is not safe yet.
    pub(in crate::listener::kafka) fn expire(&self, context: &Context) {
        if self.pending.expire() > 0 {
            context.services.metrics().produces_timed_out.inc();
        }
    }

    /// The outcomes, once all are known. Nothing is lost when the future is dropped.
    pub(in crate::listener::kafka) async fn outcomes(&mut self) -> Vec<BatchOutcome> {
        (&mut self.outcomes).await.unwrap_or_default()
    }

    /// The outcomes, if all are known.
    pub(in crate::listener::kafka) fn outcomes_now(&mut self) -> Option<Vec<BatchOutcome>> {
        match self.outcomes.try_recv() {
            Ok(outcomes) => Some(outcomes),
            Err(oneshot::error::TryRecvError::Closed) => Some(Vec::new()),
            Err(oneshot::error::TryRecvError::Empty) => None,
        }
    }

    /// The answer as bytes; `None` when the client wants none.
    pub(in crate::listener::kafka) fn answer(
        self,
        context: &Context,
        outcomes: Vec<BatchOutcome>,
    ) -> Result<Option<Bytes>, Refusal> {
        let response = self.respond(context, outcomes);
        if self.acks != 0 {
            return self.envelope.encode(&response).map(Some);
        }
        let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        match partitions.find(|partition| partition.error_code != 0) {
            None => Ok(None),
            Some(failed) => {
                let code = ErrorCode::from_wire(i32::from(failed.error_code));
                Err(Refusal::Unacknowledged(code.to_string()))
            }
        }
    }

    fn respond(&self, context: &Context, outcomes: Vec<BatchOutcome>) -> ProduceResponse {
        let version = self.envelope.version;
        let mut hinted = Hinted::default();
        let mut outcomes = outcomes.into_iter();
        let mut responses = Vec::with_capacity(self.topics.len());
        for (name, slots) in &self.topics {
            let partition = |slot: &Slot| {
                let response = PartitionProduceResponse::default().with_index(slot.index);
                if let Some(refused) = &slot.refused {
                    return failed(response, refused.code, refused.message.to_owned(), version);
                }
                match outcomes.next() {
                    Some(BatchOutcome { result: Ok(acked), .. }) => appended(response, acked),
                    Some(BatchOutcome { result: Err(error), partition }) => {
                        let code = code(&error);
                        let mut response = failed(response, code, error.to_string(), version);
                        if version >= HINTS
                            && code == ErrorCode::NotLeaderOrFollower
                            && let Some(hint) = context.leader_hint(partition)
                        {
                            let (id, epoch) = hinted.note(hint);
                            response.current_leader =
                                LeaderIdAndEpoch::default().with_leader_id(id).with_leader_epoch(epoch);
                        }
                        match context.services.log_start(partition) {
                            Some(log_start) => response.with_log_start_offset(log_start.0),
                            None => response,
                        }
                    }
                    // Only a broker that is going down drops requests.
                    None => failed(response, ErrorCode::NotLeaderOrFollower, String::new(), version),
                }
            };
            let partitions = slots.iter().map(partition).collect();
            responses.push(
                TopicProduceResponse::default().with_name(name.clone()).with_partition_responses(partitions),
            );
        }
        let endpoint = |broker: Reachable| {
            NodeEndpoint::default()
                .with_node_id(broker.id)
                .with_host(broker.host)
                .with_port(broker.port)
                .with_rack(broker.rack)
        };
        let endpoints = hinted.into_brokers().map(endpoint).collect();
        ProduceResponse::default().with_responses(responses).with_node_endpoints(endpoints)
    }
}

fn appended(response: PartitionProduceResponse, acked: AckedBatch) -> PartitionProduceResponse {
    response
        .with_base_offset(acked.base_offset.0)
        .with_log_append_time_ms(acked.append_time_ms.unwrap_or(-1))
        .with_log_start_offset(acked.log_start.0)
}

fn failed(
    response: PartitionProduceResponse,
    code: ErrorCode,
    message: String,
    version: i16,
) -> PartitionProduceResponse {
    let response = response
        .with_error_code(code.number())
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(-1);
    if version < 8 || message.is_empty() {
        return response;
    }
    let response = response.with_error_message(Some(StrBytes::from_string(message.clone())));
    if code != ErrorCode::InvalidTimestamp {
        return response;
    }
    // Clients fail the named records and keep the others; a batch is refused as a whole at its first record.
    let record = BatchIndexAndErrorMessage::default()
        .with_batch_index(0)
        .with_batch_index_error_message(Some(StrBytes::from_string(message)));
    response.with_record_errors(vec![record])
}

/// These versions name topics, so a topic that was deleted meanwhile is an unknown name and not an unknown id.
fn code(error: &ProduceFailure) -> ErrorCode {
    match error.code() {
        ErrorCode::UnknownTopicId => ErrorCode::UnknownTopicOrPartition,
        code => code,
    }
}
