//! A broker: a disk that outlives its processes, the process with its partitions, and what it knows of the metadata.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use highwater_core::metadata::{
    AlterPartition, AlterPartitionError, Command, Endpoints, Image, Incarnation, LastStop, METADATA_VERSION,
    Outcome, Refusal, Registration, Topic,
};
use highwater_core::replication::ProposalOutcome;
use highwater_core::settings::TopicSettings;
use highwater_env::Clock;
use highwater_env::sim::{SimClock, SimDisk, SimRandom};
use highwater_log::{Health, LogConfig, LogDir, LogDirConfig};
use highwater_proto::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use highwater_server::simulation::{Duty, Lease, Partition, Surroundings, Wish};

use super::events::{Event, Why};
use super::plan::Plan;
use super::world::World;

pub(super) const TOPIC: TopicId = TopicId([7; 16]);
/// A broker may lead for so long after it sent a heartbeat that was answered; less than a session lasts.
pub(super) const LEASE_MS: u64 = 1200;
const BEAT_MS: u64 = 200;
const RETRY_MS: u64 = 250;
/// The controller's answer to a proposal is waited for so long.
const PROPOSAL_MS: u64 = 1500;
/// How often in-sync replicas are looked at while somebody is behind.
const LOOK_MS: u64 = 50;
/// A broker scrubs its disk so often, the next one so much later.
const SCRUB_MS: u64 = 1000;
/// A broker whose disk fails ends, and is started again by whoever looks after it.
const RESTART_MS: u64 = 500;

/// A broker's machine.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) disk: Arc<SimDisk>,
    pub(super) clock: Arc<SimClock>,
    /// The metadata that it has; kept over restarts, as the Raft log is.
    pub(super) image: Image,
    /// How many entries of the committed log that is.
    pub(super) has: usize,
    /// The epoch that is written on its disk.
    pub(super) epoch_on_disk: Option<BrokerEpoch>,
    /// Counts processes.
    pub(super) run: u64,
    pub(super) process: Option<Process>,
    /// Nothing happens to it before this time.
    pub(super) paused_until: u64,
}

/// A broker's process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) directory: LogDir,
    pub(super) around: Surroundings,
    pub(super) partitions: Vec<Arc<Partition>>,
    pub(super) life: Option<BrokerEpoch>,
    /// What recovery found to be lost; to be told before anything else.
    unclean: Vec<TopicPartition>,
    pub(super) dirty: Vec<Arc<Partition>>,
    flush_planned: bool,
    attending: Vec<Arc<Partition>>,
    /// The proposals that were not answered yet: partition, serial number, leader epoch.
    proposed: Vec<(i32, u64, LeaderEpoch)>,
    attend_planned: bool,
    /// It was told to stop, and waits until others lead.
    pub(super) stopping: bool,
}

pub(super) fn partition_id(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, PartitionIndex(partition))
}

pub(super) fn id(node: usize) -> BrokerId {
    BrokerId(i32::try_from(node).expect("a few brokers") + 1)
}

pub(super) fn node(id: BrokerId) -> usize {
    usize::try_from(id.0 - 1).expect("ids start at 1")
}

impl Node {
    pub(super) fn new(plan: &Plan, at: usize) -> Node {
        let seed = plan.seed.wrapping_mul(31).wrapping_add(at as u64);
        Node {
            disk: SimDisk::with_file_bytes_max(seed, FILE_BYTES_MAX),
            clock: Arc::new(SimClock::new(1_000_000)),
            image: Image::default(),
            has: 0,
            epoch_on_disk: None,
            run: 0,
            process: None,
            paused_until: 0,
        }
    }
}

const FILE_BYTES_MAX: usize = 1 << 20;
const SEGMENT_BYTES_MAX: u64 = 24 << 10;

pub(super) fn settings(plan: &Plan) -> TopicSettings {
    TopicSettings { min_insync_replicas: 2, durability: plan.durability, ..TopicSettings::defaults() }
}

impl World {
    /// Starts a broker's process: recovers its partitions and asks for a life.
    pub(super) fn start(&mut self, at: usize) {
        let plan = self.plan.clone();
        let node = &mut self.nodes[at];
        if node.process.is_some() {
            return;
        }
        node.run += 1;
        let run = node.run;
        let clock: Arc<dyn Clock> = Arc::<SimClock>::clone(&node.clock);
        let random = SimRandom::new(plan.seed ^ (run << 16) ^ (at as u64));
        let config = LogDirConfig::new("sim", id(at));
        let disk = Arc::<SimDisk>::clone(&node.disk);
        let opened = LogDir::open(disk, Arc::clone(&clock), &random, Path::new("/data"), config);
        let Ok(directory) = opened else {
            // A full disk, say.
            return self.plan_in(RESTART_MS, Event::Start { node: at });
        };
        let metrics = Arc::clone(&self.metrics);
        let mut around = Surroundings::by_hand(id(at), clock, metrics);
        around.lease = Arc::new(Lease::expired());
        let (mut partitions, mut unclean) = (Vec::new(), Vec::new());
        for partition in 0..plan.partitions {
            let id = partition_id(partition);
            let config = LogConfig { segment_bytes_max: SEGMENT_BYTES_MAX, ..LogConfig::default() };
            let Ok((log, report)) = directory.partition(id, config) else {
                return self.plan_in(RESTART_MS, Event::Start { node: at });
            };
            self.trace(&(at, run, partition, report.log_end, report.flushed_end, report.torn_bytes));
            if report.is_unclean() {
                self.unclean_recoveries += 1;
                unclean.push(id);
            }
            let settings = Arc::new(settings(&plan));
            partitions.push(Arc::new(Partition::new(log, id, settings, around.clone())));
        }
        self.nodes[at].process = Some(Process {
            directory,
            around,
            partitions,
            life: None,
            unclean,
            dirty: Vec::new(),
            flush_planned: false,
            attending: Vec::new(),
            proposed: Vec::new(),
            attend_planned: false,
            stopping: false,
        });
        self.plan_in(1, Event::Register { node: at, run });
    }

    /// Ends a broker's process; what its disk keeps is decided by the caller.
    pub(super) fn end_process(&mut self, at: usize) {
        self.close_streams_of(at);
        self.nodes[at].process = None;
    }

    pub(super) fn register(&mut self, at: usize, run: u64) {
        let node = &self.nodes[at];
        let Some(process) = node.process.as_ref().filter(|process| process.life.is_none()) else { return };
        let mut incarnation = [at as u8; 16];
        incarnation[8..].copy_from_slice(&run.to_le_bytes());
        let registration = Registration {
            broker: id(at),
            incarnation: Incarnation(incarnation),
            cluster: None,
            disk_id: process.directory.meta().disk_id.clone(),
            last_epoch: node.epoch_on_disk,
            last_stop: LastStop::Unclean,
            endpoints: Endpoints::default(),
            rack: None,
            version: METADATA_VERSION,
        };
        self.ask_controller(at, Command::RegisterBroker { registration }, Why::Register);
        self.plan_in(RETRY_MS, Event::Register { node: at, run });
    }

    pub(super) fn heard(&mut self, at: usize, why: Why, answer: Result<Outcome, Refusal>) {
        let run = self.nodes[at].run;
        let Some(process) = &mut self.nodes[at].process else { return };
        match (why, answer) {
            (Why::Register, Ok(Outcome::Registered { epoch })) if process.life.is_none() => {
                process.life = Some(epoch);
                // On disk before it lets itself be unfenced.
                self.nodes[at].epoch_on_disk = Some(epoch);
                self.plan_in(0, Event::SendBeat { node: at, run });
                self.take_duties(at);
            }
            (Why::Stop, Ok(_)) => self.stopped(at),
            (Why::Resign { serial }, Ok(_)) => process.proposed.retain(|(_, known, _)| *known != serial),
            (Why::ReportUnclean, Ok(_)) => process.unclean.clear(),
            (Why::Alter { partition, epoch, serial }, answer) => {
                process.proposed.retain(|(_, known, _)| *known != serial);
                let outcome = match answer {
                    Ok(Outcome::PartitionsAltered { mut results }) => match results.remove(0).result {
                        Ok(_) => ProposalOutcome::Accepted,
                        Err(
                            AlterPartitionError::InvalidIsr { .. }
                            | AlterPartitionError::IneligibleReplica { .. },
                        ) => ProposalOutcome::Refused,
                        Err(AlterPartitionError::NewerEpoch) => ProposalOutcome::Unanswered,
                        Err(_) => ProposalOutcome::Outdated,
                    },
                    _ => ProposalOutcome::Outdated,
                };
                let partition = Arc::clone(&process.partitions[partition as usize]);
                partition.proposal_answered(LeaderEpoch(epoch), outcome);
            }
            _ => {}
        }
    }

    pub(super) fn beat(&mut self, at: usize, run: u64) {
        let node = &self.nodes[at];
        let Some(process) = &node.process else { return };
        let Some(life) = process.life else { return };
        if node.image.broker(id(at)).is_some_and(|registered| registered.epoch > life) {
            // A request of its own earlier process came late. It ends, and is started again.
            self.end_process(at);
            self.nodes[at].disk.kill_process();
            return self.plan_in(RESTART_MS, Event::Start { node: at });
        }
        let applied = node.image.applied();
        let unclean = process.unclean.clone();
        let to = self.controller.node;
        // Whatever recovery lost is told before the broker may serve (I20).
        if !unclean.is_empty() {
            let command = Command::ReportUnclean { broker: id(at), epoch: life, partitions: unclean };
            self.ask_controller(at, command, Why::ReportUnclean);
        } else if applied >= u64::try_from(life.0).unwrap_or(0) {
            let event = Event::Beat { from: at, to, life, sent: self.now, applied };
            self.send(at, to, event);
        }
        self.plan_in(BEAT_MS, Event::SendBeat { node: at, run });
    }

    /// A heartbeat was answered: the broker may lead for a while.
    pub(super) fn lease(&mut self, at: usize, until: u64) {
        let node = &self.nodes[at];
        if let Some(process) = &node.process {
            process.around.lease.renew(Duration::from_millis(until));
        }
    }

    /// The broker's copy of the metadata log grows to `end` entries.
    pub(super) fn apply_metadata(&mut self, at: usize, end: usize) {
        let node = &mut self.nodes[at];
        if node.has >= end {
            return;
        }
        for entry in &self.metadata[node.has..end] {
            node.has += 1;
            let applied = node.image.apply_entry(node.has as u64, entry);
            assert!(applied.is_ok(), "I17: broker {at} cannot apply entry {}: {applied:?}", node.has);
        }
        self.check_digest(at);
        self.take_duties(at);
    }

    /// Tells each partition what the metadata says of it, and follows whoever leads.
    pub(super) fn take_duties(&mut self, at: usize) {
        let node = &self.nodes[at];
        let Some(process) = &node.process else { return };
        let Some(life) = process.life else { return };
        // It has not seen its own registration yet: what it knows may be of its earlier life.
        if node.image.broker(id(at)).is_none_or(|broker| broker.epoch != life) {
            return;
        }
        let mut follows = Vec::new();
        for (number, partition) in process.partitions.iter().enumerate() {
            let Some(state) = node.image.partition(partition.id()) else { continue };
            let min_insync_replicas = node.image.topic(TOPIC).map_or(1, Topic::min_insync_replicas);
            partition.assign(Duty::of(state, min_insync_replicas, (id(at), life)));
            if !state.replicas.contains(&id(at)) {
                // It leads no more, and nobody waits for it. Its log stays, so that an old one comes back some day.
                continue;
            }
            if let Some(leader) = state.leader.filter(|leader| *leader != id(at)) {
                follows.push((self::node(leader), number));
            }
        }
        self.follow(at, &follows);
    }

    /// Plans what a broker's partitions ask for: flushes, and looks at in-sync replicas.
    pub(super) fn plan_wishes(&mut self, at: usize) {
        let (run, flush_in) = (self.nodes[at].run, 1 + self.random.below(4));
        let Some(process) = &mut self.nodes[at].process else { return };
        let around = &process.around;
        process.dirty.extend(std::iter::from_fn(|| around.next_dirty()));
        process.attending.extend(around.attention.take());
        let flush = !process.dirty.is_empty() && !std::mem::replace(&mut process.flush_planned, true);
        let attend = !process.attending.is_empty() && !std::mem::replace(&mut process.attend_planned, true);
        if flush {
            self.plan_in(flush_in, Event::Flush { node: at, run });
        }
        if attend {
            self.plan_in(LOOK_MS, Event::Attend { node: at, run });
        }
    }

    pub(super) fn flush(&mut self, at: usize) {
        let Some(process) = &mut self.nodes[at].process else { return };
        process.flush_planned = false;
        for partition in std::mem::take(&mut process.dirty) {
            partition.flush();
        }
    }

    /// A broker whose disk failed ends, and is started again: only a new process can tell what is on the disk.
    pub(super) fn restart_if_poisoned(&mut self, at: usize) {
        let Some(process) = &self.nodes[at].process else { return };
        let poisoned = |health: &Health| matches!(health, Health::Poisoned { .. });
        let failed =
            process.partitions.iter().any(|partition| partition.inspect(|log| poisoned(log.health())));
        if failed {
            self.nodes[at].disk.kill_process();
            self.end_process(at);
            self.plan_in(RESTART_MS, Event::Start { node: at });
        }
    }

    /// One broker after the other compares everything it has with its checksums.
    pub(super) fn scrub(&mut self) {
        let turn = self.now / SCRUB_MS;
        let at = usize::try_from(turn).expect("a short run") % self.nodes.len();
        if !self.now.is_multiple_of(SCRUB_MS) || self.is_paused(at) {
            return;
        }
        let Some(process) = &self.nodes[at].process else { return };
        for partition in &process.partitions {
            // As housekeeping does: what nobody waits for reaches the disk, too.
            partition.flush_soon();
            partition.checkpoint();
            let mut next = Offset::ZERO;
            while let Ok(Some(scrubbed)) = partition.scrub(next) {
                next = scrubbed.next;
            }
        }
        self.touched(at);
    }

    pub(super) fn attend(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let Some(process) = &mut node.process else { return };
        process.attend_planned = false;
        let image = &node.image;
        let life = |broker: BrokerId| {
            image.broker(broker).filter(|broker| broker.is_active()).map(|broker| broker.epoch)
        };
        let Some(own) = process.life else { return };
        let (mut commands, mut waits) = (Vec::new(), Vec::new());
        for partition in std::mem::take(&mut process.attending) {
            let (wish, again) = partition.propose(life);
            let number = partition.id().partition.0;
            match wish {
                Wish::Change(proposal) => {
                    let change = AlterPartition {
                        partition: partition.id(),
                        leader_epoch: proposal.leader_epoch,
                        partition_epoch: proposal.partition_epoch,
                        isr: proposal.isr,
                        recovered: true,
                    };
                    let epoch = proposal.leader_epoch.0;
                    let command =
                        Command::AlterPartition { broker: id(at), epoch: own, changes: vec![change] };
                    let serial = self.future.serial();
                    process.proposed.push((number, serial, proposal.leader_epoch));
                    commands.push((command, Why::Alter { partition: number, epoch, serial }));
                    waits.push((number, serial));
                }
                Wish::Resign => {
                    let partitions = vec![partition.id()];
                    let command = Command::ReportUnclean { broker: id(at), epoch: own, partitions };
                    let serial = self.future.serial();
                    process.proposed.push((number, serial, partition.details().epoch));
                    commands.push((command, Why::Resign { serial }));
                    waits.push((number, serial));
                }
                Wish::Nothing => {}
            }
            if again {
                partition.attend_again();
            }
        }
        let run = self.nodes[at].run;
        for (command, why) in commands {
            self.ask_controller(at, command, why);
        }
        for (partition, serial) in waits {
            self.plan_in(PROPOSAL_MS, Event::ProposalWait { node: at, run, partition, serial });
        }
    }

    /// Nobody knows what became of a proposal: it is made again.
    pub(super) fn proposal_lost(&mut self, at: usize, partition: i32, serial: u64) {
        let Some(process) = &mut self.nodes[at].process else { return };
        let found = process.proposed.iter().position(|(_, known, _)| *known == serial);
        let Some((_, _, epoch)) = found.map(|found| process.proposed.swap_remove(found)) else { return };
        let partition = &process.partitions[partition as usize];
        partition.proposal_answered(epoch, ProposalOutcome::Unanswered);
        partition.attend_again();
    }
}
