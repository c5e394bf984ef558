//! AlterPartitionReassignments: replicas moved to other brokers, or a move taken back.

use std::collections::HashMap;

use highwater_core::metadata::Reassignment;
use highwater_proto::{ErrorCode, PartitionIndex, TopicPartition};
use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use super::problem::{self, Problem};
use crate::listener::kafka::{Context, brokers};

/// Carries the request out. Each partition is done or refused alone.
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: AlterPartitionReassignmentsRequest,
    version: i16,
) -> AlterPartitionReassignmentsResponse {
    let factor = if version >= 1 && !request.allow_replication_factor_change {
        Factor::Kept
    } else {
        Factor::MayChange
    };
    let image = context.services.image();
    let mut wanted = Vec::new();
    let mut refused: HashMap<(usize, usize), Problem> = HashMap::new();
    for (at, topic) in request.topics.iter().enumerate() {
        let id = image.topic_named(&topic.name).map(|topic| topic.id);
        for (index, partition) in topic.partitions.iter().enumerate() {
            let Some(id) = id else {
                let unknown = Problem::new(ErrorCode::UnknownTopicOrPartition, "there is no such topic");
                refused.insert((at, index), unknown);
                continue;
            };
            let id = TopicPartition::new(id, PartitionIndex(partition.partition_index));
            if let Err(problem) = check(context, id, partition, factor) {
                refused.insert((at, index), problem);
                continue;
            }
            let replicas = partition.replicas.as_deref().map(brokers::from_wire);
            wanted.push(Reassignment { partition: id, replicas });
        }
    }
    let response = AlterPartitionReassignmentsResponse::default()
        .with_error_message(None)
        .with_allow_replication_factor_change(version < 1 || request.allow_replication_factor_change);
    let results = if wanted.is_empty() { Ok(Vec::new()) } else { context.services.reassign(wanted).await };
    let mut results = match results {
        Ok(results) => results.into_iter(),
        Err(error) => {
            let problem = Problem::from(error);
            return response.with_error_code(problem.number()).with_error_message(problem.message());
        }
    };
    let topics = request.topics.into_iter().enumerate().map(|(at, topic)| {
        let partitions = topic.partitions.iter().enumerate().map(|(index, partition)| {
            // Those that were passed on are answered in their order.
            let outcome = match refused.remove(&(at, index)) {
                Some(problem) => Err(problem),
                None => results.next().map_or(Ok(()), |done| done.result.map(drop).map_err(Problem::from)),
            };
            let (code, message) = problem::told(&outcome);
            ReassignablePartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code)
                .with_error_message(message)
        });
        let partitions = partitions.collect();
        ReassignableTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    let topics = topics.collect();
    response.with_responses(topics)
}

/// Whether a move may leave a partition with more or fewer replicas.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Factor {
    Kept,
    MayChange,
}

/// What the controller does not ask: whether the number of replicas stays.
fn check(
    context: &Context,
    id: TopicPartition,
    wanted: &ReassignablePartition,
    factor: Factor,
) -> Result<(), Problem> {
    let Some(replicas) = wanted.replicas.as_ref().filter(|_| factor == Factor::Kept) else { return Ok(()) };
    let image = context.services.image();
    let Some(now) = image.partition(id).map(highwater_core::metadata::Partition::replication_factor) else {
        return Ok(());
    };
    if now == replicas.len() {
        return Ok(());
    }
    let text = format!("the partition has {now} replica(s) and would get {}", replicas.len());
    Err(Problem::new(ErrorCode::InvalidReplicationFactor, text))
}
