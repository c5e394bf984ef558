//! The controller: the production decisions over the production image, one after the other, committed at once and applied
//! by each broker when it likes.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use highwater_core::metadata::{
    AlterPartition, AlterPartitionError, Applied, Batch, ClusterId, Command, Context, Endpoints, Image,
    Incarnation, LastStop, METADATA_VERSION, Mode, NewTopic, Outcome, Partition, Registration,
};
use highwater_core::replication::{IsrProposal, ProposalOutcome, Rules};
use highwater_core::settings::Durability;
use highwater_proto::{
    BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicId, TopicPartition,
};

use super::node::NOW;
use super::state::{BROKERS, Bounds, Message, Role, World, id};

const TOPIC: TopicId = TopicId([7; 16]);
const PARTITION: TopicPartition = TopicPartition { topic: TOPIC, partition: PartitionIndex(0) };
static NO_DEFAULTS: LazyLock<BTreeMap<String, String>> = LazyLock::new(BTreeMap::new);
static NOBODY: BTreeSet<BrokerId> = BTreeSet::new();

fn context() -> Context<'static> {
    Context {
        broker_defaults: &NO_DEFAULTS,
        default_partitions: 1,
        default_replication_factor: -1,
        now_ms: 1,
        fresh_id: TOPIC,
        alive: &NOBODY,
    }
}

/// What the metadata says after an entry.
#[derive(Clone, Debug)]
pub(super) struct Meta {
    image: Image,
    partition: Partition,
    brokers: Vec<(BrokerEpoch, bool)>,
}

impl PartialEq for Meta {
    fn eq(&self, other: &Meta) -> bool {
        (&self.partition, &self.brokers) == (&other.partition, &other.brokers)
    }
}

impl Eq for Meta {}

/// How long the metadata log is says nothing.
impl Hash for Meta {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Partition { isr, elr, last_known_elr, leader, leader_epoch, partition_epoch, .. } =
            &self.partition;
        (isr, elr, last_known_elr, leader, leader_epoch, partition_epoch, &self.brokers).hash(state);
    }
}

fn registration(at: usize, incarnation: u8, last_epoch: Option<BrokerEpoch>, disk: u8) -> Registration {
    Registration {
        broker: id(at),
        incarnation: Incarnation([incarnation; 16]),
        cluster: None,
        disk_id: format!("{disk}"),
        last_epoch,
        last_stop: LastStop::Unclean,
        endpoints: Endpoints::default(),
        rack: None,
        version: METADATA_VERSION,
    }
}

impl Meta {
    fn of(image: Image) -> Meta {
        let partition = image.partition(PARTITION).cloned().expect("the partition is never deleted");
        let broker = |at| image.broker(id(at)).expect("brokers are never removed");
        let brokers = (0..BROKERS).map(|at| (broker(at).epoch, !broker(at).is_active())).collect();
        Meta { image, partition, brokers }
    }

    /// Three brokers in service, and a partition on them.
    pub(super) fn first(bounds: &Bounds) -> Meta {
        let mut image = Image::default();
        let brokers: Vec<BrokerId> = (0..BROKERS).map(id).collect();
        let form =
            Command::FormCluster { id: ClusterId([1; 16]), name: "model".into(), brokers: brokers.clone() };
        commit(&mut image, &form);
        for (at, broker) in brokers.iter().enumerate() {
            let registered =
                commit(&mut image, &Command::RegisterBroker { registration: registration(at, 1, None, 1) });
            let Some(Outcome::Registered { epoch }) = registered else { unreachable!("nobody is there yet") };
            let applied = image.applied();
            commit(&mut image, &Command::Unfence { broker: *broker, epoch, applied });
        }
        let durability = match bounds.durability {
            Durability::Fsync => "fsync",
            Durability::Replicated => "replicated",
        };
        let configs =
            [("min.insync.replicas", bounds.min_in_sync.to_string()), ("durability", durability.into())];
        let topic = NewTopic {
            name: "t".into(),
            partitions: -1,
            replication_factor: -1,
            configs: configs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            assignments: vec![brokers],
        };
        commit(&mut image, &Command::CreateTopic { topic, mode: Mode::Apply });
        Meta::of(image)
    }

    pub(super) fn replicas(&self) -> Vec<BrokerId> {
        self.partition.replicas.clone()
    }

    pub(super) fn isr(&self) -> &[BrokerId] {
        &self.partition.isr
    }

    pub(super) fn elr(&self) -> &[BrokerId] {
        &self.partition.elr
    }

    pub(super) fn leader(&self) -> Option<BrokerId> {
        self.partition.leader
    }

    pub(super) fn leader_epoch(&self) -> LeaderEpoch {
        self.partition.leader_epoch
    }

    pub(super) fn partition_epoch(&self) -> PartitionEpoch {
        self.partition.partition_epoch
    }

    pub(super) fn recovering(&self) -> bool {
        self.partition.recovering
    }

    /// The registered life, fenced or not.
    pub(super) fn life(&self, broker: BrokerId) -> BrokerEpoch {
        self.brokers[super::state::node(broker)].0
    }

    pub(super) fn fenced(&self, broker: BrokerId) -> bool {
        self.brokers[super::state::node(broker)].1
    }

    /// What must hold of the metadata alone.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        self.partition.check()?;
        let min = self.image.topic(TOPIC).expect("it is never deleted").min_insync_replicas();
        if self.partition.isr.len() >= min && !self.partition.elr.is_empty() {
            return Err("eligible only while too few are in sync");
        }
        if self.partition.isr.iter().any(|member| self.fenced(*member)) {
            return Err("nobody in sync is fenced");
        }
        Ok(())
    }
}

/// Decides a command and applies the entry; `None` if it is refused.
fn commit(image: &mut Image, command: &Command) -> Option<Outcome> {
    let mut batch = Batch::new(image);
    let outcome = batch.decide(context(), command).ok()?;
    let index = image.applied() + 1;
    let applied = image.apply_entry(index, &batch.into_entry());
    assert_eq!(applied, Ok(Applied::Accepted), "what is decided can be applied");
    Some(outcome)
}

impl World {
    /// Has the controller decide a command. `None` if it is refused or leads out of the bounds; nothing changes then.
    fn decide(&mut self, bounds: &Bounds, command: &Command) -> Option<Outcome> {
        let mut image = self.now().image.clone();
        let outcome = commit(&mut image, command)?;
        let (before, meta) = (self.now(), Meta::of(image));
        if meta == **before {
            return Some(outcome);
        }
        if meta.leader_epoch() < before.leader_epoch() || meta.partition_epoch() < before.partition_epoch() {
            self.fail("I7: epochs of the metadata never fall");
        }
        let fits = self.metadata.len() <= bounds.metadata_lag
            && meta.leader_epoch().0 <= bounds.leader_epochs
            && meta.partition_epoch().0 <= bounds.partition_epochs;
        if !fits {
            return None;
        }
        self.metadata.push(Arc::new(meta));
        self.apply_what_changes_nothing();
        Some(outcome)
    }

    /// A broker was not heard of. Says whether the bounds allow it.
    pub(super) fn fence(&mut self, bounds: &Bounds, at: usize) -> bool {
        let epoch = self.now().life(id(at));
        self.decide(bounds, &Command::Fence { broker: id(at), epoch }).is_some()
    }

    /// A broker that has caught up with the metadata is heard of.
    pub(super) fn unfence(&mut self, bounds: &Bounds, at: usize) -> bool {
        let (epoch, applied) = (self.now().life(id(at)), self.now().image.applied());
        self.decide(bounds, &Command::Unfence { broker: id(at), epoch, applied }).is_some()
    }

    /// A broker comes back and registers, as fenced; it has the metadata up to that point before it does anything.
    pub(super) fn register(&mut self, bounds: &Bounds, at: usize) -> bool {
        let node = &self.nodes[at];
        let (last, disk) = if node.wiped { (None, 2) } else { (Some(node.life), node.disk_id) };
        let incarnation = self.crashes + self.wipes + 1;
        let registration = registration(at, incarnation, last, disk);
        let Some(Outcome::Registered { epoch }) =
            self.decide(bounds, &Command::RegisterBroker { registration })
        else {
            return false;
        };
        let metadata = Arc::clone(self.now());
        let applied = self.metadata.len();
        let node = &mut self.nodes[at];
        node.life = epoch;
        node.wiped = false;
        node.disk_id = disk;
        node.applied = applied;
        node.role = Role::Idle;
        self.take_role(bounds, at, &metadata);
        true
    }

    /// A leader's proposal reaches the controller.
    pub(super) fn altered(
        &mut self,
        bounds: &Bounds,
        from: usize,
        life: BrokerEpoch,
        proposal: &IsrProposal,
    ) {
        let change = AlterPartition {
            partition: PARTITION,
            leader_epoch: proposal.leader_epoch,
            partition_epoch: proposal.partition_epoch,
            isr: proposal.isr.clone(),
            recovered: false,
        };
        let command = Command::AlterPartition { broker: id(from), epoch: life, changes: vec![change] };
        let outcome = match self.decide(bounds, &command) {
            Some(Outcome::PartitionsAltered { mut results }) => match results.remove(0).result {
                Ok(_) => ProposalOutcome::Accepted,
                Err(
                    AlterPartitionError::InvalidIsr { .. } | AlterPartitionError::IneligibleReplica { .. },
                ) => ProposalOutcome::Refused,
                Err(_) => ProposalOutcome::Outdated,
            },
            _ => return,
        };
        let node = &mut self.nodes[from];
        if let Role::Leader(leader) = &mut node.role
            && node.life == life
            && leader.epoch() == proposal.leader_epoch
        {
            self.leader_step(from, |leader, _| leader.proposal_answered(outcome));
        }
    }

    /// A leader asks for other in-sync replicas.
    pub(super) fn propose(&mut self, at: usize, change: Change) {
        let node = &self.nodes[at];
        let meta = Arc::clone(&self.metadata[node.applied - 1]);
        let life = move |member: BrokerId| (!meta.fenced(member)).then(|| meta.life(member));
        let (own, mut proposal) = (node.life, None);
        self.leader_step(at, |leader, _| {
            let rules = leader.rules();
            // Whoever is behind is late at once, or never; and whoever waits to come back has waited enough.
            let (lag_max, when) = match change {
                Change::Leaving => (Duration::ZERO, NOW + Duration::from_secs(1)),
                Change::Joining => (Duration::MAX, NOW + Duration::from_secs(3600)),
            };
            let before = leader.set_rules(Rules { lag_max, ..rules });
            proposal = leader.propose(life, when);
            leader.set_rules(rules).or(before)
        });
        if let Some(proposal) = proposal {
            self.send(Message::Alter { from: at, life: own, proposal });
        }
    }
}

/// What a leader looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Followers that have caught up.
    Joining,
    /// Followers that are behind.
    Leaving,
}
