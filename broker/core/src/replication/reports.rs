//! What leaders hear and say: assignments, progress, wishes.

use std::cmp::Ordering;
use std::time::Duration;

use highwater_proto::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch};
use thiserror::Error;

use crate::settings::Durability;

/// What the metadata says of a partition, as its leader needs it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Assignment {
    /// Every replica, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// The committed set of in-sync replicas.
    pub isr: Vec<BrokerId>,
    /// Replicas that a reassignment takes away, once everybody it adds is in sync: each leaves the in-sync replicas when it
    /// is known to follow this leader.
    pub leaving: Vec<BrokerId>,
    /// Of the change that made it so.
    pub partition_epoch: PartitionEpoch,
    /// Whether the leader was elected uncleanly and has not said yet that it took over (M-15).
    pub recovering: bool,
}

/// The settings that decide what counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Whether flushed or written records count.
    pub durability: Durability,
    /// How many in-sync replicas there must be; never more than there are replicas.
    pub min_in_sync: usize,
    /// A follower that was not caught up for so long leaves the in-sync replicas.
    pub lag_max: Duration,
}

/// What a follower says it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Progress {
    /// The follower.
    pub broker: BrokerId,
    /// Of this life of it.
    pub broker_epoch: BrokerEpoch,
    /// The leader it follows, by epoch (M-03, M-04).
    pub leader_epoch: LeaderEpoch,
    /// Where its log ends.
    pub log_end: Offset,
    /// Up to where it is flushed (M-12).
    pub flushed_end: Offset,
}

/// A change of the in-sync replicas that the leader asks the controller for (AlterPartition of KIP-497).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IsrProposal {
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
    /// What the change is compared against.
    pub partition_epoch: PartitionEpoch,
    /// The new set, each with the life that the leader knows (KIP-903).
    pub isr: Vec<(BrokerId, BrokerEpoch)>,
}

/// Somebody believes in another leader than the present one (M-03).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EpochError {
    /// In an older one.
    #[error("leader epoch {asked} is older than {current}")]
    Fenced {
        /// As asked.
        asked: LeaderEpoch,
        /// The present one, as far as is known here.
        current: LeaderEpoch,
    },
    /// In a newer one.
    #[error("leader epoch {asked} is newer than {current}")]
    Unknown {
        /// As asked.
        asked: LeaderEpoch,
        /// The present one, as far as is known here.
        current: LeaderEpoch,
    },
}

impl EpochError {
    /// Whether who names the epoch `asked` means the leader of epoch `current`.
    ///
    /// # Errors
    /// It does not.
    pub fn check(asked: LeaderEpoch, current: LeaderEpoch) -> Result<(), EpochError> {
        match asked.cmp(&current) {
            Ordering::Less => Err(EpochError::Fenced { asked, current }),
            Ordering::Equal => Ok(()),
            Ordering::Greater => Err(EpochError::Unknown { asked, current }),
        }
    }
}

/// Why a follower's request, or a leader's word, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StreamError {
    /// It is for another leader.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// The broker is not one of the replicas.
    #[error("broker {0} is not a replica")]
    NotAReplica(BrokerId),
    /// An earlier life of the broker, or a stream that was never begun.
    #[error("broker {0} speaks for an earlier life of itself")]
    StaleBroker(BrokerId),
}
