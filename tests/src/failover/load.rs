//! A steady load: one idempotent producer, one record after the other to each partition, whatever happens meanwhile.

#![expect(clippy::disallowed_methods, reason = "the bench takes real time")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use highwater_client::{Client, Delivery, Position, Producer, ProducerConfig, Record};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// What a record holds.
const VALUE_BYTES: usize = 100;

/// Records on their way to every partition of a topic.
#[derive(Debug)]
pub struct Load {
    topic: String,
    lanes: Vec<Arc<Lane>>,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    burst: watch::Sender<u64>,
    producer: Producer,
}

/// One partition's records.
#[derive(Debug, Default)]
struct Lane {
    /// When a record was sent and when it was acknowledged, for the round that is on.
    acknowledged: Mutex<Vec<(Instant, Instant)>>,
    count: AtomicU64,
    errors: AtomicU64,
}

impl Load {
    /// Starts to write to every partition of the topic, a record each `pace`.
    ///
    /// # Errors
    /// No producer.
    pub async fn start(client: &Client, topic: &str, partitions: i32, pace: Duration) -> Result<Load> {
        let producer = client.producer(ProducerConfig::default()).await?;
        let (stop, stopped) = watch::channel(false);
        let (burst, bursts) = watch::channel(0);
        let (mut lanes, mut tasks) = (Vec::new(), JoinSet::new());
        for partition in 0..partitions {
            let lane = Arc::new(Lane::default());
            let (on_way, deliveries) = mpsc::unbounded_channel();
            tasks.spawn(hear(Arc::clone(&lane), deliveries));
            let (topic, lane_too) = (topic.to_owned(), Arc::clone(&lane));
            let writer = Writer { topic, partition, pace, on_way, lane: lane_too, bursts: bursts.clone() };
            tasks.spawn(writer.run(producer.clone(), stopped.clone()));
            lanes.push(lane);
        }
        Ok(Load { topic: topic.to_owned(), lanes, tasks, stop, burst, producer })
    }

    /// How many partitions are written to.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.lanes.len()
    }

    /// Sends and deliveries that failed so far.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.errors.load(Ordering::Relaxed)).sum()
    }

    /// Records acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.count.load(Ordering::Relaxed)).sum()
    }

    /// Writes a record to every partition now, out of turn.
    pub fn burst(&self) {
        self.burst.send_modify(|count| *count += 1);
    }

    /// Forgets the acknowledgements of earlier rounds.
    pub fn clear(&self) {
        for lane in &self.lanes {
            lane.lock().clear();
        }
    }

    /// For each partition the first acknowledgement of a record that was sent after `since`, as a time from there.
    #[must_use]
    pub fn first_after(&self, since: Instant) -> Vec<Option<Duration>> {
        let first = |lane: &Arc<Lane>| {
            let acknowledged = lane.lock();
            let later = acknowledged.iter().filter(|(sent, _)| *sent >= since);
            later.map(|(_, at)| at.saturating_duration_since(since)).min()
        };
        self.lanes.iter().map(first).collect()
    }

    /// Stops, and compares what was acknowledged with what is there.
    ///
    /// # Errors
    /// A partition holds another number of records than were acknowledged.
    pub async fn finish(mut self, client: &Client) -> Result<u64> {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        let (acknowledged, errors) = (self.acknowledged(), self.errors());
        self.producer.close().await?;
        let ends = client.admin().list_offsets(&self.topic, Position::End).await?;
        let stored: u64 = ends.iter().map(|end| u64::try_from(end.0).unwrap_or(0)).sum();
        if errors == 0 && stored != acknowledged {
            bail!("{acknowledged} records were acknowledged once each, and {stored} are there");
        }
        Ok(acknowledged)
    }
}

impl Lane {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Instant)>> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, what: &dyn std::fmt::Display) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        eprintln!("a client saw an error: {what}");
    }
}

struct Writer {
    topic: String,
    partition: i32,
    pace: Duration,
    on_way: mpsc::UnboundedSender<(Instant, Delivery)>,
    lane: Arc<Lane>,
    bursts: watch::Receiver<u64>,
}

impl Writer {
    async fn run(mut self, producer: Producer, stopped: watch::Receiver<bool>) {
        let value = [b'x'; VALUE_BYTES];
        let mut pace = tokio::time::interval(self.pace);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !*stopped.borrow() {
            tokio::select! {
                _ = pace.tick() => {}
                // When there are no more bursts the load is over.
                burst = self.bursts.changed() => if burst.is_err() { return },
            }
            let record = Record::new(&self.topic).partition(self.partition).value(&value);
            let sent = Instant::now();
            match producer.send(record).await {
                Ok(delivery) => drop(self.on_way.send((sent, delivery))),
                Err(error) => self.lane.failed(&error),
            }
        }
    }
}

async fn hear(lane: Arc<Lane>, mut deliveries: mpsc::UnboundedReceiver<(Instant, Delivery)>) {
    while let Some((sent, delivery)) = deliveries.recv().await {
        match delivery.await {
            Ok(_) => {
                lane.count.fetch_add(1, Ordering::Relaxed);
                lane.lock().push((sent, Instant::now()));
            }
            Err(error) => lane.failed(&error),
        }
    }
}
