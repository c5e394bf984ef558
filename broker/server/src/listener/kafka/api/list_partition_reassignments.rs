//! ListPartitionReassignments: which partitions are being moved.

use highwater_core::metadata::Topic;
use kafka_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use kafka_protocol::messages::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::listener::kafka::{Context, brokers};

/// Carries the request out. What is not there, or not being moved, goes unmentioned.
#[expect(clippy::unused_async, reason = "every handler is called alike")]
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: ListPartitionReassignmentsRequest,
    _version: i16,
) -> ListPartitionReassignmentsResponse {
    let image = context.services.image();
    let moving: Vec<OngoingTopicReassignment> = match request.topics {
        None => image.topics().filter_map(|topic| ongoing(topic, |_| true)).collect(),
        Some(topics) => {
            let named = topics.iter().filter_map(|wanted| {
                let topic = image.topic_named(&wanted.name)?;
                ongoing(topic, |index| wanted.partition_indexes.contains(&index))
            });
            named.collect()
        }
    };
    ListPartitionReassignmentsResponse::default().with_error_message(None).with_topics(moving)
}

fn ongoing(topic: &Topic, wanted: impl Fn(i32) -> bool) -> Option<OngoingTopicReassignment> {
    let partitions: Vec<OngoingPartitionReassignment> = (0..)
        .zip(&topic.partitions)
        .filter(|(index, partition)| partition.is_reassigning() && wanted(*index))
        .map(|(index, partition)| {
            OngoingPartitionReassignment::default()
                .with_partition_index(index)
                .with_replicas(brokers::ids(&partition.replicas))
                .with_adding_replicas(brokers::ids(&partition.adding))
                .with_removing_replicas(brokers::ids(&partition.removing))
        })
        .collect();
    if partitions.is_empty() {
        return None;
    }
    let name = TopicName(StrBytes::from_string(topic.name.clone()));
    Some(OngoingTopicReassignment::default().with_name(name).with_partitions(partitions))
}
