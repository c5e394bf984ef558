//! What must hold of every state: invariants I1 to I11, as far as a state shows them; steps look after the rest.

use highwater_core::settings::Durability;
use stateright::Property;

use super::state::{Disk, Node, Role, World, id};
use super::step::Replication;

pub(super) fn properties() -> Vec<Property<Replication>> {
    vec![
        Property::always("no step breaks an invariant (I7, I8, I9, I10, I11)", |_, world: &World| {
            world.broken.is_none()
        }),
        Property::always("I1: logs match below the high watermarks", |_, world: &World| {
            world.nodes.iter().all(|node| matches_committed(node, world))
        }),
        Property::always("I1: records of one epoch at one offset have one history", |_, world: &World| {
            pairs(world).all(|(one, other)| histories_match(&one.disk, &other.disk))
        }),
        Property::always("I2: a leader has everything that is committed", |_, world: &World| {
            leader_is_complete(world)
        }),
        Property::always("I3: who may lead has everything that is committed", candidates_are_complete),
        Property::always("I4: a leader counts everybody who may lead", quorum_is_superset),
        Property::always("I5: the metadata is sound", |_, world: &World| world.now().check().is_ok()),
        Property::always("I6: epochs of a log rise, and are those of its records", |_, world: &World| {
            world.nodes.iter().all(|node| epochs_are_sound(&node.disk))
        }),
        Property::always("I11: flushed end and high watermark are within the log", |_, world: &World| {
            world.nodes.iter().all(|node| {
                node.disk.flushed <= node.disk.log.len() && node.high_watermark <= node.disk.end()
            })
        }),
        Property::sometimes("everything is committed", |model: &Replication, world: &World| {
            world.committed.len() == usize::from(model.bounds.values)
        }),
        Property::sometimes(
            "a record of the last epoch is committed",
            |model: &Replication, world: &World| {
                world.committed.last().is_some_and(|last| last.epoch == model.bounds.leader_epochs)
            },
        ),
    ]
}

fn matches_committed(node: &Node, world: &World) -> bool {
    let end = usize::try_from(node.high_watermark.0).unwrap_or(0);
    match (node.disk.log.get(..end), world.committed.get(..end)) {
        (Some(log), Some(committed)) => log == committed,
        // A wiped broker has forgotten what it knew.
        _ => false,
    }
}

fn pairs(world: &World) -> impl Iterator<Item = (&Node, &Node)> {
    let nodes = &world.nodes;
    (0..nodes.len()).flat_map(move |one| (0..one).map(move |other| (&nodes[one], &nodes[other])))
}

/// The log matching property of Raft, which epoch-based truncation keeps.
fn histories_match(one: &Disk, other: &Disk) -> bool {
    let common = one.log.len().min(other.log.len());
    let last = (0..common).rev().find(|at| one.log[*at].epoch == other.log[*at].epoch);
    last.is_none_or(|last| one.log[..=last] == other.log[..=last])
}

fn leader_is_complete(world: &World) -> bool {
    let now = world.now();
    world.nodes.iter().all(|node| match &node.role {
        Role::Leader(leader) if leader.epoch() == now.leader_epoch() => {
            node.disk.log.starts_with(&world.committed)
        }
        _ => true,
    })
}

fn candidates_are_complete(model: &Replication, world: &World) -> bool {
    let now = world.now();
    let mut candidates = now.isr().iter().chain(now.elr());
    candidates.all(|member| {
        let node = &world.nodes[super::state::node(*member)];
        if node.wiped {
            return true;
        }
        let running = node.role != Role::Down && node.life == now.life(*member);
        match model.bounds.durability {
            // What counts is flushed, so it is there whatever the process does.
            Durability::Fsync => node.disk.log[..node.disk.flushed].starts_with(&world.committed),
            Durability::Replicated => !running || node.disk.log.starts_with(&world.committed),
        }
    })
}

fn quorum_is_superset(model: &Replication, world: &World) -> bool {
    let now = world.now();
    world.nodes.iter().enumerate().all(|(at, node)| match &node.role {
        Role::Leader(leader)
            if leader.epoch() == now.leader_epoch()
                && now.leader() == Some(id(at))
                && now.isr().len() >= model.bounds.min_in_sync =>
        {
            let counted: Vec<_> = leader.maximal_isr().collect();
            now.isr().iter().chain(now.elr()).all(|member| counted.contains(member))
        }
        _ => true,
    })
}

fn epochs_are_sound(disk: &Disk) -> bool {
    let rising = disk.epochs.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
    let ordered = disk.log.windows(2).all(|pair| pair[0].epoch <= pair[1].epoch);
    let written = disk.log.iter().enumerate().all(|(at, entry)| {
        let begun = disk.epochs.iter().rfind(|(_, start)| *start <= super::state::offset(at).0);
        begun.is_some_and(|(epoch, _)| *epoch == entry.epoch)
    });
    rising && ordered && written
}
