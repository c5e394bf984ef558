//! What feeds one broker's Produce stream: the list of partitions with something to send, and the requests on their
//! way.
//!
//! The request stream itself drains the partitions when HTTP/2 asks for more. No task stands between `send` and the
//! connection, so at a low rate a record reaches the socket on the thread that sent it, and under load batches grow
//! until the connection has room.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use futures_util::task::AtomicWaker;
use highwater_proto::{BrokerId, grpc};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, Sleep};

use crate::producer::config::Acks;
use crate::producer::effects::Schedule;
use crate::producer::queue::PartitionQueue;
use crate::producer::shared::Shared;

/// Bytes of batches in one request, beyond which the rest goes into the next.
const REQUEST_BYTES: usize = 1 << 20;

/// Requests of one connection on their way at once. Enough to keep a connection full; few enough that under load
/// batches wait here and grow.
const REQUESTS_IN_FLIGHT: usize = 8;

/// One broker's lists. The link (`link.rs`) connects, reads the answers and starts over when the connection breaks.
#[derive(Debug)]
pub(crate) struct BrokerSender {
    pub(crate) broker: BrokerId,
    ready: Mutex<Ready>,
    in_flight: Mutex<InFlight>,
    wake_stream: AtomicWaker,
    /// Why there is no connection at the moment, for the errors of records that time out meanwhile.
    trouble: Mutex<Option<String>>,
    /// Tells the link that its connection is to be given up.
    pub(crate) broken: Notify,
    /// Nothing more comes: the stream ends once it has sent what is listed.
    finishing: AtomicBool,
    /// Somebody is asking whether other brokers lead by now.
    looking: AtomicBool,
    /// Whether the broker has taken all of a stream that ended so.
    finished: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Ready {
    now: VecDeque<Arc<PartitionQueue>>,
    /// By due time, which is also the order of insertion, since the linger is the same for all.
    later: VecDeque<(Instant, Arc<PartitionQueue>)>,
    /// The broker asked for a pause until then.
    not_before: Option<Instant>,
}

/// Requests that wait for their answer, oldest first.
#[derive(Debug, Default)]
struct InFlight {
    requests: VecDeque<Request>,
    next_correlation: u64,
    /// Counts the connections; a stream of an earlier one may add nothing any more.
    life: u64,
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Request {
    correlation: u64,
    sent_at: Instant,
    /// Its batches, by partition and id.
    pub(crate) parts: Vec<(Arc<PartitionQueue>, u64)>,
}

impl BrokerSender {
    pub(crate) fn new(broker: BrokerId) -> BrokerSender {
        BrokerSender {
            broker,
            ready: Mutex::default(),
            in_flight: Mutex::default(),
            wake_stream: AtomicWaker::new(),
            trouble: Mutex::default(),
            broken: Notify::new(),
            finishing: AtomicBool::new(false),
            looking: AtomicBool::new(false),
            finished: watch::Sender::new(false),
        }
    }

    /// Ends the stream after what is listed, and waits until the broker has taken all of it or the link gave up. Without
    /// acknowledgements this is the only way to know that nothing is left in a buffer here.
    pub(crate) async fn finish(&self) {
        self.finishing.store(true, Ordering::Release);
        self.wake_stream.wake();
        let mut finished = self.finished.subscribe();
        // The sender of this channel is `self`, so it cannot end before.
        let _ = finished.wait_for(|finished| *finished).await;
    }

    /// Whether [`BrokerSender::finish`] was called.
    pub(crate) fn is_finishing(&self) -> bool {
        self.finishing.load(Ordering::Acquire)
    }

    /// The broker has ended the stream.
    pub(crate) fn set_finished(&self) {
        self.finished.send_replace(true);
    }

    /// Notes why the broker cannot be reached; `None` when it can.
    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        *lock(&self.trouble) = trouble;
    }

    /// Why the broker cannot be reached.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// The queue has a batch to send.
    pub(crate) fn schedule(&self, queue: Arc<PartitionQueue>) {
        lock(&self.ready).now.push_back(queue);
        self.wake_stream.wake();
    }

    /// The queue's open batch is to be sent at `due` if it has not filled up by then.
    pub(crate) fn schedule_at(&self, due: Instant, queue: Arc<PartitionQueue>) {
        let mut ready = lock(&self.ready);
        let is_first = ready.later.is_empty();
        ready.later.push_back((due, queue));
        drop(ready);
        if is_first {
            self.wake_stream.wake();
        }
    }

    /// Starts a new life: the stream of the old connection ends, and what it had on its way is handed back.
    pub(crate) fn next_life(&self) -> (u64, VecDeque<Request>) {
        let mut in_flight = lock(&self.in_flight);
        in_flight.life += 1;
        let lost = std::mem::take(&mut in_flight.requests);
        let life = in_flight.life;
        drop(in_flight);
        self.wake_stream.wake();
        (life, lost)
    }

    /// The request that this answer belongs to.
    pub(crate) fn answered(&self, correlation: u64) -> Option<Request> {
        let mut in_flight = lock(&self.in_flight);
        let position = in_flight.requests.iter().position(|r| r.correlation == correlation)?;
        let was_full = in_flight.requests.len() >= REQUESTS_IN_FLIGHT;
        let request = in_flight.requests.remove(position);
        drop(in_flight);
        if was_full {
            self.wake_stream.wake();
        }
        request
    }

    /// Holds the stream back, as the broker asked.
    pub(crate) fn throttle(&self, pause: Duration) {
        lock(&self.ready).not_before = Some(Instant::now() + pause);
    }

    /// Whether to ask who leads by now: there is no connection, or no answer within `limit`. Then true for one caller, until
    /// [`BrokerSender::looked`].
    pub(crate) fn begin_to_look(&self, now: Instant, limit: Duration) -> bool {
        (self.trouble().is_some() || self.is_stuck(now, limit)) && !self.looking.swap(true, Ordering::AcqRel)
    }

    /// The question was answered.
    pub(crate) fn looked(&self) {
        self.looking.store(false, Ordering::Release);
    }

    /// Whether requests wait for their answer.
    pub(crate) fn is_waiting(&self) -> bool {
        !lock(&self.in_flight).requests.is_empty()
    }

    /// Whether the oldest request has waited longer than `limit`: then the connection is as good as dead.
    pub(crate) fn is_stuck(&self, now: Instant, limit: Duration) -> bool {
        let in_flight = lock(&self.in_flight);
        in_flight.requests.front().is_some_and(|r| now.saturating_duration_since(r.sent_at) > limit)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The body of one Produce call.
#[derive(Debug)]
pub(crate) struct RequestStream {
    sender: Arc<BrokerSender>,
    /// Weak: a connection that lingers must not keep a dropped producer alive.
    shared: Weak<Shared>,
    life: u64,
    acks: Acks,
    timeout_ms: u32,
    sleep: Pin<Box<Sleep>>,
    sleeping_until: Option<Instant>,
}

impl RequestStream {
    pub(crate) fn new(sender: Arc<BrokerSender>, shared: &Arc<Shared>, life: u64) -> RequestStream {
        let timeout = shared.client.config().request_timeout;
        RequestStream {
            sender,
            shared: Arc::downgrade(shared),
            life,
            acks: shared.config.acks,
            timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            sleeping_until: None,
        }
    }

    /// Moves the queues whose linger is over to the others; returns when the next one is due.
    fn next_due(&self, shared: &Arc<Shared>) -> Option<Instant> {
        let mut ready = lock(&self.sender.ready);
        if ready.later.is_empty() {
            return None;
        }
        let now = Instant::now();
        let mut due = Vec::new();
        while let Some((_, queue)) = ready.later.pop_front_if(|(at, _)| *at <= now) {
            due.push(queue);
        }
        let next = ready.later.front().map(|(at, _)| *at);
        drop(ready);
        for queue in due {
            let effects = queue.look_again();
            shared.apply(&queue, effects);
        }
        next
    }

    /// One batch from each listed queue, up to the size of a request.
    fn gather(&self, shared: &Arc<Shared>) -> Option<grpc::ProduceRequest> {
        if lock(&self.sender.in_flight).requests.len() >= REQUESTS_IN_FLIGHT {
            return None;
        }
        let mut parts = Vec::new();
        let mut batches = Vec::new();
        let mut bytes = 0;
        let listed = lock(&self.sender.ready).now.len();
        for _ in 0..listed {
            let Some(queue) = lock(&self.sender.ready).now.pop_front() else { break };
            let (drained, mut effects) = queue.drain(&self.sender);
            let again = effects.schedule.take();
            shared.apply(&queue, effects);
            if let Some(drained) = drained {
                bytes += drained.part.batch.len();
                batches.push(drained.part);
                parts.push((queue.clone(), drained.id));
            }
            match again {
                // Behind the others, and not through `schedule`: this stream is awake.
                Some(Schedule::Now(sender)) if Arc::ptr_eq(&sender, &self.sender) => {
                    lock(&self.sender.ready).now.push_back(queue);
                }
                Some(schedule) => shared.place(&queue, schedule),
                None => {}
            }
            if bytes >= REQUEST_BYTES {
                break;
            }
        }
        if batches.is_empty() {
            return None;
        }
        let correlation = self.enlist(shared, parts)?;
        Some(grpc::ProduceRequest {
            correlation,
            acks: self.acks.to_wire(),
            timeout_ms: self.timeout_ms,
            partitions: batches,
        })
    }

    /// Puts the request among those in flight, before it leaves; `None` when the connection has been given up since.
    fn enlist(&self, shared: &Arc<Shared>, parts: Vec<(Arc<PartitionQueue>, u64)>) -> Option<u64> {
        let mut in_flight = lock(&self.sender.in_flight);
        if in_flight.life != self.life {
            drop(in_flight);
            for (queue, id) in parts {
                let effects = queue.lost(id, "the connection broke");
                shared.apply(&queue, effects);
            }
            return None;
        }
        let correlation = in_flight.next_correlation;
        in_flight.next_correlation += 1;
        if self.acks != Acks::None {
            in_flight.requests.push_back(Request { correlation, sent_at: Instant::now(), parts });
        }
        Some(correlation)
    }

    fn is_over(&self) -> bool {
        lock(&self.sender.in_flight).life != self.life
    }

    /// Polls the timer for `until`, so that the task is woken then.
    fn sleep_until(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.sleeping_until != Some(until) {
            self.sleep.as_mut().reset(until);
            self.sleeping_until = Some(until);
        }
        self.sleep.as_mut().poll(cx)
    }
}

impl Stream for RequestStream {
    type Item = grpc::ProduceRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Registered before anything is looked at, so that whatever becomes ready in between wakes this task.
        self.sender.wake_stream.register(cx.waker());
        let Some(shared) = self.shared.upgrade() else { return Poll::Ready(None) };
        if self.is_over() {
            return Poll::Ready(None);
        }
        let not_before = lock(&self.sender.ready).not_before.take_if(|at| *at > Instant::now());
        if let Some(until) = not_before {
            lock(&self.sender.ready).not_before = Some(until);
            let _ = self.sleep_until(until, cx);
            return Poll::Pending;
        }
        loop {
            let next_due = self.next_due(&shared);
            if let Some(request) = self.gather(&shared) {
                return Poll::Ready(Some(request));
            }
            if self.is_over() {
                return Poll::Ready(None);
            }
            if self.sender.is_finishing() && next_due.is_none() {
                return Poll::Ready(None);
            }
            match next_due {
                Some(due) if self.sleep_until(due, cx).is_ready() => self.sleeping_until = None,
                _ => return Poll::Pending,
            }
        }
    }
}
