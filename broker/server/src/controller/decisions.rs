//! The loop that decides, on the node that leads Raft.
//!
//! It begins with a read that a majority confirms, so that it knows everything earlier controllers committed, and ends
//! when the lead is lost. What was asked while it runs is decided in batches: while one entry is on its way, the next
//! batch gathers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use highwater_core::metadata::{
    Batch, Command, Context, ElectionKind, Heard, Image, Outcome, Refusal, Sessions,
};
use highwater_env::{Clock, Random};
use highwater_proto::{BrokerEpoch, BrokerId, TopicId};
use highwater_raft_store::{ProposeError, RaftNode, RaftStatus};
use prost::Message;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::balance::Displaced;
use super::request::{Answer, Standing};
use crate::config::BrokerConfig;
use crate::metadata::{MetadataStore, Verdict};

/// Requests that wait for a decision, at most.
const QUEUE_MAX: usize = 10_000;
/// Requests decided in one entry, at most.
const BATCH_MAX: usize = 256;
/// A stale batch is decided anew so often.
const ATTEMPTS_MAX: usize = 5;

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// How often a broker is heard.
    pub(crate) heartbeat: Duration,
    /// A broker that is not heard for so long is fenced.
    pub(crate) session: Duration,
}

impl Timing {
    /// How long a broker may lead after the heartbeat that was answered last was sent: less than a session, so that it has
    /// stopped before another one leads (M-60).
    pub(crate) fn lease(&self) -> Duration {
        self.session.saturating_sub(self.heartbeat / 2)
    }
}

/// A request and who waits for its answer.
struct Asked {
    command: Command,
    answer: oneshot::Sender<Answer>,
}

/// The controller's part of a node; idle unless the node leads.
pub(crate) struct Decider {
    raft: RaftNode,
    store: MetadataStore,
    config: Arc<BrokerConfig>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    timing: Timing,
    queue: mpsc::Sender<Asked>,
    /// While this node leads.
    sessions: Mutex<Option<Sessions>>,
    /// Whether it does, and sessions are heard.
    leading: watch::Sender<bool>,
    /// A session ended before its time.
    ended: Notify,
}

impl std::fmt::Debug for Decider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decider").finish_non_exhaustive()
    }
}

impl Decider {
    /// Starts the loop. It runs until `stop`.
    pub(crate) fn start(
        raft: RaftNode,
        store: MetadataStore,
        config: Arc<BrokerConfig>,
        (clock, random): (Arc<dyn Clock>, Arc<dyn Random>),
        timing: Timing,
        stop: CancellationToken,
    ) -> Arc<Decider> {
        let (queue, asked) = mpsc::channel(QUEUE_MAX);
        let (sessions, leading, ended) = (Mutex::default(), watch::Sender::new(false), Notify::new());
        let decider =
            Arc::new(Decider { raft, store, config, clock, random, timing, queue, sessions, leading, ended });
        let running = Arc::clone(&decider);
        tokio::spawn(async move {
            tokio::select! {
                () = running.run(asked) => {}
                () = stop.cancelled() => {}
            }
        });
        decider
    }

    fn sessions(&self) -> MutexGuard<'_, Option<Sessions>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_controller(&self) -> Answer {
        let status = self.raft.status().borrow().clone();
        let leader = status.leader.and_then(|id| {
            let address = status.voters.get(&id).or_else(|| status.learners.get(&id))?;
            Some((BrokerId(i32::try_from(id).ok()?), address.clone()))
        });
        // Itself, not ready yet: ask again.
        Answer::NotController { leader: leader.filter(|(id, _)| id.0 as u64 != status.id) }
    }

    /// Decides a command, if this node is the controller.
    pub(crate) async fn submit(&self, command: Command) -> Answer {
        if !self.raft.status().borrow().is_leader {
            return self.not_controller();
        }
        let (answer, answered) = oneshot::channel();
        if self.queue.send(Asked { command, answer }).await.is_err() {
            return self.not_controller();
        }
        answered.await.unwrap_or(Answer::Unknown)
    }

    /// Hears a broker, if this node is the controller beyond doubt: a majority confirms it first, or a controller that was
    /// replaced would let a leader go on that was replaced, too (M-60).
    pub(crate) async fn heartbeat(&self, broker: BrokerId, epoch: BrokerEpoch, applied: u64) -> Answer {
        if self.raft.linearize().await.is_err() {
            return self.not_controller();
        }
        let mut sessions = self.sessions();
        let Some(sessions) = sessions.as_mut() else { return self.not_controller() };
        // With the sessions held, so that what is known to be fenced is at least as new as whom they took for lapsed.
        let image = self.store.image();
        let Some(registered) = image.broker(broker).filter(|registered| registered.epoch == epoch) else {
            return Answer::Heard(Standing::Stale);
        };
        Answer::Heard(match sessions.heard(registered, applied, self.clock.monotonic()) {
            Heard::Stale => Standing::Stale,
            Heard::TooLate => Standing::Fenced,
            Heard::Alive | Heard::Behind if registered.fenced => Standing::Fenced,
            Heard::Behind => Standing::Behind,
            Heard::Alive => Standing::Serving,
        })
    }

    /// The process of this life of a broker is known to be gone.
    pub(crate) fn gone(&self, broker: BrokerId, epoch: BrokerEpoch) {
        if let Some(sessions) = self.sessions().as_mut() {
            sessions.gone(broker, epoch);
            self.ended.notify_one();
        }
    }

    /// Whether this node is the controller and hears sessions.
    pub(crate) fn leading(&self) -> watch::Receiver<bool> {
        self.leading.subscribe()
    }

    async fn run(&self, mut asked: mpsc::Receiver<Asked>) {
        let mut status = self.raft.status();
        loop {
            let leads = status.wait_for(|status| status.is_leader || status.failure.is_some()).await;
            if leads.map_or(true, |status| status.failure.is_some()) {
                return;
            }
            let Ok(index) = self.raft.linearize().await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            tracing::info!(index, "this broker is the controller");
            let now = self.clock.monotonic();
            *self.sessions() = Some(Sessions::new(&self.store.image(), self.timing.session, now));
            self.leading.send_replace(true);
            self.lead(&mut asked).await;
            *self.sessions() = None;
            self.leading.send_replace(false);
            tracing::info!("this broker is no longer the controller");
            while let Ok(asked) = asked.try_recv() {
                let _ = asked.answer.send(self.not_controller());
            }
        }
    }

    /// Decides as long as this node leads.
    async fn lead(&self, asked: &mut mpsc::Receiver<Asked>) {
        let mut status = self.raft.status();
        let mut ticks = tokio::time::interval((self.timing.heartbeat / 2).max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut gathered = Vec::new();
        let mut displaced = Displaced::default();
        loop {
            tokio::select! {
                count = asked.recv_many(&mut gathered, BATCH_MAX) => if count == 0 { return },
                _ = ticks.tick() => {
                    self.fence_lapsed(&mut gathered);
                    self.give_back(&mut displaced, &mut gathered);
                }
                () = self.ended.notified() => self.fence_lapsed(&mut gathered),
                () = until_lost(&mut status) => return,
            }
            if !gathered.is_empty() && self.decide(std::mem::take(&mut gathered)).await.is_err() {
                return;
            }
        }
    }

    fn fence_lapsed(&self, gathered: &mut Vec<Asked>) {
        let now = self.clock.monotonic();
        let image = self.store.image();
        let lapsed =
            self.sessions().as_mut().map(|sessions| sessions.lapsed(&image, now)).unwrap_or_default();
        for (broker, epoch) in lapsed {
            tracing::warn!(%broker, %epoch, "a broker was not heard and is fenced");
            let (answer, _) = oneshot::channel();
            gathered.push(Asked { command: Command::Fence { broker, epoch }, answer });
        }
    }

    /// Lets preferred leaders lead again.
    fn give_back(&self, displaced: &mut Displaced, gathered: &mut Vec<Asked>) {
        let due = displaced.due(&self.store.image(), self.clock.monotonic());
        if !due.is_empty() {
            tracing::info!(partitions = due.len(), "preferred leaders lead again");
            let (answer, _) = oneshot::channel();
            let (kind, partitions) = (ElectionKind::Preferred, Some(due));
            gathered.push(Asked { command: Command::ElectLeaders { kind, partitions }, answer });
        }
    }

    /// Decides a batch and answers it once it is applied.
    ///
    /// # Errors
    /// This node leads no more.
    async fn decide(&self, asked: Vec<Asked>) -> Result<(), ()> {
        for _ in 0..ATTEMPTS_MAX {
            let image = self.store.image();
            let (batch, results) = self.decide_against(&image, &asked);
            if batch.is_empty() {
                // Nothing changes; but what was read must still be the newest (a controller that was replaced does not
                // know what it does not know).
                let index = self.raft.linearize().await.ok();
                answer_all(asked, results, index);
                return index.map(drop).ok_or(());
            }
            match self.raft.propose(batch.into_entry().encode_to_vec()).await {
                Ok(proposed) if Verdict::from_reply(&proposed.reply) == Verdict::Accepted => {
                    answer_all(asked, results, Some(proposed.index));
                    return Ok(());
                }
                // Something came in between: decide anew.
                Ok(_) => {}
                Err(ProposeError::NotLeader { .. }) => {
                    for asked in asked {
                        let _ = asked.answer.send(self.not_controller());
                    }
                    return Err(());
                }
                Err(ProposeError::TooLarge { bytes, bytes_max }) => {
                    tracing::error!(bytes, bytes_max, "what was asked at once does not fit an entry");
                    for asked in asked {
                        let reason =
                            format!("the change takes {bytes} bytes, and an entry holds {bytes_max}");
                        let _ = asked.answer.send(Answer::Refused { reason });
                    }
                    return Ok(());
                }
                Err(ProposeError::OutcomeUnknown | ProposeError::Stopped { .. }) => {
                    answer_all(asked, results, None);
                    return Err(());
                }
            }
        }
        Err(())
    }

    fn decide_against(&self, image: &Image, asked: &[Asked]) -> (Batch, Vec<Result<Outcome, Refusal>>) {
        let now = self.clock.monotonic();
        let mut alive: BTreeSet<BrokerId> =
            self.sessions().as_ref().map(|sessions| sessions.alive(now)).unwrap_or_default();
        // This process is the one that asks, if it registers.
        alive.remove(&self.config.broker_id);
        let mut batch = Batch::new(image);
        let results = asked.iter().map(|asked| {
            let mut fresh_id = TopicId::NIL;
            self.random.fill(&mut fresh_id.0);
            let context = Context {
                broker_defaults: &self.config.topic_defaults,
                default_partitions: self.config.topic_default_partitions,
                default_replication_factor: self.config.topic_default_replication_factor,
                now_ms: self.clock.unix_ms(),
                fresh_id,
                alive: &alive,
            };
            batch.decide(context, &asked.command)
        });
        let results = results.collect();
        (batch, results)
    }
}

/// Waits until this node leads no more.
async fn until_lost(status: &mut watch::Receiver<RaftStatus>) {
    // A node that ended leads no more, either.
    let _ = status.wait_for(|status| !status.is_leader).await;
}

/// Answers everybody; without an index nobody knows what became of it.
fn answer_all(asked: Vec<Asked>, results: Vec<Result<Outcome, Refusal>>, index: Option<u64>) {
    for (asked, result) in asked.into_iter().zip(results) {
        let answer = match index {
            Some(index) => Answer::Decided { index, result },
            None => Answer::Unknown,
        };
        // Whoever asked may have given up.
        let _ = asked.answer.send(answer);
    }
}
