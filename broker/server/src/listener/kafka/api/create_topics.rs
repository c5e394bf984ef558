//! CreateTopics: new topics, or whether they could be made.

use std::collections::{BTreeMap, HashSet};

use highwater_core::metadata::{NewTopic, Topic};
use highwater_proto::{BrokerId, ErrorCode};
use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::problem::{self, Problem, shown};
use crate::listener::kafka::{Context, brokers, settings};
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
    let numbers = (wanted.num_partitions, i32::from(wanted.replication_factor));
    if !wanted.assignments.is_empty() && numbers != (DEFAULT, DEFAULT) {
        return Err(Problem::invalid(
            "with a manual assignment, the number of partitions and the replication factor must be -1",
        ));
    }
    let topic = NewTopic {
        name: wanted.name.to_string(),
        partitions: wanted.num_partitions,
        replication_factor: i32::from(wanted.replication_factor),
        configs,
        assignments: assigned(wanted.assignments)?,
    };
    Ok(context.services.create_topic_as(topic, mode).await?)
}

/// Who holds each partition by a manual assignment, by number. The brokers are the controller's to judge.
fn assigned(mut assignments: Vec<CreatableReplicaAssignment>) -> Result<Vec<Vec<BrokerId>>, Problem> {
    let wrong = |text: String| Err(Problem::new(ErrorCode::InvalidReplicaAssignment, text));
    assignments.sort_by_key(|assignment| assignment.partition_index);
    let index = |assignment: &CreatableReplicaAssignment| assignment.partition_index;
    if let Some(twice) = assignments.windows(2).find(|pair| index(&pair[0]) == index(&pair[1])) {
        return wrong(format!("partition {} is assigned twice", index(&twice[0])));
    }
    if !assignments.iter().map(index).eq(0..assignments.len() as i32) {
        return wrong("the partitions of an assignment must be numbered from 0 without a gap".to_owned());
    }
    Ok(assignments.iter().map(|assignment| brokers::from_wire(&assignment.broker_ids)).collect())
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
        .with_replication_factor(i16::try_from(topic.replication_factor()).unwrap_or(i16::MAX))
        .with_configs(Some(configs.collect()));
    // What was only checked has no identity yet.
    if version < 7 || mode == Mode::ValidateOnly {
        return result;
    }
    result.with_topic_id(Uuid::from_bytes(topic.id.0))
}
