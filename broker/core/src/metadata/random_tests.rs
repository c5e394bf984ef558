//! Clusters at random: brokers that come, crash, lose their disks and stop, leaders that change their in-sync sets, people
//! who move replicas, drain, remove and elect. After every command the invariants hold, epochs and ids have not fallen,
//! and whoever is in sync or eligible holds everything that was acknowledged (I3, I5, I7, I17).

use std::collections::{BTreeMap, BTreeSet};

use highwater_proto::{BrokerEpoch, BrokerId, TopicId, TopicPartition};
use proptest::prelude::*;

use super::testing::{cluster, context, registration};
use super::*;

/// What is on a broker's disk, which the cluster cannot see.
#[derive(Clone, Debug)]
struct Disk {
    id: String,
    epoch: Option<BrokerEpoch>,
    incarnation: u8,
    clean: bool,
}

struct World {
    image: Image,
    batch: Batch,
    twin: Image,
    disks: BTreeMap<BrokerId, Disk>,
    removed: BTreeSet<BrokerId>,
    /// Who holds everything of a partition that was acknowledged.
    holders: BTreeMap<TopicPartition, BTreeSet<BrokerId>>,
    topics_made: u8,
}

/// A source of choices: the bits of one number.
#[derive(Clone, Copy, Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.roll(from.len())].clone())
    }

    fn some<T: Clone>(&mut self, from: &[T]) -> Vec<T> {
        from.iter().filter(|_| self.roll(3) > 0).cloned().collect()
    }
}

impl World {
    fn new(brokers: i32) -> World {
        let image = cluster(brokers);
        let disk = |broker: &Broker| {
            let epoch = Some(broker.epoch);
            let incarnation = broker.incarnation.0[0];
            (broker.id, Disk { id: broker.disk_id.clone(), epoch, incarnation, clean: false })
        };
        World {
            disks: image.brokers().map(disk).collect(),
            batch: Batch::new(&image),
            twin: image.clone(),
            image,
            removed: BTreeSet::new(),
            holders: BTreeMap::new(),
            topics_made: 0,
        }
    }

    /// Decides a command and holds what comes of it against what was.
    fn decide(&mut self, command: Command) -> Result<Outcome, Refusal> {
        let before = self.batch.image().clone();
        self.topics_made += 1;
        let fresh_id = TopicId([self.topics_made; 16]);
        let json = serde_json::to_string(&command).expect("a command can be written");
        assert_eq!(serde_json::from_str::<Command>(&json).expect("and read"), command);
        let answer = self.batch.decide(Context { fresh_id, ..context() }, &command);
        let json = serde_json::to_string(&answer).expect("an answer can be written");
        let read: Result<Outcome, Refusal> = serde_json::from_str(&json).expect("and read");
        assert_eq!(read, answer);
        if let Err(refusal) = &answer {
            assert!(refusal.to_string().len() > 10, "{refusal:?} says why");
            assert_eq!(*self.batch.image(), before, "a refusal changes nothing");
        }
        let after = self.batch.image().clone();
        assert_eq!(after.check_invariants(), Ok(()), "after {command:?}");
        check_epochs(&before, &after);
        check_departures(&before, &after, &command);
        self.follow_data(&before, &after, &command, &answer);
        for (id, _, partition) in after.partitions() {
            let holders = &self.holders[&id];
            let counted = partition.isr.iter().chain(&partition.elr);
            let lacking: Vec<_> = counted.filter(|id| !holders.contains(id)).collect();
            assert!(lacking.is_empty(), "{lacking:?} lack records of {partition:?} after {command:?}");
        }
        assert!(after.brokers().all(|broker| !self.removed.contains(&broker.id)), "ids are never used again");
        answer
    }

    /// What the command means for the records that brokers hold.
    fn follow_data(
        &mut self,
        before: &Image,
        after: &Image,
        command: &Command,
        answer: &Result<Outcome, Refusal>,
    ) {
        self.holders.retain(|id, _| after.has(*id));
        for (id, topic, partition) in after.partitions() {
            let holders =
                self.holders.entry(id).or_insert_with(|| partition.replicas.iter().copied().collect());
            holders.retain(|id| partition.replicas.contains(id));
            let leaderless = before.partition(id).is_none_or(|before| before.leader.is_none());
            let given_up = matches!(command, Command::ElectLeaders { .. }) && leaderless;
            if let Some(leader) = partition.leader
                && partition.recovering
                && (given_up || (!topic.acknowledges_from_disk() && is_new_leader(before, after, id)))
            {
                *holders = BTreeSet::from([leader]);
            }
        }
        if let Ok(Outcome::PartitionsAltered { results }) = answer {
            for result in results.iter().filter(|result| result.result.is_ok()) {
                let state = after.partition(result.partition).expect("it was altered");
                self.holders.entry(result.partition).or_default().extend(&state.isr);
            }
            for result in results {
                if result.result == Err(AlterPartitionError::NewLeaderElected) {
                    let state = after.partition(result.partition).expect("it was altered");
                    self.holders.entry(result.partition).or_default().extend(&state.isr);
                }
            }
        }
    }

    /// Every partition that may acknowledge does so: only those in sync hold what is new.
    fn acknowledge(&mut self) {
        for (id, topic, partition) in self.batch.image().partitions() {
            if partition.isr.len() >= partition.min_isr(topic.min_insync_replicas()) {
                let holders = self.holders.get_mut(&id).expect("it is followed");
                holders.retain(|id| partition.isr.contains(id));
            }
        }
    }

    /// The broker starts again: as it was, after a crash, on a new disk, or on an old copy of its disk.
    fn restart(&mut self, broker: BrokerId, dice: &mut Dice) {
        self.propose(true);
        let image = self.batch.image();
        let let_in = image.broker(broker).is_some() || image.unregistered_ids().contains(&broker);
        let served = image.broker(broker).and_then(|broker| broker.served_epoch);
        let disk = self.disks.entry(broker).or_insert_with(|| {
            let id = format!("disk-{broker}");
            Disk { id, epoch: None, incarnation: 1, clean: true }
        });
        let mut gone = false;
        match dice.roll(8) {
            0 => {
                *disk = Disk { id: format!("{}+", disk.id), epoch: None, ..disk.clone() };
                gone = true;
            }
            1 if served.is_some() && disk.epoch == served => {
                disk.epoch = served.map(|epoch| BrokerEpoch(epoch.0 - 1));
                gone = true;
            }
            _ => {}
        }
        disk.incarnation = disk.incarnation.wrapping_add(1);
        let clean = std::mem::take(&mut disk.clean);
        let registration = Registration {
            incarnation: Incarnation([disk.incarnation; 16]),
            disk_id: disk.id.clone(),
            last_epoch: disk.epoch,
            last_stop: if clean { LastStop::Clean } else { LastStop::Unclean },
            ..registration(broker.0)
        };
        for (id, topic, _) in self.batch.image().partitions() {
            if gone || (!clean && !topic.acknowledges_from_disk()) {
                self.holders.entry(id).or_default().remove(&broker);
            }
        }
        let answer = self.decide(Command::RegisterBroker { registration });
        assert_eq!(answer.is_ok(), let_in, "{answer:?}");
        self.propose(true);
    }

    /// The batch becomes an entry, which both images apply.
    fn propose(&mut self, in_time: bool) {
        let entry = std::mem::replace(&mut self.batch, Batch::new(&self.image)).into_entry();
        let index = self.image.applied() + 2;
        let before = (self.image.digest(), self.image.accepted());
        for image in [&mut self.image, &mut self.twin] {
            if !in_time {
                let late = Entry { based_on: entry.based_on.wrapping_sub(1), ..entry.clone() };
                let became = image.apply_entry(index - 1, &late);
                assert!(matches!(became, Ok(Applied::Stale { .. })), "{became:?}");
                assert_eq!((image.digest(), image.accepted()), before, "a late decision changes nothing");
            }
            assert_eq!(image.apply_entry(index, &entry), Ok(Applied::Accepted));
            assert_eq!(image.apply_entry(index, &entry), Ok(Applied::Before));
            assert_eq!(image.check_invariants(), Ok(()));
            assert_eq!(image.check_digest(), Ok(()));
        }
        self.batch = Batch::new(&self.image);
        assert_eq!(self.image, self.twin);
        assert_eq!(self.image.digest(), self.twin.digest());
    }

    /// The twin starts again from a snapshot.
    fn restore(&mut self) {
        let records = self.twin.to_records();
        let restored = Image::from_records(self.twin.applied(), &records).expect("a snapshot is sound");
        assert_eq!(restored, self.twin);
        self.twin = restored;
    }

    fn step(&mut self, dice: &mut Dice) {
        let image = self.batch.image().clone();
        let brokers: Vec<Broker> = image.brokers().cloned().collect();
        let partitions: Vec<TopicPartition> = image.partitions().map(|(id, ..)| id).collect();
        let known = (1..image.next_broker_id().0).map(BrokerId).collect::<Vec<_>>();
        match dice.roll(24) {
            0..=2 => {
                if let Some(broker) = dice.pick(&known) {
                    self.restart(broker, dice);
                }
            }
            3..=6 => {
                if let Some(broker) = dice.pick(&brokers) {
                    self.unfence(&broker);
                }
            }
            7 | 8 => {
                if let Some(Broker { id: broker, epoch, .. }) = dice.pick(&brokers) {
                    let _ = self.decide(Command::Fence { broker, epoch });
                }
            }
            9 => {
                if let Some(Broker { id: broker, epoch, .. }) = dice.pick(&brokers) {
                    let stopped = self.decide(Command::ControlledShutdown { broker, epoch });
                    assert!(stopped.is_ok());
                    if let Some(disk) = self.disks.get_mut(&broker) {
                        disk.clean = true;
                    }
                }
            }
            10..=15 => {
                if let Some(id) = dice.pick(&partitions) {
                    self.alter(id, dice);
                }
            }
            16 => {
                if let Some(broker) = dice.pick(&brokers) {
                    self.report_unclean(&broker, &dice.some(&partitions));
                }
            }
            17 => {
                let kind = if dice.roll(2) == 0 { ElectionKind::Preferred } else { ElectionKind::Unclean };
                let partitions = (dice.roll(2) == 0).then(|| dice.some(&partitions));
                let _ = self.decide(Command::ElectLeaders { kind, partitions });
            }
            18 | 19 => {
                if let Some(partition) = dice.pick(&partitions) {
                    let ids: Vec<BrokerId> = brokers.iter().map(|broker| broker.id).collect();
                    let mut replicas = dice.some(&ids);
                    if dice.roll(2) == 0 {
                        replicas.reverse();
                    }
                    let replicas = Some(replicas).filter(|_| dice.roll(4) > 0);
                    let partitions = vec![Reassignment { partition, replicas }];
                    let _ = self.decide(Command::Reassign { partitions });
                }
            }
            20 => self.people(dice, &brokers),
            _ => self.topics(dice, &image),
        }
        if dice.roll(2) == 0 {
            self.acknowledge();
        }
    }

    fn unfence(&mut self, broker: &Broker) {
        let (epoch, applied) = (broker.epoch, u64::MAX);
        if !broker.stopping {
            self.disks.get_mut(&broker.id).expect("it started").epoch = Some(epoch);
        }
        let answer = self.decide(Command::Unfence { broker: broker.id, epoch, applied });
        assert_eq!(answer.is_err(), broker.stopping, "{answer:?}");
    }

    fn alter(&mut self, id: TopicPartition, dice: &mut Dice) {
        let image = self.batch.image();
        let partition = image.partition(id).expect("it is there").clone();
        let Some(leader) = partition.leader else { return };
        let epoch = |id: BrokerId| image.broker(id).map_or(BrokerEpoch(0), |broker| broker.epoch);
        let mut isr = dice.some(&partition.replicas);
        if !isr.contains(&leader) && dice.roll(10) > 0 {
            isr.push(leader);
        }
        if dice.roll(3) > 0 {
            isr.retain(|id| image.is_active(*id));
        }
        let change = AlterPartition {
            partition: id,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            isr: isr.iter().map(|id| (*id, epoch(*id))).collect(),
            recovered: dice.roll(2) == 0,
        };
        let epoch = epoch(leader);
        let _ = self.decide(Command::AlterPartition { broker: leader, epoch, changes: vec![change] });
    }

    fn report_unclean(&mut self, broker: &Broker, partitions: &[TopicPartition]) {
        for id in partitions {
            self.holders.entry(*id).or_default().remove(&broker.id);
        }
        let (broker, epoch, partitions) = (broker.id, broker.epoch, partitions.to_vec());
        let reported = self.decide(Command::ReportUnclean { broker, epoch, partitions });
        assert_eq!(reported, Ok(Outcome::Done));
    }

    fn people(&mut self, dice: &mut Dice, brokers: &[Broker]) {
        let Some(Broker { id: broker, .. }) = dice.pick(brokers) else { return };
        let command = match dice.roll(4) {
            0 => Command::Drain { broker },
            1 => Command::CancelDrain { broker },
            2 => Command::RemoveBroker { broker },
            _ => Command::TakeBrokerId,
        };
        let removes = matches!(command, Command::RemoveBroker { .. });
        if self.decide(command).is_ok() && removes {
            self.removed.insert(broker);
        }
    }

    fn topics(&mut self, dice: &mut Dice, image: &Image) {
        let topics: Vec<String> = image.topics().map(|topic| topic.name.clone()).collect();
        let name = dice.pick(&topics).unwrap_or_default();
        let command = match dice.roll(8) {
            0..=3 if topics.len() < 6 => {
                let durability = if dice.roll(2) == 0 { "fsync" } else { "replicated" };
                let topic = NewTopic {
                    name: format!("topic-{}", dice.roll(9)),
                    partitions: dice.roll(3) as i32 + 1,
                    replication_factor: dice.roll(5) as i32 - 1,
                    configs: BTreeMap::from([("durability".to_owned(), durability.to_owned())]),
                    assignments: Vec::new(),
                };
                Command::CreateTopic { topic, mode: Mode::Apply }
            }
            4 => Command::DeleteTopic { topic: TopicRef::Name(name) },
            5 => {
                let total = dice.roll(5) as i32;
                Command::AddPartitions { topic: name, total, assignments: Vec::new(), mode: Mode::Apply }
            }
            6 => Command::TakeProducerIds,
            _ => {
                let edit = match dice.roll(4) {
                    0 => ConfigEdit::Reset,
                    min => ConfigEdit::Set(min.to_string()),
                };
                let edits = BTreeMap::from([("min.insync.replicas".to_owned(), edit)]);
                Command::AlterConfigs { topic: name, edits, mode: Mode::Apply }
            }
        };
        let _ = self.decide(command);
    }

    /// Everybody comes back and catches up; what nobody can lead is given up.
    fn heal(&mut self) {
        self.propose(true);
        let brokers: Vec<BrokerId> = self.image.brokers().map(|broker| broker.id).collect();
        for broker in &brokers {
            self.restart(*broker, &mut Dice(7));
            let registered = self.image.broker(*broker).expect("it came back").clone();
            self.unfence(&registered);
            self.propose(true);
        }
        let kind = ElectionKind::Unclean;
        self.decide(Command::ElectLeaders { kind, partitions: None }).expect("it is asked for");
        for _ in 0..3 {
            self.catch_up();
        }
    }

    /// Every leader takes everybody into its in-sync set, but for those whom a reassignment takes away.
    fn catch_up(&mut self) {
        let partitions: Vec<TopicPartition> = self.batch.image().partitions().map(|(id, ..)| id).collect();
        for partition in partitions {
            let image = self.batch.image();
            let state = image.partition(partition).expect("it is there").clone();
            let topic = image.topic(partition.topic).expect("and so is its topic");
            let leaving = state.leaving(topic.min_insync_replicas());
            let staying = state.replicas.iter().filter(|id| !leaving.contains(id));
            let broker = state.leader.expect("somebody leads now");
            let epoch = |id: &BrokerId| image.broker(*id).expect("it is registered").epoch;
            let change = AlterPartition {
                partition,
                leader_epoch: state.leader_epoch,
                partition_epoch: state.partition_epoch,
                isr: staying.map(|id| (*id, epoch(id))).collect(),
                recovered: true,
            };
            let command = Command::AlterPartition { broker, epoch: epoch(&broker), changes: vec![change] };
            self.decide(command).expect("its life is the present one");
        }
        self.propose(true);
    }

    /// A broker is drained and removed, if the others can take what it has.
    fn drain(&mut self, broker: BrokerId) {
        let before: u32 = self.image.brokers().map(|it| drain::replicas_of(&self.image, it.id)).sum();
        if self.decide(Command::Drain { broker }).is_err() {
            return;
        }
        for _ in 0..3 {
            self.catch_up();
        }
        let image = self.batch.image().clone();
        assert_eq!(drain::replicas_of(&image, broker), 0, "a drained broker holds nothing");
        let after: u32 = image.brokers().map(|it| drain::replicas_of(&image, it.id)).sum();
        assert_eq!(before, after, "and others hold what it held");
        self.decide(Command::RemoveBroker { broker }).expect("it is empty");
        self.removed.insert(broker);
        self.propose(true);
        self.restart(broker, &mut Dice(7));
    }
}

fn is_new_leader(before: &Image, after: &Image, id: TopicPartition) -> bool {
    let epoch = |image: &Image| image.partition(id).map(|partition| partition.leader_epoch);
    epoch(before) != epoch(after)
}

/// Only whoever is gone, says itself that it lost something, or is let go by its leader leaves an in-sync set: anybody else
/// may lead, as far as it knows (M-60).
fn check_departures(before: &Image, after: &Image, command: &Command) {
    for (id, _, is) in after.partitions() {
        let Some(was) = before.partition(id) else { continue };
        for gone in was.isr.iter().filter(|id| !is.isr.contains(id) && after.is_active(**id)) {
            let let_go = match command {
                Command::AlterPartition { broker, changes, .. } => {
                    let mine = changes.iter().find(|change| change.partition == id);
                    was.leader == Some(*broker)
                        && mine.is_some_and(|change| change.isr.iter().all(|(member, _)| member != gone))
                }
                Command::ReportUnclean { broker, .. } => broker == gone,
                _ => false,
            };
            assert!(let_go, "{gone} left {was:?} after {command:?}");
        }
    }
}

fn check_epochs(before: &Image, after: &Image) {
    assert!(before.next_broker_id() <= after.next_broker_id());
    assert!(before.producer_ids_end() <= after.producer_ids_end());
    for broker in after.brokers() {
        assert!(before.broker(broker.id).is_none_or(|was| was.epoch <= broker.epoch));
    }
    for (id, _, is) in after.partitions() {
        let Some(was) = before.partition(id) else { continue };
        assert!(was.leader_epoch <= is.leader_epoch && was.partition_epoch <= is.partition_epoch);
        assert!(was == is || was.partition_epoch < is.partition_epoch, "a change counts");
        assert!(was.leader == is.leader || was.leader_epoch < is.leader_epoch, "so does a leader");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn whatever_happens_to_a_cluster_nobody_counts_who_lacks_what_was_acknowledged(
        brokers in 3_i32..7,
        seeds in proptest::collection::vec(any::<u64>(), 1..70),
    ) {
        let mut world = World::new(brokers);
        for seed in &seeds {
            let mut dice = Dice(*seed);
            world.step(&mut dice);
            match dice.roll(6) {
                0..=2 => world.propose(dice.roll(3) > 0),
                3 => {
                    world.propose(true);
                    world.restore();
                }
                _ => {}
            }
        }
        world.heal();
        let draining = world.image.brokers().find(|broker| broker.draining).map(|broker| broker.id);
        let drained = draining.or_else(|| world.image.brokers().next().map(|broker| broker.id));
        if let Some(drained) = drained {
            world.drain(drained);
        }
        world.restore();
    }
}
