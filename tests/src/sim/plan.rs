//! What a run is made from.

use highwater_core::settings::Durability;
use highwater_env::sim::SimRandom;

/// A run, all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Decides everything else.
    pub seed: u64,
    /// How many brokers; every partition begins with three replicas, which move about.
    pub brokers: usize,
    /// How many partitions.
    pub partitions: i32,
    /// How long faults are installed, in milliseconds; the heal, and the drain, come after that.
    pub faults_ms: u64,
    /// After the last heal the cluster has so long to serve again, in milliseconds.
    pub heal_ms: u64,
    /// What an acknowledgement means.
    pub durability: Durability,
}

impl Plan {
    /// The plan of a seed: 60 simulated seconds.
    #[must_use]
    pub fn of(seed: u64) -> Plan {
        let random = SimRandom::new(seed ^ 0x5eed);
        Plan {
            seed,
            brokers: if random.below(4) == 0 { 5 } else { 3 },
            partitions: i32::try_from(1 + random.below(3)).expect("a few"),
            faults_ms: 45_000,
            heal_ms: 12_000,
            durability: if random.below(4) == 0 { Durability::Replicated } else { Durability::Fsync },
        }
    }
}
