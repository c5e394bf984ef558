//! Which steps there are from a state, and what each leads to.

use std::sync::Arc;

use stateright::{Model, Property};

use super::controller::{Change, Meta};
use super::properties::properties;
use super::state::{BROKERS, Bounds, Disk, Message, Node, Role, World};

/// One step. Brokers are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named after what happens to the broker")]
pub enum Action {
    ApplyMetadata(usize),
    Produce(usize),
    Flush(usize),
    /// A follower's stream broke, and it begins anew.
    Ask(usize),
    /// A leader sends to a follower.
    Feed(usize, usize),
    /// The message in this place arrives.
    Deliver(usize),
    /// A leader wants followers that have caught up to be in sync.
    ProposeJoining(usize),
    /// A leader wants followers that are behind out.
    ProposeLeaving(usize),
    /// Nobody knows what became of a leader's proposal.
    ProposalLost(usize),
    Crash(usize),
    /// It crashes, and its disk is empty afterwards.
    Wipe(usize),
    Register(usize),
    Fence(usize),
    Unfence(usize),
}

impl Action {
    /// Whether it is something that goes wrong.
    pub(super) fn disturbs(self) -> bool {
        matches!(self, Action::Crash(_) | Action::Wipe(_) | Action::Fence(_) | Action::ProposeLeaving(_))
    }
}

impl World {
    fn first(bounds: &Bounds) -> World {
        let meta = Arc::new(Meta::first(bounds));
        let node = Node {
            disk: Disk::default(),
            role: Role::Idle,
            life: meta.life(super::state::id(0)),
            high_watermark: highwater_proto::Offset::ZERO,
            applied: 1,
            wiped: false,
            disk_id: 1,
        };
        let mut world = World {
            bounds: *bounds,
            nodes: vec![node; BROKERS],
            metadata: vec![Arc::clone(&meta)],
            network: Vec::new(),
            committed: Vec::new(),
            writers: Vec::new(),
            produced: 0,
            crashes: 0,
            wipes: 0,
            broken: None,
        };
        for at in 0..BROKERS {
            world.nodes[at].life = meta.life(super::state::id(at));
            world.take_role(bounds, at, &meta);
        }
        world.forget_metadata();
        world
    }

    /// Whether a question of this follower, or the answer, is under way.
    fn is_asking(&self, at: usize) -> bool {
        self.network.iter().any(|message| match message {
            Message::Ask { from, .. } => *from == at,
            Message::Answer { to, .. } => *to == at,
            _ => false,
        })
    }

    fn crash(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.disk.crash();
        node.role = Role::Down;
        // What was recorded of it may be old.
        node.high_watermark = highwater_proto::Offset::ZERO;
        self.forget_metadata();
    }
}

impl Bounds {
    fn node_actions(&self, world: &World, at: usize, actions: &mut Vec<Action>) {
        let node = &world.nodes[at];
        if node.role == Role::Down {
            return actions.push(Action::Register(at));
        }
        if node.applied < world.metadata.len() {
            actions.push(Action::ApplyMetadata(at));
        }
        if node.disk.flushed < node.disk.log.len() {
            actions.push(Action::Flush(at));
        }
        if world.crashes < self.crashes {
            actions.push(Action::Crash(at));
        }
        if world.wipes < self.wipes {
            actions.push(Action::Wipe(at));
        }
        let meta = world.now();
        let registered = meta.life(super::state::id(at)) == node.life;
        if registered && meta.isr().contains(&super::state::id(at)) {
            actions.push(Action::Fence(at));
        }
        if registered && meta.fenced(super::state::id(at)) && node.applied == world.metadata.len() {
            actions.push(Action::Unfence(at));
        }
        let room = self.messages == 0 || world.network.len() < self.messages;
        match &node.role {
            Role::Leader(leader) => {
                if world.produced < self.values {
                    actions.push(Action::Produce(at));
                }
                actions.push(Action::ProposeJoining(at));
                actions.push(Action::ProposeLeaving(at));
                if self.messages > 0 {
                    actions.push(Action::ProposalLost(at));
                }
                for to in (0..BROKERS).filter(|to| *to != at && room) {
                    let Some((end, _)) = leader.follower(super::state::id(to)) else { continue };
                    let told = world.nodes[to].high_watermark >= leader.high_watermark();
                    let sent = world.network.iter().any(|message| message.slot() == (2, at, to));
                    if !sent && (end < node.disk.end() || !told) {
                        actions.push(Action::Feed(at, to));
                    }
                }
            }
            Role::Follower(follower) if !follower.is_copying() && !world.is_asking(at) => {
                actions.push(Action::Ask(at));
            }
            _ => {}
        }
    }
}

/// The model within its bounds; at the deadline it grows no further.
#[derive(Debug)]
pub(super) struct Replication {
    pub(super) bounds: Bounds,
    pub(super) expired: Arc<std::sync::atomic::AtomicBool>,
}

impl Model for Replication {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::first(&self.bounds)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken.is_some() {
            return;
        }
        actions.extend((0..world.network.len()).map(Action::Deliver));
        for at in 0..BROKERS {
            self.bounds.node_actions(world, at, actions);
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        let allowed = match action {
            Action::Fence(at) => world.fence(&self.bounds, at),
            Action::Unfence(at) => world.unfence(&self.bounds, at),
            Action::Register(at) => world.register(&self.bounds, at),
            _ => {
                world.step(&self.bounds, action);
                true
            }
        };
        (allowed && world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Replication>> {
        properties()
    }

    fn within_boundary(&self, _: &World) -> bool {
        !self.expired.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl World {
    fn step(&mut self, bounds: &Bounds, action: Action) {
        match action {
            Action::ApplyMetadata(at) => self.apply_metadata(bounds, at),
            Action::Produce(at) => self.produce(at),
            Action::Flush(at) => self.flush(at),
            Action::Ask(at) => self.ask(at),
            Action::Feed(at, to) => self.feed(at, to),
            Action::Deliver(at) => {
                let message: Message = self.network.remove(at);
                self.deliver(bounds, message);
            }
            Action::ProposeJoining(at) => self.propose(at, Change::Joining),
            Action::ProposeLeaving(at) => self.propose(at, Change::Leaving),
            Action::ProposalLost(at) => self.leader_step(at, |leader, _| {
                leader.proposal_answered(highwater_core::replication::ProposalOutcome::Unanswered)
            }),
            Action::Crash(at) => {
                self.crashes += 1;
                self.crash(at);
            }
            Action::Wipe(at) => {
                self.wipes += 1;
                self.nodes[at].disk = Disk::default();
                self.nodes[at].wiped = true;
                self.crash(at);
            }
            Action::Register(_) | Action::Fence(_) | Action::Unfence(_) => {
                unreachable!("decided by the controller")
            }
        }
    }
}
