//! Where in a log to stand, and how that becomes an offset.

use std::sync::Arc;

use highwater_proto::Offset;

use crate::client::Client;
use crate::error::AdminError;
use crate::metadata::TopicInfo;

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// This offset.
    Offset(Offset),
    /// The first record at or after this time, in milliseconds since the Unix epoch; the end when there is none.
    Timestamp(i64),
    /// The first record the log still has.
    Beginning,
    /// After the last record that can be read.
    End,
}

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// The offset of `position` in each of `partitions`, in their order.
pub(crate) async fn resolve(
    client: &Client,
    topic: &Arc<TopicInfo>,
    partitions: &[i32],
    position: Position,
) -> Result<Vec<Offset>, AdminError> {
    let timestamp = match position {
        Position::Offset(offset) => return Ok(vec![offset; partitions.len()]),
        Position::Timestamp(timestamp_ms) => timestamp_ms.max(0),
        Position::Beginning => EARLIEST,
        Position::End => LATEST,
    };
    let mut offsets = ask(client, topic, partitions, timestamp).await?;
    let is_past = |offset: &Offset| offset.0 < 0;
    if offsets.iter().any(is_past) {
        let ends = ask(client, topic, partitions, LATEST).await?;
        for (offset, end) in offsets.iter_mut().zip(ends) {
            if is_past(offset) {
                *offset = end;
            }
        }
    }
    Ok(offsets)
}

async fn ask(
    client: &Client,
    topic: &Arc<TopicInfo>,
    partitions: &[i32],
    timestamp: i64,
) -> Result<Vec<Offset>, AdminError> {
    let results = client.list_offsets(topic, partitions, timestamp).await?;
    Ok(results.into_iter().map(|result| Offset(result.offset)).collect())
}
