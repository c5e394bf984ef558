//! What goes wrong, and how it is put right.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use highwater_core::metadata::{Command, ElectionKind, Reassignment};
use highwater_core::settings::Durability;
use highwater_env::Disk;
use highwater_env::sim::{CallKind, Fault as DiskFault, FaultKind, SimDisk};
use highwater_log::index::{Seal, read_header};
use highwater_proto::BrokerId;
use highwater_proto::record::BatchHeader;

use super::broker::{Node, partition_id};
use super::events::{Event, Why};
use super::world::World;
use crate::history::{self, Kind, Op, Outcome, Phase};

/// A fault that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    class: &'static str,
    detail: String,
    undo: Undo,
}

/// What takes it back.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Undo {
    Nothing,
    Unblock(Vec<(usize, usize)>),
    Speed(usize),
    Control(usize),
    Space(usize),
    Start(usize),
    Restart(usize),
}

/// The classes, each with its share.
const CLASSES: &[(&str, u64)] = &[
    ("power-cut", 5),
    ("kill", 5),
    ("power-cut-of-all", 1),
    ("stop", 3),
    ("lost-disk", 1),
    ("pause", 4),
    ("isolation", 4),
    ("one-way-cut", 4),
    ("pair-cut", 4),
    ("control-cut", 3),
    ("slow-link", 3),
    ("controller-fail-over", 3),
    ("preferred-election", 2),
    ("reassignment", 3),
    ("clock-jump", 2),
    ("disk-full", 2),
    ("failed-sync", 2),
    ("rot", 4),
];

impl World {
    /// The next fault.
    pub(super) fn nemesis(&mut self) {
        if self.healed {
            return;
        }
        let shares = CLASSES.iter().map(|(_, share)| share).sum();
        let mut at = self.random.below(shares);
        let class = CLASSES.iter().find(|(_, share)| {
            let found = at < *share;
            at = at.saturating_sub(*share);
            found
        });
        let (class, _) = class.expect("the shares cover all");
        let node = usize::try_from(self.random.below(self.nodes.len() as u64)).expect("an index");
        match self.install(class, node) {
            Some((detail, undo, lasts_ms)) => {
                self.note_fault(class, &detail, history::Fault::Installed);
                self.faults_installed += 1;
                let number = self.faults_installed;
                self.faults.insert(number, Fault { class, detail, undo });
                self.plan_in(lasts_ms, Event::Heal { fault: number });
            }
            None => self.note_fault(class, "nothing to do it to", history::Fault::Skipped),
        }
        self.plan_in(500 + self.random.below(2500), Event::Nemesis);
    }

    /// Installs a fault: what exactly, how it is undone, and when.
    fn install(&mut self, class: &str, node: usize) -> Option<(String, Undo, u64)> {
        let lasts_ms = 200 + self.random.below(5000);
        let brokers = self.nodes.len();
        let other =
            (node + 1 + usize::try_from(self.random.below(brokers as u64 - 1)).expect("an index")) % brokers;
        let others = || (0..brokers).filter(|at| *at != node);
        let name = format!("broker {node}");
        match class {
            "power-cut" | "kill" => {
                self.end(node, class == "power-cut").then_some((name, Undo::Start(node), lasts_ms))
            }
            "power-cut-of-all" => self.cut_power_of_all(),
            "stop" => self.stop(node).then_some((name, Undo::Restart(node), lasts_ms)),
            "lost-disk" => self.lose_disk(node).then_some((name, Undo::Start(node), lasts_ms)),
            "rot" => self.rot(node).map(|(what, undo)| (format!("{name}, {what}"), undo, lasts_ms)),
            "pause" => {
                self.nodes[node].paused_until = self.now + lasts_ms;
                Some((name, Undo::Nothing, lasts_ms))
            }
            "isolation" => {
                let ways = others().flat_map(|at| [(at, node), (node, at)]).collect();
                Some(self.block(name, ways, lasts_ms))
            }
            "one-way-cut" => {
                let inward = self.random.below(2) == 0;
                let ways = others().map(|at| if inward { (at, node) } else { (node, at) }).collect();
                Some(self.block(format!("{name}, inward: {inward}"), ways, lasts_ms))
            }
            "pair-cut" => {
                Some(self.block(format!("{name} and {other}"), vec![(node, other), (other, node)], lasts_ms))
            }
            "control-cut" => {
                self.network.cut_control(node);
                Some((name, Undo::Control(node), lasts_ms))
            }
            "slow-link" => {
                let extra = 50 + self.random.below(700);
                for at in others() {
                    self.network.set_slow(node, at, extra);
                }
                Some((name, Undo::Speed(node), lasts_ms))
            }
            "controller-fail-over" => {
                let next = (0..brokers).filter(|at| *at != self.controller.node && self.is_up(*at));
                let next = self.pick(&next.collect::<Vec<_>>())?;
                self.leave_a_decision_behind(node);
                self.fail_over_to(next);
                Some((format!("to broker {next}"), Undo::Nothing, 1))
            }
            "preferred-election" => {
                self.queue_own(Command::ElectLeaders { kind: ElectionKind::Preferred, partitions: None });
                Some(("all".to_owned(), Undo::Nothing, 1))
            }
            "reassignment" => Some((self.reassign(), Undo::Nothing, 1)),
            "clock-jump" => Some((format!("{name}, {} ms", self.jump_clock(node)), Undo::Nothing, 1)),
            "disk-full" => {
                let disk = &self.nodes[node].disk;
                disk.set_capacity_bytes(disk.used_bytes());
                Some((name, Undo::Space(node), lasts_ms))
            }
            "failed-sync" => self.may_fail_to_sync(node).then(|| {
                let fault = DiskFault { call: Some(CallKind::SyncData), nth: 1, kind: FaultKind::Io };
                self.nodes[node].disk.inject(fault);
                self.sync_failed = true;
                (name, Undo::Nothing, 1)
            }),
            other => unreachable!("{other} is not in the list"),
        }
    }

    /// A partition moves to other brokers, or back, or to two, or to three again.
    fn reassign(&mut self) -> String {
        let partitions = u64::from(self.plan.partitions.cast_unsigned());
        let number = i32::try_from(self.random.below(partitions)).expect("one of them");
        let mut brokers: Vec<BrokerId> = (0..self.nodes.len()).map(super::broker::id).collect();
        // Two that acknowledge from memory are no promise: one may lose its disk while the other is down.
        let fewer = self.random.below(4) == 0 && self.plan.durability == Durability::Fsync;
        let count = if fewer { 2 } else { 3 };
        let replicas = (0..count).map(|_| {
            let at = self.random.below(brokers.len() as u64);
            brokers.swap_remove(usize::try_from(at).expect("an index"))
        });
        let wanted = Reassignment { partition: partition_id(number), replicas: Some(replicas.collect()) };
        let what = format!("partition {number} to {:?}", wanted.replicas);
        self.queue_own(Command::Reassign { partitions: vec![wanted] });
        what
    }

    /// A wall clock goes up to an hour wrong, by so many milliseconds.
    fn jump_clock(&self, at: usize) -> i64 {
        let jump = i64::try_from(self.random.below(7_200_000)).expect("two hours") - 3_600_000;
        self.nodes[at].clock.jump_to(self.wall_ms() + jump);
        jump
    }

    /// The controller is about to fence somebody when it is succeeded: that must not happen later (M-63).
    fn leave_a_decision_behind(&mut self, at: usize) {
        let image = &self.nodes[self.controller.node].image;
        if let Some(epoch) = image.broker(super::broker::id(at)).map(|broker| broker.epoch) {
            self.queue_own(Command::Fence { broker: super::broker::id(at), epoch });
            self.controller.made_up = true;
        }
    }

    fn block(&mut self, detail: String, ways: Vec<(usize, usize)>, lasts_ms: u64) -> (String, Undo, u64) {
        for (from, to) in &ways {
            self.network.block(*from, *to);
        }
        (detail, Undo::Unblock(ways), lasts_ms)
    }

    fn is_up(&self, at: usize) -> bool {
        self.nodes[at].process.is_some() && !self.is_paused(at)
    }

    /// Whether a broker may lose what it has not flushed, and the promises still hold: always if an acknowledgement means
    /// the disk; otherwise only while everybody else has everything. Who has just lost something and came back is in sync no
    /// more, but the controller does not know before its new life is registered.
    fn may_lose(&self, at: usize) -> bool {
        let whole = || {
            let image = &self.nodes[self.controller.node].image;
            let registered = |number: usize| image.broker(super::broker::id(number)).map(|it| it.epoch);
            let lives = |(number, node): (usize, &Node)| {
                node.process.as_ref().is_some_and(|process| process.life == registered(number))
            };
            self.nodes.iter().enumerate().all(lives)
                && (0..self.plan.partitions).all(|number| {
                    image.partition(partition_id(number)).is_some_and(|it| it.isr.len() == it.replicas.len())
                })
        };
        self.nodes[at].process.is_some() && (self.plan.durability == Durability::Fsync || whole())
    }

    /// Whether the next sync may fail. The broker begins anew then, at a time that nobody knows: what is only in memory would
    /// be gone.
    fn may_fail_to_sync(&self, at: usize) -> bool {
        self.plan.durability == Durability::Fsync && self.may_lose(at) && !self.wiped
    }

    /// Whether every partition has a replica in sync on another broker: what only one has goes with its disk.
    fn is_elsewhere(&self, at: usize) -> bool {
        let image = &self.nodes[self.controller.node].image;
        (0..self.plan.partitions).all(|number| {
            let partition = image.partition(partition_id(number));
            partition.is_some_and(|it| it.isr.iter().any(|id| *id != super::broker::id(at)))
        })
    }

    fn end(&mut self, at: usize, power: bool) -> bool {
        if !self.may_lose(at) {
            return false;
        }
        self.end_process(at);
        if power {
            self.nodes[at].disk.crash();
        } else {
            self.nodes[at].disk.kill_process();
        }
        true
    }

    /// A broker is told to stop: it lets others lead first.
    fn stop(&mut self, at: usize) -> bool {
        let life = self.nodes[at].process.as_ref().and_then(|process| process.life);
        let Some(epoch) = life.filter(|_| self.may_lose(at)) else { return false };
        let process = self.nodes[at].process.as_mut().expect("it has a life");
        process.around.lease.give_up();
        process.stopping = true;
        let command = Command::ControlledShutdown { broker: super::broker::id(at), epoch };
        self.ask_controller(at, command, Why::Stop);
        true
    }

    /// Others lead, or it has waited long enough.
    pub(super) fn stopped(&mut self, at: usize) {
        if self.nodes[at].process.as_ref().is_some_and(|process| process.stopping) {
            self.end_process(at);
            self.nodes[at].disk.kill_process();
        }
    }

    fn cut_power_of_all(&mut self) -> Option<(String, Undo, u64)> {
        if self.plan.durability != Durability::Fsync {
            return None;
        }
        for at in 0..self.nodes.len() {
            self.end_process(at);
            self.nodes[at].disk.crash();
            let wait = 100 + self.random.below(1500);
            self.plan_in(wait, Event::Start { node: at });
        }
        Some(("all".to_owned(), Undo::Nothing, 1))
    }

    /// A broker comes back with an empty disk, once in a run: two lost disks may be two of the two that have a record. So may
    /// one be that failed before, whose broker is cut off and has told nobody.
    fn lose_disk(&mut self, at: usize) -> bool {
        if self.wiped || self.sync_failed || !self.may_lose(at) || !self.is_elsewhere(at) {
            return false;
        }
        self.wiped = true;
        self.end_process(at);
        let seed = self.random.next();
        self.nodes[at].disk = SimDisk::with_file_bytes_max(seed, 1 << 20);
        self.nodes[at].epoch_on_disk = None;
        debug_assert_eq!(Arc::strong_count(&self.nodes[at].disk), 1);
        true
    }

    /// A bit on a disk turns over, while its broker runs or between two of its lives: as good as a lost disk, and as rare.
    fn rot(&mut self, at: usize) -> Option<(String, Undo)> {
        if self.wiped || self.sync_failed || !self.may_lose(at) || !self.is_elsewhere(at) {
            return None;
        }
        let lives = self.random.below(2) == 0;
        let disk = Arc::clone(&self.nodes[at].disk);
        let contents = disk.contents();
        // Of a running broker only batches: it has the rest in memory, and writes it anew. And only those whose index says
        // that they were flushed: else nothing would tell, after a power cut, a bit that flipped from a write that was torn.
        let may_rot = |path: &Path| match path.extension().and_then(OsStr::to_str) {
            Some("log") => !lives || is_sealed(&disk, path),
            Some("index" | "snapshot") => !lives,
            _ => !lives && path.file_name().is_some_and(|name| name == "leader-epochs"),
        };
        let full = |bytes: &[u8]| bytes.iter().any(|byte| *byte != 0);
        let files: Vec<_> = contents.iter().filter(|(path, bytes)| may_rot(path) && full(bytes)).collect();
        let picked = usize::try_from(self.random.below(files.len().max(1) as u64)).ok()?;
        let (path, bytes) = files.get(picked)?;
        let end = bytes.iter().rposition(|byte| *byte != 0)? as u64 + 1;
        let position = self.random.below(end);
        if path.extension().is_some_and(|it| it == "log") && is_base_offset(bytes, position) {
            return None;
        }
        (self.wiped, self.rotten) = (true, true);
        if !lives {
            self.end_process(at);
            disk.kill_process();
        }
        disk.rot(path, position, 1 << self.random.below(8)).ok()?;
        let undo = if lives { Undo::Nothing } else { Undo::Start(at) };
        Some((format!("{} at {position}, running: {lives}", path.display()), undo))
    }

    /// A fault is taken back.
    pub(super) fn heal(&mut self, number: u64) {
        let Some(Fault { class, detail, undo }) = self.faults.remove(&number) else { return };
        match undo {
            Undo::Nothing => {}
            Undo::Unblock(ways) => ways.into_iter().for_each(|(from, to)| self.network.unblock(from, to)),
            Undo::Speed(node) => {
                for at in 0..self.nodes.len() {
                    self.network.set_slow(node, at, 0);
                }
            }
            Undo::Control(node) => self.network.mend_control(node),
            Undo::Space(node) => self.nodes[node].disk.set_capacity_bytes(u64::MAX),
            Undo::Start(node) => self.plan_in(0, Event::Start { node }),
            Undo::Restart(node) => {
                // Nobody answered it: it was patient for as long as that.
                self.stopped(node);
                self.plan_in(0, Event::Start { node });
            }
        }
        self.note_fault(class, &detail, history::Fault::Healed);
    }

    pub(super) fn heal_all(&mut self) {
        self.healed = true;
        let numbers: Vec<u64> = self.faults.keys().copied().collect();
        for number in numbers {
            self.heal(number);
        }
        for node in &mut self.nodes {
            node.paused_until = 0;
            node.disk.clear_faults();
        }
        self.note_phase(Phase::Healed);
    }

    pub(super) fn note_phase(&mut self, phase: Phase) {
        self.note(Kind::Phase { phase });
    }

    fn note_fault(&mut self, class: &str, detail: &str, installed: history::Fault) {
        let (class, detail) = (class.to_owned(), detail.to_owned());
        self.note(Kind::Nemesis { class, detail, installed, minority: false });
    }

    fn note(&mut self, kind: Kind) {
        let at = self.now * 1000;
        self.ops.push(Op {
            idx: self.next_op,
            t_invoke: at,
            t_complete: Some(at),
            proc: u32::MAX,
            outcome: Outcome::Ok,
            error: None,
            deadline_us: None,
            kind,
        });
        self.next_op += 1;
    }
}

/// Whether this byte belongs to what a batch says is its first offset: no checksum covers it, so that a reader takes it for
/// what it says before the broker that has it looks. Kafka's format is like that.
fn is_base_offset(segment: &[u8], position: u64) -> bool {
    let mut start = 0;
    while let Some(Ok(header)) = segment.get(start..).map(BatchHeader::parse) {
        let end = start + header.size_bytes();
        if position < end as u64 {
            return position < start as u64 + 8;
        }
        start = end;
    }
    false
}

/// Whether a segment's index says that the segment was flushed to its end.
fn is_sealed(disk: &Arc<SimDisk>, segment: &Path) -> bool {
    let base = segment.file_name().and_then(OsStr::to_str).and_then(|name| name.split('.').next());
    let index = base.and_then(|base| disk.open(&segment.with_file_name(format!("{base}.index"))).ok());
    let header = index.and_then(|index| read_header(&*index).ok().flatten());
    header.is_some_and(|(_, header)| header.seal == Seal::Sealed)
}
