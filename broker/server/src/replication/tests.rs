//! Partitions on simulated disks, joined by feeds and tails without a network.

use std::path::Path;
use std::sync::{Arc, mpsc};

use bytes::{BufMut, BytesMut};
use highwater_core::replication::Assignment;
use highwater_core::settings::TopicSettings;
use highwater_env::Clock;
use highwater_env::sim::{SimClock, SimDisk, SimRandom};
use highwater_log::{LogConfig, LogDir, LogDirConfig};
use highwater_proto::record::{BatchBuilder, Compression};
use highwater_proto::{
    BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch, PartitionIndex, TopicId, TopicPartition,
};

use super::{Feed, FollowerMessage, LeaderMessage, Outgoing, Tail};
use crate::metrics::Metrics;
use crate::partition::{AckedBatch, Duty, Partition, ProduceError, ReplicaError, Surroundings, Wish};

type Acked = mpsc::Receiver<Result<AckedBatch, ProduceError>>;

/// One replica.
struct Node {
    _directory: LogDir,
    partition: Arc<Partition>,
    around: Surroundings,
}

/// Three replicas of one partition.
struct World {
    clock: Arc<SimClock>,
    nodes: Vec<Node>,
    isr: Vec<i32>,
    epochs: (i32, i32),
}

/// A stream from a leader to a follower; dropped to cut it.
struct Link {
    follower: usize,
    feed: Feed,
    tail: Tail,
}

impl World {
    fn new() -> World {
        let clock = Arc::new(SimClock::new(0));
        let nodes = (1..=3).map(|id| node(id, &clock)).collect();
        World { clock, nodes, isr: vec![1, 2, 3], epochs: (0, 0) }
    }

    /// Lets a broker lead in a new epoch, as the metadata would say.
    fn elect(&mut self, leader: i32) {
        self.epochs = (self.epochs.0 + 1, self.epochs.1 + 1);
        self.tell(leader);
    }

    fn tell(&self, leader: i32) {
        for node in &self.nodes {
            self.tell_one(node, leader);
        }
    }

    fn tell_one(&self, node: &Node, leader: i32) {
        let brokers = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect();
        node.partition.assign(Duty {
            leader: Some(BrokerId(leader)),
            leader_epoch: LeaderEpoch(self.epochs.0),
            assignment: Assignment {
                replicas: brokers(&[1, 2, 3]),
                isr: brokers(&self.isr),
                leaving: Vec::new(),
                partition_epoch: PartitionEpoch(self.epochs.1),
                recovering: false,
            },
            counted: self.isr.contains(&node.around.broker.0),
            replication_factor: 3,
            broker_epoch: BrokerEpoch(1),
        });
    }

    fn partition(&self, id: i32) -> &Arc<Partition> {
        &self.nodes[id as usize - 1].partition
    }

    fn append(&self, leader: i32, value: &str) -> Acked {
        let mut builder = BatchBuilder::new(Compression::None, 1000);
        builder.try_append(0, None, Some(value.as_bytes()), &[]).unwrap();
        let (sender, receiver) = mpsc::channel();
        let ack = Box::new(move |result| drop(sender.send(result)));
        self.partition(leader).append(&builder.finish(None), -1, ack);
        receiver
    }

    fn link(&self, leader: i32, follower: i32) -> Link {
        let mut tail = Tail::new(BrokerId(leader));
        tail.add(Arc::clone(self.partition(follower)));
        let feed = Feed::new(BrokerId(follower), BrokerEpoch(1));
        Link { follower: follower as usize - 1, feed, tail }
    }

    /// Flushes everything and delivers every message until nothing moves.
    fn settle(&self, leader: i32, links: &mut [Link]) {
        let mut moved = true;
        while std::mem::take(&mut moved) {
            for node in &self.nodes {
                while let Some(partition) = node.around.next_dirty() {
                    partition.flush();
                    moved = true;
                }
            }
            for link in links.iter_mut() {
                moved |= self.deliver(leader, link);
            }
        }
    }

    fn deliver(&self, leader: i32, link: &mut Link) -> bool {
        let mut moved = false;
        while let Some(message) = link.tail.next_outgoing(self.clock.monotonic()) {
            let mut frame = BytesMut::new();
            message.encode(&mut frame);
            let message = FollowerMessage::decode(frame.freeze().slice(4..)).unwrap();
            link.feed.hear(message, Some(Arc::clone(self.partition(leader))));
            moved = true;
        }
        while let Some(outgoing) = link.feed.next_outgoing() {
            let message = match outgoing {
                Outgoing::Message(message) => message,
                Outgoing::Batches { slot, share } => {
                    let read = share.plan.unwrap().read().unwrap();
                    link.feed.sent(slot, read.next, read.bytes.len());
                    let (epoch, records) = (share.epoch, read.bytes);
                    let (high_watermark, log_start) = (share.high_watermark, share.log_start);
                    LeaderMessage::Batches {
                        slot,
                        epoch,
                        high_watermark,
                        log_start,
                        from: share.from,
                        records,
                    }
                }
            };
            let mut frame = BytesMut::new();
            message.encode_head(&mut frame);
            if let LeaderMessage::Batches { records, .. } = &message {
                frame.put_slice(records);
            }
            let message = LeaderMessage::decode(frame.freeze().slice(4..)).unwrap();
            let heard = link.tail.hear(message, self.clock.monotonic());
            assert!(heard.is_ok(), "follower {}: {heard:?}", link.follower + 1);
            moved = true;
        }
        moved
    }

    fn ends(&self, id: i32) -> (i64, i64) {
        let details = self.partition(id).details();
        (details.high_watermark.0, details.log_end.0)
    }
}

fn node(id: i32, clock: &Arc<SimClock>) -> Node {
    let config = LogDirConfig::new("test", BrokerId(id));
    let disk = SimDisk::new(id as u64);
    let random = SimRandom::new(id as u64);
    let own_clock = Arc::<SimClock>::clone(clock);
    let directory = LogDir::open(disk, own_clock, &random, Path::new("/data"), config).unwrap();
    let topic_partition = TopicPartition::new(TopicId([7; 16]), PartitionIndex(0));
    let (log, _) = directory.partition(topic_partition, LogConfig::default()).unwrap();
    let around = Surroundings::by_hand(BrokerId(id), Arc::<SimClock>::clone(clock), Arc::new(Metrics::new()));
    let settings = TopicSettings { min_insync_replicas: 2, ..TopicSettings::defaults() };
    let partition = Arc::new(Partition::new(log, topic_partition, Arc::new(settings), around.clone()));
    Node { _directory: directory, partition, around }
}

#[test]
fn a_record_is_acknowledged_when_every_in_sync_replica_has_flushed_it() {
    let mut world = World::new();
    world.elect(1);
    let mut links = [world.link(1, 2), world.link(1, 3)];
    let ack = world.append(1, "one");
    world.settle(1, &mut links[..1]);
    assert!(ack.try_recv().is_err(), "3 does not have it");
    world.settle(1, &mut links);
    assert_eq!(ack.try_recv().unwrap().unwrap().base_offset, Offset(0));
    assert_eq!((world.ends(1), world.ends(2), world.ends(3)), ((1, 1), (1, 1), (1, 1)));
}

#[test]
fn a_new_leader_keeps_what_was_committed_and_the_old_one_gives_up_the_rest() {
    let mut world = World::new();
    world.elect(1);
    let mut links = [world.link(1, 2), world.link(1, 3)];
    let kept = world.append(1, "kept");
    world.settle(1, &mut links);
    assert!(kept.try_recv().unwrap().is_ok());
    // 1 writes on, and nobody hears of it.
    drop(links);
    let lost = world.append(1, "lost");
    world.isr = vec![2, 3];
    world.elect(2);
    let refused = lost.try_recv().unwrap();
    assert!(matches!(refused, Err(ProduceError::NotLeader(_))), "{refused:?}");
    let mut links = [world.link(2, 1), world.link(2, 3)];
    let more = [world.append(2, "new"), world.append(2, "newer")];
    world.settle(2, &mut links);
    assert!(more.iter().all(|ack| ack.try_recv().unwrap().is_ok()));
    assert_eq!((world.ends(1), world.ends(3)), ((3, 3), (3, 3)));
    let epochs = |id: i32| world.partition(id).inspect(|log| log.epochs().entries().to_vec());
    assert_eq!(epochs(1), epochs(2));
    let (wish, _) = world.partition(2).propose(|_| Some(BrokerEpoch(1)));
    let Wish::Change(proposal) = wish else { panic!("1 has caught up: {wish:?}") };
    assert_eq!(proposal.isr.len(), 3);
}

/// A leader that was elected and wrote nothing has an epoch in its log that its successor never saw. Its question was
/// answered with the successor's newest older epoch, it cut nothing, since there was nothing to cut, kept the epoch and
/// asked the same question for ever.
#[test]
fn an_epoch_in_which_nothing_was_written_is_given_up_too() {
    let mut world = World::new();
    world.elect(1);
    let mut links = [world.link(1, 2), world.link(1, 3)];
    let _ = world.append(1, "kept");
    world.settle(1, &mut links);
    drop(links);
    // Only 1 hears of its second election.
    world.epochs = (2, 2);
    world.tell_one(&world.nodes[0], 1);
    world.epochs = (1, 2);
    world.isr = vec![2, 3];
    world.epochs = (3, 3);
    world.tell(2);
    let mut links = [world.link(2, 1), world.link(2, 3)];
    let ack = world.append(2, "new");
    world.settle(2, &mut links);
    assert!(ack.try_recv().unwrap().is_ok());
    assert_eq!(world.ends(1), (2, 2));
}

#[test]
fn a_follower_that_was_refused_asks_again() {
    let mut world = World::new();
    world.epochs = (1, 1);
    // 2 and 3 know of the leader before it does.
    world.tell_one(&world.nodes[1], 1);
    world.tell_one(&world.nodes[2], 1);
    let mut links = [world.link(1, 2), world.link(1, 3)];
    world.settle(1, &mut links);
    world.tell(1);
    let ack = world.append(1, "one");
    world.settle(1, &mut links);
    assert!(ack.try_recv().is_err(), "it waits a little before it asks again");
    world.clock.advance_ms(25);
    for link in &mut links {
        link.tail.wake(world.clock.monotonic());
    }
    world.settle(1, &mut links);
    assert!(ack.try_recv().unwrap().is_ok());
}

/// M-62: what the metadata said before comes again, late, or twice.
#[test]
fn word_of_the_past_changes_neither_part_nor_epoch_nor_who_waits() {
    let mut world = World::new();
    world.elect(1);
    let past = world.epochs;
    world.isr = vec![1, 2];
    world.elect(2);
    let mut links = [world.link(2, 1)];
    let ack = world.append(2, "one");
    let now = std::mem::replace(&mut world.epochs, past);
    world.isr = vec![1, 2, 3];
    world.tell(1);
    world.epochs = now;
    world.isr = vec![1, 2];
    world.tell(2);
    world.tell(2);
    world.settle(2, &mut links);
    assert!(ack.try_recv().unwrap().is_ok(), "2 leads as before, and 1 follows it");
    assert_eq!((world.ends(1), world.ends(2)), ((1, 1), (1, 1)));
}

/// M-16: a follower that ends before the leader begins starts anew there, and fills no hole.
#[test]
fn a_follower_from_before_the_leaders_start_begins_where_the_leader_begins() {
    let mut world = World::new();
    world.isr = vec![1, 2];
    world.elect(1);
    let mut links = [world.link(1, 2), world.link(1, 3)];
    let _ = world.append(1, "seen by all");
    world.settle(1, &mut links);
    let [two, three] = links;
    drop(three);
    let mut links = [two];
    for number in 0..5 {
        let _ = world.append(1, &format!("value {number}"));
    }
    world.settle(1, &mut links);
    let deleting = world.partition(1).delete_here(Some(Offset(4))).unwrap();
    world.settle(1, &mut links);
    drop(deleting);
    let starts = |id: i32| world.partition(id).details().log_start;
    assert_eq!((starts(1), starts(3)), (Offset(4), Offset(0)));
    let [two] = links;
    let mut links = [two, world.link(1, 3)];
    world.settle(1, &mut links);
    assert_eq!(starts(3), Offset(4));
    assert_eq!(world.ends(3), world.ends(1));
    let log = |id: i32| world.partition(id).inspect(|log| log.epochs().entries().to_vec());
    assert_eq!(log(3), log(1));
}

/// M-18: a batch that was damaged on the way is not appended, nor is what comes after it; it is asked for again.
#[test]
fn a_damaged_batch_from_the_leader_is_not_appended_and_is_fetched_again() {
    let mut world = World::new();
    world.elect(1);
    let mut links = [world.link(1, 2), world.link(1, 3)];
    world.settle(1, &mut links);
    let ack = world.append(1, "one");
    let Some(Outgoing::Batches { slot, share }) = links[0].feed.next_outgoing() else {
        panic!("there is news")
    };
    let read = share.plan.unwrap().read().unwrap();
    links[0].feed.sent(slot, read.next, read.bytes.len());
    let mut records = read.bytes.to_vec();
    *records.last_mut().unwrap() ^= 1;
    let damaged = LeaderMessage::Batches {
        slot,
        epoch: share.epoch,
        high_watermark: share.high_watermark,
        log_start: share.log_start,
        from: share.from,
        records: records.into(),
    };
    let (_, error) = links[0].tail.hear(damaged, world.clock.monotonic()).unwrap_err();
    assert!(matches!(error, ReplicaError::Damaged(_)), "{error}");
    assert_eq!(world.ends(2).1, 0);
    let _ = world.append(1, "two");
    world.settle(1, &mut links);
    assert_eq!(world.ends(2).1, 0, "nothing after it is taken before it was asked for again");
    world.clock.advance_ms(1000);
    links[0].tail.wake(world.clock.monotonic());
    world.settle(1, &mut links);
    assert!(ack.try_recv().unwrap().is_ok());
    assert_eq!(world.ends(2), (2, 2));
}

/// A replica that is catching up gets its share and no more; whoever is in sync gets everything at once.
#[test]
fn a_throttle_holds_back_who_catches_up_and_nobody_who_is_in_sync() {
    let mut world = World::new();
    let rate = 1_000_000;
    let throttled = TopicSettings {
        min_insync_replicas: 2,
        replication_throttle_rate: Some(rate),
        ..TopicSettings::defaults()
    };
    for node in &world.nodes {
        node.partition.update_settings(&Arc::new(throttled.clone()));
    }
    world.isr = vec![1, 2];
    world.elect(1);
    let mut links = [world.link(1, 2)];
    let value = "x".repeat(900);
    let acks: Vec<Acked> = (0..4000).map(|_| world.append(1, &value)).collect();
    world.settle(1, &mut links);
    assert!(acks.iter().all(|ack| ack.try_recv().unwrap().is_ok()), "in sync: nothing waits");
    // 3 comes back with nothing.
    let [two] = links;
    let mut links = [two, world.link(1, 3)];
    let batch_bytes = world.partition(1).details().size_bytes as f64 / 4000.0;
    let began = world.clock.monotonic();
    let mut looks = 0;
    while world.ends(3).1 < 3500 {
        world.settle(1, &mut links);
        let passed = (world.clock.monotonic() - began).as_secs_f64() + 0.25;
        let most = passed * rate as f64 + 1_048_576.0;
        let copied = world.ends(3).1 as f64 * batch_bytes;
        assert!(copied <= most, "{copied} bytes in {passed} s");
        if links[1].feed.resume().is_some() {
            looks += 1;
            let ack = world.append(1, "live");
            world.settle(1, &mut links[..1]);
            assert!(ack.try_recv().unwrap().is_ok(), "live traffic goes on");
            world.clock.advance_ms(500);
            links[1].feed.resume();
        }
    }
    // Without a rate it is there at once.
    assert!(looks > 0, "it was held back");
    let free = TopicSettings { replication_throttle_rate: None, ..throttled };
    for node in &world.nodes {
        node.partition.update_settings(&Arc::new(free.clone()));
    }
    world.clock.advance_ms(500);
    links[1].feed.resume();
    world.settle(1, &mut links);
    assert_eq!(world.ends(3).1, world.ends(1).1);
}
