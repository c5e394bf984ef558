//! CreatePartitions: more partitions for topics that are there.

use std::collections::HashSet;

use highwater_proto::ErrorCode;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, TopicName};

use super::problem::{self, Problem, shown};
use crate::listener::kafka::{Context, brokers};
use crate::service::Mode;

/// Carries the request out.
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: CreatePartitionsRequest,
    _version: i16,
) -> CreatePartitionsResponse {
    let mode = problem::mode(request.validate_only);
    let names: Vec<TopicName> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let repeated = problem::repeated(names.iter());
    let mut told = HashSet::new();
    let mut results = Vec::with_capacity(names.len());
    for topic in request.topics {
        let name = topic.name.clone();
        let outcome = if repeated.contains(&name) {
            if !told.insert(name.clone()) {
                continue;
            }
            Err(Problem::invalid(format_args!("topic '{}' stands in the request twice", shown(&name))))
        } else {
            create(context, topic, mode).await
        };
        let (code, message) = problem::told(&outcome);
        let result = CreatePartitionsTopicResult::default().with_name(name).with_error_code(code);
        results.push(result.with_error_message(message));
    }
    CreatePartitionsResponse::default().with_results(results)
}

async fn create(context: &Context, topic: CreatePartitionsTopic, mode: Mode) -> Result<(), Problem> {
    let assignments = match &topic.assignments {
        None => Vec::new(),
        // To the controller an empty list means that the choice is its own.
        Some(none) if none.is_empty() => {
            let text = "the list of assignments is empty; leave it out to have the partitions placed";
            return Err(Problem::new(ErrorCode::InvalidReplicaAssignment, text));
        }
        Some(given) => given.iter().map(|assignment| brokers::from_wire(&assignment.broker_ids)).collect(),
    };
    let name = topic.name.to_string();
    Ok(context.services.add_partitions_as(name, topic.count, assignments, mode).await?)
}
