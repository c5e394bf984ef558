//! DescribeLogDirs: the data directory, how much of it is left, and how large each partition is.

use std::collections::BTreeMap;

use highwater_core::metadata::Topic;
use highwater_proto::{PartitionIndex, TopicPartition};
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::listener::kafka::Context;

/// What is told of a number that is not known.
const UNKNOWN: i64 = -1;

/// Carries the request out. Null means every topic; what does not exist is left out of the answer.
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: DescribeLogDirsRequest,
    version: i16,
) -> DescribeLogDirsResponse {
    let image = context.services.image();
    let own = context.services.config().broker_id;
    let here =
        |id: &TopicPartition| image.partition(*id).is_some_and(|partition| partition.replicas.contains(&own));
    let wanted: Vec<(&Topic, Vec<TopicPartition>)> = match &request.topics {
        None => image.topics().map(|topic| (topic, topic.partition_ids().filter(here).collect())).collect(),
        Some(topics) => {
            let named = topics.iter().filter_map(|wanted| {
                let topic = image.topic_named(&wanted.topic)?;
                let id = |index: &i32| TopicPartition::new(topic.id, PartitionIndex(*index));
                let known = wanted.partitions.iter().map(id).filter(here);
                Some((topic, known.collect()))
            });
            named.collect()
        }
    };
    let ids = wanted.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
    let sizes: BTreeMap<TopicPartition, Option<u64>> = context.services.log_sizes(ids).await;
    let topics = wanted.into_iter().map(|(topic, ids)| {
        DescribeLogDirsTopic::default()
            .with_name(TopicName(StrBytes::from_string(topic.name.clone())))
            .with_partitions(ids.iter().map(|id| partition(*id, sizes.get(id).copied().flatten())).collect())
    });
    let directory = std::path::absolute(&context.services.config().data_dir)
        .unwrap_or_else(|_| context.services.config().data_dir.clone());
    let result = DescribeLogDirsResult::default()
        .with_log_dir(StrBytes::from_string(directory.display().to_string()))
        .with_topics(topics.collect());
    let result = if version >= 4 {
        let space = context.services.space().await;
        result.with_total_bytes(number(space.total_bytes)).with_usable_bytes(number(space.free_bytes))
    } else {
        result
    };
    DescribeLogDirsResponse::default().with_results(vec![result])
}

/// The leader's own log lags behind nothing.
fn partition(id: TopicPartition, size: Option<u64>) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition::default()
        .with_partition_index(id.partition.0)
        .with_partition_size(number(size))
        .with_offset_lag(if size.is_some() { 0 } else { UNKNOWN })
}

fn number(bytes: Option<u64>) -> i64 {
    bytes.map_or(UNKNOWN, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}
