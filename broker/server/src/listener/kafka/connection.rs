//! One connection: frames in, answers out in the order of their requests.
//!
//! Produce requests are begun as soon as they arrive, so that several can wait for the same flush; anything else is begun
//! when everything before it was answered, so that a client which sends ahead sees the effects in order. When too much
//! waits, nothing more is read, and TCP pushes back. One task serves a connection, so an idle one costs a task and a
//! socket.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, FetchRequest, ProduceRequest};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OwnedSemaphorePermit};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::answer::{Envelope, Refusal};
use super::api::fetch::Fetcher;
use super::api::{api_versions, produce};
use super::apis::{self, Call, decode};
use super::context::Context;
use super::frame::{Frame, FrameError, FrameMemory, FrameReader};
use super::header::{HeaderError, Request};
use super::outbox::{Outbox, Part};
use super::pins::Pins;

/// Most requests of a connection that wait for anything.
const REQUESTS_MAX: usize = 128;
/// Small answers are gathered up to this size, in bytes, before they are sent.
const GATHER_BYTES: usize = 64 << 10;
/// So much of a client's name is kept for the log, in bytes.
const CLIENT_ID_MAX: usize = 64;
/// A connection that is quiet for so long gives its buffer back.
const QUIET: Duration = Duration::from_secs(2);

/// What bounds a connection.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Largest request, in bytes.
    pub(super) frame_bytes: usize,
    /// Bytes of requests that may wait.
    pub(super) waiting_bytes: usize,
    /// A connection that is silent for so long is closed.
    pub(super) idle: Duration,
    /// What large frames of all connections share.
    pub(super) memory: FrameMemory,
}

/// Why a connection ended.
#[derive(Debug, Error)]
pub(super) enum End {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the client could not be written to: {0}")]
    Write(std::io::Error),
    #[error("nothing came for {0:?}")]
    Idle(Duration),
    #[error("a frame was begun and not ended in time")]
    Unfinished,
    #[error("the broker is shutting down")]
    Shutdown,
}

/// A request that was begun.
enum Begun {
    Produce(Box<produce::Started>),
    Call(std::pin::Pin<Box<dyn Future<Output = Result<Vec<Part>, Refusal>> + Send>>),
}

/// A request that is here, with its share of memory.
struct Arrived {
    request: Request,
    bytes: usize,
    memory: Option<OwnedSemaphorePermit>,
}

pub(super) struct Connection {
    socket: TcpStream,
    context: Context,
    limits: Limits,
    frames: FrameReader,
    /// Whether the last look at the limits left the socket unread.
    paused: bool,
    last_frame: Instant,
    /// What the client calls itself, for the log.
    client_id: Bytes,
    arrived: VecDeque<Arrived>,
    arrived_bytes: usize,
    begun: VecDeque<Begun>,
    outbox: Outbox,
    pins: Pins,
    fetcher: Arc<Mutex<Fetcher>>,
}

/// What happened next.
enum Event {
    Frame(Frame),
    Answered(Vec<Part>),
    Timer,
}

impl Connection {
    pub(super) fn new(
        socket: TcpStream,
        context: Context,
        limits: Limits,
        fetcher: Fetcher,
        pins: Pins,
    ) -> Connection {
        Connection {
            socket,
            context,
            frames: FrameReader::new(limits.frame_bytes, limits.memory.clone()),
            limits,
            paused: false,
            last_frame: Instant::now(),
            client_id: Bytes::new(),
            arrived: VecDeque::new(),
            arrived_bytes: 0,
            begun: VecDeque::new(),
            outbox: Outbox::default(),
            pins,
            fetcher: Arc::new(Mutex::new(fetcher)),
        }
    }

    /// What the client calls itself, fit for a log.
    pub(super) fn client(&self) -> String {
        String::from_utf8_lossy(&self.client_id).escape_default().to_string()
    }

    /// Serves until the client or the broker ends it.
    pub(super) async fn serve(&mut self, shutdown: CancellationToken) -> End {
        let mut shutdown = std::pin::pin!(shutdown.cancelled());
        loop {
            let event = tokio::select! {
                biased;
                () = &mut shutdown => return self.drain().await,
                event = self.next_event() => event,
            };
            let outcome = match event {
                Ok(Event::Frame(frame)) => self.take_in(frame).await,
                Ok(Event::Answered(parts)) => self.send(parts).await,
                Ok(Event::Timer) => self.timer(),
                Err(end) => Err(end),
            };
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    async fn next_event(&mut self) -> Result<Event, End> {
        let readable = self.begun.len() + self.arrived.len() < REQUESTS_MAX
            && self.arrived_bytes < self.limits.waiting_bytes;
        if readable && std::mem::take(&mut self.paused) {
            // The time that we did not read is not the client's.
            self.frames.begin_anew();
        }
        self.paused = !readable;
        let deadline = self.deadline();
        tokio::select! {
            biased;
            answer = answered(&self.context, &mut self.begun), if !self.begun.is_empty() => Ok(Event::Answered(answer?)),
            frame = self.frames.next(&self.socket), if readable => Ok(Event::Frame(frame?)),
            () = tokio::time::sleep_until(deadline) => Ok(Event::Timer),
        }
    }

    /// When to look at the clock next.
    fn deadline(&self) -> Instant {
        match self.begun.front() {
            Some(Begun::Produce(started)) => started.deadline,
            Some(Begun::Call(_)) => Instant::now() + self.limits.idle,
            None => match self.frames.unfinished_at() {
                Some(unfinished) => unfinished,
                None if self.frames.holds_a_buffer() => self.last_frame + QUIET,
                None => self.last_frame + self.limits.idle,
            },
        }
    }

    /// Something did not happen in time.
    fn timer(&mut self) -> Result<(), End> {
        let now = Instant::now();
        match self.begun.front() {
            Some(Begun::Produce(started)) if started.deadline <= now => started.expire(&self.context),
            Some(_) => {}
            None => {
                if self.frames.unfinished_at().is_some_and(|unfinished| unfinished <= now) {
                    return Err(End::Unfinished);
                }
                self.frames.shrink();
                if !self.frames.is_midway() && self.last_frame + self.limits.idle <= now {
                    return Err(End::Idle(self.limits.idle));
                }
            }
        }
        Ok(())
    }

    async fn take_in(&mut self, frame: Frame) -> Result<(), End> {
        self.last_frame = Instant::now();
        if self.begun.is_empty() {
            self.pins.asked_for_more();
        }
        let bytes = frame.bytes.len();
        let request = Request::parse(frame.bytes)?;
        if self.client_id != request.client_id {
            // A copy, so that it does not hold the receive buffer.
            self.client_id =
                Bytes::copy_from_slice(&request.client_id[..request.client_id.len().min(CLIENT_ID_MAX)]);
        }
        self.context.services.metrics().kafka_requests.inc();
        self.arrived_bytes += bytes;
        self.arrived.push_back(Arrived { request, bytes, memory: frame.memory });
        self.begin_what_may().await
    }

    /// Begins requests as long as order allows.
    async fn begin_what_may(&mut self) -> Result<(), End> {
        while let Some(next) = self.arrived.front() {
            let produces = |begun: &Begun| matches!(begun, Begun::Produce(_));
            let joins = next.request.key == ApiKey::Produce as i16 && self.begun.iter().all(produces);
            if !self.begun.is_empty() && !joins {
                return Ok(());
            }
            let Some(Arrived { request, bytes, memory }) = self.arrived.pop_front() else { return Ok(()) };
            self.arrived_bytes -= bytes;
            let begun = self.begin(request, memory).await?;
            self.begun.push_back(begun);
        }
        Ok(())
    }

    async fn begin(
        &mut self,
        request: Request,
        memory: Option<OwnedSemaphorePermit>,
    ) -> Result<Begun, Refusal> {
        let Request { key, version, correlation, body, .. } = request;
        let api = apis::find(key).ok_or(Refusal::Unserved { key, version })?;
        let envelope = Envelope { key: api.key, version, correlation };
        if !(api.min..=api.max).contains(&version) {
            if api.key != ApiKey::ApiVersions {
                return Err(Refusal::Unserved { key, version });
            }
            let answer = Envelope { version: 0, ..envelope }.encode(&api_versions::unsupported())?;
            return Ok(Begun::Call(Box::pin(std::future::ready(Ok(vec![answer.into()])))));
        }
        let context = self.context.clone();
        Ok(match api.call {
            Call::Produce => {
                let request: ProduceRequest = decode(&envelope, body)?;
                Begun::Produce(Box::new(produce::start(&context, envelope, request).await))
            }
            Call::Fetch => {
                let request: FetchRequest = decode(&envelope, body)?;
                let fetcher = Arc::clone(&self.fetcher);
                Begun::Call(Box::pin(async move {
                    Ok(fetcher.lock().await.answer(&context, &envelope, request).await)
                }))
            }
            Call::Plain(call) => {
                let answering = call(context, envelope, body);
                Begun::Call(Box::pin(async move {
                    let answer = answering.await;
                    drop(memory);
                    Ok(vec![answer?.into()])
                }))
            }
        })
    }

    /// Sends an answer, together with those behind it that are ready and small.
    async fn send(&mut self, parts: Vec<Part>) -> Result<(), End> {
        parts.into_iter().for_each(|part| self.outbox.push(part));
        while self.outbox.len() < GATHER_BYTES {
            let Some(Begun::Produce(started)) = self.begun.front_mut() else { break };
            let Some(outcomes) = started.outcomes_now() else { break };
            let Some(Begun::Produce(started)) = self.begun.pop_front() else { break };
            started
                .answer(&self.context, outcomes)?
                .into_iter()
                .for_each(|part| self.outbox.push(part.into()));
        }
        self.begin_what_may().await?;
        self.outbox.send(&self.socket, &mut self.pins).await.map_err(End::Write)
    }

    /// Answers the batches that were taken in, and ends.
    async fn drain(&mut self) -> End {
        let patience = Instant::now() + self.context.services.config().shutdown_timeout;
        self.arrived.clear();
        while let Some(Begun::Produce(_)) = self.begun.front() {
            match tokio::time::timeout_at(patience, answered(&self.context, &mut self.begun)).await {
                Ok(Ok(parts)) => {
                    if let Err(end) = self.send(parts).await {
                        return end;
                    }
                }
                Ok(Err(refusal)) => return End::Refused(refusal),
                Err(_) => break,
            }
        }
        End::Shutdown
    }
}

/// Waits for the first request's answer and takes the request out. Nothing is lost when the future is dropped.
async fn answered(context: &Context, begun: &mut VecDeque<Begun>) -> Result<Vec<Part>, Refusal> {
    match begun.front_mut() {
        None => std::future::pending().await,
        Some(Begun::Call(answering)) => {
            let answer = answering.await;
            begun.pop_front();
            answer
        }
        Some(Begun::Produce(started)) => {
            let outcomes = started.outcomes().await;
            let Some(Begun::Produce(started)) = begun.pop_front() else { return Ok(Vec::new()) };
            Ok(started.answer(context, outcomes)?.map(Part::from).into_iter().collect())
        }
    }
}
