//! The `Log` service: opens streams, answers the unary calls.

use std::pin::Pin;
use std::sync::Arc;

use highwater_proto::grpc::log_server::Log;
use highwater_proto::grpc::{
    FetchRequest, InitProducerIdRequest, InitProducerIdResponse, ListOffsetsPartition,
    ListOffsetsPartitionResult, ListOffsetsRequest, ListOffsetsResponse, ProduceRequest, ProduceResponse,
};
use highwater_proto::{ErrorCode, LeaderEpoch, PartitionIndex, TopicId, TopicPartition};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{fetch_body, fetch_stream, produce_stream};
use crate::listener::error_map::Coded;
use crate::service::Services;

/// Most partitions in one unary request.
const PARTITIONS_MAX: usize = 100_000;

/// The `Log` service over the use cases.
#[derive(Debug)]
pub(super) struct LogApi {
    pub(super) services: Arc<Services>,
    pub(super) shutdown: CancellationToken,
}

#[tonic::async_trait]
impl Log for LogApi {
    type ProduceStream = Pin<Box<dyn Stream<Item = Result<ProduceResponse, Status>> + Send>>;
    type FetchStream = fetch_body::Answers;

    async fn produce(
        &self,
        request: Request<Streaming<ProduceRequest>>,
    ) -> Result<Response<Self::ProduceStream>, Status> {
        let answers = produce_stream::open(&self.services, request.into_inner(), self.shutdown.clone());
        Ok(Response::new(Box::pin(answers)))
    }

    async fn fetch(
        &self,
        request: Request<Streaming<FetchRequest>>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        let answers = fetch_stream::open(&self.services, request.into_inner(), self.shutdown.clone());
        Ok(fetch_body::respond(answers))
    }

    async fn list_offsets(
        &self,
        request: Request<ListOffsetsRequest>,
    ) -> Result<Response<ListOffsetsResponse>, Status> {
        let asked = request.into_inner().partitions;
        if asked.len() > PARTITIONS_MAX {
            return Err(Status::invalid_argument(format!(
                "at most {PARTITIONS_MAX} partitions in a request"
            )));
        }
        let mut partitions = Vec::with_capacity(asked.len());
        for partition in asked {
            partitions.push(self.find_offset(partition).await?);
        }
        Ok(Response::new(ListOffsetsResponse { partitions }))
    }

    async fn init_producer_id(
        &self,
        request: Request<InitProducerIdRequest>,
    ) -> Result<Response<InitProducerIdResponse>, Status> {
        let InitProducerIdRequest { producer_id, producer_epoch } = request.into_inner();
        // Without transactions nobody else can hold the id, so a bump needs no record: the partitions learn the new
        // epoch from the first batch that carries it (M-35). An exhausted epoch gets a new id.
        let bumped = i16::try_from(producer_epoch)
            .ok()
            .filter(|epoch| producer_id >= 0 && (0..i16::MAX).contains(epoch));
        let answer = match bumped {
            Some(epoch) => Ok((producer_id, epoch + 1)),
            None => self.services.new_producer_id().await.map(|id| (id.0, 0)),
        };
        Ok(Response::new(match answer {
            Ok((producer_id, epoch)) => InitProducerIdResponse {
                error: 0,
                message: String::new(),
                producer_id,
                producer_epoch: i32::from(epoch),
            },
            Err(error) => InitProducerIdResponse {
                error: error.code().to_wire(),
                message: error.to_string(),
                producer_id: -1,
                producer_epoch: -1,
            },
        }))
    }
}

impl LogApi {
    async fn find_offset(&self, asked: ListOffsetsPartition) -> Result<ListOffsetsPartitionResult, Status> {
        let id = partition_id(&asked.topic_id, asked.partition)?;
        let epoch = LeaderEpoch(asked.current_leader_epoch);
        let found = self.services.list_offsets(id, asked.timestamp, epoch).await;
        let (topic_id, partition) = (asked.topic_id, asked.partition);
        Ok(match found {
            Ok(found) => ListOffsetsPartitionResult {
                topic_id,
                partition,
                error: ErrorCode::None.to_wire(),
                message: String::new(),
                offset: found.offset.map_or(-1, |offset| offset.0),
                timestamp: found.timestamp_ms.unwrap_or(-1),
                leader_epoch: found.epoch.0,
            },
            Err(error) => ListOffsetsPartitionResult {
                topic_id,
                partition,
                error: error.code().to_wire(),
                message: error.to_string(),
                offset: -1,
                timestamp: -1,
                leader_epoch: -1,
            },
        })
    }
}

/// Reads a partition's identity from the wire.
pub(super) fn partition_id(topic_id: &[u8], partition: i32) -> Result<TopicPartition, Status> {
    let topic = TopicId::from_wire(topic_id).ok_or_else(|| {
        Status::invalid_argument(format!("a topic id has 16 bytes, not {}", topic_id.len()))
    })?;
    Ok(TopicPartition::new(topic, PartitionIndex(partition)))
}
