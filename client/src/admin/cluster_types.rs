//! What the calls about the cluster take and return.

use highwater_proto::{BrokerId, ErrorCode, PartitionIndex, grpc};

use super::types::brokers;
use crate::error::AdminError;

/// The cluster as the controller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterStatus {
    /// The name that its brokers were given.
    pub name: String,
    /// Its identity; empty while it forms.
    pub id: String,
    /// The broker that decides; `None` while there is none.
    pub controller: Option<BrokerId>,
    /// The entry of the metadata log that the answering broker has applied last.
    pub metadata_applied: u64,
    /// By number.
    pub brokers: Vec<BrokerStatus>,
    /// How many topics there are.
    pub topics: u32,
    /// How many partitions they have.
    pub partitions: u32,
    /// Partitions without a leader.
    pub leaderless: u32,
    /// Partitions with fewer in-sync replicas than replicas.
    pub under_replicated: u32,
    /// Partitions with fewer in-sync replicas than `min.insync.replicas`: they take no writes with acks=all.
    pub under_min_in_sync: u32,
}

/// Whether a broker takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerState {
    /// It serves.
    Active,
    /// It is not heard, and leads nothing.
    Fenced,
    /// It is about to stop, and has handed over what it led.
    Stopping,
    /// It is known to Raft only.
    Unregistered,
}

/// What a broker is to the metadata's Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRole {
    /// It votes.
    Voter,
    /// It follows.
    Learner,
    /// Nothing.
    None,
}

/// One broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerStatus {
    /// Its number.
    pub id: BrokerId,
    /// Counts its starts, in the metadata log's own numbers; -1 while it is not registered.
    pub epoch: i64,
    /// Whether it takes part.
    pub state: BrokerState,
    /// Whether its replicas are moving away.
    pub draining: bool,
    /// What it is to the metadata.
    pub role: NodeRole,
    /// What fails together with it; empty when nobody said.
    pub rack: String,
    /// Where other brokers reach it.
    pub peer: String,
    /// Where this library reaches it.
    pub grpc: String,
    /// Where Kafka clients reach it.
    pub kafka: Vec<String>,
    /// Where its admin HTTP is.
    pub admin: String,
    /// Partitions it leads.
    pub leaders: u32,
    /// Partitions it holds, those that it leads among them.
    pub replicas: u32,
    /// What it has of the metadata log; `None` when the answering broker does not know.
    pub metadata_matched: Option<u64>,
}

/// What to do to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerChange {
    /// Moves its replicas away; it gets no new ones.
    Drain,
    /// Lets it have replicas again.
    CancelDrain,
    /// Removes it for good; it must hold nothing. Its number is never used again.
    Remove,
    /// It votes on the metadata from now on.
    AddVoter,
    /// It no longer votes.
    RemoveVoter,
}

/// Who may be elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// The preferred leader, if it is in sync.
    Preferred,
    /// Any replica that is there. Acknowledged records may be lost.
    Unclean,
}

/// Where a partition's replicas are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// The preferred leader first; `None` takes the move under way back.
    pub replicas: Option<Vec<BrokerId>>,
}

/// A move that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OngoingMove {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// Who holds it now, those that come among them.
    pub replicas: Vec<BrokerId>,
    /// Those that come.
    pub adding: Vec<BrokerId>,
    /// Those that go.
    pub removing: Vec<BrokerId>,
}

/// What became of one partition of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionOutcome {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// The leader after it, if there is one; or why nothing was done.
    pub result: Result<Option<BrokerId>, AdminError>,
}

impl BrokerChange {
    pub(super) fn to_wire(self) -> i32 {
        use grpc::change_broker_request::Change;
        let change = match self {
            BrokerChange::Drain => Change::Drain,
            BrokerChange::CancelDrain => Change::CancelDrain,
            BrokerChange::Remove => Change::Remove,
            BrokerChange::AddVoter => Change::AddVoter,
            BrokerChange::RemoveVoter => Change::RemoveVoter,
        };
        change.into()
    }
}

impl From<grpc::DescribeClusterResponse> for ClusterStatus {
    fn from(answer: grpc::DescribeClusterResponse) -> ClusterStatus {
        let mut brokers: Vec<BrokerStatus> = answer.brokers.into_iter().map(BrokerStatus::from).collect();
        brokers.sort_by_key(|broker| broker.id);
        ClusterStatus {
            name: answer.cluster_name,
            id: answer.cluster_id,
            controller: (answer.controller >= 0).then_some(BrokerId(answer.controller)),
            metadata_applied: answer.metadata_applied,
            brokers,
            topics: answer.topics,
            partitions: answer.partitions,
            leaderless: answer.leaderless,
            under_replicated: answer.under_replicated,
            under_min_in_sync: answer.under_min_in_sync,
        }
    }
}

impl From<grpc::ClusterBroker> for BrokerStatus {
    fn from(broker: grpc::ClusterBroker) -> BrokerStatus {
        BrokerStatus {
            id: BrokerId(broker.id),
            epoch: broker.epoch,
            state: match broker.state.as_str() {
                "active" => BrokerState::Active,
                "stopping" => BrokerState::Stopping,
                "unregistered" => BrokerState::Unregistered,
                _ => BrokerState::Fenced,
            },
            draining: broker.draining,
            role: match broker.role.as_str() {
                "voter" => NodeRole::Voter,
                "learner" => NodeRole::Learner,
                _ => NodeRole::None,
            },
            rack: broker.rack,
            peer: broker.peer,
            grpc: broker.grpc,
            kafka: broker.kafka,
            admin: broker.admin,
            leaders: broker.leaders,
            replicas: broker.replicas,
            metadata_matched: u64::try_from(broker.metadata_matched).ok(),
        }
    }
}

impl From<grpc::OngoingReassignment> for OngoingMove {
    fn from(ongoing: grpc::OngoingReassignment) -> OngoingMove {
        OngoingMove {
            topic: ongoing.topic,
            partition: PartitionIndex(ongoing.partition),
            replicas: brokers(ongoing.replicas),
            adding: brokers(ongoing.adding),
            removing: brokers(ongoing.removing),
        }
    }
}

impl From<grpc::PartitionResult> for PartitionOutcome {
    fn from(result: grpc::PartitionResult) -> PartitionOutcome {
        let subject = format!("{}-{}", result.topic, result.partition);
        let outcome = if result.error == ErrorCode::None.to_wire() {
            Ok((result.leader >= 0).then_some(BrokerId(result.leader)))
        } else {
            Err(AdminError::refused(subject, result.error, &result.message))
        };
        PartitionOutcome { topic: result.topic, partition: PartitionIndex(result.partition), result: outcome }
    }
}
