//! Flushes that end after their topic, and flushes that fail.

use std::path::Path;
use std::sync::mpsc;

use highwater_env::sim::{SimClock, SimDisk, SimRandom};
use highwater_log::{LogConfig, LogDir, LogDirConfig};
use highwater_proto::record::{BatchBuilder, Compression};
use highwater_proto::{BrokerId, PartitionIndex, TopicId};

use super::*;
use crate::metrics::Metrics;

/// A partition whose flushes run when the test says so.
struct World {
    directory: LogDir,
    partition: Arc<Partition>,
    metrics: Arc<Metrics>,
}

impl World {
    fn new() -> World {
        let clock = Arc::new(SimClock::new(0));
        let config = LogDirConfig::new("test", BrokerId(1));
        let disk = SimDisk::new(0);
        let directory = LogDir::open(
            disk,
            Arc::<SimClock>::clone(&clock),
            &SimRandom::new(1),
            Path::new("/data"),
            config,
        )
        .unwrap();
        let id = TopicPartition::new(TopicId([7; 16]), PartitionIndex(0));
        let (log, _) = directory.partition(id, LogConfig::default()).unwrap();
        let metrics = Arc::new(Metrics::new());
        let settings = Arc::new(TopicSettings::defaults());
        let around = Surroundings::by_hand(BrokerId(1), clock, Arc::clone(&metrics));
        let partition = Arc::new(Partition::new(log, id, settings, around));
        partition.assign(crate::partition::table::sole_duty(BrokerId(1)));
        World { directory, partition, metrics }
    }

    /// Appends a record and returns where its acknowledgement will arrive.
    fn append(&self) -> mpsc::Receiver<Result<AckedBatch, ProduceError>> {
        let mut builder = BatchBuilder::new(Compression::None, 1000);
        builder.try_append(0, None, Some(b"value"), &[]).unwrap();
        let (sender, receiver) = mpsc::channel();
        self.partition.append(&builder.finish(None), -1, Box::new(move |result| drop(sender.send(result))));
        receiver
    }

    fn flush(&self) {
        Arc::clone(&self.partition).flush();
    }
}

/// Deleting a topic under load took its partitions offline for good: a flusher thread came to a partition whose
/// directory had been renamed away, the sync of the directory failed, and the failure counted as the disk's. The broker
/// said "not ready" until it was restarted, over a topic that nobody had any more.
#[test]
fn a_flush_that_races_with_its_topics_deletion_does_not_count_as_failed() {
    let world = World::new();
    let ack = world.append();
    world.partition.set_gone();
    world.directory.remove(world.partition.id()).unwrap();
    assert!(matches!(ack.try_recv(), Ok(Err(ProduceError::Gone))), "who waited is told");
    world.flush();
    assert_eq!(world.metrics.flushes_failed.get(), 0);
    assert_eq!(world.metrics.partitions_offline.get(), 0, "readiness counts these");
}

#[test]
fn a_flush_that_fails_while_its_topic_is_there_counts_and_is_told_to_who_waits() {
    let world = World::new();
    let ack = world.append();
    world.directory.remove(world.partition.id()).unwrap();
    world.flush();
    assert!(matches!(ack.try_recv(), Ok(Err(ProduceError::FlushFailed))));
    assert_eq!((world.metrics.flushes_failed.get(), world.metrics.partitions_offline.get()), (1, 1));
}

/// It would be answered as timed out, half a minute later, though the leader knew all the time that too few were left.
#[test]
fn a_batch_whose_replicas_left_after_it_was_written_is_answered_as_not_written_by_enough() {
    use crate::partition::Duty;
    use highwater_core::replication::Assignment;
    use highwater_proto::{LeaderEpoch, PartitionEpoch};

    let world = World::new();
    let settings = TopicSettings { min_insync_replicas: 2, ..TopicSettings::defaults() };
    world.partition.update_settings(&Arc::new(settings));
    let replicas: Vec<BrokerId> = [1, 2, 3].map(BrokerId).to_vec();
    let duty = |isr: &[i32], partition_epoch| Duty {
        leader_epoch: LeaderEpoch(1),
        assignment: Assignment {
            replicas: replicas.clone(),
            isr: isr.iter().copied().map(BrokerId).collect(),
            leaving: Vec::new(),
            partition_epoch: PartitionEpoch(partition_epoch),
            recovering: false,
        },
        replication_factor: 3,
        ..crate::partition::table::sole_duty(BrokerId(1))
    };
    world.partition.assign(duty(&[1, 2, 3], 1));
    let ack = world.append();
    world.flush();
    world.partition.assign(duty(&[1, 2], 2));
    assert!(ack.try_recv().is_err(), "two are enough, and one of them has yet to report");
    world.partition.assign(duty(&[1], 3));
    let told = ack.try_recv();
    assert!(matches!(told, Ok(Err(ProduceError::TooFewAfterAppend { in_sync: 1, min: 2 }))), "{told:?}");
    let later = world.append().try_recv();
    assert!(matches!(later, Ok(Err(ProduceError::Acks(_)))), "nothing is written now: {later:?}");
}

/// M-60: without a lease the controller may have let somebody else lead: nothing is acknowledged, and nobody is told what
/// the latest offset is.
#[test]
fn a_leader_whose_lease_has_run_out_takes_nothing_and_answers_nothing() {
    let world = World::new();
    let fine = world.append();
    world.flush();
    assert!(fine.try_recv().unwrap().is_ok());
    world.partition.around.lease.renew(Duration::ZERO);
    let refused = world.append().try_recv();
    assert!(matches!(refused, Ok(Err(ProduceError::NotLeader(_)))), "{refused:?}");
    assert!(world.partition.delete_here(None).is_err());
    world.partition.around.lease.renew(Duration::from_secs(60));
    let again = world.append();
    world.flush();
    assert!(again.try_recv().unwrap().is_ok());
}
