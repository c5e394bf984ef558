//! The controller: runs where the Raft leader is, decides with the production code, and proposes one entry at a time.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use highwater_core::metadata::{
    Batch, ClusterId, Command, Context, Entry, Heard, Image, Mode, NewTopic, Outcome, Refusal, Sessions,
};
use highwater_core::settings::Durability;
use highwater_proto::BrokerEpoch;

use super::broker::{LEASE_MS, TOPIC, id};
use super::events::{Event, Why};
use super::world::World;

/// A broker that was not heard of for so long is fenced.
const SESSION: Duration = Duration::from_millis(1300);
const LOOK_MS: u64 = 100;
/// A leader without a majority steps down after so long.
const ELECTION_MS: u64 = 1000;

static NO_DEFAULTS: LazyLock<BTreeMap<String, String>> = LazyLock::new(BTreeMap::new);

/// The controller of one term.
#[derive(Debug)]
pub(super) struct Controller {
    pub(super) node: usize,
    pub(super) term: u64,
    /// Whom it hears. It begins with a whole session for everybody.
    sessions: Sessions,
    queue: Vec<Request>,
    proposed: Option<Proposal>,
    /// When it was last seen to have a majority.
    majority_at: u64,
    /// What is proposed was made up, and no controller would have decided it: it may come too late, and never in time.
    pub(super) made_up: bool,
    /// Entries of earlier terms that are committed late.
    late: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Request {
    from: usize,
    run: u64,
    command: Command,
    why: Why,
}

#[derive(Debug)]
struct Proposal {
    entry: Entry,
    answers: Vec<(usize, u64, Why, Result<Outcome, Refusal>)>,
}

impl Controller {
    pub(super) fn new(node: usize, image: &Image, now: u64) -> Controller {
        Controller {
            node,
            term: 1,
            sessions: Sessions::new(image, SESSION, Duration::from_millis(now)),
            queue: Vec::new(),
            proposed: None,
            made_up: false,
            majority_at: now,
            late: BTreeMap::new(),
        }
    }
}

impl World {
    /// The cluster's first entries: its identity, and the topic once everybody has registered.
    pub(super) fn form_cluster(&mut self) {
        let brokers = (0..self.plan.brokers).map(id).collect();
        let form = Command::FormCluster { id: ClusterId([1; 16]), name: "sim".into(), brokers };
        self.queue_own(form);
        self.plan_in(LOOK_MS, Event::Sessions { term: 1 });
    }

    fn create_topic(&mut self) {
        let durability = match self.plan.durability {
            Durability::Fsync => "fsync",
            Durability::Replicated => "replicated",
        };
        let configs = [("min.insync.replicas", "2"), ("durability", durability)];
        let configs = configs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let (name, partitions) = ("t".to_owned(), self.plan.partitions);
        let topic = NewTopic { name, partitions, replication_factor: 3, configs, assignments: Vec::new() };
        self.queue_own(Command::CreateTopic { topic, mode: Mode::Apply });
    }

    /// A broker asks the controller, wherever it is at this moment.
    pub(super) fn ask_controller(&mut self, from: usize, command: Command, why: Why) {
        let (run, to) = (self.nodes[from].run, self.controller.node);
        self.send(from, to, Event::ToController { from, run, to, command, why });
    }

    pub(super) fn queue_own(&mut self, command: Command) {
        let from = self.controller.node;
        self.controller.queue.push(Request { from, run: 0, command, why: Why::Own });
        self.decide();
    }

    pub(super) fn asked(&mut self, to: usize, from: usize, run: u64, command: Command, why: Why) {
        if to == self.controller.node {
            self.controller.queue.push(Request { from, run, command, why });
            self.decide();
        }
    }

    /// Decides everything that is queued, as one entry, if none is under way.
    fn decide(&mut self) {
        let controller = &mut self.controller;
        if controller.proposed.is_some() || controller.queue.is_empty() {
            return;
        }
        let alive = controller.sessions.alive(Duration::from_millis(self.now));
        let context = Context {
            broker_defaults: &NO_DEFAULTS,
            default_partitions: 1,
            default_replication_factor: 3,
            now_ms: 1,
            fresh_id: TOPIC,
            alive: &alive,
        };
        let mut batch = Batch::new(&self.nodes[controller.node].image);
        let mut answers = Vec::new();
        for Request { from, run, command, why } in std::mem::take(&mut controller.queue) {
            answers.push((from, run, why, batch.decide(context, &command)));
        }
        if batch.is_empty() {
            return self.answer(answers);
        }
        controller.proposed = Some(Proposal { entry: batch.into_entry(), answers });
        let term = controller.term;
        self.plan_in(2 + self.random.below(8), Event::Committed { term });
    }

    fn answer(&mut self, answers: Vec<(usize, u64, Why, Result<Outcome, Refusal>)>) {
        let node = self.controller.node;
        for (to, run, why, answer) in answers {
            if why != Why::Own {
                self.send(node, to, Event::FromController { to, run, why, answer });
            }
        }
    }

    /// An entry gets a majority, or waits for one.
    pub(super) fn committed(&mut self, term: u64) {
        if term != self.controller.term {
            return self.committed_late(term);
        }
        if self.controller.proposed.is_none() {
            return;
        }
        let node = self.controller.node;
        if !self.has_majority(node) {
            return self.plan_in(50, Event::Committed { term });
        }
        let Some(proposal) = self.controller.proposed.take() else { return };
        self.metadata.push(proposal.entry);
        // Entries of an earlier term may have come before it.
        self.apply_metadata(node, self.metadata.len() - 1);
        let end = self.metadata.len();
        let accepted = self.nodes[node].image.accepted();
        self.apply_metadata(node, end);
        if self.nodes[node].image.accepted() > accepted {
            self.answer(proposal.answers);
        } else {
            self.stale_entries += 1;
        }
        self.spread_metadata();
        self.check_candidates();
        self.decide();
        self.touched(node);
    }

    /// An entry that was decided in an earlier term comes after entries of the present one.
    fn committed_late(&mut self, term: u64) {
        let accepted = self.nodes[self.controller.node].image.accepted();
        let Some(entry) = self.controller.late.remove(&term) else { return };
        if entry.based_on < accepted {
            self.metadata.push(entry);
            return self.spread_metadata();
        }
        // Nothing was accepted since: it would have been there when this term began.
        self.controller.late.insert(term, entry);
        if !self.over {
            self.plan_in(LOOK_MS, Event::Committed { term });
        }
    }

    /// Everybody who can be reached is sent what is new.
    pub(super) fn spread_metadata(&mut self) {
        let (from, end) = (self.controller.node, self.metadata.len());
        for node in 0..self.nodes.len() {
            if node != from && self.nodes[node].has < end {
                self.send(from, node, Event::Metadata { node, from, end });
            }
        }
        if self.nodes[from].has < end && !self.is_paused(from) && self.nodes[from].process.is_some() {
            self.plan_in(1, Event::Metadata { node: from, from, end });
        }
    }

    /// A broker is heard of.
    pub(super) fn heard_of(&mut self, from: usize, to: usize, life: BrokerEpoch, sent: u64, applied: u64) {
        if to != self.controller.node {
            return;
        }
        let image = &self.nodes[to].image;
        let Some(broker) = image.broker(id(from)).filter(|broker| broker.epoch == life) else { return };
        match self.controller.sessions.heard(broker, applied, Duration::from_millis(self.now)) {
            Heard::TooLate | Heard::Stale => {}
            Heard::Alive | Heard::Behind if broker.fenced => {
                let command = Command::Unfence { broker: id(from), epoch: life, applied };
                self.queue_own(command);
            }
            Heard::Alive => {
                let run = self.nodes[from].run;
                self.send(to, from, Event::Lease { to: from, run, until: sent + LEASE_MS });
            }
            Heard::Behind => {}
        }
    }

    /// Fences whoever was not heard of.
    pub(super) fn look_at_sessions(&mut self, term: u64) {
        if term != self.controller.term {
            return;
        }
        self.plan_in(LOOK_MS, Event::Sessions { term });
        let node = self.controller.node;
        if self.is_paused(node) || self.nodes[node].process.is_none() {
            return;
        }
        let image = &self.nodes[node].image;
        let served = image.brokers().filter(|broker| !broker.fenced).count();
        let has_topic = image.topic(TOPIC).is_some();
        let lapsed = self.controller.sessions.lapsed(image, Duration::from_millis(self.now));
        if !has_topic && served == self.plan.brokers {
            self.create_topic();
        }
        for (broker, epoch) in lapsed {
            self.queue_own(Command::Fence { broker, epoch });
        }
    }

    /// Whether a broker can have entries committed.
    fn has_majority(&self, node: usize) -> bool {
        let up = |at: usize| self.nodes[at].process.is_some() && !self.is_paused(at);
        let reached = (0..self.nodes.len()).filter(|other| {
            let both = self.network.is_open(node, *other) && self.network.is_open(*other, node);
            up(*other) && both
        });
        up(node) && reached.count() * 2 > self.nodes.len()
    }

    /// Raft elects somebody else when the leader is gone for long enough.
    pub(super) fn tick_controller(&mut self) {
        if self.has_majority(self.controller.node) {
            self.controller.majority_at = self.now;
        } else if self.now - self.controller.majority_at > ELECTION_MS {
            let others = (0..self.nodes.len()).filter(|node| self.has_majority(*node));
            let others: Vec<usize> = others.collect();
            if let Some(next) = self.pick(&others) {
                self.fail_over_to(next);
            }
        }
        self.spread_metadata();
    }

    /// The controller moves: what it was about to do is lost, or done late.
    pub(super) fn fail_over_to(&mut self, node: usize) {
        let old = &mut self.controller;
        let (term, proposed, made_up) = (old.term, old.proposed.take(), old.made_up);
        let mut late = std::mem::take(&mut old.late);
        if let Some(Proposal { entry, .. }) = proposed {
            match self.random.below(3) {
                // The new leader has it in its log, and commits it with its own first entry.
                0 if !made_up => self.metadata.push(entry),
                // Its proposer leads again, and only then appends it.
                1 => {
                    late.insert(term, entry);
                    self.plan_in(self.random.below(2500), Event::Committed { term });
                }
                _ => {}
            }
        }
        self.apply_metadata(node, self.metadata.len());
        self.controller = Controller::new(node, &self.nodes[node].image, self.now);
        self.controller.term = term + 1;
        self.controller.late = late;
        self.plan_in(LOOK_MS, Event::Sessions { term: term + 1 });
        self.touched(node);
    }
}
