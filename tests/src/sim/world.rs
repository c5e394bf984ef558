//! The state of a run, and the loop that makes things happen.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash};
use std::sync::Arc;

use highwater_core::metadata::{Entry, Image};
use highwater_env::sim::SimRandom;
use highwater_proto::{LeaderEpoch, Offset};
use highwater_server::simulation::Metrics;

use super::broker::Node;
use super::clients::{Outbox, Producer};
use super::consumers::Consumer;
use super::controller::Controller;
use super::events::{Event, Future};
use super::nemesis::Fault;
use super::network::Network;
use super::plan::Plan;
use super::streams::Connection;
use crate::history::{Key, Op};

const PRODUCERS: usize = 3;
const CONSUMERS: usize = 2;
const TICK_MS: u64 = 50;

pub(super) fn key(partition: i32) -> Key {
    Key::new("t", partition)
}

/// Everything.
#[derive(Debug)]
pub(super) struct World {
    pub(super) plan: Plan,
    /// Milliseconds.
    pub(super) now: u64,
    pub(super) random: SimRandom,
    pub(super) future: Future,
    pub(super) nodes: Vec<Node>,
    pub(super) network: Network,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) opened: u64,
    pub(super) controller: Controller,
    /// The committed metadata log; the first entry has index 1.
    pub(super) metadata: Vec<Entry>,
    /// Digest of the image after each accepted entry.
    pub(super) digests: BTreeMap<u64, u64>,
    pub(super) producers: Vec<Producer>,
    pub(super) consumers: Vec<Consumer>,
    pub(super) outbox: Outbox,
    pub(super) ops: Vec<Op>,
    pub(super) next_op: u64,
    attempts: u64,
    pub(super) metrics: Arc<Metrics>,
    pub(super) faults: BTreeMap<u64, Fault>,
    pub(super) faults_installed: u64,
    /// Whether a disk was lost or rotted.
    pub(super) wiped: bool,
    /// Whether a disk rotted.
    pub(super) rotten: bool,
    /// Whether a flush was made to fail.
    pub(super) sync_failed: bool,
    /// Faults are over.
    pub(super) healed: bool,
    /// No more sends.
    pub(super) quiet: bool,
    /// The run is over.
    pub(super) over: bool,
    pub(super) drained: bool,
    /// Per partition the highest high watermark that any leader had.
    pub(super) true_high_watermarks: Vec<Offset>,
    pub(super) writers: BTreeMap<(i32, LeaderEpoch), (usize, u64)>,
    pub(super) violations: Vec<String>,
    pub(super) events: u64,
    pub(super) hash: DefaultHasher,
    pub(super) fresh_ids: i64,
    pub(super) hopeless: u64,
    pub(super) refused_words: u64,
    pub(super) unclean_recoveries: u64,
    pub(super) stale_entries: u64,
}

impl World {
    pub(super) fn new(plan: Plan) -> World {
        let partitions = plan.partitions;
        let producers = (0..PRODUCERS).map(|number| Producer::new(number, partitions)).collect();
        let proc = |number: usize| u32::try_from(number).expect("a few") + 100;
        let consumers = (0..CONSUMERS).map(|number| Consumer::new(proc(number), partitions, false)).collect();
        World {
            now: 0,
            random: SimRandom::new(plan.seed),
            future: Future::default(),
            nodes: (0..plan.brokers).map(|at| Node::new(&plan, at)).collect(),
            network: Network::new(plan.brokers),
            connections: BTreeMap::new(),
            opened: 0,
            controller: Controller::new(0, &Image::default(), 0),
            metadata: Vec::new(),
            digests: BTreeMap::new(),
            producers,
            consumers,
            outbox: Outbox::default(),
            ops: Vec::new(),
            next_op: 0,
            attempts: 0,
            metrics: Arc::new(Metrics::new()),
            faults: BTreeMap::new(),
            faults_installed: 0,
            wiped: false,
            rotten: false,
            sync_failed: false,
            healed: false,
            quiet: false,
            over: false,
            drained: false,
            true_high_watermarks: vec![Offset::ZERO; partitions as usize],
            writers: BTreeMap::new(),
            violations: Vec::new(),
            events: 0,
            hash: DefaultHasher::new(),
            fresh_ids: 0,
            hopeless: 0,
            refused_words: 0,
            unclean_recoveries: 0,
            stale_entries: 0,
            plan,
        }
    }

    /// Lets things happen until the run is over, or something is broken.
    pub(super) fn run(&mut self) {
        self.form_cluster();
        for node in 0..self.nodes.len() {
            self.plan_in(1 + node as u64, Event::Start { node });
        }
        for client in 0..self.producers.len() {
            self.plan_in(500, Event::Producer { client });
        }
        for client in 0..self.consumers.len() {
            self.plan_in(600, Event::Consumer { client });
        }
        let (faults_ms, heal_ms) = (self.plan.faults_ms, self.plan.heal_ms);
        self.plan_in(TICK_MS, Event::Tick);
        self.plan_in(2000, Event::Nemesis);
        self.plan_in(faults_ms, Event::HealAll);
        self.plan_in(faults_ms + heal_ms, Event::Quiet);
        while let Some((at, event)) = self.future.next() {
            self.pass(at);
            self.happen(event);
            self.events += 1;
            if self.over || !self.violations.is_empty() {
                break;
            }
        }
    }

    fn pass(&mut self, to: u64) {
        let passed = to.saturating_sub(self.now);
        if passed > 0 {
            self.now = to;
            for node in &self.nodes {
                node.clock.advance_ms(passed);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        if let Some((node, run)) = self.target(&event) {
            if self.is_paused(node) {
                let until = self.nodes[node].paused_until;
                return self.future.plan(until, event);
            }
            if run.is_some_and(|run| run != self.nodes[node].run || self.nodes[node].process.is_none()) {
                return self.lost(&event);
            }
        }
        let number = self.events;
        self.trace(&(number, self.now, std::mem::discriminant(&event)));
        match event {
            Event::Arrive { connection, to } => self.arrive(connection, to),
            Event::Metadata { node, from, end } => {
                if self.network.is_open(from, node) {
                    self.apply_metadata(node, end);
                    self.touched(node);
                }
            }
            Event::Flush { node, .. } => {
                self.flush(node);
                self.touched(node);
            }
            Event::Attend { node, .. } => {
                self.attend(node);
                self.touched(node);
            }
            Event::ProposalWait { node, partition, serial, .. } => {
                self.proposal_lost(node, partition, serial);
                self.touched(node);
            }
            Event::Tick => {
                self.tick_controller();
                self.tick_streams();
                (0..self.nodes.len()).for_each(|at| self.restart_if_poisoned(at));
                self.scrub();
                if !self.over {
                    self.plan_in(TICK_MS, Event::Tick);
                }
            }
            Event::Start { node } => {
                self.start(node);
                self.touched(node);
            }
            Event::Nemesis => self.nemesis(),
            Event::Heal { fault } => self.heal(fault),
            Event::HealAll => self.heal_all(),
            Event::Quiet => self.be_quiet(),
            Event::Drain => self.drain(),
            talk => self.talk(talk),
        }
    }

    fn talk(&mut self, event: Event) {
        match event {
            Event::ToController { from, run, to, command, why } => self.asked(to, from, run, command, why),
            Event::Committed { term } => self.committed(term),
            Event::FromController { to, why, answer, .. } => {
                self.heard(to, why, answer);
                self.touched(to);
            }
            Event::Beat { from, to, life, sent, applied, .. } => {
                self.heard_of(from, to, life, sent, applied);
            }
            Event::Lease { to, until, .. } => self.lease(to, until),
            Event::SendBeat { node, run } => self.beat(node, run),
            Event::Register { node, run } => self.register(node, run),
            Event::Sessions { term } => self.look_at_sessions(term),
            Event::Producer { client } => self.produce_on(client),
            Event::Produce { node, client, attempt, partition, batch, .. } => {
                self.produce_at(node, client, attempt, partition, &batch);
            }
            Event::Produced { client, attempt, answer } => self.produced(client, attempt, answer),
            Event::Consumer { client } => self.consume_on(client),
            Event::Fetch { node, client, attempt, asked, .. } => {
                self.fetch_at(node, client, attempt, asked);
            }
            Event::Fetched { client, attempt, answer } => self.fetched(client, attempt, &answer),
            other => unreachable!("{other:?} is handled before"),
        }
    }

    /// Which broker an event happens to, and in which of its processes.
    fn target(&self, event: &Event) -> Option<(usize, Option<u64>)> {
        Some(match event {
            Event::Arrive { connection, to } => (self.receiver(*connection, *to)?, None),
            Event::Metadata { node, .. } | Event::Start { node } => (*node, None),
            Event::ToController { to, .. } | Event::Beat { to, .. } => (*to, None),
            Event::FromController { to, run, .. } | Event::Lease { to, run, .. } => (*to, Some(*run)),
            Event::SendBeat { node, run }
            | Event::Register { node, run }
            | Event::Flush { node, run }
            | Event::Attend { node, run }
            | Event::ProposalWait { node, run, .. } => (*node, Some(*run)),
            Event::Produce { node, run, .. } | Event::Fetch { node, run, .. } => (*node, Some(*run)),
            _ => return None,
        })
    }

    /// The process that an event was for is gone: clients hear a broken connection, others nothing.
    fn lost(&mut self, event: &Event) {
        match event {
            Event::Produce { client, attempt, .. } => {
                let answer = super::clients::Answer::Retry;
                self.plan_in(1, Event::Produced { client: *client, attempt: *attempt, answer });
            }
            Event::Fetch { client, attempt, .. } => {
                let answer = Arc::new(super::consumers::PollAnswer::Refused("the connection broke".into()));
                self.plan_in(1, Event::Fetched { client: *client, attempt: *attempt, answer });
            }
            _ => {}
        }
    }

    /// Something happened to a broker: what follows from it, and whether all is well.
    pub(super) fn touched(&mut self, at: usize) {
        self.send_answers(at);
        self.pump(at);
        self.plan_wishes(at);
        self.check_broker(at);
    }

    pub(super) fn plan_in(&mut self, ms: u64, event: Event) {
        self.future.plan(self.now + ms, event);
    }

    /// Sends something that is lost if the way is blocked.
    pub(super) fn send(&mut self, from: usize, to: usize, event: Event) {
        if self.network.is_open(from, to) && self.network.hears_control(from, to) {
            let delay = self.network.delay(&self.random, from, to);
            self.plan_in(delay, event);
        }
    }

    pub(super) fn is_paused(&self, at: usize) -> bool {
        self.nodes[at].paused_until > self.now
    }

    /// One of them.
    pub(super) fn pick<T: Copy>(&self, of: &[T]) -> Option<T> {
        let count = u64::try_from(of.len()).ok().filter(|count| *count > 0)?;
        of.get(usize::try_from(self.random.below(count)).ok()?).copied()
    }

    pub(super) fn next_attempt(&mut self) -> u64 {
        self.attempts += 1;
        self.attempts
    }

    /// What a client takes for the time.
    pub(super) fn wall_ms(&self) -> i64 {
        1_000_000 + i64::try_from(self.now).expect("a short run")
    }

    pub(super) fn trace(&mut self, what: &impl Hash) {
        what.hash(&mut self.hash);
    }
}
