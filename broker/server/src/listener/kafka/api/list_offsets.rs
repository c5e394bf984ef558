//! ListOffsets: the earliest, the latest, the one with the largest timestamp, or the first at or after a time.

use std::collections::HashSet;

use highwater_proto::{ErrorCode, LeaderEpoch, PartitionIndex, TopicPartition};
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::listener::error_map::Coded;
use crate::listener::kafka::Context;
use crate::service::OffsetQuery;

/// The earliest offset kept on this broker's own disks; there are no others.
const EARLIEST_LOCAL: i64 = -4;
/// The latest offset in remote storage; there is none.
const LATEST_TIERED: i64 = -5;
const EARLIEST: i64 = -2;

/// Carries the request out.
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let mut seen = HashSet::new();
    let replica = request.replica_id.0 >= 0;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let id = context.services.image().topic_named(&topic.name).map(|topic| topic.id);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let again = !seen.insert((topic.name.clone(), wanted.partition_index));
            let answer = match id {
                // Only brokers read as replicas, and they have a listener of their own.
                _ if replica => Err(ErrorCode::ClusterAuthorizationFailed),
                _ if again => Err(ErrorCode::InvalidRequest),
                None => Err(ErrorCode::UnknownTopicOrPartition),
                Some(id) => {
                    let id = TopicPartition::new(id, PartitionIndex(wanted.partition_index));
                    find(context, id, &wanted, version).await
                }
            };
            partitions.push(answer.unwrap_or_else(|code| {
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(wanted.partition_index)
                    .with_error_code(code.number())
            }));
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions));
    }
    ListOffsetsResponse::default().with_topics(topics)
}

async fn find(
    context: &Context,
    id: TopicPartition,
    wanted: &ListOffsetsPartition,
    version: i16,
) -> Result<ListOffsetsPartitionResponse, ErrorCode> {
    let answer = ListOffsetsPartitionResponse::default().with_partition_index(wanted.partition_index);
    let timestamp = match wanted.timestamp {
        EARLIEST_LOCAL if version >= 8 => EARLIEST,
        LATEST_TIERED if version >= 9 => return Ok(answer),
        // The largest timestamp can be asked for since version 7.
        -3 if version < 7 => return Err(ErrorCode::UnsupportedVersion),
        timestamp if OffsetQuery::from_wire(timestamp).is_none() => {
            return Err(ErrorCode::UnsupportedVersion);
        }
        timestamp => timestamp,
    };
    let epoch = if version >= 4 { LeaderEpoch(wanted.current_leader_epoch) } else { LeaderEpoch::UNKNOWN };
    let found = context.services.list_offsets(id, timestamp, epoch).await.map_err(|error| error.code())?;
    let Some(offset) = found.offset else { return Ok(answer) };
    let answer = answer.with_offset(offset.0).with_timestamp(found.timestamp_ms.unwrap_or(-1));
    Ok(if version >= 4 { answer.with_leader_epoch(found.epoch.0) } else { answer })
}
