//! Keeps one broker's Produce stream connected: dials, hands answers to the partitions, and starts over when the
//! connection breaks.

use std::sync::Arc;

use futures_util::FutureExt;
use highwater_proto::grpc::{self, log_client::LogClient};
use std::time::Duration;

use crate::connection::MESSAGE_BYTES_MAX;
use crate::error::{reason_of, status_reason};
use crate::producer::body::WithBody;
use crate::producer::sender::{BrokerSender, RequestStream};
use crate::producer::shared::Shared;

/// Whether a connection was of any use before it broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Served {
    Answers,
    Nothing,
}

/// Runs until the producer is closed.
pub(crate) async fn run(shared: Arc<Shared>, sender: Arc<BrokerSender>) {
    let mut closed = shared.closed.subscribe();
    let mut attempt = 0;
    loop {
        let (served, reason) = tokio::select! {
            ended = serve(&shared, &sender) => ended,
            _ = closed.wait_for(|closed| *closed) => {
                lose(&shared, &sender, "the producer was closed");
                return;
            }
        };
        tracing::debug!(broker = sender.broker.0, reason, "produce stream ended");
        if sender.is_finishing() {
            sender.set_finished();
            return;
        }
        shared.client.suspect(sender.broker);
        lose(&shared, &sender, &reason);
        sender.set_trouble(Some(reason));
        attempt = if served == Served::Answers { 0 } else { attempt + 1 };
        if attempt > 0 {
            shared.reroute(sender.broker); // perhaps another broker leads its partitions by now
        }
        let wait = shared.client.config().backoff().wait(attempt);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = closed.wait_for(|closed| *closed) => return,
        }
    }
}

/// One connection, from dialling to its end.
async fn serve(shared: &Arc<Shared>, sender: &Arc<BrokerSender>) -> (Served, String) {
    if sender.trouble().is_none() {
        sender.set_trouble(Some(format!("broker {} does not answer yet", sender.broker)));
    }
    let channel = match shared.client.dial_bulk(sender.broker).await {
        Ok(channel) => channel,
        Err(error) => return (Served::Nothing, error.to_string()),
    };
    let (life, _) = sender.next_life();
    let requests = RequestStream::new(sender.clone(), shared, life);
    let mut client =
        LogClient::new(WithBody::new(channel, requests)).max_decoding_message_size(MESSAGE_BYTES_MAX);
    // The requests travel as the channel's own body.
    let limit = shared.client.config().connect_timeout;
    // What was said of the connection before this one is no news any more.
    let _ = sender.broken.notified().now_or_never();
    let begun = tokio::select! {
        begun = tokio::time::timeout(limit, client.produce(tokio_stream::empty())) => begun,
        () = sender.broken.notified() => return (Served::Nothing, "others lead by now".to_owned()),
    };
    let mut answers = match begun {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return (Served::Nothing, status_reason(&status)),
        // A process that is stopped accepts connections, and that is all.
        Err(_) => return (Served::Nothing, format!("no answer in {} ms", limit.as_millis())),
    };
    sender.set_trouble(None);
    let mut served = Served::Nothing;
    loop {
        let answer = tokio::select! {
            answer = answers.message() => answer,
            () = sender.broken.notified() => {
                return (served, "no answer within the request timeout".to_owned());
            }
        };
        match answer {
            Ok(Some(answer)) => {
                served = Served::Answers;
                take(shared, sender, &answer);
            }
            Ok(None) => return (served, "the broker ended the stream".to_owned()),
            Err(status) => return (served, reason_of(&status)),
        }
    }
}

/// Hands an answer to the partitions it is about.
fn take(shared: &Arc<Shared>, sender: &BrokerSender, answer: &grpc::ProduceResponse) {
    if answer.throttle_ms > 0 {
        sender.throttle(Duration::from_millis(answer.throttle_ms.into()));
    }
    let Some(request) = sender.answered(answer.correlation) else {
        tracing::warn!(correlation = answer.correlation, "an answer to no request");
        return;
    };
    for (index, (queue, id)) in request.parts.into_iter().enumerate() {
        // Brokers answer in the order of the request; anything else is still found, and what is missing is retried.
        let is_ours = |r: &&grpc::ProducePartitionResult| {
            r.partition == queue.partition.0 && queue.is_topic(&r.topic_id)
        };
        let result =
            answer.partitions.get(index).filter(is_ours).or_else(|| answer.partitions.iter().find(is_ours));
        let effects = match result {
            Some(result) => queue.answered(id, result),
            None => queue.lost(id, "the broker's answer does not mention the partition"),
        };
        shared.apply(&queue, effects);
    }
}

/// Marks everything on its way as unanswered.
fn lose(shared: &Arc<Shared>, sender: &BrokerSender, reason: &str) {
    let (_, lost) = sender.next_life();
    for request in lost {
        for (queue, id) in request.parts {
            let effects = queue.lost(id, reason);
            shared.apply(&queue, effects);
        }
    }
}
