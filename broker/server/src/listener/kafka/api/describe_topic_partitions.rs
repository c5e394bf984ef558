//! DescribeTopicPartitions: topics by name, page by page.

use std::collections::BTreeSet;

use highwater_core::metadata::Topic;
use highwater_core::topic_name;
use highwater_proto::ErrorCode;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::listener::kafka::{Context, brokers, operations};

/// Most partitions of a page.
const PARTITIONS_MAX: i32 = 2_000;

/// Carries the request out. Without names every topic is meant; a page begins where the cursor says.
#[expect(clippy::unused_async, reason = "every handler is called alike")]
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: DescribeTopicPartitionsRequest,
    _version: i16,
) -> DescribeTopicPartitionsResponse {
    let image = context.services.image();
    let (from_name, from_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index.max(0)),
        None => ("", 0),
    };
    let names: BTreeSet<&str> = if request.topics.is_empty() {
        image.topics().map(|topic| topic.name.as_str()).collect()
    } else {
        request.topics.iter().map(|topic| topic.name.as_str()).collect()
    };
    let mut room = request.response_partition_limit.clamp(1, PARTITIONS_MAX);
    let mut response = DescribeTopicPartitionsResponse::default().with_next_cursor(None);
    for name in names.range(from_name..) {
        let first = if *name == from_name { from_partition } else { 0 };
        let Some(topic) = image.topic_named(name) else {
            response.topics.push(missing(name));
            continue;
        };
        if room == 0 {
            return response.with_next_cursor(Some(cursor(name, first)));
        }
        let first = first.min(topic.partition_count());
        let end = topic.partition_count().min(first.saturating_add(room));
        response.topics.push(describe(context, topic, first..end));
        room -= end - first;
        if end < topic.partition_count() {
            return response.with_next_cursor(Some(cursor(name, end)));
        }
    }
    response
}

fn cursor(name: &str, partition: i32) -> Cursor {
    Cursor::default().with_topic_name(wire_name(name)).with_partition_index(partition)
}

fn wire_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn describe(
    context: &Context,
    topic: &Topic,
    partitions: std::ops::Range<i32>,
) -> DescribeTopicPartitionsResponseTopic {
    let partition = |index: i32| {
        let known = &topic.partitions[index as usize];
        let code = match known.leader {
            Some(_) => ErrorCode::None,
            None => ErrorCode::LeaderNotAvailable,
        };
        DescribeTopicPartitionsResponsePartition::default()
            .with_error_code(code.number())
            .with_partition_index(index)
            .with_leader_id(BrokerId(known.leader.map_or(-1, |id| id.0)))
            .with_leader_epoch(known.leader_epoch.0)
            .with_replica_nodes(brokers::ids(&known.replicas))
            .with_isr_nodes(brokers::ids(&known.isr))
            .with_eligible_leader_replicas(Some(brokers::ids(&known.elr)))
            .with_last_known_elr(Some(brokers::ids(&known.last_known_elr)))
            .with_offline_replicas(brokers::offline(context, known))
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(wire_name(&topic.name)))
        .with_topic_id(Uuid::from_bytes(topic.id.0))
        .with_partitions(partitions.map(partition).collect())
        .with_topic_authorized_operations(operations::TOPIC)
}

fn missing(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let code = match topic_name::check(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(wire_name(name)))
        .with_error_code(code.number())
        .with_topic_authorized_operations(operations::NOT_ASKED)
}
