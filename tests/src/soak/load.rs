//! The load: idempotent producers through the real client library, every send recorded.
//!
//! A producer that saw a delivery fail is retired: what it sent and nobody knows of may still appear, so its numbers are not
//! continued.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use highwater_client::{Client, ClientConfig, Delivery, ErrorCode, ProduceError, ProducerConfig, Record};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::acknowledged::Acknowledged;
use super::admin::{TOPIC, bootstrap};
use crate::history::{Attempts, Call, Header, Key, Kind, Origin, Outcome, Recorder, Value, outcome_of};

/// Partitions of the topic.
pub(super) const PARTITIONS: i32 = 6;
/// Producers, each with a client of its own.
pub(super) const PRODUCERS: u32 = 4;
/// Records of one producer to one partition that may wait for their acknowledgement.
const WAITING_MAX: usize = 600;
const TICK: Duration = Duration::from_millis(25);
const RETRY: Duration = Duration::from_millis(300);
/// Of each kind of error this many are told in full.
const ERRORS_KEPT: usize = 200;

/// An error that reached the caller of the client library.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ClientError {
    /// Microseconds since the start of the run.
    pub(super) at_us: u64,
    /// Which call.
    pub(super) call: String,
    /// In the library's words.
    pub(super) error: String,
}

/// Everything that is written down about a run while it lasts.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) recorder: Recorder<BufWriter<File>>,
    began: Instant,
    acknowledged: Vec<Mutex<Vec<u64>>>,
    errors: Mutex<Vec<ClientError>>,
    errors_count: Mutex<BTreeMap<String, u64>>,
    next_proc: AtomicU32,
    /// Answered questions about metadata.
    pub(super) questions: AtomicU64,
}

impl Recording {
    pub(super) fn new(path: &Path, header: Header) -> Result<Recording> {
        let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        Ok(Recording {
            recorder: Recorder::new(file, header)?,
            began: Instant::now(),
            acknowledged: (0..PARTITIONS).map(|_| Mutex::default()).collect(),
            errors: Mutex::default(),
            errors_count: Mutex::default(),
            next_proc: AtomicU32::new(1),
            questions: AtomicU64::new(0),
        })
    }

    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.now().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn next_proc(&self) -> u32 {
        self.next_proc.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn error(&self, call: &str, error: String) {
        let mut counts = self.errors_count.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(call.to_owned()).or_default() += 1;
        drop(counts);
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.len() < ERRORS_KEPT {
            eprintln!("    {call}: {error}");
            errors.push(ClientError { at_us: self.now_us(), call: call.to_owned(), error });
        }
    }

    /// The errors that surfaced: how many of each call, and the first ones.
    pub(super) fn errors(&self) -> (BTreeMap<String, u64>, Vec<ClientError>) {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let counts = self.errors_count.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (counts, errors)
    }

    fn acknowledged_at(&self, partition: i32, now: Duration) {
        let times = &self.acknowledged[usize::try_from(partition).expect("a partition")];
        let micros = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        times.lock().unwrap_or_else(PoisonError::into_inner).push(micros);
    }

    /// How many records were acknowledged so far.
    pub(super) fn acknowledged_count(&self) -> usize {
        let count = |times: &Mutex<Vec<u64>>| times.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.acknowledged.iter().map(count).sum()
    }

    /// Ends the history; the times of the acknowledgements by partition.
    pub(super) fn finish(self) -> Result<Vec<Acknowledged>> {
        self.recorder.finish()?.flush()?;
        let times = self.acknowledged.into_iter();
        let times = times.map(|times| times.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(times.map(Acknowledged::new).collect())
    }
}

/// Which part of the run it is: a task looks, and ends with its part.
pub(super) type Stop = watch::Receiver<bool>;

/// A client as users have it: every default.
pub(super) async fn connect(recording: &Recording, name: &str) -> Client {
    loop {
        let config = ClientConfig { client_id: name.to_owned(), ..ClientConfig::new(bootstrap()) };
        match Client::connect(config).await {
            Ok(client) => return client,
            Err(error) => recording.error("connect", error.to_string()),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Produces at a rate until told to stop, and waits for what is on its way.
pub(super) async fn produce(recording: Arc<Recording>, records_s: u64, mut stop: Stop) {
    while !*stop.borrow() {
        let number = recording.next_proc();
        let client = connect(&recording, &format!("soak-producer-{number}")).await;
        match client.producer(ProducerConfig::default()).await {
            Ok(producer) => {
                let mut life = Life::begin(&recording, number);
                life.send_all(&producer, records_s, &mut stop).await;
                life.end().await;
                // Every delivery is settled by now: what it could say was said there.
                let _ = producer.close().await;
            }
            Err(error) => recording.error("producer", error.to_string()),
        }
        if !*stop.borrow() {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// One producer from its first record to its first failure.
struct Life {
    recording: Arc<Recording>,
    number: u32,
    failed: Arc<AtomicBool>,
    lanes: Vec<Lane>,
    settling: tokio::task::JoinSet<()>,
}

/// What one producer has on its way to one partition; deliveries are awaited in the order of the sends.
struct Lane {
    key: Key,
    origin: Origin,
    sequence: u64,
    waiting: mpsc::Sender<(Call, Delivery)>,
}

impl Life {
    fn begin(recording: &Arc<Recording>, number: u32) -> Life {
        let failed = Arc::new(AtomicBool::new(false));
        let mut settling = tokio::task::JoinSet::new();
        let lanes = (0..PARTITIONS).map(|partition| {
            let (waiting, deliveries) = mpsc::channel(WAITING_MAX);
            settling.spawn(settle(Arc::clone(recording), partition, deliveries, Arc::clone(&failed)));
            let key = Key::new(TOPIC, partition);
            Lane { origin: Origin::of(&key), key, sequence: 0, waiting }
        });
        let lanes = lanes.collect();
        Life { recording: Arc::clone(recording), number, failed, lanes, settling }
    }

    /// Sends until told to stop, or until something failed.
    async fn send_all(&mut self, producer: &highwater_client::Producer, records_s: u64, stop: &mut Stop) {
        let began = Instant::now();
        let mut sent: u64 = 0;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !*stop.borrow() && !self.failed.load(Ordering::Relaxed) {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stop.changed() => break,
            }
            let due = u64::try_from(began.elapsed().as_millis()).unwrap_or(0) * records_s / 1000;
            // What could not be sent in its time is not made up for in one burst.
            sent = sent.max(due.saturating_sub(records_s));
            while sent < due {
                let lane = usize::try_from(sent % u64::from(PARTITIONS.cast_unsigned())).expect("a lane");
                sent += 1;
                if self.send(producer, lane).await.is_err() {
                    self.failed.store(true, Ordering::Relaxed);
                    break;
                }
            }
        }
    }

    /// Sends one record, unless too many wait already.
    async fn send(&mut self, producer: &highwater_client::Producer, lane: usize) -> Result<(), ProduceError> {
        let (recording, number) = (&self.recording, self.number);
        let lane = &mut self.lanes[lane];
        let Ok(place) = lane.waiting.try_reserve() else { return Ok(()) };
        let value = Value { producer: number, sequence: lane.sequence };
        lane.sequence += 1;
        let record_key = number.to_le_bytes();
        let bytes =
            value.encode(lane.origin, &record_key, 40 + usize::try_from(lane.sequence % 40).expect("small"));
        let kind =
            Kind::Send { key: lane.key.clone(), producer: number, sequence: value.sequence, offset: None };
        let deadline = ProducerConfig::default().delivery_timeout;
        let call = recording.recorder.begin(number, recording.now(), Some(deadline), kind);
        let record = Record::new(TOPIC).partition(lane.key.partition).key(&record_key).value(&bytes);
        match producer.send(record).await {
            Ok(delivery) => {
                place.send((call, delivery));
                Ok(())
            }
            Err(error) => {
                let outcome = if error.may_be_written() { Outcome::Info } else { Outcome::Fail };
                recording.error("send", error.to_string());
                let text = Some(error.to_string());
                recording.recorder.end(call, recording.now(), outcome, text, |_| ());
                Err(error)
            }
        }
    }

    /// Waits until everything is settled.
    async fn end(self) {
        drop(self.lanes);
        self.settling.join_all().await;
    }
}

/// Awaits the deliveries of one producer to one partition.
async fn settle(
    recording: Arc<Recording>,
    partition: i32,
    mut deliveries: mpsc::Receiver<(Call, Delivery)>,
    failed: Arc<AtomicBool>,
) {
    while let Some((call, delivery)) = deliveries.recv().await {
        let result = delivery.await;
        let now = recording.now();
        match result {
            Ok(written) => {
                recording.acknowledged_at(partition, now);
                recording.recorder.end(call, now, Outcome::Ok, None, |kind| {
                    if let Kind::Send { offset, .. } = kind {
                        *offset = written.offset.map(|offset| offset.0);
                    }
                });
            }
            Err(error) => {
                failed.store(true, Ordering::Relaxed);
                recording.error("delivery", error.to_string());
                let outcome = outcome_of_delivery(&error);
                recording.recorder.end(call, now, outcome, Some(error.to_string()), |_| ());
            }
        }
    }
}

/// How a send ended that was taken and not acknowledged. How often it was tried is known only when time ran out.
fn outcome_of_delivery(error: &ProduceError) -> Outcome {
    match error {
        ProduceError::TimedOut { attempts: 0, .. } => Outcome::Fail,
        ProduceError::Refused { code, .. } | ProduceError::Fenced { code, .. } => {
            outcome_of(*code, Attempts::Several)
        }
        _ => outcome_of(ErrorCode::RequestTimedOut, Attempts::Several),
    }
}
