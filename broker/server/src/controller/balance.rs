//! What the controller knows of how long things have been as they are, to give leaderships back to preferred leaders only
//! when they have settled (M-14).

use std::collections::HashMap;
use std::time::Duration;

use highwater_core::metadata::balance::{BalanceFacts, BalanceRules, to_elect};
use highwater_core::metadata::{Image, Partition};
use highwater_proto::{BrokerId, TopicPartition};

/// How often it is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Since when a partition has been as it is.
#[derive(Clone, Copy, Debug)]
struct Since {
    leader: Option<BrokerId>,
    leads: Duration,
    /// Since when the preferred leader has been in sync.
    in_sync: Option<Duration>,
}

/// The partitions that somebody else than the preferred leader leads.
#[derive(Debug, Default)]
pub(super) struct Displaced {
    since: HashMap<TopicPartition, Since>,
    looked: Duration,
}

impl Displaced {
    /// The partitions whose preferred leaders should be elected now. Cheap when it was asked a moment ago.
    pub(super) fn due(&mut self, image: &Image, now: Duration) -> Vec<TopicPartition> {
        if now < self.looked + LOOK_INTERVAL {
            return Vec::new();
        }
        self.looked = now;
        let displaced = image.partitions().filter(|(_, _, partition)| is_displaced(partition));
        let before = std::mem::take(&mut self.since);
        for (id, _, partition) in displaced {
            let known = before.get(&id).copied();
            let leads =
                known.filter(|known| known.leader == partition.leader).map_or(now, |known| known.leads);
            let preferred_in_sync =
                partition.preferred_leader().is_some_and(|id| partition.isr.contains(&id));
            let in_sync = preferred_in_sync.then(|| known.and_then(|known| known.in_sync).unwrap_or(now));
            self.since.insert(id, Since { leader: partition.leader, leads, in_sync });
        }
        to_elect(image, BalanceRules::default(), |id, _| {
            let since = self.since.get(&id)?;
            let in_sync_for = now.saturating_sub(since.in_sync?);
            // Whoever is in sync is not behind by more than the leader lets it be.
            Some(BalanceFacts { lag_records: 0, in_sync_for, leader_for: now.saturating_sub(since.leads) })
        })
    }
}

fn is_displaced(partition: &Partition) -> bool {
    partition.leader.is_some() && partition.leader != partition.preferred_leader()
}
