//! What a producer's handles, connections and housekeeping share: topics, routes, memory.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use highwater_proto::{BrokerId, PartitionIndex};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::{AdminError, ProduceError};
use crate::metadata::{Freshness, TopicInfo};
use crate::producer::batch::Identity;
use crate::producer::config::ProducerConfig;
use crate::producer::delivery::BatchOutcome;
use crate::producer::effects::{Effects, Recovery, Route, Schedule};
use crate::producer::link;
use crate::producer::queue::PartitionQueue;
use crate::producer::sender::BrokerSender;
use crate::producer::topic::TopicQueues;

/// How often records are looked over for their delivery timeout, and connections for signs of life.
const HOUSEKEEPING: Duration = Duration::from_millis(100);
/// A leader that answers nothing for so long may have been replaced: others are asked. It goes on being waited for.
const SILENCE: Duration = Duration::from_millis(300);

/// The producer's state.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) config: Arc<ProducerConfig>,
    /// `buffer_memory`, in bytes.
    pub(crate) memory: Semaphore,
    pub(crate) closed: watch::Sender<bool>,
    identity: Option<Identity>,
    topics: RwLock<HashMap<Arc<str>, Arc<TopicQueues>>>,
    senders: Mutex<HashMap<BrokerId, Arc<BrokerSender>>>,
    fenced: OnceLock<ProduceError>,
}

impl Shared {
    pub(crate) fn new(client: Client, config: ProducerConfig, identity: Option<Identity>) -> Arc<Shared> {
        Arc::new(Shared {
            client,
            memory: Semaphore::new(config.buffer_memory),
            config: Arc::new(config),
            closed: watch::Sender::new(false),
            identity,
            topics: RwLock::default(),
            senders: Mutex::default(),
            fenced: OnceLock::new(),
        })
    }

    /// The topic's queues, if they are known already.
    pub(crate) fn topic(&self, name: &str) -> Option<Arc<TopicQueues>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The topic's queues, asking the cluster until `topic_timeout`.
    pub(crate) async fn load_topic(self: &Arc<Self>, name: &str) -> Result<Arc<TopicQueues>, ProduceError> {
        let deadline = Instant::now() + self.config.topic_timeout;
        let mut attempt = 0;
        loop {
            let error =
                match tokio::time::timeout_at(deadline, self.client.topic_to_write(name, Freshness::Cached))
                    .await
                {
                    Ok(Ok(info)) => return Ok(self.keep_topic(&info)),
                    Ok(Err(error)) => error,
                    Err(_) => AdminError::TimedOut { call: "Metadata", after: self.config.topic_timeout },
                };
            let wait = self.backoff().wait(attempt);
            if !error.is_retriable() || Instant::now() + wait >= deadline {
                return Err(ProduceError::Metadata { topic: name.to_owned(), source: error });
            }
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    fn keep_topic(self: &Arc<Self>, info: &TopicInfo) -> Arc<TopicQueues> {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let known = topics.get(&info.name).map_or(&[][..], |topic| &topic.partitions);
        if let Some(topic) = topics.get(&info.name).filter(|_| known.len() >= info.partitions.len()) {
            return topic.clone();
        }
        let mut queues = known.to_vec();
        for index in known.len()..info.partitions.len() {
            let partition = PartitionIndex(i32::try_from(index).unwrap_or(i32::MAX));
            let route = self.route(info, partition);
            let config = self.config.clone();
            queues.push(Arc::new(PartitionQueue::new(
                info.name.clone(),
                partition,
                config,
                route,
                self.identity,
            )));
        }
        let topic = Arc::new(TopicQueues::new(queues));
        topics.insert(info.name.clone(), topic.clone());
        topic
    }

    /// Where a partition's batches go, by this metadata. Connects to the leader if nobody did yet.
    fn route(self: &Arc<Self>, info: &TopicInfo, partition: PartitionIndex) -> Route {
        let leader = usize::try_from(partition.0).ok().and_then(|index| info.partitions.get(index));
        let sender = leader.and_then(|leader| leader.broker).map(|broker| self.sender(broker));
        Route { topic_id: info.id, sender, version: info.version }
    }

    fn sender(self: &Arc<Self>, broker: BrokerId) -> Arc<BrokerSender> {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = senders.entry(broker).or_insert_with(|| {
            let sender = Arc::new(BrokerSender::new(broker));
            tokio::spawn(link::run(self.clone(), sender.clone()));
            sender
        });
        sender.clone()
    }

    /// Carries out what a queue decided.
    pub(crate) fn apply(self: &Arc<Self>, queue: &Arc<PartitionQueue>, effects: Effects) {
        if effects.released_bytes > 0 {
            self.memory.add_permits(effects.released_bytes);
        }
        if let Some(schedule) = effects.schedule {
            self.place(queue, schedule);
        }
        if let Some(plan) = effects.recover {
            tokio::spawn(recover(self.clone(), queue.clone(), plan));
        }
        for (outcome, result) in effects.settled {
            outcome.settle(result);
        }
        if let Some(error) = effects.fenced {
            self.fence(&error);
        }
    }

    /// Puts a queue on the list where it belongs.
    pub(crate) fn place(self: &Arc<Self>, queue: &Arc<PartitionQueue>, schedule: Schedule) {
        match schedule {
            Schedule::Now(sender) => sender.schedule(queue.clone()),
            Schedule::At(due, sender) => sender.schedule_at(due, queue.clone()),
            Schedule::Nowhere => {
                let effects = queue.reroute();
                self.apply(queue, effects);
            }
        }
    }

    /// Asks anew who leads the partitions that go to this broker.
    pub(crate) fn reroute(self: &Arc<Self>, broker: BrokerId) {
        for queue in self.queues() {
            if queue.is_routed_to(broker) {
                let effects = queue.reroute();
                self.apply(&queue, effects);
            }
        }
    }

    /// Lets every open batch leave without waiting, and lists what is not settled yet.
    pub(crate) fn hurry(self: &Arc<Self>) -> Vec<Arc<BatchOutcome>> {
        let mut unsettled = Vec::new();
        for queue in self.queues() {
            let (outcomes, effects) = queue.hurry();
            unsettled.extend(outcomes);
            self.apply(&queue, effects);
        }
        unsettled
    }

    /// Every partition of every topic this producer has written to.
    pub(crate) fn queues(&self) -> Vec<Arc<PartitionQueue>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.values().flat_map(|topic| topic.partitions.iter().cloned()).collect()
    }

    fn fence(self: &Arc<Self>, error: &ProduceError) {
        if self.fenced.set(error.clone()).is_ok() {
            self.close(error);
        }
    }

    /// Fails everything unacknowledged with `error`, and ends connections and housekeeping.
    pub(crate) fn close(self: &Arc<Self>, error: &ProduceError) {
        self.closed.send_replace(true);
        for queue in self.queues() {
            let effects = queue.close(error);
            self.apply(&queue, effects);
        }
        self.memory.close();
        for sender in self.senders.lock().unwrap_or_else(PoisonError::into_inner).values() {
            sender.next_life();
        }
    }

    /// Ends every connection after what was handed to it, and waits until the brokers have taken it.
    pub(crate) async fn finish(&self) {
        let senders: Vec<_> =
            self.senders.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for sender in senders {
            sender.finish().await;
        }
    }

    /// Why nothing can be sent any more.
    pub(crate) fn ending(&self) -> ProduceError {
        self.fenced.get().cloned().unwrap_or(ProduceError::Closed)
    }

    fn backoff(&self) -> Backoff {
        self.client.config().backoff()
    }
}

/// Brings a partition back after a failure: waits, learns the leader, takes a new identity where one is needed.
async fn recover(shared: Arc<Shared>, queue: Arc<PartitionQueue>, plan: Recovery) {
    let mut closed = shared.closed.subscribe();
    tokio::select! {
        () = find_way(&shared, &queue, plan) => {}
        _ = closed.wait_for(|closed| *closed) => {}
    }
}

async fn find_way(shared: &Arc<Shared>, queue: &Arc<PartitionQueue>, plan: Recovery) {
    let mut attempt = plan.failures;
    // A sequence that is refused heals by the new identity and not by waiting.
    if !plan.new_identity {
        tokio::time::sleep(shared.backoff().wait(attempt)).await;
    }
    loop {
        match prepare(shared, queue, plan).await {
            Ok((route, identity)) => {
                let effects = queue.resume(route, identity);
                shared.apply(queue, effects);
                return;
            }
            Err(error) => {
                tracing::debug!(topic = %queue.topic, partition = queue.partition.0, %error, "recovery failed");
                attempt = attempt.saturating_add(1);
                tokio::time::sleep(shared.backoff().wait(attempt)).await;
            }
        }
    }
}

async fn prepare(
    shared: &Arc<Shared>,
    queue: &Arc<PartitionQueue>,
    plan: Recovery,
) -> Result<(Route, Option<Identity>), AdminError> {
    let freshness = plan.stale_version.map_or(Freshness::Cached, Freshness::NewerThan);
    let info = shared.client.topic(&queue.topic, freshness).await?;
    shared.keep_topic(&info);
    let identity = if plan.new_identity {
        let (id, epoch) = shared.client.init_producer_id().await?;
        Some(Identity { id, epoch })
    } else {
        None
    };
    Ok((shared.route(&info, queue.partition), identity))
}

/// Enforces the timeouts and notices new partitions, until the producer is closed.
pub(crate) async fn housekeeping(shared: Arc<Shared>) {
    let mut closed = shared.closed.subscribe();
    let request_timeout = shared.client.config().request_timeout;
    let tick = HOUSEKEEPING.min(shared.config.delivery_timeout / 4).max(Duration::from_millis(1));
    let mut metadata_due = Instant::now() + shared.client.config().metadata_max_age;
    loop {
        tokio::select! {
            () = tokio::time::sleep(tick) => {}
            _ = closed.wait_for(|closed| *closed) => return,
        }
        let now = Instant::now();
        for queue in shared.queues() {
            let effects = queue.expire(now);
            shared.apply(&queue, effects);
        }
        for sender in shared.senders.lock().unwrap_or_else(PoisonError::into_inner).values() {
            if sender.is_stuck(now, request_timeout) {
                sender.broken.notify_one();
            }
            if sender.begin_to_look(now, SILENCE) {
                tokio::spawn(look_for_leaders(shared.clone(), sender.clone()));
            }
        }
        if now >= metadata_due {
            metadata_due = now + shared.client.config().metadata_max_age;
            tokio::spawn(notice_partitions(shared.clone()));
        }
    }
}

/// Asks whether partitions that go to this silent broker have another leader by now, and takes them there.
async fn look_for_leaders(shared: Arc<Shared>, sender: Arc<BrokerSender>) {
    shared.client.suspect(sender.broker);
    let routed: Vec<_> = shared.queues().into_iter().filter(|q| q.is_routed_to(sender.broker)).collect();
    let names: BTreeSet<Arc<str>> = routed.iter().map(|queue| queue.topic.clone()).collect();
    for name in names {
        let Ok(info) = shared.client.topic(&name, Freshness::ANEW).await else { continue };
        let has_moved = |queue: &&Arc<PartitionQueue>| {
            let leader = usize::try_from(queue.partition.0).ok().and_then(|index| info.partitions.get(index));
            let leader = leader.and_then(|leader| leader.broker);
            queue.topic == name && leader.is_some_and(|leader| leader != sender.broker)
        };
        for queue in routed.iter().filter(has_moved).filter(|queue| queue.is_routed_to(sender.broker)) {
            if sender.is_waiting() {
                // What is on its way there comes back, and goes to the new leader under the same numbers.
                sender.broken.notify_one();
            }
            let effects = queue.reroute();
            shared.apply(queue, effects);
        }
    }
    sender.looked();
}

async fn notice_partitions(shared: Arc<Shared>) {
    let names: Vec<Arc<str>> =
        shared.topics.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
    for name in names {
        if let Ok(info) = shared.client.topic(&name, Freshness::Cached).await {
            shared.keep_topic(&info);
        }
    }
}
