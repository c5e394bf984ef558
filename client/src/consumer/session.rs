//! One fetch stream to one leader: dialled, kept full of requests, dialled again when it breaks.
//!
//! It knows requests and answers and no partitions: what a cursor is worth is for `handle.rs` to say.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use highwater_proto::BrokerId;
use highwater_proto::grpc::{self, log_client::LogClient};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::client::Client;
use crate::connection::MESSAGE_BYTES_MAX;
use crate::consumer::config::ConsumerConfig;
use crate::error::reason_of;

/// The connection to one leader.
pub(crate) struct Session {
    pub(crate) broker: BrokerId,
    state: State,
    /// Cursors that go out with the next request.
    positions: Vec<grpc::FetchPosition>,
    /// Partitions that leave the session with the next request.
    forget: Vec<grpc::FetchPartitionId>,
    /// Requests without an answer.
    outstanding: usize,
    correlation: u64,
    /// Breaks since the last answer.
    failures: u32,
    /// When something was last heard, or asked for.
    heard: Instant,
    /// Set while something is waited for.
    silence: Option<Pin<Box<Sleep>>>,
}

/// How much longer than the longest wait that was asked for an answer may take before the leader is given up. Doubles with each
/// failure in a row, so that a slow broker is not lost for good.
const SILENCE: Duration = Duration::from_millis(750);

enum State {
    Idle,
    Opening(BoxFuture<'static, Result<Streaming<grpc::FetchResponse>, String>>, Requests),
    Open(Box<Streaming<grpc::FetchResponse>>, Requests),
    Waiting(Pin<Box<Sleep>>),
}

type Requests = mpsc::Sender<grpc::FetchRequest>;

/// What polling a session can bring.
#[derive(Debug)]
pub(crate) enum Event {
    Answer(grpc::FetchResponse),
    /// All cursors are gone with the connection.
    Broke(String),
}

impl Session {
    pub(crate) fn new(broker: BrokerId) -> Session {
        Session {
            broker,
            state: State::Idle,
            positions: Vec::new(),
            forget: Vec::new(),
            outstanding: 0,
            correlation: 0,
            failures: 0,
            heard: Instant::now(),
            silence: None,
        }
    }

    /// Adds a cursor; it goes out with the next request.
    pub(crate) fn place(&mut self, position: grpc::FetchPosition) {
        self.forget.retain(|f| (&f.topic_id, f.partition) != (&position.topic_id, position.partition));
        self.positions.push(position);
    }

    /// Takes a partition out with the next request, so that the broker does not send what nobody wants.
    pub(crate) fn forget(&mut self, partition: grpc::FetchPartitionId) {
        self.positions.retain(|p| (&p.topic_id, p.partition) != (&partition.topic_id, partition.partition));
        self.forget.push(partition);
    }

    /// Drops the stream if requests are out on it, and says whether; the caller then places its cursors anew.
    pub(crate) fn restart(&mut self) -> bool {
        if self.outstanding == 0 {
            return false;
        }
        self.state = State::Idle;
        self.positions.clear();
        self.forget.clear();
        self.outstanding = 0;
        true
    }

    /// Goes on until there is an event or nothing to be done. `is_wanted`: whether any cursor is placed here.
    pub(crate) fn poll(
        &mut self,
        client: &Client,
        config: &ConsumerConfig,
        is_wanted: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Event> {
        loop {
            match &mut self.state {
                State::Idle if !is_wanted => return Poll::Pending,
                State::Idle => self.open(client, config),
                State::Waiting(sleep) => {
                    std::task::ready!(sleep.as_mut().poll(cx));
                    self.state = State::Idle;
                }
                State::Opening(opening, requests) => match opening.poll_unpin(cx) {
                    Poll::Ready(Ok(answers)) => {
                        self.state = State::Open(Box::new(answers), requests.clone());
                    }
                    Poll::Ready(Err(reason)) => return Poll::Ready(self.break_off(client, reason)),
                    Poll::Pending => return self.poll_silence(client, config, cx),
                },
                State::Open(answers, _) => {
                    let answer = answers.poll_next_unpin(cx);
                    return match answer {
                        Poll::Ready(Some(Ok(answer))) => {
                            self.outstanding = self.outstanding.saturating_sub(1);
                            self.failures = 0;
                            self.heard = Instant::now();
                            if is_wanted {
                                self.top_up(config);
                            }
                            Poll::Ready(Event::Answer(answer))
                        }
                        Poll::Ready(Some(Err(status))) => {
                            Poll::Ready(self.break_off(client, reason_of(&status)))
                        }
                        Poll::Ready(None) => {
                            Poll::Ready(self.break_off(client, "the broker ended the stream".to_owned()))
                        }
                        Poll::Pending => {
                            if is_wanted {
                                self.top_up(config);
                            }
                            self.poll_silence(client, config, cx)
                        }
                    };
                }
            }
        }
    }

    /// Gives the leader up when it owes an answer for too long.
    fn poll_silence(
        &mut self,
        client: &Client,
        config: &ConsumerConfig,
        cx: &mut Context<'_>,
    ) -> Poll<Event> {
        if self.outstanding == 0 {
            return Poll::Pending;
        }
        let patience = config.fetch_max_wait + SILENCE.saturating_mul(1 << self.failures.min(6));
        loop {
            let until = self.heard + patience;
            let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
            std::task::ready!(silence.as_mut().poll(cx));
            self.silence = None;
            if self.heard + patience <= Instant::now() {
                let reason = format!("no answer in {} ms", patience.as_millis());
                return Poll::Ready(self.break_off(client, reason));
            }
        }
    }

    /// Dials, and sends the first requests along with the call.
    fn open(&mut self, client: &Client, config: &ConsumerConfig) {
        let (requests, body) = mpsc::channel(config.pipeline() + 1);
        let (client, broker) = (client.clone(), self.broker);
        let opening = async move {
            let channel = client.dial_bulk(broker).await.map_err(|error| error.to_string())?;
            call(channel, body).await
        };
        self.outstanding = 0;
        self.state = State::Opening(opening.boxed(), requests);
        self.top_up(config);
    }

    /// Keeps requests on their way, as many as the byte budget allows. They go out several at a time, once half of
    /// them are answered: at the end of a log each answer is small, and a write per answer would cost as much again.
    fn top_up(&mut self, config: &ConsumerConfig) {
        if self.outstanding > config.pipeline() / 2 && self.positions.is_empty() {
            return;
        }
        let (State::Open(_, requests) | State::Opening(_, requests)) = &self.state else { return };
        if self.outstanding == 0 {
            self.heard = Instant::now();
            self.silence = None;
        }
        while self.outstanding < config.pipeline() || !self.positions.is_empty() {
            let request = grpc::FetchRequest {
                correlation: self.correlation,
                max_wait_ms: u32::try_from(config.fetch_max_wait.as_millis()).unwrap_or(u32::MAX),
                min_bytes: u32::try_from(config.fetch_min_bytes).unwrap_or(u32::MAX),
                max_bytes: u32::try_from(config.fetch_max_bytes).unwrap_or(u32::MAX),
                positions: std::mem::take(&mut self.positions),
                forget: std::mem::take(&mut self.forget),
            };
            if let Err(refused) = requests.try_send(request) {
                let refused = refused.into_inner();
                (self.positions, self.forget) = (refused.positions, refused.forget);
                return; // the channel is full or closed; the next answer, or the break, comes by here again
            }
            self.correlation += 1;
            self.outstanding += 1;
        }
    }

    fn break_off(&mut self, client: &Client, reason: String) -> Event {
        let wait = client.config().backoff().wait(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.positions.clear();
        self.forget.clear();
        self.outstanding = 0;
        self.state = State::Waiting(Box::pin(tokio::time::sleep(wait)));
        Event::Broke(reason)
    }
}

async fn call(
    channel: Channel,
    body: mpsc::Receiver<grpc::FetchRequest>,
) -> Result<Streaming<grpc::FetchResponse>, String> {
    let mut client = LogClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let response = client.fetch(ReceiverStream::new(body)).await.map_err(|status| reason_of(&status))?;
    Ok(response.into_inner())
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.state {
            State::Idle => "idle",
            State::Opening(..) => "opening",
            State::Open(..) => "open",
            State::Waiting(_) => "waiting",
        };
        f.debug_struct("Session").field("broker", &self.broker).field("state", &state).finish_non_exhaustive()
    }
}
