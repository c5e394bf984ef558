//! ElectLeaders: the preferred leaders lead again, or somebody leads at all.

use std::collections::{BTreeMap, HashMap};

use highwater_core::metadata::{ElectionError, ElectionKind};
use highwater_proto::{BrokerId, ErrorCode, PartitionIndex, TopicId, TopicPartition};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::problem::{self, Problem};
use crate::listener::kafka::Context;
use crate::service::TopicFailure;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

/// Carries the request out. Each partition is done or refused alone.
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: ElectLeadersRequest,
    version: i16,
) -> ElectLeadersResponse {
    let kind = match request.election_type {
        _ if version == 0 => ElectionKind::Preferred,
        PREFERRED => ElectionKind::Preferred,
        UNCLEAN => ElectionKind::Unclean,
        _ => return refused(ErrorCode::InvalidRequest, version),
    };
    let results = match request.topic_partitions {
        None => all(context, kind).await,
        Some(wanted) => some(context, kind, &wanted).await,
    };
    match results {
        Ok(results) => ElectLeadersResponse::default().with_replica_election_results(results),
        Err(error) => refused(code_of(error), version),
    }
}

fn code_of(error: TopicFailure) -> ErrorCode {
    use crate::listener::error_map::Coded;
    error.code()
}

fn refused(code: ErrorCode, version: i16) -> ElectLeadersResponse {
    let response = ElectLeadersResponse::default();
    // Version 0 has no place for it.
    if version >= 1 { response.with_error_code(code.number()) } else { response }
}

/// Every partition for which there was something to do.
async fn all(context: &Context, kind: ElectionKind) -> Result<Vec<ReplicaElectionResult>, TopicFailure> {
    let mut by_topic: BTreeMap<TopicId, Vec<PartitionResult>> = BTreeMap::new();
    for done in context.services.elect_leaders(kind, None).await? {
        let TopicPartition { topic, partition } = done.partition;
        by_topic.entry(topic).or_default().push(told(partition.0, done.result));
    }
    let image = context.services.image();
    let named = by_topic.into_iter().filter_map(|(id, results)| {
        let name = TopicName(StrBytes::from_string(image.topic(id)?.name.clone()));
        Some(ReplicaElectionResult::default().with_topic(name).with_partition_result(results))
    });
    Ok(named.collect())
}

/// The partitions that were asked for.
async fn some(
    context: &Context,
    kind: ElectionKind,
    wanted: &[TopicPartitions],
) -> Result<Vec<ReplicaElectionResult>, TopicFailure> {
    let image = context.services.image();
    let id = |name: &TopicName, index: i32| {
        let topic = image.topic_named(name)?;
        Some(TopicPartition::new(topic.id, PartitionIndex(index)))
    };
    let mut ids: Vec<TopicPartition> = wanted
        .iter()
        .flat_map(|topic| topic.partitions.iter().filter_map(|index| id(&topic.topic, *index)))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let mut results: HashMap<TopicPartition, Result<BrokerId, ElectionError>> = HashMap::new();
    if !ids.is_empty() {
        let done = context.services.elect_leaders(kind, Some(ids)).await?;
        results.extend(done.into_iter().map(|done| (done.partition, done.result)));
    }
    let told = wanted.iter().map(|topic| {
        let partition = |index: &i32| {
            let known = id(&topic.topic, *index).and_then(|id| results.get(&id).cloned());
            told(*index, known.unwrap_or(Err(ElectionError::UnknownPartition)))
        };
        ReplicaElectionResult::default()
            .with_topic(topic.topic.clone())
            .with_partition_result(topic.partitions.iter().map(partition).collect())
    });
    Ok(told.collect())
}

fn told(index: i32, result: Result<BrokerId, ElectionError>) -> PartitionResult {
    let (code, message) = problem::told(&result.map(drop).map_err(Problem::from));
    PartitionResult::default().with_partition_id(index).with_error_code(code).with_error_message(message)
}
