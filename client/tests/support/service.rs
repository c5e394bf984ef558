//! The gRPC face of the fake.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use highwater_client::ErrorCode;
use highwater_proto::grpc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Fake, fetch, produce};

pub(super) struct Service(pub(super) Arc<Fake>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl grpc::log_server::Log for Service {
    type ProduceStream = ReceiverStream<Result<grpc::ProduceResponse, Status>>;
    type FetchStream = ReceiverStream<Result<grpc::FetchResponse, Status>>;

    async fn produce(
        &self,
        request: Request<Streaming<grpc::ProduceRequest>>,
    ) -> Answer<Self::ProduceStream> {
        let (answers, stream) = mpsc::channel(64);
        tokio::spawn(produce::run(self.0.clone(), request.into_inner(), answers));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn fetch(&self, request: Request<Streaming<grpc::FetchRequest>>) -> Answer<Self::FetchStream> {
        let (answers, stream) = mpsc::channel(64);
        tokio::spawn(fetch::run(self.0.clone(), request.into_inner(), answers));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn list_offsets(
        &self,
        request: Request<grpc::ListOffsetsRequest>,
    ) -> Answer<grpc::ListOffsetsResponse> {
        let state = self.0.lock();
        let answer = |p: grpc::ListOffsetsPartition| {
            let topic = state.topics.values().find(|topic| topic.id.0[..] == p.topic_id[..]);
            let log = topic.and_then(|topic| topic.partitions.get(p.partition as usize));
            let error = if log.is_some() { ErrorCode::None } else { ErrorCode::UnknownTopicId };
            grpc::ListOffsetsPartitionResult {
                topic_id: p.topic_id,
                partition: p.partition,
                error: error.to_wire(),
                offset: log.map_or(-1, |log| log.offset_for(p.timestamp)),
                ..Default::default()
            }
        };
        let partitions = request.into_inner().partitions.into_iter().map(answer).collect();
        Ok(Response::new(grpc::ListOffsetsResponse { partitions }))
    }

    async fn init_producer_id(
        &self,
        _: Request<grpc::InitProducerIdRequest>,
    ) -> Answer<grpc::InitProducerIdResponse> {
        let producer_id = self.0.next_producer_id.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(grpc::InitProducerIdResponse { producer_id, ..Default::default() }))
    }
}

#[tonic::async_trait]
impl grpc::admin_server::Admin for Service {
    async fn metadata(&self, request: Request<grpc::MetadataRequest>) -> Answer<grpc::MetadataResponse> {
        let state = self.0.lock();
        let topic = |name: String| match state.topics.get(&name) {
            None => grpc::TopicMetadata {
                name,
                error: ErrorCode::UnknownTopicOrPartition.to_wire(),
                ..Default::default()
            },
            Some(topic) => grpc::TopicMetadata {
                name,
                topic_id: topic.id.to_wire(),
                partitions: (0..topic.partitions.len() as i32)
                    .map(|partition| grpc::PartitionMetadata { partition, leader: 1, ..Default::default() })
                    .collect(),
                ..Default::default()
            },
        };
        let topics = request.into_inner().topics.into_iter().map(topic).collect();
        let broker = grpc::Broker { id: 1, grpc: self.0.address.clone(), rack: String::new() };
        Ok(Response::new(grpc::MetadataResponse { cluster_id: "fake".into(), brokers: vec![broker], topics }))
    }

    async fn create_topics(
        &self,
        _: Request<grpc::CreateTopicsRequest>,
    ) -> Answer<grpc::CreateTopicsResponse> {
        Err(Status::unimplemented("the fake has no such call"))
    }

    async fn delete_topics(&self, _: Request<grpc::DeleteTopicsRequest>) -> Answer<grpc::TopicResults> {
        Err(Status::unimplemented("the fake has no such call"))
    }

    async fn create_partitions(
        &self,
        _: Request<grpc::CreatePartitionsRequest>,
    ) -> Answer<grpc::TopicResults> {
        Err(Status::unimplemented("the fake has no such call"))
    }

    async fn describe_topics(
        &self,
        _: Request<grpc::DescribeTopicsRequest>,
    ) -> Answer<grpc::DescribeTopicsResponse> {
        Err(Status::unimplemented("the fake has no such call"))
    }

    async fn alter_topic_configs(
        &self,
        _: Request<grpc::AlterTopicConfigsRequest>,
    ) -> Answer<grpc::TopicResults> {
        Err(Status::unimplemented("the fake has no such call"))
    }

    async fn delete_records(
        &self,
        _: Request<grpc::DeleteRecordsRequest>,
    ) -> Answer<grpc::DeleteRecordsResponse> {
        Err(Status::unimplemented("the fake has no such call"))
    }

    async fn describe_cluster(
        &self,
        _: Request<grpc::DescribeClusterRequest>,
    ) -> Answer<grpc::DescribeClusterResponse> {
        Err(Status::unimplemented("the fake has no such call"))
    }

    async fn elect_leaders(&self, _: Request<grpc::ElectLeadersRequest>) -> Answer<grpc::PartitionResults> {
        Err(Status::unimplemented("the fake has no such call"))
    }

    async fn reassign(&self, _: Request<grpc::ReassignRequest>) -> Answer<grpc::PartitionResults> {
        Err(Status::unimplemented("the fake has no such call"))
    }

    async fn list_reassignments(
        &self,
        _: Request<grpc::ListReassignmentsRequest>,
    ) -> Answer<grpc::ListReassignmentsResponse> {
        Err(Status::unimplemented("the fake has no such call"))
    }

    async fn change_broker(
        &self,
        _: Request<grpc::ChangeBrokerRequest>,
    ) -> Answer<grpc::ChangeBrokerResponse> {
        Err(Status::unimplemented("the fake has no such call"))
    }
}
