//! Scenarios for what neither walks nor clusters come across, or too seldom: words that come two leaders late, a
//! heartbeat that comes while its broker is being fenced, a partition that moves away from its leader, damage in the few
//! batches that recovery reads, and a sync that fails just before the power does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use highwater_core::metadata::isr::alter_partitions;
use highwater_core::metadata::reassign::reassign;
use highwater_core::metadata::{
    AlterPartition, Heard, Image, METADATA_VERSION, PartitionState, Reassignment, Sessions, change,
};
use highwater_core::replication::{Assignment, Leader, LeaderStart, Progress, Rules};
use highwater_core::settings::Durability;
use highwater_env::Clock;
use highwater_env::sim::{CallKind, Fault, FaultKind, SimClock, SimDisk, SimRandom};
use highwater_log::{LogConfig, LogDir, LogDirConfig, PartitionLog, RecoveryReport};
use highwater_proto::record::{BatchBuilder, BatchHeader, Compression};
use highwater_proto::{
    BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch, PartitionIndex, TopicId, TopicPartition,
};

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
            leaving: Vec::new(),
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

/// A broker's session lapses, its heartbeat comes while it is being fenced, and it is unfenced before it has heard of that.
/// No lease may be given until it has: others lead by then.
///
/// # Errors
/// What the controller made of it.
pub(super) fn no_lease_is_given_to_a_broker_that_does_not_know_that_it_was_deposed() -> Result<(), String> {
    const TIMEOUT: Duration = Duration::from_secs(1);
    let id = BrokerId(1);
    let at = Duration::from_millis;
    let mut image = Image::default();
    join(&mut image, id)?;
    let known = image.applied();
    let mut sessions = Sessions::new(&image, TIMEOUT, at(0));
    let heard = |sessions: &mut Sessions, image: &Image, ms| {
        image.broker(id).map(|broker| sessions.heard(broker, known, at(ms)))
    };
    for ms in [400, 800, 1000] {
        let _ = sessions.lapsed(&image, at(ms));
    }
    if heard(&mut sessions, &image, 1001) == Some(Heard::Alive) {
        return Err("a lease was renewed while its broker was being fenced".to_owned());
    }
    set_fenced(&mut image, id, Some(true))?;
    let _ = heard(&mut sessions, &image, 1002);
    set_fenced(&mut image, id, Some(false))?;
    match heard(&mut sessions, &image, 1003) {
        Some(Heard::Alive) => {
            Err("a lease was given to a broker that had not heard of its fencing".to_owned())
        }
        _ => Ok(()),
    }
}

/// A partition moves away from its leader. While the new one has not heard of the old one it must not be able to commit
/// anything without it: by its lease the old one answers readers.
///
/// # Errors
/// What the controller made of it.
pub(super) fn a_leader_that_goes_is_counted_until_another_one_has_heard_of_it() -> Result<(), String> {
    let mut image = Image::default();
    for id in 1..=3 {
        join(&mut image, BrokerId(id))?;
    }
    let topic = TopicId([7; 16]);
    let partition = TopicPartition::new(topic, PartitionIndex(0));
    let (replicas, isr) = (vec![1, 2], vec![1, 2]);
    let created = change::TopicCreated {
        topic_id: topic.0.to_vec(),
        name: "t".to_owned(),
        partitions: 1,
        assignments: vec![PartitionState { replicas, isr, leader: Some(1), ..PartitionState::default() }],
        ..change::TopicCreated::default()
    };
    apply(&mut image, change::Change::TopicCreated(created))?;
    let wanted = Reassignment { partition, replicas: Some(vec![BrokerId(2), BrokerId(3)]) };
    for record in reassign(&image.clone(), &[wanted]).0 {
        image.apply(image.applied() + 1, &record).map_err(|error| error.to_string())?;
    }
    let known = image.partition(partition).cloned().unwrap_or_default();
    let epoch = |id: i32| image.broker(BrokerId(id)).map_or(BrokerEpoch::UNKNOWN, |broker| broker.epoch);
    let change = AlterPartition {
        partition,
        leader_epoch: known.leader_epoch,
        partition_epoch: known.partition_epoch,
        isr: (1..=3).map(|id| (BrokerId(id), epoch(id))).collect(),
        recovered: false,
    };
    let decided = alter_partitions(&image, BrokerId(1), epoch(1), &[change]);
    for record in decided.map_err(|error| error.to_string())?.0 {
        image.apply(image.applied() + 1, &record).map_err(|error| error.to_string())?;
    }
    let now = image.partition(partition).cloned().unwrap_or_default();
    if now.leader == Some(BrokerId(2)) && now.isr.contains(&BrokerId(1)) {
        return Ok(());
    }
    Err(format!("whoever led is not counted any more, and does not know it yet: {now:?}"))
}

/// Three batches are flushed, the process is killed, and a bit of the second one turns over: that is no torn tail.
///
/// # Errors
/// What the log that was opened again made of it.
pub(super) fn damage_in_what_was_flushed_is_not_cut_off() -> Result<(), String> {
    let disk = SimDisk::with_file_bytes_max(1, 1 << 20);
    let (directory, mut log, _) = open(&disk)?;
    append(&mut log, 3)?;
    let _ = log.flush().map_err(|error| error.to_string())?;
    drop((log, directory));
    disk.kill_process();
    let segment = disk.contents().into_keys().find(|path| path.extension().is_some_and(|it| it == "log"));
    disk.rot(&segment.unwrap_or_default(), 250, 1).map_err(|error| error.to_string())?;
    let (_directory, log, report) = open(&disk)?;
    if log.log_end() == Offset(3) && report.is_unclean() {
        return Ok(());
    }
    Err(format!("of three flushed batches {} are left, and the log is {:?}", log.log_end(), log.health()))
}

/// A sync fails, and then the power does, on many disks: what was said to be flushed is there.
///
/// # Errors
/// What was said, and what is there.
pub(super) fn a_sync_that_failed_proves_nothing() -> Result<(), String> {
    for seed in 0..20 {
        let disk = SimDisk::with_file_bytes_max(seed, 1 << 20);
        let (directory, mut log, _) = open(&disk)?;
        append(&mut log, 1)?;
        let mut said = log.flush().map_err(|error| error.to_string())?.get();
        append(&mut log, 5)?;
        disk.inject(Fault { call: Some(CallKind::SyncData), nth: 1, kind: FaultKind::Io });
        if let Ok(flushed) = log.flush() {
            said = flushed.get();
        }
        drop((log, directory));
        disk.clear_faults();
        disk.crash();
        let (_directory, log, _) = open(&disk)?;
        if log.log_end() < said {
            return Err(format!("{said} batches were flushed, and {} are there", log.log_end()));
        }
    }
    Ok(())
}

fn open(disk: &Arc<SimDisk>) -> Result<(LogDir, PartitionLog, RecoveryReport), String> {
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new(0));
    let config = LogDirConfig::new("museum", BrokerId(1));
    let disk = Arc::<SimDisk>::clone(disk);
    let directory = LogDir::open(disk, clock, &SimRandom::new(1), Path::new("/data"), config)
        .map_err(|error| error.to_string())?;
    let id = TopicPartition::new(TopicId([7; 16]), PartitionIndex(0));
    let (log, report) = directory.partition(id, LogConfig::default()).map_err(|error| error.to_string())?;
    Ok((directory, log, report))
}

fn append(log: &mut PartitionLog, batches: usize) -> Result<(), String> {
    for _ in 0..batches {
        let mut batch = BatchBuilder::new(Compression::None, 1000);
        batch.try_append(0, None, Some(&[1; 100]), &[]).map_err(|error| error.to_string())?;
        let batch = batch.finish(None);
        let header = BatchHeader::parse(&batch).map_err(|error| error.to_string())?;
        log.append(&batch, &header, LeaderEpoch(0), 0).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn join(image: &mut Image, id: BrokerId) -> Result<(), String> {
    let registered = change::BrokerRegistered {
        broker_id: id.0,
        epoch: 1,
        incarnation: vec![0; 16],
        version: METADATA_VERSION,
        fenced: true,
        ..change::BrokerRegistered::default()
    };
    apply(image, change::Change::BrokerRegistered(registered))?;
    set_fenced(image, id, Some(false))
}

fn set_fenced(image: &mut Image, broker: BrokerId, fenced: Option<bool>) -> Result<(), String> {
    let changed = change::BrokerChanged { broker_id: broker.0, fenced, ..change::BrokerChanged::default() };
    apply(image, change::Change::BrokerChanged(changed))
}

fn apply(image: &mut Image, change: change::Change) -> Result<(), String> {
    image.apply(image.applied() + 1, &change.into()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_is_wrong_with_the_scenarios_while_no_bug_is_put_back() {
        assert_eq!(super::words_of_an_earlier_epoch_count_for_nothing(), Ok(()));
        assert_eq!(super::a_leader_that_goes_is_counted_until_another_one_has_heard_of_it(), Ok(()));
        assert_eq!(super::damage_in_what_was_flushed_is_not_cut_off(), Ok(()));
        assert_eq!(super::a_sync_that_failed_proves_nothing(), Ok(()));
        assert_eq!(super::no_lease_is_given_to_a_broker_that_does_not_know_that_it_was_deposed(), Ok(()));
    }
}
