//! One partition: its log, its part in replication, the acknowledgements that wait and the readers to wake.
//!
//! Lock order: the partition's mutex is the only lock held here, and callbacks run after it is let go. What can be done
//! with a partition lives beside this file: `append`, `flushing`, `reads`, `role`, `replica`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use highwater_core::replication::{Follower, Leader, Rules};
use highwater_core::settings::TopicSettings;
use highwater_log::{Health, PartitionLog};
use highwater_proto::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch, TopicPartition};
use tokio::sync::oneshot;

use super::outcome::{AckedBatch, DeleteRecordsError, NotLeader, ProduceError};
use super::surroundings::Surroundings;
use super::table::log_config;
use super::watch::{Watch, Watcher};
use crate::service::{FollowerDetails, PartitionDetails};

/// A follower that was not caught up for so long leaves the in-sync replicas, or after a session, if that is longer.
pub(super) const LAG_MAX: Duration = Duration::from_millis(1500);

/// Hears what became of a batch; called once, possibly from a flusher thread.
pub type Ack = Box<dyn FnOnce(Result<AckedBatch, ProduceError>) + Send>;

/// An acknowledgement that waits for the high watermark.
pub(super) struct Parked {
    pub(super) end: Offset,
    pub(super) acked: AckedBatch,
    pub(super) ack: Ack,
}

/// A deletion that waits until every in-sync replica has it.
pub(super) struct ParkedDeletion {
    pub(super) log_start: Offset,
    pub(super) done: oneshot::Sender<Result<Offset, DeleteRecordsError>>,
}

/// Where the partition stands with the flusher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushing {
    Idle,
    Queued,
    Running,
    /// Running, and more was appended since.
    RunningAgain,
}

/// This replica's part.
pub(super) enum Role {
    /// There is no leader, or this broker has not been told of one.
    Idle,
    /// It leads.
    Leader(Box<Leader>),
    /// It follows.
    Follower(Follower),
}

/// What the metadata said last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) leader: Option<BrokerId>,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) partition_epoch: PartitionEpoch,
    pub(super) broker_epoch: BrokerEpoch,
    /// Whether this replica is in sync or eligible.
    pub(super) counted: bool,
}

pub(super) struct State {
    pub(super) log: PartitionLog,
    pub(super) role: Role,
    pub(super) told: Told,
    pub(super) parked: VecDeque<Parked>,
    pub(super) deletions: Vec<ParkedDeletion>,
    /// Where followers said that their logs start.
    pub(super) follower_starts: Vec<(BrokerId, Offset)>,
    /// Readers: marked when the high watermark moves.
    pub(super) watches: Vec<Watch>,
    /// Followers' feeds: marked when the log grows, the high watermark or the log's start moves.
    pub(super) feeds: Vec<Watch>,
    /// The stream from the leader: marked when this replica has more to report.
    pub(super) tail: Option<Watch>,
    pub(super) flushing: Flushing,
    pub(super) replication_factor: usize,
    /// The leader's epoch in which stored records were found to be damaged, while this replica was in use.
    pub(super) damaged_in: Option<LeaderEpoch>,
    /// Whether the controller was asked to let others lead, since it said something new of this partition.
    pub(super) resigning: bool,
    /// Whether it is queued for a look at its in-sync replicas.
    pub(super) attending: bool,
    pub(super) gone: bool,
}

/// One partition.
pub struct Partition {
    pub(super) id: TopicPartition,
    state: Mutex<State>,
    settings: RwLock<Arc<TopicSettings>>,
    pub(super) around: Surroundings,
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What to do once the lock is let go.
#[derive(Default)]
pub(super) struct Released {
    pub(super) acks: Vec<(Ack, Result<AckedBatch, ProduceError>)>,
    pub(super) watches: Vec<Watch>,
    pub(super) deletions: Vec<(ParkedDeletion, Result<Offset, DeleteRecordsError>)>,
}

impl Released {
    pub(super) fn run(self) {
        for watch in &self.watches {
            watch.mark();
        }
        for (ack, result) in self.acks {
            ack(result);
        }
        for (deletion, result) in self.deletions {
            // Whoever asked may have given up.
            let _ = deletion.done.send(result);
        }
    }
}

impl Partition {
    /// A partition that has no part yet: see [`Partition::assign`].
    #[must_use]
    pub fn new(
        log: PartitionLog,
        id: TopicPartition,
        settings: Arc<TopicSettings>,
        around: Surroundings,
    ) -> Partition {
        let told = Told {
            leader: None,
            leader_epoch: LeaderEpoch::UNKNOWN,
            partition_epoch: PartitionEpoch(-1),
            broker_epoch: BrokerEpoch::UNKNOWN,
            counted: true,
        };
        let state = State {
            log,
            role: Role::Idle,
            told,
            parked: VecDeque::new(),
            deletions: Vec::new(),
            follower_starts: Vec::new(),
            watches: Vec::new(),
            feeds: Vec::new(),
            tail: None,
            flushing: Flushing::Idle,
            replication_factor: 1,
            damaged_in: None,
            resigning: false,
            attending: false,
            gone: false,
        };
        Partition { id, state: Mutex::new(state), settings: RwLock::new(settings), around }
    }

    /// Which partition this is.
    #[must_use]
    pub fn id(&self) -> TopicPartition {
        self.id
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn settings(&self) -> Arc<TopicSettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn now(&self) -> Duration {
        self.around.clock.monotonic()
    }

    /// What counts, for so many replicas.
    pub(super) fn rules(&self, settings: &TopicSettings, replicas: usize) -> Rules {
        let min = usize::try_from(settings.min_insync_replicas).unwrap_or(usize::MAX);
        let min_in_sync = min.min(replicas).max(1);
        Rules { durability: settings.durability, min_in_sync, lag_max: self.around.lag_max }
    }

    /// Marks `watch` from now on whenever readers have news, and once at once.
    pub fn watch(&self, watch: Watch) {
        let mut state = self.lock();
        state.watches.push(watch.clone());
        drop(state);
        watch.mark();
    }

    /// Ends what [`Partition::watch`] began.
    pub fn unwatch(&self, watcher: &Arc<Watcher>, slot: usize) {
        self.lock().watches.retain(|watch| !watch.is(watcher, slot));
    }

    /// Whether what was flushed is damaged or gone.
    #[must_use]
    pub(crate) fn is_damaged(&self) -> bool {
        matches!(self.lock().log.health(), Health::Rotten(_))
    }

    /// The partition as this replica sees it.
    #[must_use]
    pub fn details(&self) -> PartitionDetails {
        let state = self.lock();
        let followers = match &state.role {
            Role::Leader(leader) => {
                let others = leader.assignment().replicas.iter().filter(|id| **id != self.around.broker);
                let details = |id: &BrokerId| FollowerDetails { id: *id, ends: leader.follower(*id) };
                others.map(details).collect()
            }
            _ => Vec::new(),
        };
        PartitionDetails {
            id: self.id,
            epoch: state.told.leader_epoch,
            log_start: state.log.log_start(),
            high_watermark: state.high_watermark(),
            log_end: state.log.log_end(),
            flushed_end: state.log.flushed_end().get(),
            size_bytes: state.log.size_bytes(),
            offline_reason: offline_reason(state.log.health()),
            followers,
        }
    }

    /// Takes new settings.
    pub(crate) fn update_settings(&self, settings: &Arc<TopicSettings>) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(settings);
        let mut released = Released::default();
        let mut state = self.lock();
        state.log.update_config(log_config(settings));
        let rules = self.rules(settings, state.replication_factor);
        if let Role::Leader(leader) = &mut state.role
            && leader.set_rules(rules).is_some()
        {
            state.release(&mut released);
        }
        state.give_up_below_minimum(&mut released);
        drop(state);
        released.run();
    }

    /// The topic was deleted: refuse everything from now on, and tell those who wait.
    pub(crate) fn set_gone(&self) {
        let mut released = Released::default();
        let mut state = self.lock();
        state.gone = true;
        state.role = Role::Idle;
        released.watches.clone_from(&state.watches);
        released.watches.append(&mut state.feeds);
        released.acks = state.parked.drain(..).map(|parked| (parked.ack, Err(ProduceError::Gone))).collect();
        let gone = state.deletions.drain(..).map(|parked| (parked, Err(DeleteRecordsError::Gone)));
        released.deletions = gone.collect();
        drop(state);
        released.run();
    }

    /// Background work under the lock, if the partition is still there.
    pub(crate) fn with_log<T>(
        &self,
        work: impl FnOnce(&mut PartitionLog, Offset, &TopicSettings) -> T,
    ) -> Option<T> {
        let settings = self.settings();
        let mut state = self.lock();
        if state.gone {
            return None;
        }
        let bound = state.high_watermark();
        let start = state.log.log_start();
        let result = work(&mut state.log, bound, &settings);
        let feeds = if state.log.log_start() > start { state.feeds.clone() } else { Vec::new() };
        drop(state);
        for feed in feeds {
            feed.mark();
        }
        Some(result)
    }

    /// The log itself, for simulations that look at what is on a replica.
    #[doc(hidden)]
    pub fn inspect<T>(&self, look: impl FnOnce(&PartitionLog) -> T) -> T {
        look(&self.lock().log)
    }
}

impl State {
    /// What is known to be committed: the leader's word, or what the leader told, or what an earlier life knew.
    pub(super) fn high_watermark(&self) -> Offset {
        match &self.role {
            Role::Leader(leader) => leader.high_watermark(),
            Role::Follower(follower) => follower.high_watermark(),
            Role::Idle => self.log.high_watermark().min(self.log.log_end()),
        }
    }

    /// Whether nothing is wrong with the log; one that was closed in order is sound.
    pub(super) fn is_sound(&self) -> bool {
        matches!(self.log.health(), Health::Good | Health::Closed)
    }

    /// Whom to ask instead.
    pub(super) fn not_leader(&self) -> NotLeader {
        NotLeader { leader: self.told.leader, epoch: self.told.leader_epoch }
    }

    /// The high watermark rose: who waited for it?
    pub(super) fn release(&mut self, released: &mut Released) {
        let high_watermark = self.high_watermark();
        self.log.set_high_watermark(high_watermark);
        while let Some(parked) = self.parked.pop_front() {
            if parked.end > high_watermark {
                self.parked.push_front(parked);
                break;
            }
            released.acks.push((parked.ack, Ok(parked.acked)));
        }
        released.watches.extend(self.watches.iter().cloned());
        released.watches.extend(self.feeds.iter().cloned());
    }
}

/// What a person should know about a log that is not in order.
fn offline_reason(health: &Health) -> Option<String> {
    match health {
        Health::Good => None,
        Health::Closed => Some("it is closed: the broker is going down".to_owned()),
        Health::Poisoned { reason } => {
            Some(format!("an fsync failed ({reason}); restart the broker to recover"))
        }
        Health::Rotten(range) => Some(format!(
            "{} is damaged at byte {} (offsets {} to {}); other offsets can be read, nothing is appended",
            range.path.display(),
            range.position,
            range.offset,
            range.end
        )),
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
