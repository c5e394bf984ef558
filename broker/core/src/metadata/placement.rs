//! Where replicas go: leaders and replicas spread evenly over the brokers that take them, replicas of one partition on
//! different racks where there are enough. The same image and topic id give the same placement.

use std::collections::BTreeMap;

use highwater_proto::{BrokerId, TopicId};

use super::image::Image;
use super::partition::{Partition, has_duplicates, numbers, without};
use super::refusal::PlacementError;
use super::topic::Topic;

/// Most replicas of one partition.
pub const REPLICAS_MAX: i32 = 64;
/// Replicas of a topic that doesn't say, if there are as many brokers.
pub const REPLICAS_DEFAULT: i32 = 3;

/// What a broker carries.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    leaders: u32,
    followers: u32,
    /// The same of the topic that is being placed.
    topic_leaders: u32,
    topic_followers: u32,
}

/// The brokers that take replicas, and what each carries as yet.
#[derive(Clone, Debug)]
pub struct Placement<'a> {
    seed: u64,
    racks: BTreeMap<BrokerId, Option<&'a str>>,
    loads: BTreeMap<BrokerId, Load>,
}

impl<'a> Placement<'a> {
    /// Of replicas of the topic with this id, which may be there already.
    #[must_use]
    pub fn new(image: &'a Image, topic: TopicId) -> Placement<'a> {
        let mut placement = Placement::takers(image);
        let half =
            |at: usize| topic.0.iter().skip(at).take(8).fold(0, |all, byte| all << 8 | u64::from(*byte));
        placement.seed = mix(half(0)) ^ half(8);
        for (id, _, partition) in image.partitions() {
            placement.carry(&partition.target_replicas(), id.topic == topic);
        }
        placement
    }

    /// Of nothing yet: it knows who takes replicas, and not what they carry.
    #[must_use]
    pub fn takers(image: &'a Image) -> Placement<'a> {
        let takers = image.brokers().filter(|broker| broker.takes_replicas());
        let racks: BTreeMap<_, _> = takers.map(|broker| (broker.id, broker.rack.as_deref())).collect();
        let loads = racks.keys().map(|id| (*id, Load::default())).collect();
        Placement { seed: 0, racks, loads }
    }

    /// Turns to another topic, whose replicas are spread evenly for themselves.
    pub(super) fn turn_to(&mut self, topic: &Topic) {
        for load in self.loads.values_mut() {
            (load.topic_leaders, load.topic_followers) = (0, 0);
        }
        for partition in &topic.partitions {
            for (at, id) in partition.target_replicas().iter().enumerate() {
                if let Some(load) = self.loads.get_mut(id) {
                    load.topic_leaders += u32::from(at == 0);
                    load.topic_followers += u32::from(at > 0);
                }
            }
        }
    }

    /// How many brokers take replicas.
    #[must_use]
    pub fn live(&self) -> usize {
        self.racks.len()
    }

    /// How many replicas a partition gets for which `factor` was asked; -1 is three, or as many as there are brokers.
    ///
    /// # Errors
    /// [`PlacementError`].
    pub fn factor(&self, factor: i32) -> Result<usize, PlacementError> {
        let live = self.live();
        let wanted = match factor {
            -1 => i32::try_from(live).map_or(REPLICAS_DEFAULT, |live| live.clamp(1, REPLICAS_DEFAULT)),
            factor => factor,
        };
        match usize::try_from(wanted) {
            Ok(replicas) if (1..=REPLICAS_MAX).contains(&wanted) && replicas <= live => Ok(replicas),
            Ok(_) if (1..=REPLICAS_MAX).contains(&wanted) => {
                Err(PlacementError::TooFewBrokers { factor: wanted, live })
            }
            _ => Err(PlacementError::Factor { factor, max: REPLICAS_MAX }),
        }
    }

    /// Places one partition more; the preferred leader comes first. There are at least `replicas` brokers.
    #[must_use]
    pub fn place(&mut self, replicas: usize) -> Vec<BrokerId> {
        let mut chosen = Vec::with_capacity(replicas);
        while chosen.len() < replicas {
            let role = if chosen.is_empty() { Role::Leader } else { Role::Follower };
            let Some(next) = self.least(role, &chosen, &chosen) else { break };
            chosen.push(next);
        }
        self.carry(&chosen, true);
        chosen
    }

    /// Replaces one replica of a partition by a broker that holds none of it, in the same place of the list; `None` if
    /// there is no such broker.
    #[must_use]
    pub(super) fn replace(&mut self, partition: &Partition, leaving: BrokerId) -> Option<Vec<BrokerId>> {
        let mut target = partition.target_replicas();
        let at = target.iter().position(|id| *id == leaving)?;
        let role = if at == 0 { Role::Leader } else { Role::Follower };
        let staying = without(&target, &[leaving]);
        let next = self.least(role, &partition.replicas, &staying)?;
        target[at] = next;
        let load = self.loads.get_mut(&next)?;
        let (leads, follows) = (u32::from(role == Role::Leader), u32::from(role == Role::Follower));
        load.leaders += leads;
        load.followers += follows;
        load.topic_leaders += leads;
        load.topic_followers += follows;
        Some(target)
    }

    /// Checks an assignment made by hand. Those that already hold the partition may be in any state.
    ///
    /// # Errors
    /// [`PlacementError`].
    pub fn check(
        &self,
        partition: i32,
        replicas: &[BrokerId],
        holders: &[BrokerId],
    ) -> Result<(), PlacementError> {
        let wrong = |problem: String| {
            Err(PlacementError::Assignment { partition, replicas: numbers(replicas), problem })
        };
        if replicas.is_empty() || replicas.len() > REPLICAS_MAX as usize {
            return wrong(format!("there are 1 to {REPLICAS_MAX} replicas"));
        }
        if has_duplicates(replicas) {
            return wrong("a broker is in it twice".to_owned());
        }
        let strange = |id: &&BrokerId| !holders.contains(id) && !self.racks.contains_key(id);
        match replicas.iter().find(strange) {
            Some(id) => wrong(format!("broker {id} is not there, or is stopping or being drained")),
            None => Ok(()),
        }
    }

    /// Counts an assignment among what the brokers carry.
    pub(super) fn carry(&mut self, replicas: &[BrokerId], of_topic: bool) {
        for (at, id) in replicas.iter().enumerate() {
            let Some(load) = self.loads.get_mut(id) else { continue };
            let (leads, follows, here) = (u32::from(at == 0), u32::from(at > 0), u32::from(of_topic));
            load.leaders += leads;
            load.followers += follows;
            load.topic_leaders += leads * here;
            load.topic_followers += follows * here;
        }
    }

    /// Who carries the least among those that do not hold the partition, on the rack with the fewest of the replicas
    /// `beside`. Ties are broken by the seed.
    fn least(&mut self, role: Role, held_by: &[BrokerId], beside: &[BrokerId]) -> Option<BrokerId> {
        self.seed = mix(self.seed);
        let weight = |id: BrokerId, load: &Load| {
            let tie = mix(self.seed ^ u64::from(id.0.unsigned_abs()));
            let crowd = self.on_rack(id, beside);
            match role {
                Role::Leader => {
                    (crowd, load.topic_leaders, load.leaders, load.topic_followers, load.followers, tie)
                }
                Role::Follower => {
                    (crowd, load.topic_followers, load.followers, load.topic_leaders, load.leaders, tie)
                }
            }
        };
        let open = self.loads.iter().filter(|(id, _)| !held_by.contains(id));
        open.min_by_key(|(id, load)| weight(**id, load)).map(|(id, _)| *id)
    }

    /// How many of these replicas share the broker's rack. A broker without one is a rack of its own.
    fn on_rack(&self, id: BrokerId, replicas: &[BrokerId]) -> u32 {
        let rack = self.racks.get(&id).copied().flatten();
        let same = |other: &&BrokerId| rack.is_some() && self.racks.get(other).copied().flatten() == rack;
        u32::try_from(replicas.iter().filter(same).count()).unwrap_or(u32::MAX)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Leader,
    Follower,
}

/// The step of `splitmix64`.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
