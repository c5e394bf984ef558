//! DescribeProducers: the idempotent producers that a partition remembers.

use std::collections::HashSet;

use highwater_proto::{ErrorCode, PartitionIndex, TopicPartition};
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};

use super::problem::{Problem, shown};
use crate::listener::kafka::Context;
use crate::service::ProducerDetails;

/// Carries the request out.
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: DescribeProducersRequest,
    _version: i16,
) -> DescribeProducersResponse {
    let mut seen = HashSet::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            let answer = PartitionResponse::default().with_partition_index(index);
            let found = if seen.insert((topic.name.clone(), index)) {
                producers(context, &topic.name, index).await
            } else {
                Err(Problem::invalid("each partition must stand in the request once"))
            };
            partitions.push(match found {
                Ok(producers) => answer
                    .with_error_message(None)
                    .with_active_producers(producers.into_iter().map(state).collect()),
                Err(problem) => {
                    answer.with_error_code(problem.number()).with_error_message(problem.message())
                }
            });
        }
        topics.push(TopicResponse::default().with_name(topic.name).with_partitions(partitions));
    }
    DescribeProducersResponse::default().with_topics(topics)
}

async fn producers(context: &Context, topic: &str, index: i32) -> Result<Vec<ProducerDetails>, Problem> {
    let id = context.services.image().topic_named(topic).map(|topic| topic.id);
    let id = id.ok_or_else(|| {
        let text = format!("there is no topic '{}'", shown(topic));
        Problem::new(ErrorCode::UnknownTopicOrPartition, text)
    })?;
    Ok(context.services.producers(TopicPartition::new(id, PartitionIndex(index))).await?)
}

/// Without transactions there is no coordinator and no open transaction.
fn state(producer: ProducerDetails) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.id.0))
        .with_producer_epoch(i32::from(producer.epoch))
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_timestamp_ms)
        .with_coordinator_epoch(-1)
        .with_current_txn_start_offset(-1)
}
