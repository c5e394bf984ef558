//! The fake's Fetch sessions: cursors, long poll, one answer per request, in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use highwater_client::ErrorCode;
use highwater_proto::grpc;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{Fake, OnFetch};

#[derive(Clone, Copy)]
struct Cursor {
    offset: i64,
    generation: u32,
}

type Cursors = BTreeMap<(Bytes, i32), Cursor>;

pub(super) async fn run(
    fake: Arc<Fake>,
    mut requests: Streaming<grpc::FetchRequest>,
    answers: mpsc::Sender<Result<grpc::FetchResponse, Status>>,
) {
    let mut cursors = Cursors::new();
    while let Ok(Some(request)) = requests.message().await {
        for position in &request.positions {
            let cursor = Cursor { offset: position.offset, generation: position.cursor_generation };
            cursors.insert((position.topic_id.clone(), position.partition), cursor);
        }
        for forgotten in &request.forget {
            cursors.remove(&(forgotten.topic_id.clone(), forgotten.partition));
        }
        let number = fake.fetches_seen.fetch_add(1, Ordering::Relaxed);
        let action = (fake.lock().on_fetch)(number);
        if action == OnFetch::Break {
            let _ = answers.send(Err(Status::unavailable("broken on purpose"))).await;
            return;
        }
        let partitions = wait_for_data(&fake, &mut cursors, &request, action).await;
        let answer = grpc::FetchResponse { correlation: request.correlation, partitions, throttle_ms: 0 };
        if answers.send(Ok(answer)).await.is_err() {
            return;
        }
    }
}

async fn wait_for_data(
    fake: &Fake,
    cursors: &mut Cursors,
    request: &grpc::FetchRequest,
    action: OnFetch,
) -> Vec<grpc::FetchPartitionResult> {
    let wait = Duration::from_millis(request.max_wait_ms.into());
    let deadline = tokio::time::Instant::now() + wait;
    let mut appended = fake.appended.subscribe();
    loop {
        appended.mark_unchanged();
        let results = read(fake, cursors, request.max_bytes as usize, action);
        if !results.is_empty() {
            return results;
        }
        if tokio::time::timeout_at(deadline, appended.changed()).await.is_err() {
            return results;
        }
    }
}

fn read(
    fake: &Fake,
    cursors: &mut Cursors,
    max_bytes: usize,
    action: OnFetch,
) -> Vec<grpc::FetchPartitionResult> {
    let state = fake.lock();
    let mut results = Vec::new();
    for ((topic_id, partition), cursor) in cursors.iter_mut() {
        let topic = state.topics.values().find(|topic| topic.id.0[..] == topic_id[..]);
        let log = topic.and_then(|topic| topic.partitions.get(*partition as usize));
        let mut result = grpc::FetchPartitionResult {
            topic_id: topic_id.clone(),
            partition: *partition,
            cursor_generation: cursor.generation,
            ..Default::default()
        };
        let error = match (action, log) {
            (OnFetch::Refuse(code), _) => Some(code),
            (_, None) => Some(ErrorCode::UnknownTopicId),
            (_, Some(log)) if !(log.start..=log.end).contains(&cursor.offset) => {
                Some(ErrorCode::OffsetOutOfRange)
            }
            _ => None,
        };
        if let Some(log) = log {
            (result.high_watermark, result.log_start_offset) = (log.end, log.start);
            if error.is_none() {
                let (records, next) = log.read(cursor.offset, max_bytes);
                (result.records, cursor.offset) = (records, next);
            }
        }
        if action == OnFetch::Damage && !result.records.is_empty() {
            let mut damaged = result.records.to_vec();
            *damaged.last_mut().unwrap() ^= 1;
            result.records = damaged.into();
        }
        result.error = error.map_or(0, ErrorCode::to_wire);
        if !result.records.is_empty() || error.is_some() {
            results.push(result);
        }
    }
    results
}
