//! The follower's end of a stream: what it asks, takes and reports.
//!
//! Each question about a partition begins a new round; words of the leader that belong to an earlier one are dropped, so
//! that nothing sent before a cut is appended after it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_core::replication::{EpochError, StreamError};
use highwater_proto::museum::{self, Bug};
use highwater_proto::{BrokerId, LeaderEpoch, Offset, TopicPartition};

use super::message::{FollowerMessage, LeaderMessage, Slot};
use crate::partition::{Next, Partition, ReplicaError, Watcher};

/// After a refusal a follower asks again so much later,
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// twice as late each time, up to this.
const ASK_AGAIN_MAX: Duration = Duration::from_millis(1000);

/// One leader's stream, on the follower.
#[derive(Debug)]
pub struct Tail {
    leader: BrokerId,
    watcher: Arc<Watcher>,
    followed: Vec<Option<Followed>>,
    numbers: HashMap<TopicPartition, u32>,
    forgotten: Vec<Slot>,
    /// Whether refused partitions wait for their time; counted anew when they are woken.
    waiting: usize,
}

/// A partition that is followed.
#[derive(Debug)]
struct Followed {
    partition: Arc<Partition>,
    round: u32,
    /// The leader's epoch in which it asked, until something makes it ask again.
    asked: Option<LeaderEpoch>,
    /// Log start, log end and flushed end as they were reported last in this round.
    reported: Option<(Offset, Offset, Offset)>,
    /// Not to be asked before.
    ask_at: Duration,
    refusals: u32,
}

impl Tail {
    /// A stream to this leader.
    #[must_use]
    pub fn new(leader: BrokerId) -> Tail {
        let (watcher, followed, numbers) = (Arc::default(), Vec::new(), HashMap::new());
        Tail { leader, watcher, followed, numbers, forgotten: Vec::new(), waiting: 0 }
    }

    /// The leader's broker.
    #[must_use]
    pub fn leader(&self) -> BrokerId {
        self.leader
    }

    /// Wakes when there may be something to send.
    #[must_use]
    pub fn watcher(&self) -> &Arc<Watcher> {
        &self.watcher
    }

    /// Follows a partition, unless it does.
    pub fn add(&mut self, partition: Arc<Partition>) {
        let id = partition.id();
        if let Some(number) = self.numbers.get(&id) {
            return self.watcher.mark(*number as usize);
        }
        let number = u32::try_from(self.followed.len()).expect("partitions are far fewer than 2^32");
        partition.watch_tail(self.watcher.watch(number as usize));
        let ask_at = Duration::ZERO;
        let followed = Followed { partition, round: 0, asked: None, reported: None, ask_at, refusals: 0 };
        self.followed.push(Some(followed));
        self.numbers.insert(id, number);
    }

    /// Follows a partition no longer.
    pub fn remove(&mut self, id: TopicPartition) {
        let Some(number) = self.numbers.remove(&id) else { return };
        if let Some(followed) = self.followed[number as usize].take() {
            followed.partition.unwatch_tail(&self.watcher, number as usize);
            self.forgotten.push(Slot { number, round: followed.round });
        }
    }

    /// The partitions that are followed.
    pub fn partitions(&self) -> impl Iterator<Item = TopicPartition> + '_ {
        self.numbers.keys().copied()
    }

    /// The leader said something. May wait for the disk when a log has to be cut.
    ///
    /// # Errors
    /// [`ReplicaError`], with its partition: told for the record. The stream goes on, and the partition asks again later.
    pub fn hear(
        &mut self,
        message: LeaderMessage,
        now: Duration,
    ) -> Result<(), (TopicPartition, ReplicaError)> {
        let (LeaderMessage::Answer { slot, .. }
        | LeaderMessage::Batches { slot, .. }
        | LeaderMessage::Watermark { slot, .. }
        | LeaderMessage::Refused { slot, .. }) = &message;
        let slot = *slot;
        let Some(Some(followed)) = self.followed.get_mut(slot.number as usize) else { return Ok(()) };
        // What follows a batch that was not taken must not be taken either: it would leave a hole.
        let failed = followed.asked.is_none() && !museum::active(Bug::HoleAfterFailure);
        if followed.round != slot.round || failed {
            return Ok(());
        }
        let heard = match message {
            LeaderMessage::Answer { epoch, answer, .. } => {
                followed.partition.answered(epoch, answer).map(|next| match next {
                    Next::Ask => followed.asked = None,
                    Next::Copy => followed.refusals = 0,
                })
            }
            LeaderMessage::Batches { epoch, high_watermark, log_start, from, records, .. } => {
                followed.partition.replicate(epoch, from, &records, (high_watermark, log_start))
            }
            LeaderMessage::Watermark { epoch, high_watermark, log_start, .. } => {
                followed.partition.told(epoch, high_watermark, log_start)
            }
            LeaderMessage::Refused { .. } => {
                followed.ask_later(now);
                self.waiting += 1;
                return Ok(());
            }
        };
        let id = followed.partition.id();
        let result = heard.map_err(|error| {
            match error {
                // The leader goes on as it was; only the place was wrong.
                ReplicaError::NotNext { .. }
                | ReplicaError::Stream(StreamError::Epoch(EpochError::Unknown { .. })) => {
                    followed.asked = None;
                }
                _ => {
                    followed.ask_later(now);
                    self.waiting += 1;
                }
            }
            (id, error)
        });
        self.watcher.mark(slot.number as usize);
        result
    }

    /// The next thing to send, if there is one.
    pub fn next_outgoing(&mut self, now: Duration) -> Option<FollowerMessage> {
        if let Some(slot) = self.forgotten.pop() {
            return Some(FollowerMessage::Forget { slot });
        }
        while let Some(index) = self.watcher.take() {
            let Some(Some(followed)) = self.followed.get_mut(index) else { continue };
            let number = u32::try_from(index).expect("slots are numbered in 32 bits");
            if let Some(message) = followed.next(number, self.leader, now) {
                return Some(message);
            }
        }
        None
    }

    /// Lets partitions ask that were refused and have waited long enough. To be called every few milliseconds
    /// while [`Tail::is_waiting`].
    pub fn wake(&mut self, now: Duration) {
        self.waiting = 0;
        for (index, followed) in self.followed.iter().enumerate() {
            let Some(followed) = followed.as_ref().filter(|followed| followed.asked.is_none()) else {
                continue;
            };
            if followed.ask_at <= now {
                self.watcher.mark(index);
            } else {
                self.waiting += 1;
            }
        }
    }

    /// Whether a partition waits to ask.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting > 0
    }
}

impl Followed {
    fn ask_later(&mut self, now: Duration) {
        self.asked = None;
        self.ask_at = now + ASK_AGAIN.saturating_mul(1 << self.refusals.min(8)).min(ASK_AGAIN_MAX);
        self.refusals += 1;
    }

    fn next(&mut self, number: u32, leader: BrokerId, now: Duration) -> Option<FollowerMessage> {
        let standing = self.partition.standing().filter(|standing| standing.leader == leader)?;
        if self.asked.is_some_and(|epoch| epoch != standing.epoch) {
            // The same broker leads anew.
            (self.asked, self.ask_at, self.refusals) = (None, now, 0);
        }
        if standing.damaged {
            self.asked = None;
        }
        if self.asked.is_none() {
            if now < self.ask_at {
                return None;
            }
            let position = self.partition.ask()?;
            self.round += 1;
            (self.asked, self.reported) = (Some(position.leader_epoch), None);
            let slot = Slot { number, round: self.round };
            return Some(FollowerMessage::Follow { slot, partition: self.partition.id(), position });
        }
        let report = (standing.log_start, standing.log_end, standing.flushed_end);
        if !standing.copying || self.reported == Some(report) {
            return None;
        }
        self.reported = Some(report);
        let (log_start, log_end, flushed_end) = report;
        let slot = Slot { number, round: self.round };
        Some(FollowerMessage::Progress { slot, log_start, log_end, flushed_end })
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        for (index, followed) in self.followed.iter().enumerate() {
            if let Some(followed) = followed {
                followed.partition.unwatch_tail(&self.watcher, index);
            }
        }
    }
}
