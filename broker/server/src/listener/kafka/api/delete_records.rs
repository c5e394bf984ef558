//! DeleteRecords: everything of a partition before an offset goes; -1 stands for the high watermark.

use highwater_proto::{ErrorCode, Offset};
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::problem::Problem;
use crate::listener::kafka::Context;

/// The offset that stands for the high watermark.
const HIGH_WATERMARK: i64 = -1;

/// Carries the request out.
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: DeleteRecordsRequest,
    _version: i16,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in topic.partitions {
            let index = wanted.partition_index;
            let deleted = delete(context, &topic.name, index, wanted.offset).await;
            let result = DeleteRecordsPartitionResult::default().with_partition_index(index);
            partitions.push(match deleted {
                Ok(low_watermark) => result.with_low_watermark(low_watermark.0),
                Err(problem) => result.with_low_watermark(-1).with_error_code(problem.number()),
            });
        }
        topics.push(DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions));
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

async fn delete(context: &Context, topic: &str, partition: i32, offset: i64) -> Result<Offset, Problem> {
    let before = match offset {
        HIGH_WATERMARK => None,
        0.. => Some(Offset(offset)),
        _ => {
            return Err(Problem::new(
                ErrorCode::OffsetOutOfRange,
                format_args!("there is no offset {offset}"),
            ));
        }
    };
    Ok(context.services.delete_records(topic, partition, before).await?)
}
