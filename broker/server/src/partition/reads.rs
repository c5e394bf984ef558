//! Reading: bounded by the high watermark, never by what is on the disk (M-24), and only from the leader, except that
//! whoever allows it may be answered by a follower, up to what the follower knows to be committed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use highwater_core::replication::Leader;
use highwater_log::{FileSlice, Health, ReadError, ReadPlan, TimestampPlan};
use highwater_proto::museum::{self, Bug};
use highwater_proto::{LeaderEpoch, Offset};
use tokio::runtime::Handle;

use super::outcome::{EpochError, FetchError, Fetched, LeaderError, ListOffsetsError};
use super::owner::{Partition, Role, State};
use crate::service::{FoundOffset, OffsetQuery};

/// How often a fetch plans again when its segment went away.
const PLANS_MAX: usize = 8;

/// Who may answer a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedBy {
    /// The leader.
    Leader,
    /// A follower, too, with what it knows to be committed (KIP-392).
    AnyReplica,
}

impl Partition {
    /// Reads from `from`, at most about `max_bytes`; the first batch whole. A cold range is read ahead on a blocking
    /// thread.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch(
        self: &Arc<Partition>,
        from: Offset,
        max_bytes: usize,
        epoch: LeaderEpoch,
    ) -> Result<Fetched<Bytes>, FetchError> {
        self.fetch_from(from, max_bytes, epoch, ServedBy::Leader).await
    }

    /// The same, with who may answer.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch_from(
        self: &Arc<Partition>,
        from: Offset,
        max_bytes: usize,
        epoch: LeaderEpoch,
        served_by: ServedBy,
    ) -> Result<Fetched<Bytes>, FetchError> {
        let read = |plan: ReadPlan| plan.read().map(|slice| (slice.bytes, slice.next));
        self.fetch_with(from, max_bytes, (epoch, served_by), read).await
    }

    /// The same batches as [`Partition::fetch`] gives, by where they lie in their file: for a listener that sends them
    /// with `sendfile`. Their pin is to be held until the peer has them.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch_located(
        self: &Arc<Partition>,
        from: Offset,
        max_bytes: usize,
        epoch: LeaderEpoch,
        served_by: ServedBy,
    ) -> Result<Fetched<Option<FileSlice>>, FetchError> {
        let locate = |plan: ReadPlan| plan.locate().map(|located| (located.slice, located.next));
        self.fetch_with(from, max_bytes, (epoch, served_by), locate).await
    }

    async fn fetch_with<R: Default>(
        self: &Arc<Partition>,
        from: Offset,
        max_bytes: usize,
        terms: (LeaderEpoch, ServedBy),
        read: impl Fn(ReadPlan) -> Result<(R, Offset), ReadError>,
    ) -> Result<Fetched<R>, FetchError> {
        // Compaction or truncation may take the segment away between plan and read; a fresh plan finds its heir.
        for _ in 0..PLANS_MAX {
            let (mut fetched, plan) = self.plan_fetch(from, max_bytes, terms)?;
            let Some(plan) = plan else { return Ok(fetched) };
            match warm(plan).await.and_then(&read) {
                Ok((records, next_offset)) => {
                    (fetched.records, fetched.next_offset) = (records, next_offset);
                    return Ok(fetched);
                }
                Err(ReadError::Moved) => {}
                Err(error @ ReadError::Rotten { .. }) => {
                    self.condemn(from, from.advance(1));
                    return Err(FetchError::Storage(Arc::new(error)));
                }
                Err(error) => return Err(FetchError::Storage(Arc::new(error))),
            }
        }
        Err(FetchError::Storage(Arc::new(ReadError::Moved)))
    }

    fn plan_fetch<R: Default>(
        &self,
        from: Offset,
        max_bytes: usize,
        (asked, served_by): (LeaderEpoch, ServedBy),
    ) -> Result<(Fetched<R>, Option<ReadPlan>), FetchError> {
        let now = self.now();
        let state = self.lock();
        if state.gone {
            return Err(FetchError::Gone);
        }
        let (log_start, high_watermark) = (state.log.log_start(), state.high_watermark());
        let end = state.log.log_end();
        let high_watermark = if museum::active(Bug::ReadPastHighWatermark) { end } else { high_watermark };
        let is_inside = log_start <= from && from <= end;
        let epoch = match served_by {
            ServedBy::AnyReplica if self.follows(&state, asked, now)? => {
                // What it has says nothing of what there is: only the leader may send a reader elsewhere (M-11).
                if !is_inside {
                    return Err(FetchError::NotHere { offset: from, log_start, end });
                }
                state.told.leader_epoch
            }
            _ => self.leader(&state, asked, now)?.epoch(),
        };
        if !is_inside {
            return Err(FetchError::OutOfRange { offset: from, log_start, end });
        }
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
        let now = self.now();
        let (search, epoch) = {
            let state = self.lock();
            if state.gone {
                return Err(ListOffsetsError::Gone);
            }
            let leader = self.leader(&state, epoch, now)?;
            let epoch = leader.epoch();
            let found = |offset, timestamp_ms| FoundOffset { offset, timestamp_ms, epoch };
            let high_watermark = leader.high_watermark();
            let search = match query {
                OffsetQuery::Latest => {
                    // M-13: an earlier leader may have shown more.
                    let latest = leader.latest().ok_or(ListOffsetsError::NotYet)?;
                    return Ok(found(Some(latest), None));
                }
                OffsetQuery::Earliest => return Ok(found(Some(state.log.log_start()), None)),
                OffsetQuery::MaxTimestamp => Search::Max(state.log.plan_max_timestamp(high_watermark)),
                OffsetQuery::At(timestamp_ms) => {
                    Search::At(state.log.plan_timestamp(timestamp_ms, high_watermark))
                }
            };
            (search, epoch)
        };
        let search = move || match search {
            Search::At(plan) => plan.find(),
            Search::Max(plan) => plan.find_max(),
        };
        let hit =
            tokio::task::spawn_blocking(search).await.expect("a search does not panic").map_err(Arc::new)?;
        let (offset, timestamp_ms) =
            (hit.as_ref().map(|hit| hit.offset), hit.as_ref().map(|hit| hit.timestamp_ms));
        Ok(FoundOffset { offset, timestamp_ms, epoch })
    }

    /// The leader's side of a request by somebody who believes in epoch `asked`, if this replica leads and may say so
    /// (M-03, M-60).
    pub(super) fn leader<'a>(
        &self,
        state: &'a State,
        asked: LeaderEpoch,
        now: Duration,
    ) -> Result<&'a Leader, LeaderError> {
        check_epoch(asked, state)?;
        let may_lead = self.around.lease.holds(now) || museum::active(Bug::LeaseIgnored);
        match &state.role {
            // One that resigns (I20) may have been replaced without having heard of it.
            Role::Leader(leader) if may_lead && (state.is_sound() || leader.is_alone()) => Ok(leader),
            _ => Err(state.not_leader().into()),
        }
    }
}

impl Partition {
    /// Whether this replica follows the leader in whose epoch `asked` somebody believes, has a log in order, and may say what
    /// it knows.
    fn follows(&self, state: &State, asked: LeaderEpoch, now: Duration) -> Result<bool, LeaderError> {
        check_epoch(asked, state)?;
        Ok(matches!(&state.role, Role::Follower(follower) if follower.is_copying())
            && *state.log.health() == Health::Good
            && self.around.lease.holds(now))
    }
}

/// Whether a client that asks for epoch `asked` means the present leader; one that names none does.
fn check_epoch(asked: LeaderEpoch, state: &State) -> Result<(), EpochError> {
    if asked == LeaderEpoch::UNKNOWN { Ok(()) } else { EpochError::check(asked, state.told.leader_epoch) }
}

/// A lookup by time, to be run off the event loop.
enum Search {
    At(TimestampPlan),
    Max(TimestampPlan),
}

/// Brings a cold range into memory off the event loop.
pub(crate) async fn warm(mut plan: ReadPlan) -> Result<ReadPlan, ReadError> {
    if plan.is_resident() {
        return Ok(plan);
    }
    let Ok(runtime) = Handle::try_current() else {
        // A simulation: there is no event loop to keep free.
        return plan.populate().map(|()| plan);
    };
    let warming = runtime.spawn_blocking(move || plan.populate().map(|()| plan));
    warming.await.expect("reading ahead does not panic")
}
