//! OffsetForLeaderEpoch: where the records of a leader's epoch end, for clients that look for truncation.

use highwater_proto::{ErrorCode, LeaderEpoch, PartitionIndex, TopicPartition};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::listener::error_map::Coded;
use crate::listener::kafka::Context;

/// Carries the request out.
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: OffsetForLeaderEpochRequest,
    _version: i16,
) -> OffsetForLeaderEpochResponse {
    // Only brokers ask as replicas, and they have a listener of their own.
    let replica = request.replica_id.0 >= 0;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let id = context.services.image().topic_named(&topic.topic).map(|topic| topic.id);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let answer = match id {
                _ if replica => Err(ErrorCode::ClusterAuthorizationFailed),
                None => Err(ErrorCode::UnknownTopicOrPartition),
                Some(id) => {
                    let id = TopicPartition::new(id, PartitionIndex(wanted.partition));
                    find(context, id, &wanted).await
                }
            };
            let undefined = EpochEndOffset::default()
                .with_partition(wanted.partition)
                .with_leader_epoch(LeaderEpoch::UNKNOWN.0)
                .with_end_offset(-1);
            partitions.push(answer.unwrap_or_else(|code| undefined.with_error_code(code.number())));
        }
        topics
            .push(OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions));
    }
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

async fn find(
    context: &Context,
    id: TopicPartition,
    wanted: &OffsetForLeaderPartition,
) -> Result<EpochEndOffset, ErrorCode> {
    let (asked, current) = (LeaderEpoch(wanted.leader_epoch), LeaderEpoch(wanted.current_leader_epoch));
    let found = context.services.end_of_epoch(id, asked, current).await.map_err(|error| error.code())?;
    let (epoch, end) = found.map_or((LeaderEpoch::UNKNOWN.0, -1), |(epoch, end)| (epoch.0, end.0));
    Ok(EpochEndOffset::default()
        .with_partition(wanted.partition)
        .with_leader_epoch(epoch)
        .with_end_offset(end))
}
