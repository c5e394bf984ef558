//! Clusters for tests.

use std::collections::{BTreeMap, BTreeSet};

use highwater_proto::{BrokerEpoch, BrokerId, PartitionIndex, TopicId, TopicPartition};

use super::*;

static NO_DEFAULTS: BTreeMap<String, String> = BTreeMap::new();
static NOBODY: BTreeSet<BrokerId> = BTreeSet::new();

pub(crate) fn context() -> Context<'static> {
    Context {
        broker_defaults: &NO_DEFAULTS,
        default_partitions: 1,
        default_replication_factor: -1,
        now_ms: 1,
        fresh_id: TopicId([1; 16]),
        alive: &NOBODY,
    }
}

/// Decides a command, applies what comes of it as one entry, checks everything.
pub(crate) fn run(image: &mut Image, command: &Command) -> Result<Outcome, Refusal> {
    run_in(image, context(), command)
}

pub(crate) fn run_in(image: &mut Image, context: Context<'_>, command: &Command) -> Result<Outcome, Refusal> {
    let mut batch = Batch::new(image);
    let outcome = batch.decide(context, command)?;
    let entry = batch.into_entry();
    assert_eq!(image.apply_entry(image.applied() + 1, &entry), Ok(Applied::Accepted));
    assert_eq!(image.check_invariants(), Ok(()), "after {command:?}");
    assert_eq!(image.check_digest(), Ok(()), "after {command:?}");
    Ok(outcome)
}

pub(crate) fn registration(broker: i32) -> Registration {
    Registration {
        broker: BrokerId(broker),
        incarnation: Incarnation([broker as u8; 16]),
        cluster: None,
        disk_id: format!("disk-{broker}"),
        last_epoch: None,
        last_stop: LastStop::Clean,
        endpoints: Endpoints { peer: format!("host-{broker}:9095"), ..Endpoints::default() },
        rack: None,
        version: METADATA_VERSION,
    }
}

pub(crate) fn register(image: &mut Image, registration: Registration) -> Result<BrokerEpoch, Refusal> {
    match run(image, &Command::RegisterBroker { registration })? {
        Outcome::Registered { epoch } => Ok(epoch),
        other => panic!("a registration is answered by {other:?}"),
    }
}

pub(crate) fn epoch_of(image: &Image, broker: i32) -> BrokerEpoch {
    image.broker(BrokerId(broker)).expect("it is registered").epoch
}

pub(crate) fn unfence(image: &mut Image, broker: i32) {
    let (epoch, applied) = (epoch_of(image, broker), image.applied());
    run(image, &Command::Unfence { broker: BrokerId(broker), epoch, applied }).expect("it may serve");
}

pub(crate) fn fence(image: &mut Image, broker: i32) {
    let epoch = epoch_of(image, broker);
    run(image, &Command::Fence { broker: BrokerId(broker), epoch }).expect("it is alive");
}

/// A cluster of this many brokers, numbered from 1, all in service.
pub(crate) fn cluster(brokers: i32) -> Image {
    let mut image = Image::default();
    let ids = (1..=brokers).map(BrokerId).collect();
    run(&mut image, &Command::FormCluster { id: ClusterId([9; 16]), name: "test".into(), brokers: ids })
        .expect("it is the first");
    for broker in 1..=brokers {
        register(&mut image, registration(broker)).expect("it is new");
        unfence(&mut image, broker);
    }
    image
}

pub(crate) const TOPIC: TopicId = TopicId([1; 16]);

pub(crate) fn at(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, PartitionIndex(partition))
}

pub(crate) fn ids(list: &[i32]) -> Vec<BrokerId> {
    list.iter().map(|id| BrokerId(*id)).collect()
}

/// Creates topic `t` under [`TOPIC`] with these replicas and settings.
pub(crate) fn topic(image: &mut Image, assignments: &[&[i32]], configs: &[(&str, &str)]) {
    let configs = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let topic = NewTopic {
        name: "t".into(),
        partitions: -1,
        replication_factor: -1,
        configs: configs.collect(),
        assignments: assignments.iter().map(|held| ids(held)).collect(),
    };
    run(image, &Command::CreateTopic { topic, mode: Mode::Apply }).expect("it is possible");
}

/// Partition 0 of the topic.
pub(crate) fn first(image: &Image) -> Partition {
    image.partition(at(0)).expect("it is there").clone()
}

/// Leader, in-sync, eligible and once eligible replicas of partition 0, as numbers.
pub(crate) fn state(image: &Image) -> (Option<i32>, Vec<i32>, Vec<i32>, Vec<i32>) {
    let partition = first(image);
    let sorted = |list: &[BrokerId]| {
        let mut numbers: Vec<i32> = list.iter().map(|id| id.0).collect();
        numbers.sort_unstable();
        numbers
    };
    let leader = partition.leader.map(|id| id.0);
    (leader, sorted(&partition.isr), sorted(&partition.elr), sorted(&partition.last_known_elr))
}

/// What the leader of partition 0 asks for to get this in-sync set.
pub(crate) fn alter(image: &Image, isr: &[i32]) -> AlterPartition {
    let partition = first(image);
    AlterPartition {
        partition: at(0),
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        isr: isr.iter().map(|id| (BrokerId(*id), epoch_of(image, *id))).collect(),
        recovered: false,
    }
}

/// The leader of partition 0 asks for a change.
pub(crate) fn ask(image: &mut Image, change: AlterPartition) -> Result<Partition, AlterPartitionError> {
    let broker = first(image).leader.expect("somebody leads");
    let epoch = epoch_of(image, broker.0);
    let command = Command::AlterPartition { broker, epoch, changes: vec![change] };
    match run(image, &command).expect("its life is the present one") {
        Outcome::PartitionsAltered { mut results } => results.remove(0).result,
        other => panic!("an alteration is answered by {other:?}"),
    }
}

/// The leader of partition 0 has heard everybody, and lets go whoever is only in sync any more.
pub(crate) fn let_go(image: &mut Image) {
    let partition = first(image);
    let min_insync_replicas = image.topic(at(0).topic).expect("it is there").min_insync_replicas();
    let leaving = partition.leaving(min_insync_replicas);
    let staying: Vec<i32> = partition.isr.iter().filter(|id| !leaving.contains(id)).map(|id| id.0).collect();
    let change = alter(image, &staying);
    let _ = ask(image, change);
}

/// What a broker says that comes back with its disk after a clean stop, as a new process.
pub(crate) fn registration_again(image: &Image, broker: i32) -> Registration {
    let before = image.broker(BrokerId(broker)).expect("it is registered");
    let mut incarnation = before.incarnation;
    incarnation.0[0] = incarnation.0[0].wrapping_add(100);
    let last_epoch = before.served_epoch;
    Registration { incarnation, last_epoch, disk_id: before.disk_id.clone(), ..registration(broker) }
}

/// A broker comes back with its disk after a clean stop, or as `changed` makes of that.
pub(crate) fn come_back(
    image: &mut Image,
    broker: i32,
    changed: impl FnOnce(Registration) -> Registration,
) -> Result<BrokerEpoch, Refusal> {
    let registration = changed(registration_again(image, broker));
    register(image, registration)
}
