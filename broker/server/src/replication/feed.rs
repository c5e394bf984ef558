//! The leader's end of a stream: what a follower gets next.
//!
//! Partitions with news are served in turn, a piece each, so that one that is far behind doesn't keep the others from
//! their newest records. No more than a window of bytes is on its way: what the follower has not reported as its own.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use highwater_core::replication::{FollowAnswer, Progress, StreamError};
use highwater_proto::record::{batches, verify_crc};
use highwater_proto::{BrokerEpoch, BrokerId, LeaderEpoch, Offset};

use super::message::{FollowerMessage, LeaderMessage, Refusal, Slot};
use crate::partition::{Partition, ReplicaError, Share, Watcher};

/// Bytes on their way to the follower, at most about so many.
const WINDOW_BYTES: usize = 64 << 20;
/// Bytes of one partition before the next one has its turn.
const PIECE_BYTES: usize = 1 << 20;
/// What a throttle holds back is looked at again after this long at the latest: its rate may have changed.
const HOLD_MAX: Duration = Duration::from_millis(500);

/// One follower's stream, on the leader.
#[derive(Debug)]
pub struct Feed {
    follower: BrokerId,
    follower_epoch: BrokerEpoch,
    watcher: Arc<Watcher>,
    fed: HashMap<u32, Fed>,
    in_flight: usize,
    answers: VecDeque<LeaderMessage>,
    /// Partitions that a throttle holds back, and until when.
    held: BTreeMap<u32, Duration>,
}

/// A partition that is fed.
#[derive(Debug)]
struct Fed {
    partition: Arc<Partition>,
    round: u32,
    epoch: LeaderEpoch,
    /// What is sent next.
    cursor: Offset,
    /// High watermark and log start that the follower was told.
    told: (Offset, Offset),
    /// What is on its way: the offset after it, and its bytes.
    sent: VecDeque<(Offset, usize)>,
    /// Nothing was sent yet since the follower asked: what it got before may have been damaged (M-18).
    fresh: bool,
}

/// What is to be sent.
#[derive(Debug)]
pub enum Outgoing {
    /// This.
    Message(LeaderMessage),
    /// Batches, once they are read: [`Feed::sent`] or [`Feed::unread`] must follow.
    Batches {
        /// The partition.
        slot: Slot,
        /// What to read, and what to say with it.
        share: Share,
    },
}

impl Feed {
    /// A stream to this life of a follower.
    #[must_use]
    pub fn new(follower: BrokerId, follower_epoch: BrokerEpoch) -> Feed {
        Feed {
            follower,
            follower_epoch,
            watcher: Arc::default(),
            fed: HashMap::new(),
            in_flight: 0,
            answers: VecDeque::new(),
            held: BTreeMap::new(),
        }
    }

    /// Wakes when there may be something to send.
    #[must_use]
    pub fn watcher(&self) -> &Arc<Watcher> {
        &self.watcher
    }

    /// The follower said something. `partition` is the one that a [`FollowerMessage::Follow`] names, if this broker has
    /// it.
    pub fn hear(&mut self, message: FollowerMessage, partition: Option<Arc<Partition>>) {
        match message {
            FollowerMessage::Follow { slot, position, .. } => {
                self.forget(slot.number);
                let Some(partition) = partition else {
                    return self.answers.push_back(refused(slot, Refusal::NotLeader));
                };
                let answer = match partition.follow(self.follower, position) {
                    Ok(answer) => answer,
                    Err(error) => return self.answers.push_back(refused(slot, reason(&error))),
                };
                let epoch = position.leader_epoch;
                self.answers.push_back(LeaderMessage::Answer { slot, epoch, answer });
                if answer == FollowAnswer::Go {
                    let (cursor, told) = (position.log_end, (Offset(-1), Offset(-1)));
                    let (round, sent) = (slot.round, VecDeque::new());
                    partition.watch_feed(self.watcher.watch(slot.number as usize));
                    self.fed.insert(
                        slot.number,
                        Fed { partition, round, epoch, cursor, told, sent, fresh: true },
                    );
                }
            }
            FollowerMessage::Forget { slot } => self.forget(slot.number),
            FollowerMessage::Progress { slot, log_start, log_end, flushed_end } => {
                let Some(fed) = self.fed.get_mut(&slot.number).filter(|fed| fed.round == slot.round) else {
                    return;
                };
                while let Some((_, bytes)) = fed.sent.pop_front_if(|(end, _)| *end <= log_end) {
                    self.in_flight -= bytes;
                }
                let progress = Progress {
                    broker: self.follower,
                    broker_epoch: self.follower_epoch,
                    leader_epoch: fed.epoch,
                    log_end,
                    flushed_end,
                };
                if let Err(error) = fed.partition.progressed(progress, log_start) {
                    let reason = reason(&error);
                    self.forget(slot.number);
                    self.answers.push_back(refused(slot, reason));
                }
            }
        }
    }

    /// The next thing to send, if there is one and the window has room.
    pub fn next_outgoing(&mut self) -> Option<Outgoing> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(Outgoing::Message(answer));
        }
        while self.in_flight < WINDOW_BYTES {
            let number = u32::try_from(self.watcher.take()?).expect("slots are numbered in 32 bits");
            let Some(fed) = self.fed.get_mut(&number) else { continue };
            if self.held.contains_key(&number) {
                continue;
            }
            let slot = Slot { number, round: fed.round };
            let mut share = match fed.partition.share(self.follower, fed.epoch, fed.cursor, PIECE_BYTES) {
                Ok(share) => share,
                Err(error) => {
                    let reason = reason(&error);
                    self.forget(number);
                    return Some(Outgoing::Message(refused(slot, reason)));
                }
            };
            if !share.hold.is_zero() {
                self.held.insert(number, fed.partition.now() + share.hold.min(HOLD_MAX));
                continue;
            }
            let words = (share.high_watermark, share.log_start);
            if share.plan.is_some() {
                share.doubted = fed.fresh;
                fed.told = words;
                return Some(Outgoing::Batches { slot, share });
            }
            if std::mem::replace(&mut fed.told, words) != words {
                let (high_watermark, log_start) = words;
                let epoch = fed.epoch;
                let message = LeaderMessage::Watermark { slot, epoch, high_watermark, log_start };
                return Some(Outgoing::Message(message));
            }
        }
        None
    }

    /// Looks again at partitions that a throttle held back, once their time has come: to be called whenever there is nothing
    /// to send. Returns how long that is for the next one.
    pub fn resume(&mut self) -> Option<Duration> {
        let now = self.held.keys().find_map(|number| self.fed.get(number))?.partition.now();
        self.held.retain(|number, until| {
            let waits = *until > now;
            if !waits {
                self.watcher.mark(*number as usize);
            }
            waits
        });
        self.held.values().map(|until| until.saturating_sub(now)).min()
    }

    /// Batches were sent, up to `next`. There may be more of that partition.
    pub fn sent(&mut self, slot: Slot, next: Offset, bytes: usize) {
        if let Some(fed) = self.fed.get_mut(&slot.number).filter(|fed| fed.round == slot.round) {
            fed.cursor = next;
            fed.fresh = false;
            fed.partition.fed(self.follower, bytes);
            fed.sent.push_back((next, bytes));
            self.in_flight += bytes;
            self.watcher.mark(slot.number as usize);
        }
    }

    /// Batches could not be read: their segment went away, and a fresh look finds its heir.
    pub fn unread(&mut self, slot: Slot) {
        self.watcher.mark(slot.number as usize);
    }

    /// Batches before `end` cannot be read, or are not what was written: the leader looks at its own log.
    pub fn unreadable(&mut self, slot: Slot, end: Offset) {
        if let Some(fed) = self.fed.get(&slot.number).filter(|fed| fed.round == slot.round) {
            fed.partition.condemn(fed.cursor, end);
        }
        self.forget(slot.number);
        self.answers.push_back(refused(slot, Refusal::Storage));
    }

    fn forget(&mut self, number: u32) {
        self.held.remove(&number);
        if let Some(fed) = self.fed.remove(&number) {
            fed.partition.unwatch_feed(&self.watcher, number as usize);
            self.in_flight -= fed.sent.iter().map(|(_, bytes)| bytes).sum::<usize>();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        for (number, fed) in &self.fed {
            fed.partition.unwatch_feed(&self.watcher, *number as usize);
        }
    }
}

/// Whether every batch agrees with its checksum.
#[must_use]
pub fn is_sound(records: &Bytes) -> bool {
    batches(records.clone()).all(|batch| batch.is_ok_and(|batch| verify_crc(&batch).is_ok()))
}

fn refused(slot: Slot, reason: Refusal) -> LeaderMessage {
    LeaderMessage::Refused { slot, reason }
}

fn reason(error: &ReplicaError) -> Refusal {
    match error {
        ReplicaError::Stream(StreamError::Epoch(_)) => Refusal::OtherEpoch,
        ReplicaError::Stream(StreamError::NotAReplica(_) | StreamError::StaleBroker(_)) => {
            Refusal::NotAReplica
        }
        ReplicaError::Gone | ReplicaError::NotLeader(_) => Refusal::NotLeader,
        _ => Refusal::Storage,
    }
}
