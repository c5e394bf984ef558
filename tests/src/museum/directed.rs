//! Scenarios for what neither walks nor clusters come across, or too seldom: words that come two leaders late, and a
//! heartbeat that comes while its broker is being fenced.

use std::time::Duration;

use highwater_core::metadata::{
    Batch, ClusterId, Command, Endpoints, Heard, Image, Incarnation, LastStop, METADATA_VERSION,
    Registration, Sessions,
};
use highwater_core::replication::{Assignment, Leader, LeaderStart, Progress, Rules};
use highwater_core::settings::Durability;
use highwater_proto::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch};

/// A broker leads, is succeeded, and leads again; what followers had said the first time arrives the second time, when
/// their logs have been cut since.
///
/// # Errors
/// What the leader made of it.
pub(super) fn words_of_an_earlier_epoch_count_for_nothing() -> Result<(), String> {
    let replicas: Vec<BrokerId> = (1..=3).map(BrokerId).collect();
    let (epoch, life) = (LeaderEpoch(2), BrokerEpoch(1));
    let start = LeaderStart {
        id: BrokerId(1),
        broker_epoch: life,
        epoch,
        log_end: Offset(5),
        flushed_end: Offset(5),
        high_watermark: Offset(2),
        assignment: Assignment {
            isr: replicas.clone(),
            replicas,
            partition_epoch: PartitionEpoch(3),
            recovering: false,
        },
        rules: Rules { durability: Durability::Fsync, min_in_sync: 2, lag_max: Duration::from_secs(1) },
    };
    let mut leader = Leader::new(start, Duration::ZERO);
    for follower in [2, 3] {
        let late = Progress {
            broker: BrokerId(follower),
            broker_epoch: life,
            leader_epoch: LeaderEpoch(0),
            log_end: Offset(5),
            flushed_end: Offset(5),
        };
        let _ = leader.progressed(late, Duration::ZERO);
    }
    match leader.high_watermark() {
        Offset(2) => Ok(()),
        moved => Err(format!("the high watermark moved to {moved} on words of epoch 0, in epoch {epoch}")),
    }
}
