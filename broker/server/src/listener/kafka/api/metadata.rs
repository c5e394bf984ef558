//! Metadata: brokers, topics, partitions and their leaders; creates topics that clients name, where that is allowed.

use std::collections::HashSet;

use highwater_core::metadata::{Partition, Topic};
use highwater_proto::{ErrorCode, TopicId};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::listener::error_map::Coded;
use crate::listener::kafka::brokers::{self, Reachable};
use crate::listener::kafka::{Context, operations};

/// Carries the request out.
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: MetadataRequest,
    version: i16,
) -> MetadataResponse {
    let operations = Operations::asked_by(&request, version);
    let topics = match request.topics {
        // In version 0 an empty list means all topics; later that is null, and an empty list means none.
        None => all(context, &operations),
        Some(topics) if version == 0 && topics.is_empty() => all(context, &operations),
        Some(wanted) => {
            let may_create = version < 4 || request.allow_auto_topic_creation;
            let mut topics = Vec::with_capacity(wanted.len().min(1024));
            // A topic is told of once however often it is named, so an answer has no more than the broker has.
            let mut seen = HashSet::new();
            for topic in wanted {
                if !seen.insert((topic.topic_id, topic.name.clone())) {
                    continue;
                }
                topics.push(one(context, topic, may_create, &operations).await);
            }
            topics
        }
    };
    let broker = |broker: Reachable| {
        let rack = if version >= 1 { broker.rack } else { None };
        MetadataResponseBroker::default()
            .with_node_id(broker.id)
            .with_host(broker.host)
            .with_port(broker.port)
            .with_rack(rack)
    };
    let response = MetadataResponse::default()
        .with_brokers(context.brokers().into_iter().map(broker).collect())
        .with_controller_id(context.controller())
        .with_topics(topics)
        .with_cluster_id(Some(StrBytes::from_string(context.services.cluster_id())));
    if (8..=10).contains(&version) {
        return response.with_cluster_authorized_operations(operations.cluster);
    }
    response
}

/// What a client may do, as far as it asked.
struct Operations {
    cluster: i32,
    topic: i32,
}

impl Operations {
    fn asked_by(request: &MetadataRequest, version: i16) -> Operations {
        let asked = |flag, all| if flag { all } else { operations::NOT_ASKED };
        Operations {
            cluster: asked(
                request.include_cluster_authorized_operations && version >= 8,
                operations::CLUSTER,
            ),
            topic: asked(request.include_topic_authorized_operations && version >= 8, operations::TOPIC),
        }
    }
}

fn all(context: &Context, operations: &Operations) -> Vec<MetadataResponseTopic> {
    context.services.image().topics().map(|topic| found(context, topic, operations)).collect()
}

async fn one(
    context: &Context,
    wanted: MetadataRequestTopic,
    may_create: bool,
    operations: &Operations,
) -> MetadataResponseTopic {
    let Some(name) = wanted.name.filter(|_| wanted.topic_id.is_nil()) else {
        let image = context.services.image();
        return match image.topic(TopicId(*wanted.topic_id.as_bytes())) {
            Some(topic) => found(context, topic, operations),
            None => missing(None, ErrorCode::UnknownTopicId).with_topic_id(wanted.topic_id),
        };
    };
    let topic = if may_create {
        context.services.topic_or_create(&name).await.map_err(|error| error.code())
    } else {
        let image = context.services.image();
        let absent = if highwater_core::topic_name::check(&name).is_ok() {
            ErrorCode::UnknownTopicOrPartition
        } else {
            ErrorCode::InvalidTopicException
        };
        image.topic_named(&name).cloned().ok_or(absent)
    };
    match topic {
        Ok(topic) => found(context, &topic, operations),
        Err(code) => missing(Some(name), code),
    }
}

fn found(context: &Context, topic: &Topic, operations: &Operations) -> MetadataResponseTopic {
    let partition = |(index, partition): (i32, &Partition)| {
        let code = match partition.leader {
            Some(_) => ErrorCode::None,
            None => ErrorCode::LeaderNotAvailable,
        };
        MetadataResponsePartition::default()
            .with_error_code(code.number())
            .with_partition_index(index)
            .with_leader_id(BrokerId(partition.leader.map_or(-1, |id| id.0)))
            .with_leader_epoch(partition.leader_epoch.0)
            .with_replica_nodes(brokers::ids(&partition.replicas))
            .with_isr_nodes(brokers::ids(&partition.isr))
            .with_offline_replicas(brokers::offline(context, partition))
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.clone()))))
        .with_topic_id(Uuid::from_bytes(topic.id.0))
        .with_partitions((0..).zip(&topic.partitions).map(partition).collect())
        .with_topic_authorized_operations(operations.topic)
}

fn missing(name: Option<TopicName>, code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic::default()
        .with_name(name)
        .with_error_code(code.number())
        .with_topic_authorized_operations(operations::NOT_ASKED)
}
