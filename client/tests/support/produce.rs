//! The fake's Produce stream.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use highwater_client::ErrorCode;
use highwater_proto::grpc;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::{Fake, OnBatch};

pub(super) async fn run(
    fake: Arc<Fake>,
    mut requests: Streaming<grpc::ProduceRequest>,
    answers: mpsc::Sender<Result<grpc::ProduceResponse, Status>>,
) {
    while let Ok(Some(request)) = requests.message().await {
        let mut partitions = Vec::new();
        let mut broken = false;
        let mut swallowed = false;
        for part in request.partitions {
            match take(&fake, &part) {
                Ok(result) => partitions.push(result),
                Err(Fate::Broken) => broken = true,
                Err(Fate::Swallowed) => swallowed = true,
            }
            if broken {
                break;
            }
        }
        fake.notify_appended();
        if broken {
            let _ = answers.send(Err(Status::unavailable("broken on purpose"))).await;
            return;
        }
        if swallowed || request.acks == 0 {
            continue;
        }
        let mut held = fake.held.subscribe();
        held.wait_for(|held| !held).await.unwrap();
        let answer = grpc::ProduceResponse { correlation: request.correlation, partitions, throttle_ms: 0 };
        if answers.send(Ok(answer)).await.is_err() {
            return;
        }
    }
}

enum Fate {
    Broken,
    Swallowed,
}

fn take(fake: &Fake, part: &grpc::ProducePartition) -> Result<grpc::ProducePartitionResult, Fate> {
    let number = fake.batches_seen.fetch_add(1, Ordering::Relaxed);
    let mut state = fake.lock();
    state.arrived.push((part.partition, part.batch.clone()));
    let action = (state.on_batch)(number);
    let mut append = || {
        let topic = state.topics.values_mut().find(|topic| topic.id.0[..] == part.topic_id[..]);
        let log = topic.and_then(|topic| topic.partitions.get_mut(part.partition as usize));
        log.ok_or(ErrorCode::UnknownTopicId)?.append(&part.batch)
    };
    let result = match action {
        OnBatch::Append => append(),
        OnBatch::Refuse(code) => Err(code),
        OnBatch::AppendAndRefuse(code) => append().and(Err(code)),
        OnBatch::Break => return Err(Fate::Broken),
        OnBatch::AppendAndBreak => {
            let _ = append();
            return Err(Fate::Broken);
        }
        OnBatch::Swallow => return Err(Fate::Swallowed),
    };
    Ok(grpc::ProducePartitionResult {
        topic_id: part.topic_id.clone(),
        partition: part.partition,
        error: result.err().map_or(0, ErrorCode::to_wire),
        message: String::new(),
        base_offset: result.unwrap_or(-1),
        log_append_time_ms: -1,
        log_start_offset: 0,
    })
}
