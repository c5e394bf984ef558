//! What this broker may send to replicas that are catching up: one bucket for all of them, and one for each topic that has a
//! rate of its own. In-sync replicas are never held up: whoever waits for an acknowledgement waits for them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use highwater_core::replication::Throttle;
use highwater_proto::TopicId;

/// Topics' buckets that are kept; beyond it, full ones are forgotten.
const TOPICS_MAX: usize = 1024;

/// The buckets of a broker.
#[derive(Debug, Default)]
pub(crate) struct Throttles {
    buckets: Mutex<Buckets>,
}

#[derive(Debug, Default)]
struct Buckets {
    all: Throttle,
    topics: BTreeMap<TopicId, Throttle>,
}

impl Throttles {
    /// Buckets of a broker that sends no more than `rate` bytes per second to replicas that are catching up.
    pub(crate) fn new(rate: Option<u64>) -> Throttles {
        let buckets = Buckets { all: Throttle::new(rate, Duration::ZERO), topics: BTreeMap::new() };
        Throttles { buckets: Mutex::new(buckets) }
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a replica of `topic`, whose own rate is `rate`, has to wait for its next piece; zero is not at all.
    pub(crate) fn wait(&self, topic: TopicId, rate: Option<u64>, now: Duration) -> Duration {
        let mut guard = self.lock();
        let buckets = &mut *guard;
        let all = buckets.all.wait(now);
        if rate.is_none() {
            buckets.topics.remove(&topic);
            return all;
        }
        if buckets.topics.len() >= TOPICS_MAX {
            buckets.topics.retain(|_, bucket| !bucket.is_full(now));
        }
        let own = buckets.topics.entry(topic).or_insert_with(|| Throttle::new(rate, now));
        own.set_rate(rate, now);
        all.max(own.wait(now))
    }

    /// Bytes were sent to a replica that is catching up.
    pub(crate) fn sent(&self, topic: TopicId, bytes: usize, now: Duration) {
        let mut buckets = self.lock();
        buckets.all.sent(bytes, now);
        if let Some(own) = buckets.topics.get_mut(&topic) {
            own.sent(bytes, now);
        }
    }
}
