//! Why commands are refused: one enum per kind of decision, and [`Refusal`], which is any of them. All travel to the
//! broker that asked, so that its client reads the same sentence whoever was asked.

use highwater_proto::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, TopicId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::broker::ClusterId;
use crate::settings::SettingError;
use crate::topic_name::TopicNameError;

/// Why a command was refused as a whole. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Refusal {
    /// A change of topics.
    #[error(transparent)]
    Topic(#[from] MetadataError),
    /// A registration.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The broker that asks is not who it thinks it is.
    #[error(transparent)]
    Life(#[from] LifeError),
    /// The removal of a broker, or the way to it.
    #[error(transparent)]
    Removal(#[from] RemovalError),
    /// The cluster's own affairs.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

/// Why a change of topics is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum MetadataError {
    /// The name breaks a rule.
    #[error(transparent)]
    Name(#[from] TopicNameError),
    /// A setting breaks a rule.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// There is one already.
    #[error("topic '{name}' exists already")]
    Exists {
        /// Its name.
        name: String,
    },
    /// Differs from an existing one only in `.` against `_`.
    #[error("topic '{name}' collides with '{existing}': names must differ in more than '.' and '_'")]
    Collides {
        /// The new name.
        name: String,
        /// The one that is there.
        existing: String,
    },
    /// There is none.
    #[error("there is no topic '{name}'")]
    NoSuchTopic {
        /// As it was asked for.
        name: String,
    },
    /// None has this id.
    #[error("no topic has the id {id}")]
    NoSuchTopicId {
        /// As it was asked for.
        id: TopicId,
    },
    /// Elements can be added to and taken from lists only.
    #[error("'{name}' is not a list, so nothing can be added to it or taken from it")]
    NotAList {
        /// The setting.
        name: String,
    },
    /// Not a possible number of partitions.
    #[error("{partitions} partitions are not possible: {problem}")]
    Partitions {
        /// As it was asked for.
        partitions: i64,
        /// Why not.
        problem: String,
    },
    /// Not a possible number of replicas.
    #[error(transparent)]
    Placement(#[from] PlacementError),
}

/// Why replicas cannot be placed.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum PlacementError {
    /// Fewer than one, or more than can ever be.
    #[error("replication factor {factor} is not possible: it is a number from 1 to {max}")]
    Factor {
        /// As it was asked for.
        factor: i32,
        /// The most.
        max: i32,
    },
    /// There are too few brokers that take replicas.
    #[error("replication factor {factor} is not possible with {live} live broker(s)")]
    TooFewBrokers {
        /// As it was asked for.
        factor: i32,
        /// How many there are, fenced, stopping and draining ones not counted.
        live: usize,
    },
    /// An assignment by hand is not possible.
    #[error("partition {partition} cannot be held by {replicas:?}: {problem}")]
    Assignment {
        /// Which partition.
        partition: i32,
        /// As it was asked for.
        replicas: Vec<i32>,
        /// Why not.
        problem: String,
    },
    /// There are other than as many assignments as partitions.
    #[error("{assignments} assignment(s) for {partitions} partition(s)")]
    Count {
        /// How many were given.
        assignments: usize,
        /// How many partitions there are to assign.
        partitions: i64,
    },
}

/// Why a broker is not registered.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum RegistrationError {
    /// It belongs to another cluster.
    #[error("this is cluster {here}, and broker {broker} belongs to cluster {theirs}")]
    OtherCluster {
        /// Who asked.
        broker: BrokerId,
        /// The one it knows.
        theirs: ClusterId,
        /// This one.
        here: ClusterId,
    },
    /// There is no cluster yet.
    #[error("the cluster is not formed yet, so broker {broker} cannot join it")]
    NoCluster {
        /// Who asked.
        broker: BrokerId,
    },
    /// Nobody was ever given this id.
    #[error(
        "the cluster never gave the id {broker} to a broker; join it with one address of a member, and without an id"
    )]
    UnknownId {
        /// Who asked.
        broker: BrokerId,
    },
    /// Its id was removed from the cluster.
    #[error(
        "broker {broker} was removed from the cluster, and ids are not used again: join with an empty data directory and get a new one"
    )]
    Removed {
        /// Who asked.
        broker: BrokerId,
    },
    /// Another process has the id, and is alive.
    #[error("broker {broker} is alive already in epoch {epoch}, as another process at {peer}")]
    Duplicate {
        /// The id.
        broker: BrokerId,
        /// The epoch of the one that is alive.
        epoch: BrokerEpoch,
        /// Where it is.
        peer: String,
    },
    /// It cannot read what is written.
    #[error(
        "broker {broker} reads metadata up to version {version}, and version {needed} is in use; start a newer program"
    )]
    TooOld {
        /// Who asked.
        broker: BrokerId,
        /// What it reads.
        version: u32,
        /// What it would have to read.
        needed: u32,
    },
    /// It is being registered at this moment.
    #[error("broker {broker} is being registered by another process at this moment")]
    Concurrent {
        /// Who asked.
        broker: BrokerId,
    },
}

/// Why a broker's word does not count.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum LifeError {
    /// Nobody has this id.
    #[error("broker {broker} is not registered")]
    Unregistered {
        /// Who asked.
        broker: BrokerId,
    },
    /// A later life of the broker is registered, or this one is unknown (M-61).
    #[error("broker {broker} is registered in epoch {registered}, and this is epoch {epoch}")]
    StaleEpoch {
        /// Who asked.
        broker: BrokerId,
        /// In which epoch.
        epoch: BrokerEpoch,
        /// The right one.
        registered: BrokerEpoch,
    },
    /// It has not seen its own registration yet.
    #[error(
        "broker {broker} has applied the metadata up to {applied}, and must come to {needed} before it is unfenced"
    )]
    Behind {
        /// Who asked.
        broker: BrokerId,
        /// How far it is.
        applied: u64,
        /// How far it must be.
        needed: u64,
    },
    /// It said that it would stop.
    #[error("broker {broker} is shutting down, and cannot be unfenced before it has registered again")]
    Stopping {
        /// Who asked.
        broker: BrokerId,
    },
}

/// Why one partition was not altered.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum AlterPartitionError {
    /// There is no such topic, or no such partition of it.
    #[error("there is no such partition")]
    UnknownPartition,
    /// Another leader has been elected since.
    #[error("leader epoch {epoch} is over, this is {now}")]
    FencedLeaderEpoch {
        /// The one that asked.
        epoch: LeaderEpoch,
        /// The present one.
        now: LeaderEpoch,
    },
    /// The asking broker does not lead.
    #[error("broker {broker} does not lead this partition")]
    NotLeader {
        /// Who asked.
        broker: BrokerId,
    },
    /// The asking broker knows more than this controller, which cannot be the controller then.
    #[error("this controller is behind the leader's state; ask the controller again")]
    NewerEpoch,
    /// The partition has changed since.
    #[error("partition epoch {epoch} is over, this is {now}")]
    InvalidUpdateVersion {
        /// The one that was to be changed.
        epoch: PartitionEpoch,
        /// The present one.
        now: PartitionEpoch,
    },
    /// The set is not one of in-sync replicas.
    #[error("in-sync replicas cannot be {isr:?}: {problem}")]
    InvalidIsr {
        /// As it was asked for.
        isr: Vec<i32>,
        /// Why not.
        problem: String,
    },
    /// A broker may not be in sync now.
    #[error("broker {broker} cannot be in sync: {problem}")]
    IneligibleReplica {
        /// Which one.
        broker: BrokerId,
        /// Why not.
        problem: String,
    },
    /// It was done, and by that this leader epoch ended: a reassignment is complete, say. Whoever leads now, the same
    /// broker perhaps, learns it from the metadata.
    #[error("the change was made, and a new leader epoch began with it")]
    NewLeaderElected,
}

/// Why no leader was elected.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum ElectionError {
    /// There is no such topic, or no such partition of it.
    #[error("there is no such partition")]
    UnknownPartition,
    /// The right one leads.
    #[error("no election is needed: broker {leader} leads")]
    NotNeeded {
        /// Who leads.
        leader: BrokerId,
    },
    /// The preferred leader is not in sync.
    #[error("the preferred leader, broker {preferred}, is not in sync")]
    PreferredNotAvailable {
        /// Who should lead.
        preferred: BrokerId,
    },
    /// None of its replicas is there.
    #[error("none of the replicas {replicas:?} is alive")]
    NobodyAlive {
        /// All of them.
        replicas: Vec<i32>,
    },
}

/// Why replicas are not moved.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum ReassignError {
    /// There is no such topic, or no such partition of it.
    #[error("there is no such partition")]
    UnknownPartition,
    /// The target is not possible.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// Nothing is under way that could be taken back.
    #[error("no reassignment of this partition is under way")]
    NoneUnderWay,
    /// Taking it back would leave nobody that has the data.
    #[error(
        "the reassignment cannot be taken back: only replicas that it adds are in sync or eligible to lead"
    )]
    CannotTakeBack,
}

/// Why a broker is not drained or removed.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum RemovalError {
    /// Nobody has this id.
    #[error("broker {broker} is not registered")]
    Unregistered {
        /// As it was asked for.
        broker: BrokerId,
    },
    /// The others cannot take its replicas.
    #[error(
        "broker {broker} cannot be drained: topic '{topic}' has replication factor {factor}, and only {live} other broker(s) can take replicas"
    )]
    TooFewBrokers {
        /// Who.
        broker: BrokerId,
        /// A topic whose replicas find no place.
        topic: String,
        /// Its replication factor.
        factor: usize,
        /// How many brokers could take them.
        live: usize,
    },
    /// It is not being drained.
    #[error("broker {broker} is not being drained")]
    NotDraining {
        /// Who.
        broker: BrokerId,
    },
    /// It holds replicas.
    #[error("broker {broker} still holds {partitions} replica(s); drain it first")]
    HoldsReplicas {
        /// Who.
        broker: BrokerId,
        /// How many.
        partitions: u32,
    },
    /// It is in use.
    #[error("broker {broker} is alive and was not drained; drain it first")]
    Alive {
        /// Who.
        broker: BrokerId,
    },
}

/// Why the cluster's own affairs stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum ClusterError {
    /// It was formed before.
    #[error("the cluster was formed already, with the id {id}")]
    FormedAlready {
        /// Its id.
        id: ClusterId,
    },
    /// There is none yet.
    #[error("the cluster is not formed yet, so nobody can join it")]
    NotFormed,
    /// It needs brokers.
    #[error("a cluster cannot be formed of the brokers {brokers:?}: {problem}")]
    Brokers {
        /// As it was asked for.
        brokers: Vec<i32>,
        /// Why not.
        problem: String,
    },
    /// Too many ids were given to brokers that never came.
    #[error("{waiting} ids were given to brokers that have not joined yet; that is the limit")]
    TooManyIds {
        /// How many.
        waiting: usize,
    },
    /// It never falls.
    #[error("the version of the metadata is {now}, and cannot become {version}")]
    VersionFalls {
        /// As it was asked for.
        version: u32,
        /// The present one.
        now: u32,
    },
    /// Not everybody could read it.
    #[error("the version of the metadata cannot become {version}: broker {broker} reads up to {reads}")]
    VersionUnreadable {
        /// As it was asked for.
        version: u32,
        /// Who could not read it.
        broker: BrokerId,
        /// What it reads.
        reads: u32,
    },
    /// This controller could not write it.
    #[error("the version of the metadata cannot become {version}: this program knows up to {known}")]
    VersionUnknown {
        /// As it was asked for.
        version: u32,
        /// The newest one.
        known: u32,
    },
}
