//! Replication as one partition sees it: what a leader hands to its followers, and what a follower does with it.
//!
//! Nothing here waits for the network: `replication::{Feed, Tail}` carry the words between two of these.

use std::sync::Arc;

use bytes::Bytes;
use highwater_core::replication::{FollowAnswer, Follower, LogView, Position, Progress, Truncation, answer};
use highwater_core::settings::Durability;
use highwater_log::{AppendError, Health, PartitionLog, ReadPlan};
use highwater_proto::museum::{self, Bug};
use highwater_proto::record::{BatchError, BatchHeader, batches, verify_crc};
use highwater_proto::{BrokerId, LeaderEpoch, Offset};
use tokio::sync::oneshot;

use super::outcome::{DeleteRecordsError, ReplicaError};
use super::owner::{ParkedDeletion, Partition, Released, Role, State};

/// What a leader has for a follower.
#[derive(Debug)]
pub struct Share {
    /// The leader's epoch.
    pub epoch: LeaderEpoch,
    /// The first offset readers must not see.
    pub high_watermark: Offset,
    /// The first offset that is still there.
    pub log_start: Offset,
    /// Where the follower's log ends, as far as was sent.
    pub from: Offset,
    /// The next batches, if there are any.
    pub plan: Option<ReadPlan>,
    /// Whether to compare what is read with its checksums before it is sent: the follower begins to copy, perhaps because
    /// what it got was damaged.
    pub doubted: bool,
    /// How long the follower has to wait for them: it is catching up, and a throttle says so. Zero is not at all.
    pub(crate) hold: std::time::Duration,
}

/// What a follower has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The leader it follows.
    pub leader: BrokerId,
    /// In this epoch.
    pub epoch: LeaderEpoch,
    /// Where its log starts.
    pub log_start: Offset,
    /// Where its log ends.
    pub log_end: Offset,
    /// Up to where it is flushed.
    pub flushed_end: Offset,
    /// Whether the logs were found to agree.
    pub copying: bool,
    /// Whether what it had flushed is damaged: it has to begin anew.
    pub damaged: bool,
}

/// What a follower does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It asks again, because it cut its log.
    Ask,
    /// It takes batches.
    Copy,
}

/// A log as the comparison of logs sees it.
struct View<'a>(&'a PartitionLog);

impl LogView for View<'_> {
    fn log_start(&self) -> Offset {
        self.0.log_start()
    }
    fn log_end(&self) -> Offset {
        self.0.log_end()
    }
    fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.0.last_epoch()
    }
    fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.0.end_offset_for_epoch(epoch)
    }
}

impl Partition {
    /// A follower says where its log ends: does it agree with this one?
    ///
    /// # Errors
    /// [`ReplicaError`].
    pub fn follow(&self, follower: BrokerId, position: Position) -> Result<FollowAnswer, ReplicaError> {
        let state = self.lock();
        let leader = state.leading()?;
        leader.check(follower, position.leader_epoch)?;
        Ok(answer(&View(&state.log), position))
    }

    /// What there is for a follower from `from` on, at most about `max_bytes`. Records that are not flushed may be
    /// copied; they only do not count (M-24).
    ///
    /// # Errors
    /// [`ReplicaError`].
    pub fn share(
        &self,
        follower: BrokerId,
        epoch: LeaderEpoch,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Share, ReplicaError> {
        let state = self.lock();
        let leader = state.leading()?;
        if leader.epoch() != epoch {
            return Err(state.not_leader().into());
        }
        let log_end = state.log.log_end();
        let plan = if from < log_end {
            Some(state.log.plan_read(from, log_end, max_bytes).map_err(Arc::new)?)
        } else {
            None
        };
        let (high_watermark, log_start) = (leader.high_watermark(), state.log.log_start());
        let waits = plan.is_some() && !leader.assignment().isr.contains(&follower);
        drop(state);
        let hold = if waits { self.hold() } else { std::time::Duration::ZERO };
        Ok(Share { epoch, high_watermark, log_start, from, plan, doubted: false, hold })
    }

    fn hold(&self) -> std::time::Duration {
        let rate = self.settings().replication_throttle_rate;
        self.around.throttles.wait(self.id.topic, rate, self.now())
    }

    /// Bytes went to a follower; what a replica that is catching up gets is counted.
    pub(crate) fn fed(&self, follower: BrokerId, bytes: usize) {
        let state = self.lock();
        let Role::Leader(leader) = &state.role else { return };
        let counts = !leader.assignment().isr.contains(&follower);
        drop(state);
        if counts {
            self.around.throttles.sent(self.id.topic, bytes, self.now());
        }
    }

    /// A follower reports what it has.
    ///
    /// # Errors
    /// [`ReplicaError`]; nothing changed then.
    pub fn progressed(
        self: &Arc<Partition>,
        progress: Progress,
        log_start: Offset,
    ) -> Result<(), ReplicaError> {
        let now = self.now();
        let mut released = Released::default();
        let mut guard = self.lock();
        let state = &mut *guard;
        let not_leader = state.not_leader();
        let Role::Leader(leader) = &mut state.role else { return Err(not_leader.into()) };
        let rose = leader.progressed(progress, now)?.is_some();
        let outside = !leader.assignment().isr.contains(&progress.broker);
        match state.follower_starts.iter_mut().find(|(id, _)| *id == progress.broker) {
            Some(known) => known.1 = log_start,
            None => state.follower_starts.push((progress.broker, log_start)),
        }
        if rose {
            state.release(&mut released);
        }
        state.release_deletions(&mut released);
        if outside {
            self.want_attention(state);
        }
        drop(guard);
        released.run();
        Ok(())
    }

    /// What this follower would tell its leader; `None` if it follows nobody.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let state = self.lock();
        let Role::Follower(follower) = &state.role else { return None };
        Some(Standing {
            leader: follower.leader(),
            epoch: follower.epoch(),
            log_start: state.log.log_start(),
            log_end: state.log.log_end(),
            flushed_end: state.log.flushed_end().get(),
            copying: follower.is_copying(),
            damaged: matches!(state.log.health(), Health::Rotten(_)),
        })
    }

    /// Begins to follow: what to ask the leader. `None` if this replica follows nobody.
    pub fn ask(self: &Arc<Partition>) -> Option<Position> {
        let now_ms = self.around.clock.unix_ms();
        let mut guard = self.lock();
        let state = &mut *guard;
        let counts = state.told.counted || state.may_be_heard();
        if counts && matches!(state.log.health(), Health::Rotten(_)) && !museum::active(Bug::RepairWhileHeard)
        {
            // It may yet be the only one that has what lies behind the damage.
            if !state.resigning {
                self.want_attention(state);
            }
            return None;
        }
        let Role::Follower(follower) = &mut state.role else { return None };
        if let Health::Rotten(range) = state.log.health().clone() {
            // The in-sync replicas have everything, and this is not one of them: what is damaged and what follows comes
            // from the leader again.
            tracing::warn!(partition = %self.id, from = %range.offset, "a damaged log is cut and copied from its leader again");
            if let Err(error) = state.log.truncate_to(range.offset, now_ms) {
                tracing::error!(partition = %self.id, %error, "a damaged log could not be cut");
                return None;
            }
            // What it knew to be committed it no longer has.
            let known = follower.high_watermark().min(state.log.log_end());
            *follower = Follower::new(follower.leader(), follower.epoch(), known);
            state.log.set_high_watermark(known);
            state.damaged_in = None;
            self.around.metrics.replication.logs_repaired.inc();
            self.around.metrics.partitions_offline.dec();
        }
        Some(follower.ask(&View(&state.log)))
    }

    /// The leader answered: cuts the log as far as it has to. May wait for the disk.
    ///
    /// # Errors
    /// [`ReplicaError`]; the log is as it was, or stopped.
    pub fn answered(
        self: &Arc<Partition>,
        from: LeaderEpoch,
        answer: FollowAnswer,
    ) -> Result<Next, ReplicaError> {
        let now_ms = self.around.clock.unix_ms();
        let mut guard = self.lock();
        let state = &mut *guard;
        let not_leader = state.not_leader();
        let Role::Follower(follower) = &mut state.role else { return Err(not_leader.into()) };
        let truncation = follower.answered(from, answer, &View(&state.log))?;
        match truncation {
            Truncation::None => return Ok(Next::Copy),
            Truncation::To { end, below_high_watermark } => {
                tracing::info!(partition = %self.id, %end, below_high_watermark, "the log parts ways with its leader's: cut");
                if below_high_watermark {
                    self.around.metrics.replication.truncations_below_high_watermark.inc();
                }
                state.log.truncate_to(end, now_ms).map_err(Arc::new)?;
            }
            Truncation::Reset { at } => {
                tracing::info!(partition = %self.id, %at, "nothing of the log is its leader's: it starts anew");
                state.log.reset_to(at, now_ms).map_err(Arc::new)?;
            }
        }
        state.log.set_high_watermark(follower.high_watermark());
        self.want_flush(state);
        Ok(Next::Ask)
    }

    /// Appends what the leader of this epoch sent: whole batches that follow each other, after everything before `after`.
    /// Checks each one (M-18). `words` are the leader's high watermark and log start.
    ///
    /// # Errors
    /// [`ReplicaError`]; batches before the one that failed are appended.
    pub fn replicate(
        self: &Arc<Partition>,
        from: LeaderEpoch,
        after: Offset,
        records: &Bytes,
        words: (Offset, Offset),
    ) -> Result<(), ReplicaError> {
        let mut headers = Vec::new();
        for batch in batches(records.clone()) {
            let batch = batch.map_err(damaged)?;
            let header = BatchHeader::parse(&batch).map_err(damaged)?;
            verify_crc(&batch).map_err(damaged)?;
            headers.push((batch, header));
        }
        let now_ms = self.around.clock.unix_ms();
        let durability = self.settings().durability;
        let mut guard = self.lock();
        let state = &mut *guard;
        let not_leader = state.not_leader();
        let Role::Follower(follower) = &mut state.role else { return Err(not_leader.into()) };
        follower.check(from)?;
        if !follower.is_copying() {
            // From before the log was cut: the leader's answer to the new question begins anew.
            return Ok(());
        }
        let log_end = state.log.log_end();
        if after > log_end && !museum::active(Bug::HoleAfterFailure) {
            // Something before it was not taken: appended here, it would leave a hole.
            return Err(ReplicaError::NotNext { base_offset: after, log_end });
        }
        for (batch, header) in &headers {
            if header.next_offset() <= state.log.log_end() {
                // The first batch may begin before the offset that was asked for.
                continue;
            }
            state.log.append_as_follower(batch, header, now_ms).map_err(|error| match error {
                AppendError::NotNext { base_offset, log_end } => {
                    ReplicaError::NotNext { base_offset, log_end }
                }
                error => ReplicaError::Append(Arc::new(error)),
            })?;
            self.around.metrics.replication.bytes_copied.inc_by(batch.len() as u64);
        }
        let mut released = Released::default();
        self.take_words(state, from, words.0, words.1, &mut released)?;
        match durability {
            Durability::Fsync => self.want_flush(state),
            Durability::Replicated => released.watches.extend(state.tail.clone()),
        }
        drop(guard);
        released.run();
        Ok(())
    }

    /// Takes note of the leader's high watermark and log start, without batches.
    ///
    /// # Errors
    /// [`ReplicaError`].
    pub fn told(
        self: &Arc<Partition>,
        from: LeaderEpoch,
        high_watermark: Offset,
        log_start: Offset,
    ) -> Result<(), ReplicaError> {
        let mut released = Released::default();
        let mut guard = self.lock();
        let result = self.take_words(&mut guard, from, high_watermark, log_start, &mut released);
        drop(guard);
        released.run();
        result
    }

    fn take_words(
        &self,
        state: &mut State,
        from: LeaderEpoch,
        high_watermark: Offset,
        log_start: Offset,
        released: &mut Released,
    ) -> Result<(), ReplicaError> {
        let not_leader = state.not_leader();
        let Role::Follower(follower) = &mut state.role else { return Err(not_leader.into()) };
        let log_end = state.log.log_end();
        if let Some(rose) = follower.told(from, high_watermark, log_end)? {
            state.log.set_high_watermark(rose);
            released.watches.extend(state.watches.iter().cloned());
        }
        let known = follower.high_watermark();
        let bound = log_start.min(known);
        if bound > state.log.log_start() {
            state.log.delete_records(bound, known).map_err(Arc::new)?;
            released.watches.extend(state.tail.clone());
        }
        Ok(())
    }

    /// Moves the log start up to `before`, or to the high watermark. The new start is on every in-sync replica's disk
    /// when this returns (M-26).
    ///
    /// # Errors
    /// [`DeleteRecordsError`].
    pub async fn delete_records(
        self: &Arc<Partition>,
        before: Option<Offset>,
    ) -> Result<Offset, DeleteRecordsError> {
        let partition = Arc::clone(self);
        let work = move || partition.delete_here(before);
        let everywhere = tokio::task::spawn_blocking(work).await.expect("deleting records does not panic")?;
        match tokio::time::timeout(DELETION_WAIT, everywhere).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(DeleteRecordsError::NotEverywhere),
        }
    }

    /// The leader's part of a deletion; the answer comes when every in-sync replica has done its own.
    pub(crate) fn delete_here(
        &self,
        before: Option<Offset>,
    ) -> Result<oneshot::Receiver<Result<Offset, DeleteRecordsError>>, DeleteRecordsError> {
        let now = self.now();
        let mut guard = self.lock();
        let state = &mut *guard;
        let not_leader = state.not_leader();
        let high_watermark = match &state.role {
            _ if state.gone => return Err(DeleteRecordsError::Gone),
            Role::Leader(leader) if self.around.lease.holds(now) => leader.high_watermark(),
            _ => return Err(not_leader.into()),
        };
        let offset = before.unwrap_or(high_watermark);
        if offset > high_watermark {
            return Err(DeleteRecordsError::OutOfRange { offset, high_watermark });
        }
        if offset > state.log.log_start() {
            state.log.delete_records(offset, high_watermark).map_err(Arc::new)?;
        }
        let (done, everywhere) = oneshot::channel();
        state.deletions.push(ParkedDeletion { log_start: state.log.log_start(), done });
        let mut released = Released::default();
        state.release_deletions(&mut released);
        released.watches.extend(state.feeds.iter().cloned());
        drop(guard);
        released.run();
        Ok(everywhere)
    }
}

/// How long a deletion waits for the in-sync replicas.
const DELETION_WAIT: std::time::Duration = std::time::Duration::from_secs(30);

impl State {
    fn leading(&self) -> Result<&highwater_core::replication::Leader, ReplicaError> {
        match &self.role {
            _ if self.gone => Err(ReplicaError::Gone),
            Role::Leader(leader) => Ok(leader),
            _ => Err(self.not_leader().into()),
        }
    }
}

fn damaged(error: BatchError) -> ReplicaError {
    ReplicaError::Damaged(Arc::new(error))
}
