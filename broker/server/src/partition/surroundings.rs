//! What all partitions of a broker share, and the lease that lets it lead at all.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use highwater_env::Clock;
use highwater_proto::BrokerId;
use tokio::sync::Notify;

use super::flusher::FlushQueue;
use super::owner::{LAG_MAX, Partition};
use super::throttles::Throttles;
use crate::metrics::Metrics;

/// What a partition needs besides its log.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// This broker.
    pub broker: BrokerId,
    /// Until when it may lead.
    pub lease: Arc<Lease>,
    /// A follower that was not caught up for so long leaves the in-sync replicas. No shorter than a session: it may have
    /// led before, not know yet that it was succeeded, and still have a lease (M-60).
    pub lag_max: Duration,
    /// Whoever looks after in-sync replicas.
    pub attention: Arc<Attention>,
    pub(crate) queue: Arc<FlushQueue>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) throttles: Arc<Throttles>,
}

impl Surroundings {
    /// Surroundings whose flushes and proposals run when the caller says so: for simulation and tests.
    #[must_use]
    pub fn by_hand(broker: BrokerId, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Surroundings {
        let (lease, attention) = (Arc::new(Lease::unlimited()), Arc::default());
        let (queue, throttles) = (Arc::default(), Arc::default());
        Surroundings { broker, lease, lag_max: LAG_MAX, attention, queue, clock, metrics, throttles }
    }

    /// The next partition that wants a flush, if any.
    #[must_use]
    pub fn next_dirty(&self) -> Option<Arc<Partition>> {
        self.queue.pop_now()
    }
}

/// How long this broker may take itself for a leader without hearing from the controller (M-60). The controller waits
/// longer than that before it lets somebody else lead.
#[derive(Debug)]
pub struct Lease {
    /// Nanoseconds of the monotonic clock.
    until_ns: AtomicU64,
    /// Given up for good.
    given_up: AtomicBool,
}

impl Lease {
    /// A lease that never ends: there is no controller but this broker.
    #[must_use]
    pub fn unlimited() -> Lease {
        Lease { until_ns: AtomicU64::new(u64::MAX), given_up: AtomicBool::new(false) }
    }

    /// A lease that has not begun.
    #[must_use]
    pub fn expired() -> Lease {
        Lease { until_ns: AtomicU64::new(0), given_up: AtomicBool::new(false) }
    }

    /// Sets its end, as a time of the monotonic clock.
    pub fn renew(&self, until: Duration) {
        self.until_ns.store(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Ends it for the rest of this life. A broker that is about to stop does so before it says so: it leaves the in-sync
    /// sets by saying it, and others lead without it before it hears of that.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds(&self, now: Duration) -> bool {
        !self.given_up.load(Ordering::Acquire)
            && now.as_nanos() < u128::from(self.until_ns.load(Ordering::Acquire))
    }
}

/// Partitions whose in-sync replicas may have to change, each at most once in the queue.
#[derive(Debug, Default)]
pub struct Attention {
    queue: Mutex<VecDeque<Arc<Partition>>>,
    notify: Notify,
}

impl Attention {
    pub(super) fn push(&self, partition: Arc<Partition>) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(partition);
        self.notify.notify_one();
    }

    /// Takes all of them. Each must be given to [`Partition::propose`], which lets it be queued again.
    pub fn take(&self) -> VecDeque<Arc<Partition>> {
        std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until one was queued since the last wait.
    pub async fn called(&self) {
        self.notify.notified().await;
    }
}
