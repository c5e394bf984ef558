//! What any broker may ask of the controller, and what it is told. Both travel between brokers as JSON: a field that is
//! added later has a default, so that brokers of two versions understand each other.

use std::collections::BTreeMap;
use std::ops::Range;

use highwater_proto::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, TopicId, TopicPartition};
use serde::{Deserialize, Serialize};

use super::broker::{ClusterId, Endpoints, Incarnation};
use super::partition::Partition;
use super::refusal::{AlterPartitionError, ElectionError, ReassignError};
use super::topic::Topic;

/// A request to change the metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Makes the cluster, once. Answered by [`Outcome::Done`].
    FormCluster {
        /// Its identity, drawn at random.
        id: ClusterId,
        /// Its name, for people.
        name: String,
        /// The ids of its first brokers.
        brokers: Vec<BrokerId>,
    },
    /// Takes an id for a broker that wants to join. Answered by [`Outcome::BrokerIdTaken`].
    TakeBrokerId,
    /// Raises the version of the records that may be written. Answered by [`Outcome::Done`].
    RaiseMetadataVersion {
        /// The new version.
        version: u32,
    },
    /// A broker came, or came back. Answered by [`Outcome::Registered`]; it is fenced then.
    RegisterBroker {
        /// Who, and what is on its disk.
        registration: Registration,
    },
    /// A broker has caught up with the metadata and reported what its recovery lost. Answered by [`Outcome::Done`].
    Unfence {
        /// Who.
        broker: BrokerId,
        /// In which life.
        epoch: BrokerEpoch,
        /// Up to which index of the log it has applied the metadata.
        applied: u64,
    },
    /// A broker was not heard of: it leaves every in-sync set and others lead. The controller's own; answered by
    /// [`Outcome::Done`].
    Fence {
        /// Who.
        broker: BrokerId,
        /// In which life; a newer one is left alone.
        epoch: BrokerEpoch,
    },
    /// A broker is about to stop: others lead from here on. Answered by [`Outcome::Stopping`].
    ControlledShutdown {
        /// Who.
        broker: BrokerId,
        /// In which life.
        epoch: BrokerEpoch,
    },
    /// A leader changes in-sync sets, or says that it recovered from an unclean election (M-06). Answered by
    /// [`Outcome::PartitionsAltered`].
    AlterPartition {
        /// The leader.
        broker: BrokerId,
        /// In which life.
        epoch: BrokerEpoch,
        /// The changes, each of which is done or refused alone.
        changes: Vec<AlterPartition>,
    },
    /// A broker's recovery found that these logs lost something that was flushed (I20): they must not be counted. Sent
    /// before the broker lets itself be unfenced. Answered by [`Outcome::Done`].
    ReportUnclean {
        /// Who.
        broker: BrokerId,
        /// In which life.
        epoch: BrokerEpoch,
        /// Which of its replicas.
        partitions: Vec<TopicPartition>,
    },
    /// Elects leaders anew. Answered by [`Outcome::Elected`].
    ElectLeaders {
        /// By which rule.
        kind: ElectionKind,
        /// For which partitions; absent is all of them, and those for which nothing is to do go unmentioned then.
        #[serde(default)]
        partitions: Option<Vec<TopicPartition>>,
    },
    /// Moves replicas, or stops moving them. Answered by [`Outcome::Reassigned`].
    Reassign {
        /// The changes, each of which is done or refused alone.
        partitions: Vec<Reassignment>,
    },
    /// Moves everything off a broker, which gets no new replicas from here on. Answered by [`Outcome::Draining`].
    Drain {
        /// Who.
        broker: BrokerId,
    },
    /// Lets a broker that was draining have replicas again; what has not yet left stays. Answered by
    /// [`Outcome::Done`].
    CancelDrain {
        /// Who.
        broker: BrokerId,
    },
    /// Removes a broker that has no replicas, for good. Answered by [`Outcome::Done`].
    RemoveBroker {
        /// Who; its id is never used again.
        broker: BrokerId,
    },
    /// Creates a topic. Answered by [`Outcome::TopicCreated`].
    CreateTopic {
        /// What it should be.
        topic: NewTopic,
        /// Whether it is done or only checked.
        #[serde(default)]
        mode: Mode,
    },
    /// Deletes a topic. Answered by [`Outcome::TopicDeleted`].
    DeleteTopic {
        /// Which one.
        topic: TopicRef,
    },
    /// Gives a topic more partitions. Answered by [`Outcome::Done`].
    AddPartitions {
        /// Its name.
        topic: String,
        /// How many it shall have in all.
        total: i32,
        /// Who shall hold each new one; empty leaves that to the controller.
        #[serde(default)]
        assignments: Vec<Vec<BrokerId>>,
        /// Whether it is done or only checked.
        #[serde(default)]
        mode: Mode,
    },
    /// Edits some settings of a topic. Answered by [`Outcome::Done`].
    AlterConfigs {
        /// Its name.
        topic: String,
        /// What happens to which.
        edits: BTreeMap<String, ConfigEdit>,
        /// Whether it is done or only checked.
        #[serde(default)]
        mode: Mode,
    },
    /// Gives a topic exactly these settings. Answered by [`Outcome::Done`].
    ReplaceConfigs {
        /// Its name.
        topic: String,
        /// All that are not at their defaults.
        configs: BTreeMap<String, String>,
        /// Whether it is done or only checked.
        #[serde(default)]
        mode: Mode,
    },
    /// Takes a block of producer ids. Answered by [`Outcome::ProducerIds`].
    TakeProducerIds,
}

/// Whether a change is carried out or only checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Carried out.
    #[default]
    Apply,
    /// Only checked.
    ValidateOnly,
}

/// A topic, by name or by identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TopicRef {
    /// Whichever has this name now.
    Name(String),
    /// This one and no other.
    Id(TopicId),
}

/// What a new topic should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1 is the default.
    pub partitions: i32,
    /// How many replicas of each; -1 is the default.
    pub replication_factor: i32,
    /// Overrides.
    #[serde(default)]
    pub configs: BTreeMap<String, String>,
    /// Who shall hold each partition, the preferred leader first; empty leaves that to the controller. If given, the
    /// two numbers above are -1 or agree with it.
    #[serde(default)]
    pub assignments: Vec<Vec<BrokerId>>,
}

/// What happens to one setting of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigEdit {
    /// It gets this value.
    Set(String),
    /// It goes back to its default.
    Reset,
    /// These elements, with commas between, are added to the list it is, unless they are in it.
    Append(String),
    /// These elements, with commas between, are taken from the list it is.
    Subtract(String),
}

/// How the life of a broker before this one ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LastStop {
    /// By a controlled shutdown, in the epoch that is on its disk: everything was flushed.
    Clean,
    /// By anything else.
    Unclean,
}

/// What a broker says of itself when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Its id, which it was given by the cluster.
    pub broker: BrokerId,
    /// The process; a repeated registration carries the same one.
    pub incarnation: Incarnation,
    /// The cluster that it thinks it belongs to, if it ever did.
    #[serde(default)]
    pub cluster: Option<ClusterId>,
    /// Names its disk: 16 random bytes in hex, say, that were written when the disk was first used.
    pub disk_id: String,
    /// The broker epoch found on its disk. A broker writes its epoch there before it lets itself be unfenced.
    #[serde(default)]
    pub last_epoch: Option<BrokerEpoch>,
    /// How its last life ended.
    pub last_stop: LastStop,
    /// Where it is reached.
    pub endpoints: Endpoints,
    /// What fails together.
    #[serde(default)]
    pub rack: Option<String>,
    /// The newest version of the metadata's records that it reads.
    pub version: u32,
}

/// A leader's wish for one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterPartition {
    /// Which one.
    pub partition: TopicPartition,
    /// The epoch in which it leads.
    pub leader_epoch: LeaderEpoch,
    /// The state that it wants to change.
    pub partition_epoch: PartitionEpoch,
    /// The new in-sync set, each with the broker epoch in which it fetched (KIP-903).
    pub isr: Vec<(BrokerId, BrokerEpoch)>,
    /// Whether a leader that was elected uncleanly has now recovered. Says nothing of others.
    #[serde(default)]
    pub recovered: bool,
}

/// Who may be elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ElectionKind {
    /// The preferred leader, if it is in sync.
    Preferred,
    /// Anybody that is there, if nobody leads: what others acknowledged may be lost (M-15).
    Unclean,
}

/// A wish for the replicas of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reassignment {
    /// Which one.
    pub partition: TopicPartition,
    /// Who shall hold it, the preferred leader first; absent takes a reassignment that is under way back.
    #[serde(default)]
    pub replicas: Option<Vec<BrokerId>>,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was done.
    Done,
    /// An id for a new broker.
    BrokerIdTaken {
        /// The id.
        broker: BrokerId,
    },
    /// The broker is registered, and fenced.
    Registered {
        /// The epoch of this life.
        epoch: BrokerEpoch,
    },
    /// The broker leads nothing more and may go.
    Stopping {
        /// How many partitions have no leader now because it was the last one that could lead them.
        leaderless: u32,
    },
    /// For each change the new state of the partition, or why not; in the order of the command.
    PartitionsAltered {
        /// What became of each.
        results: Vec<PartitionResult<Partition, AlterPartitionError>>,
    },
    /// For each partition its leader now, or why there was no election.
    Elected {
        /// What became of each.
        results: Vec<PartitionResult<BrokerId, ElectionError>>,
    },
    /// For each partition its new state, or why not.
    Reassigned {
        /// What became of each.
        results: Vec<PartitionResult<Partition, ReassignError>>,
    },
    /// Replicas are moving away.
    Draining {
        /// How many partitions the broker holds as yet.
        partitions: u32,
    },
    /// The topic as it is, or would be.
    TopicCreated {
        /// The topic.
        topic: Topic,
    },
    /// The topic that is gone.
    TopicDeleted {
        /// Its identity.
        id: TopicId,
        /// Its name.
        name: String,
    },
    /// Producer ids that nobody else gets.
    ProducerIds {
        /// The ids; the end is excluded.
        ids: Range<i64>,
    },
}

/// What became of one partition of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionResult<T, E> {
    /// Which one.
    pub partition: TopicPartition,
    /// What became of it.
    pub result: Result<T, E>,
}
