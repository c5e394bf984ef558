//! CreateTopics: new topics, or whether they could be made.

use std::collections::{BTreeMap, HashSet};

use highwater_core::metadata::Topic;
use highwater_proto::ErrorCode;
use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{BrokerId, CreateTopicsRequest, CreateTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::problem::{self, Problem, shown};
use crate::listener::kafka::{Context, settings};
use crate::service::Mode;

/// Most topics of a request; each is told of with all its settings.
const TOPICS_MAX: usize = 10_000;
/// The value of a number that is left to the broker.
const DEFAULT: i32 = -1;

/// Carries the request out.
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: CreateTopicsRequest,
    version: i16,
) -> CreateTopicsResponse {
    let mode = problem::mode(request.validate_only);
    let names: Vec<TopicName> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let repeated = problem::repeated(names.iter());
    let many = names.len() > TOPICS_MAX;
    let mut told = HashSet::new();
    let mut topics = Vec::with_capacity(names.len());
    for wanted in request.topics {
        let name = wanted.name.clone();
        let outcome = if repeated.contains(&name) {
            if !told.insert(name.clone()) {
                continue;
            }
            Err(Problem::invalid(format_args!("topic '{}' stands in the request twice", shown(&name))))
        } else if many {
            let text = format!("the request has {} topics, and the limit is {TOPICS_MAX}", names.len());
            Err(Problem::new(ErrorCode::PolicyViolation, text))
        } else {
            create(context, wanted, mode).await
        };
        topics.push(match outcome {
            Ok(topic) => created(context, name, &topic, mode, version),
            Err(problem) => CreatableTopicResult::default()
                .with_name(name)
                .with_error_code(problem.number())
                .with_error_message(problem.message()),
        });
    }
    CreateTopicsResponse::default().with_topics(topics)
}

async fn create(context: &Context, wanted: CreatableTopic, mode: Mode) -> Result<Topic, Problem> {
    let mut configs = BTreeMap::new();
    for config in wanted.configs {
        let Some(value) = config.value else {
            let text = format!("{} has no value", shown(&config.name));
            return Err(Problem::new(ErrorCode::InvalidConfig, text));
        };
        configs.insert(config.name.to_string(), value.to_string());
    }
    let (mut partitions, factor) = (wanted.num_partitions, i32::from(wanted.replication_factor));
    if !wanted.assignments.is_empty() {
        if partitions != DEFAULT || factor != DEFAULT {
            return Err(Problem::invalid(
                "with a manual assignment, the number of partitions and the replication factor must be -1",
            ));
        }
        partitions = assigned(context.services.config().broker_id.0, &wanted.assignments)?;
    }
    let created = context.services.create_topic(wanted.name.to_string(), partitions, factor, configs, mode);
    Ok(created.await?)
}

/// How many partitions a manual assignment names. On one broker it must put each on that broker.
fn assigned(broker: i32, assignments: &[CreatableReplicaAssignment]) -> Result<i32, Problem> {
    let wrong = |text: String| Err(Problem::new(ErrorCode::InvalidReplicaAssignment, text));
    let mut indexes: Vec<i32> = assignments.iter().map(|assignment| assignment.partition_index).collect();
    indexes.sort_unstable();
    if let Some(twice) = indexes.windows(2).find(|pair| pair[0] == pair[1]) {
        return wrong(format!("partition {} is assigned twice", twice[0]));
    }
    if !indexes.iter().copied().eq(0..indexes.len() as i32) {
        return wrong("the partitions of an assignment must be numbered from 0 without a gap".to_owned());
    }
    for assignment in assignments {
        if assignment.broker_ids != [BrokerId(broker)] {
            let brokers: Vec<i32> = assignment.broker_ids.iter().map(|id| id.0).collect();
            let partition = assignment.partition_index;
            return wrong(format!(
                "partition {partition} is assigned to brokers {brokers:?}, and the only broker is {broker}"
            ));
        }
    }
    Ok(indexes.len() as i32)
}

fn created(
    context: &Context,
    name: TopicName,
    topic: &Topic,
    mode: Mode,
    version: i16,
) -> CreatableTopicResult {
    let result = CreatableTopicResult::default().with_name(name).with_error_message(None);
    if version < 5 {
        return result;
    }
    let described = settings::of_topic(&topic.configs, &context.services.config().topic_defaults);
    let configs = described.map(|setting| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(setting.key.name))
            .with_value(Some(StrBytes::from_string(setting.value.to_owned())))
            .with_config_source(setting.source as i8)
    });
    let result = result
        .with_num_partitions(topic.partition_count())
        .with_replication_factor(1)
        .with_configs(Some(configs.collect()));
    // What was only checked has no identity yet.
    if version < 7 || mode == Mode::ValidateOnly {
        return result;
    }
    result.with_topic_id(Uuid::from_bytes(topic.id.0))
}
