//! CreatePartitions: more partitions for topics that are there.

use std::collections::HashSet;

use highwater_proto::ErrorCode;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, TopicName};

use super::problem::{self, Problem, shown};
use crate::listener::kafka::Context;
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
    if let Some(assignments) = &topic.assignments {
        let now = context.services.image().topic_named(&topic.name).map(|topic| topic.partition_count());
        let added = i64::from(topic.count) - i64::from(now.unwrap_or(topic.count));
        let wrong = |text: String| Err(Problem::new(ErrorCode::InvalidReplicaAssignment, text));
        if added > 0 && added != assignments.len() as i64 {
            let count = assignments.len();
            return wrong(format!("{added} partitions are to be added, and the assignment is for {count}"));
        }
        let own = context.services.config().broker_id.0;
        for assignment in assignments {
            if assignment.broker_ids != [BrokerId(own)] {
                let brokers: Vec<i32> = assignment.broker_ids.iter().map(|id| id.0).collect();
                return wrong(format!("brokers {brokers:?} are assigned to, and the only broker is {own}"));
            }
        }
    }
    Ok(context.services.add_partitions(topic.name.to_string(), topic.count, mode).await?)
}
