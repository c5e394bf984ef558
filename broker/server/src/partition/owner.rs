//! One partition: its log, its leader's progress, the acknowledgements that wait and the readers to wake.
//!
//! Lock order: the partition's mutex is the only lock held here, and callbacks run after it is let go.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use highwater_core::replication::{Assignment, Leader, LeaderStart, Rules, check_acks};
use highwater_core::settings::{Durability, TimestampKind, TopicSettings};
use highwater_env::Clock;
use highwater_log::{
    Appended, Durable, FileSlice, FlushError, Health, Novelty, PartitionLog, ReadError, ReadPlan,
    TimestampPlan,
};
use highwater_proto::record::{TimestampType, ValidationRules, validate_produced};
use highwater_proto::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch, TopicPartition};

use super::flusher::FlushQueue;
use super::outcome::{
    AckedBatch, DeleteRecordsError, EpochError, FetchError, Fetched, ListOffsetsError, ProduceError,
};
use super::table::log_config;
use super::watch::{Watch, Watcher};
use crate::metrics::Metrics;
use crate::service::{FoundOffset, OffsetQuery, PartitionDetails};

/// The epoch of a partition whose only leader this broker has ever been.
pub const SINGLE_BROKER_EPOCH: LeaderEpoch = LeaderEpoch(0);

/// How often a fetch plans again when its segment went away.
const PLANS_MAX: usize = 8;

/// Hears what became of a batch; called once, possibly from a flusher thread.
pub type Ack = Box<dyn FnOnce(Result<AckedBatch, ProduceError>) + Send>;

/// An acknowledgement that waits for the high watermark.
struct Parked {
    end: Offset,
    acked: AckedBatch,
    ack: Ack,
}

/// Where the partition stands with the flusher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flushing {
    Idle,
    Queued,
    Running,
    /// Running, and more was appended since.
    RunningAgain,
}

struct State {
    log: PartitionLog,
    progress: Leader,
    parked: VecDeque<Parked>,
    watches: Vec<Watch>,
    flushing: Flushing,
    gone: bool,
}

/// One partition.
pub struct Partition {
    id: TopicPartition,
    state: Mutex<State>,
    settings: RwLock<Arc<TopicSettings>>,
    queue: Arc<FlushQueue>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What to do once the lock is let go.
#[derive(Default)]
struct Released {
    acks: Vec<(Ack, Result<AckedBatch, ProduceError>)>,
    watches: Vec<Watch>,
}

impl Released {
    fn run(self) {
        for watch in &self.watches {
            watch.mark();
        }
        for (ack, result) in self.acks {
            ack(result);
        }
    }
}

impl Partition {
    pub(super) fn new(
        log: PartitionLog,
        id: TopicPartition,
        settings: Arc<TopicSettings>,
        queue: Arc<FlushQueue>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Partition {
        let progress = sole_leader(&log, settings.durability, clock.monotonic());
        let state = State {
            log,
            progress,
            parked: VecDeque::new(),
            watches: Vec::new(),
            flushing: Flushing::Idle,
            gone: false,
        };
        Partition { id, state: Mutex::new(state), settings: RwLock::new(settings), queue, clock, metrics }
    }

    /// Which partition this is.
    #[must_use]
    pub fn id(&self) -> TopicPartition {
        self.id
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> Arc<TopicSettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Checks a batch, appends it, and calls `ack` when it is as safe as `acks` asks: 0 and 1 once written, -1 once the
    /// high watermark has passed it.
    pub fn append(self: &Arc<Partition>, batch: &Bytes, acks: i32, ack: Ack) {
        let settings = self.settings();
        let now_ms = self.clock.unix_ms();
        let checked =
            check_acks(acks, 1, usize::try_from(settings.min_insync_replicas).unwrap_or(usize::MAX))
                .map_err(ProduceError::from)
                .and_then(|()| {
                    let rules = validation_rules(&settings, now_ms);
                    validate_produced(batch, &rules).map_err(|error| ProduceError::Batch(Arc::new(error)))
                });
        let header = match checked {
            Ok(header) => header,
            Err(error) => {
                self.metrics.batches_refused.inc();
                return ack(Err(error));
            }
        };
        let mut state = self.lock();
        if state.gone {
            drop(state);
            return ack(Err(ProduceError::Gone));
        }
        let appended = match state.log.append(batch, &header, SINGLE_BROKER_EPOCH, now_ms) {
            Ok(appended) => appended,
            Err(error) => {
                drop(state);
                self.metrics.batches_refused.inc();
                return ack(Err(ProduceError::Append(Arc::new(error))));
            }
        };
        self.count(&appended, batch.len());
        let mut released = Released::default();
        let log_end = state.log.log_end();
        if state.progress.appended(log_end, self.clock.monotonic()).is_some() {
            state.release(&mut released);
        }
        let acked = AckedBatch {
            base_offset: appended.base_offset,
            append_time_ms: append_time(&settings, &appended),
            log_start: state.log.log_start(),
        };
        if acks != -1 || state.progress.high_watermark() >= appended.end {
            released.acks.push((ack, Ok(acked)));
        } else {
            state.parked.push_back(Parked { end: appended.end, acked, ack });
        }
        if settings.durability == Durability::Fsync {
            self.want_flush(&mut state);
        }
        drop(state);
        released.run();
    }

    fn count(&self, appended: &Appended, bytes: usize) {
        match appended.novelty {
            Novelty::New => {
                self.metrics.batches_appended.inc();
                self.metrics.bytes_appended.inc_by(bytes as u64);
            }
            Novelty::Duplicate => drop(self.metrics.batches_deduplicated.inc()),
        }
    }

    /// Asks for a flush, unless one is coming that takes the newest append along.
    fn want_flush(self: &Arc<Partition>, state: &mut State) {
        state.flushing = match state.flushing {
            Flushing::Idle => {
                self.queue.push(Arc::clone(self));
                Flushing::Queued
            }
            Flushing::Running => Flushing::RunningAgain,
            waiting => waiting,
        };
    }

    /// Asks for a flush of whatever is not flushed, for topics that do not wait for it.
    pub(crate) fn flush_soon(self: &Arc<Partition>) {
        let mut state = self.lock();
        if state.log.flushed_end().get() < state.log.log_end() {
            self.want_flush(&mut state);
        }
    }

    /// One group flush: everything appended before it began. Blocks on the disk; run by a flusher thread.
    pub(super) fn flush(self: Arc<Partition>, metrics: &Metrics) {
        let ticket = {
            let mut state = self.lock();
            state.flushing = Flushing::Running;
            state.log.begin_flush()
        };
        let Some(ticket) = ticket else {
            self.lock().flushing = Flushing::Idle;
            return;
        };
        let began = self.clock.monotonic();
        let synced = ticket.sync();
        metrics.flush_seconds.observe(self.clock.monotonic().saturating_sub(began).as_secs_f64());
        let mut released = Released::default();
        let mut state = self.lock();
        match state.log.complete_flush(synced) {
            Ok(durable) => {
                metrics.flushes_completed.inc();
                state.flushed(durable, &mut released);
            }
            // Nothing is lost, and everybody goes on waiting: housekeeping asks again.
            Err(error @ FlushError::TooManyOpenFiles(_)) => {
                tracing::warn!(partition = %self.id, %error, "a flush is put off");
            }
            // The files went away under the flush, and with them everybody who waited.
            Err(error) if state.gone => {
                tracing::debug!(partition = %self.id, %error, "a flush ended with its deleted topic");
            }
            Err(error) => {
                metrics.flushes_failed.inc();
                metrics.partitions_offline.inc();
                state.flush_failed(self.id, &error, &mut released);
            }
        }
        let again = state.flushing == Flushing::RunningAgain;
        state.flushing = if again { Flushing::Queued } else { Flushing::Idle };
        drop(state);
        released.run();
        if again {
            self.queue.push(Arc::clone(&self));
        }
    }

    /// Reads from `from`, at most about `max_bytes`; the first batch whole. A cold range is read ahead on a blocking
    /// thread.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch(
        &self,
        from: Offset,
        max_bytes: usize,
        epoch: LeaderEpoch,
    ) -> Result<Fetched<Bytes>, FetchError> {
        let read = |plan: ReadPlan| plan.read().map(|slice| (slice.bytes, slice.next));
        self.fetch_with(from, max_bytes, epoch, read).await
    }

    /// The same batches as [`Partition::fetch`] gives, by where they lie in their file: for a listener that sends them
    /// with `sendfile`. Their pin is to be held until the peer has them.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch_located(
        &self,
        from: Offset,
        max_bytes: usize,
        epoch: LeaderEpoch,
    ) -> Result<Fetched<Option<FileSlice>>, FetchError> {
        let locate = |plan: ReadPlan| plan.locate().map(|located| (located.slice, located.next));
        self.fetch_with(from, max_bytes, epoch, locate).await
    }

    async fn fetch_with<R: Default>(
        &self,
        from: Offset,
        max_bytes: usize,
        epoch: LeaderEpoch,
        read: impl Fn(ReadPlan) -> Result<(R, Offset), ReadError>,
    ) -> Result<Fetched<R>, FetchError> {
        EpochError::check(epoch, SINGLE_BROKER_EPOCH)?;
        // Compaction or truncation may take the segment away between plan and read; a fresh plan finds its heir.
        for _ in 0..PLANS_MAX {
            let (mut fetched, plan) = self.plan_fetch(from, max_bytes)?;
            let Some(plan) = plan else { return Ok(fetched) };
            match warm(plan).await.and_then(&read) {
                Ok((records, next_offset)) => {
                    (fetched.records, fetched.next_offset) = (records, next_offset);
                    return Ok(fetched);
                }
                Err(ReadError::Moved) => {}
                Err(error) => return Err(FetchError::Storage(Arc::new(error))),
            }
        }
        Err(FetchError::Storage(Arc::new(ReadError::Moved)))
    }

    fn plan_fetch<R: Default>(
        &self,
        from: Offset,
        max_bytes: usize,
    ) -> Result<(Fetched<R>, Option<ReadPlan>), FetchError> {
        let state = self.lock();
        if state.gone {
            return Err(FetchError::Gone);
        }
        let (log_start, high_watermark) = (state.log.log_start(), state.progress.high_watermark());
        let end = state.log.log_end();
        if from < log_start || from > end {
            return Err(FetchError::OutOfRange { offset: from, log_start, end });
        }
        let epoch = SINGLE_BROKER_EPOCH;
        let fetched = Fetched { records: R::default(), next_offset: from, high_watermark, log_start, epoch };
        // What is appended and not yet safe is in range, and not yet to be seen.
        if from >= high_watermark {
            return Ok((fetched, None));
        }
        let plan = state.log.plan_read(from, high_watermark, max_bytes).map_err(Arc::new)?;
        Ok((fetched, Some(plan)))
    }

    /// Finds an offset by position or time.
    ///
    /// # Errors
    /// [`ListOffsetsError`].
    pub async fn find_offset(
        &self,
        query: OffsetQuery,
        epoch: LeaderEpoch,
    ) -> Result<FoundOffset, ListOffsetsError> {
        EpochError::check(epoch, SINGLE_BROKER_EPOCH)?;
        let found = |offset, timestamp_ms| FoundOffset { offset, timestamp_ms, epoch: SINGLE_BROKER_EPOCH };
        let search = {
            let state = self.lock();
            if state.gone {
                return Err(ListOffsetsError::Gone);
            }
            let high_watermark = state.progress.high_watermark();
            match query {
                OffsetQuery::Latest => return Ok(found(Some(high_watermark), None)),
                OffsetQuery::Earliest => return Ok(found(Some(state.log.log_start()), None)),
                OffsetQuery::MaxTimestamp => Search::Max(state.log.plan_max_timestamp(high_watermark)),
                OffsetQuery::At(timestamp_ms) => {
                    Search::At(state.log.plan_timestamp(timestamp_ms, high_watermark))
                }
            }
        };
        let search = move || match search {
            Search::At(plan) => plan.find(),
            Search::Max(plan) => plan.find_max(),
        };
        let hit =
            tokio::task::spawn_blocking(search).await.expect("a search does not panic").map_err(Arc::new)?;
        Ok(hit.map_or(found(None, None), |hit| found(Some(hit.offset), Some(hit.timestamp_ms))))
    }

    /// Moves the log start up to `before`, or to the high watermark. The new start is on disk when this returns.
    ///
    /// # Errors
    /// [`DeleteRecordsError`].
    pub async fn delete_records(
        self: &Arc<Partition>,
        before: Option<Offset>,
    ) -> Result<Offset, DeleteRecordsError> {
        let partition = Arc::clone(self);
        let work = move || {
            let mut state = partition.lock();
            if state.gone {
                return Err(DeleteRecordsError::Gone);
            }
            let high_watermark = state.progress.high_watermark();
            let offset = before.unwrap_or(high_watermark);
            if offset > high_watermark {
                return Err(DeleteRecordsError::OutOfRange { offset, high_watermark });
            }
            if offset > state.log.log_start() {
                state.log.delete_records(offset, high_watermark).map_err(Arc::new)?;
            }
            Ok(state.log.log_start())
        };
        tokio::task::spawn_blocking(work).await.expect("deleting records does not panic")
    }

    /// Marks `watch` from now on whenever there is news, and once at once.
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

    /// The partition as its leader sees it.
    #[must_use]
    pub fn details(&self) -> PartitionDetails {
        let state = self.lock();
        PartitionDetails {
            id: self.id,
            epoch: SINGLE_BROKER_EPOCH,
            log_start: state.log.log_start(),
            high_watermark: state.progress.high_watermark(),
            log_end: state.log.log_end(),
            size_bytes: state.log.size_bytes(),
            offline_reason: offline_reason(state.log.health()),
        }
    }

    /// Takes new settings.
    pub(crate) fn update_settings(&self, settings: &Arc<TopicSettings>) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(settings);
        let mut released = Released::default();
        let mut state = self.lock();
        state.log.update_config(log_config(settings));
        if state.progress.set_rules(sole_rules(settings.durability)).is_some() {
            state.release(&mut released);
        }
        drop(state);
        released.run();
    }

    /// The topic was deleted: refuse everything from now on, and tell those who wait.
    pub(crate) fn set_gone(&self) {
        let mut released = Released::default();
        let mut state = self.lock();
        state.gone = true;
        released.watches.clone_from(&state.watches);
        released.acks = state.parked.drain(..).map(|parked| (parked.ack, Err(ProduceError::Gone))).collect();
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
        let bound = state.progress.high_watermark();
        Some(work(&mut state.log, bound, &settings))
    }
}

impl State {
    fn flushed(&mut self, durable: Durable<Offset>, released: &mut Released) {
        if self.progress.flushed(durable.get()).is_some() {
            self.release(released);
        }
    }

    /// The high watermark rose: who waited for it?
    fn release(&mut self, released: &mut Released) {
        let high_watermark = self.progress.high_watermark();
        while let Some(parked) = self.parked.pop_front() {
            if parked.end > high_watermark {
                self.parked.push_front(parked);
                break;
            }
            released.acks.push((parked.ack, Ok(parked.acked)));
        }
        released.watches.clone_from(&self.watches);
    }

    fn flush_failed(&mut self, id: TopicPartition, error: &FlushError, released: &mut Released) {
        tracing::error!(partition = %id, %error, "a flush failed; the partition is offline until the broker restarts");
        let failed = self.parked.drain(..).map(|parked| (parked.ack, Err(ProduceError::FlushFailed)));
        released.acks.extend(failed);
    }
}

/// What counts where there is one replica.
fn sole_rules(durability: Durability) -> Rules {
    Rules { durability, min_in_sync: 1, lag_max: Duration::MAX }
}

/// Takes over a partition that has no other replica: all that was recovered counts as flushed.
fn sole_leader(log: &PartitionLog, durability: Durability, now: Duration) -> Leader {
    let id = BrokerId(1);
    let partition_epoch = PartitionEpoch(0);
    let assignment = Assignment { replicas: vec![id], isr: vec![id], partition_epoch, recovering: false };
    let start = LeaderStart {
        id,
        broker_epoch: BrokerEpoch(0),
        epoch: SINGLE_BROKER_EPOCH,
        log_end: log.log_end(),
        flushed_end: log.log_end(),
        high_watermark: log.log_end(),
        assignment,
        rules: sole_rules(durability),
    };
    Leader::new(start, now)
}

/// A lookup by time, to be run off the event loop.
enum Search {
    At(TimestampPlan),
    Max(TimestampPlan),
}

/// Brings a cold range into memory off the event loop.
async fn warm(mut plan: ReadPlan) -> Result<ReadPlan, ReadError> {
    if plan.is_resident() {
        return Ok(plan);
    }
    let warming = tokio::task::spawn_blocking(move || plan.populate().map(|()| plan));
    warming.await.expect("reading ahead does not panic")
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

fn append_time(settings: &TopicSettings, appended: &Appended) -> Option<i64> {
    (settings.message_timestamp_type == TimestampKind::LogAppendTime).then_some(appended.max_timestamp_ms)
}

/// Decompressed size limit, as a multiple of the largest batch.
const EXPANSION_MAX: usize = 32;

fn validation_rules(settings: &TopicSettings, now_ms: i64) -> ValidationRules {
    let max_batch_bytes = usize::try_from(settings.max_message_bytes).unwrap_or(usize::MAX);
    ValidationRules {
        max_batch_bytes,
        max_decompressed_bytes: max_batch_bytes.saturating_mul(EXPANSION_MAX),
        timestamp_before_max_ms: settings.message_timestamp_before_max_ms,
        timestamp_after_max_ms: settings.message_timestamp_after_max_ms,
        timestamp_type: match settings.message_timestamp_type {
            TimestampKind::CreateTime => TimestampType::CreateTime,
            TimestampKind::LogAppendTime => TimestampType::LogAppendTime,
        },
        key_required: settings.cleanup_policy.compacts(),
        ..ValidationRules::new(now_ms)
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
