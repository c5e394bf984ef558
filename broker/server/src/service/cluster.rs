//! The cluster as a whole: who is in it, what stands still, what moves; and changes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use highwater_core::metadata::{
    Broker, Command, ElectionError, ElectionKind, Outcome, PartitionResult, ReassignError, Reassignment,
    Topic,
};
use highwater_proto::{BrokerId, LeaderEpoch, Offset, TopicPartition};

use super::{PartitionDetails, Services, TopicDetails, TopicFailure};
use crate::controller::{Answer, Members, Request, SubmitError};
use crate::peer::Kind;

/// Another broker has this long to tell what it knows.
const ASK_WAIT: Duration = Duration::from_secs(2);
/// A change of Raft's nodes has this long: a new voter has to catch up first.
const MEMBERS_WAIT: Duration = Duration::from_secs(30);

/// What a broker is to the metadata's Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRole {
    /// It votes.
    Voter,
    /// It follows without a vote.
    Learner,
    /// It is not a node.
    None,
}

/// A broker and what it carries.
#[derive(Clone, Debug)]
pub struct BrokerOverview {
    /// Its id.
    pub id: BrokerId,
    /// As it is registered, if it is.
    pub broker: Option<Broker>,
    /// What it is to Raft.
    pub role: NodeRole,
    /// Partitions that it leads.
    pub leaders: u32,
    /// Partitions that it holds.
    pub replicas: u32,
    /// The last entry of the metadata log that it has, as far as the controller knows.
    pub metadata_matched: Option<u64>,
}

/// The cluster at a glance.
#[derive(Clone, Debug)]
pub struct ClusterOverview {
    /// The cluster's identity; empty while it forms.
    pub id: String,
    /// Who decides.
    pub controller: Option<BrokerId>,
    /// The last entry of the metadata log that this broker has applied.
    pub applied: u64,
    /// By id.
    pub brokers: Vec<BrokerOverview>,
    /// How many topics there are.
    pub topics: u32,
    /// How many partitions they have.
    pub partitions: u32,
    /// Partitions without a leader.
    pub leaderless: u32,
    /// Partitions with fewer in-sync replicas than replicas.
    pub under_replicated: u32,
    /// Partitions that take no writes with acks=all, because too few replicas are in sync.
    pub under_min_in_sync: u32,
}

impl Services {
    /// The cluster at a glance. What only the controller knows is left out when it does not answer.
    pub async fn cluster_overview(&self) -> ClusterOverview {
        let matched = self.nodes().await;
        let image = self.image();
        let status = self.control.status();
        let id_of = |id: &u64| i32::try_from(*id).ok().map(BrokerId);
        let mut brokers: BTreeMap<BrokerId, BrokerOverview> = BTreeMap::new();
        let blank = |id: BrokerId| BrokerOverview {
            id,
            broker: None,
            role: NodeRole::None,
            leaders: 0,
            replicas: 0,
            metadata_matched: matched.get(&id).copied().flatten(),
        };
        for broker in image.brokers() {
            brokers.entry(broker.id).or_insert_with(|| blank(broker.id)).broker = Some(broker.clone());
        }
        let voters = status.voters.keys().filter_map(id_of).map(|id| (id, NodeRole::Voter));
        let learners = status.learners.keys().filter_map(id_of).map(|id| (id, NodeRole::Learner));
        for (id, role) in voters.chain(learners) {
            brokers.entry(id).or_insert_with(|| blank(id)).role = role;
        }
        let (mut partitions, mut leaderless, mut under_replicated, mut under_min_in_sync) = (0, 0, 0, 0);
        for (_, topic, partition) in image.partitions() {
            partitions += 1;
            leaderless += u32::from(partition.leader.is_none());
            under_replicated += u32::from(partition.isr.len() < partition.replicas.len());
            let min = topic.min_insync_replicas();
            under_min_in_sync += u32::from(partition.isr.len() < partition.min_isr(min));
            for id in &partition.replicas {
                if let Some(broker) = brokers.get_mut(id) {
                    broker.replicas += 1;
                    broker.leaders += u32::from(partition.leader == Some(*id));
                }
            }
        }
        ClusterOverview {
            id: image.cluster().map_or_else(String::new, |cluster| cluster.id.to_string()),
            // A node that is cut off goes on naming the last one that led: only one that answers is told of.
            controller: status.leader.as_ref().and_then(id_of).filter(|_| !matched.is_empty()),
            applied: status.applied.unwrap_or(0),
            brokers: brokers.into_values().collect(),
            topics: u32::try_from(image.topics().count()).unwrap_or(u32::MAX),
            partitions,
            leaderless,
            under_replicated,
            under_min_in_sync,
        }
    }

    async fn nodes(&self) -> BTreeMap<BrokerId, Option<u64>> {
        match self.control.ask_controller(Request::Nodes, ASK_WAIT).await {
            Ok(Answer::Nodes(nodes)) => nodes,
            _ => BTreeMap::new(),
        }
    }

    /// A topic with its partitions as their leaders see them; those whose leader does not answer as this broker sees them,
    /// if it holds them.
    pub async fn describe_topic(&self, topic: &Topic) -> TopicDetails {
        let own = self.config.broker_id;
        let mut by_leader: BTreeMap<BrokerId, Vec<TopicPartition>> = BTreeMap::new();
        for (id, partition) in topic.partition_ids().zip(&topic.partitions) {
            let fallback = if partition.replicas.contains(&own) { own } else { BrokerId(-1) };
            by_leader.entry(partition.leader.unwrap_or(fallback)).or_default().push(id);
        }
        let asked = by_leader.into_iter().map(async |(leader, ids)| {
            let known = if leader == own {
                self.describe_here(&ids).await
            } else {
                self.describe_there(leader, &ids).await
            };
            ids.into_iter().zip(known).collect::<Vec<_>>()
        });
        let mut partitions: Vec<PartitionDetails> = Vec::new();
        for (id, details) in join_all(asked).await.into_iter().flatten() {
            partitions.push(details.unwrap_or_else(|| unknown(id)));
        }
        partitions.sort_by_key(|details| details.id);
        TopicDetails { topic: topic.clone(), partitions }
    }

    /// What this broker knows of its replicas. Opens those that weren't.
    pub(crate) async fn describe_here(&self, ids: &[TopicPartition]) -> Vec<Option<PartitionDetails>> {
        use futures_util::StreamExt;
        let details =
            |(id, opened): (TopicPartition, Result<Arc<crate::partition::Partition>, _>)| match opened {
                Ok(partition) => Some(partition.details()),
                Err(super::PartitionError::Offline(error)) => {
                    Some(PartitionDetails { offline_reason: Some(error.to_string()), ..unknown(id) })
                }
                Err(_) => None,
            };
        self.partitions(ids.iter().copied()).map(details).collect().await
    }

    async fn describe_there(
        &self,
        leader: BrokerId,
        ids: &[TopicPartition],
    ) -> Vec<Option<PartitionDetails>> {
        let image = self.image();
        let Some(broker) = image.broker(leader) else { return vec![None; ids.len()] };
        let request = serde_json::to_vec(&Request::Describe(ids.to_vec())).expect("a request is plain data");
        let peers = self.control.peers();
        let called = peers.call(leader, &broker.endpoints.peer, Kind::Control, &request, ASK_WAIT).await;
        match called.ok().and_then(|answer| serde_json::from_slice(&answer).ok()) {
            Some(Answer::Described(known)) if known.len() == ids.len() => known,
            _ => vec![None; ids.len()],
        }
    }

    /// Elects leaders anew; `None` is all partitions, of which only those that changed are told.
    ///
    /// # Errors
    /// [`TopicFailure`].
    pub async fn elect_leaders(
        self: &Arc<Services>,
        kind: ElectionKind,
        partitions: Option<Vec<TopicPartition>>,
    ) -> Result<Vec<PartitionResult<BrokerId, ElectionError>>, TopicFailure> {
        match self.change(Command::ElectLeaders { kind, partitions }).await? {
            Outcome::Elected { results } => Ok(results),
            other => unreachable!("an election is answered by its results, not by {other:?}"),
        }
    }

    /// Moves replicas, or takes moves back.
    ///
    /// # Errors
    /// [`TopicFailure`].
    pub async fn reassign(
        self: &Arc<Services>,
        partitions: Vec<Reassignment>,
    ) -> Result<Vec<PartitionResult<highwater_core::metadata::Partition, ReassignError>>, TopicFailure> {
        match self.change(Command::Reassign { partitions }).await? {
            Outcome::Reassigned { results } => Ok(results),
            other => unreachable!("a reassignment is answered by its results, not by {other:?}"),
        }
    }

    /// Moves everything off a broker. Returns how many partitions it still holds.
    ///
    /// # Errors
    /// [`TopicFailure`].
    pub async fn drain_broker(self: &Arc<Services>, broker: BrokerId) -> Result<u32, TopicFailure> {
        match self.change(Command::Drain { broker }).await? {
            Outcome::Draining { partitions } => Ok(partitions),
            other => unreachable!("a drain is answered by what is left, not by {other:?}"),
        }
    }

    /// Lets a broker that was draining have replicas again.
    ///
    /// # Errors
    /// [`TopicFailure`].
    pub async fn cancel_drain(self: &Arc<Services>, broker: BrokerId) -> Result<(), TopicFailure> {
        self.change(Command::CancelDrain { broker }).await.map(drop)
    }

    /// Removes a broker that holds nothing, for good.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn remove_broker(&self, id: BrokerId) -> Result<(), SubmitError> {
        self.control.change_members(Members::RemoveBroker { id }, MEMBERS_WAIT).await
    }

    /// Gives a broker a vote on the metadata.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn add_voter(&self, id: BrokerId) -> Result<(), SubmitError> {
        self.control.change_members(Members::AddVoter { id }, MEMBERS_WAIT).await
    }

    /// Takes a broker's vote on the metadata.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn remove_voter(&self, id: BrokerId) -> Result<(), SubmitError> {
        self.control.change_members(Members::RemoveVoter { id }, MEMBERS_WAIT).await
    }
}

/// A partition of which nothing is known here.
fn unknown(id: TopicPartition) -> PartitionDetails {
    PartitionDetails {
        id,
        epoch: LeaderEpoch::UNKNOWN,
        log_start: Offset(-1),
        high_watermark: Offset(-1),
        log_end: Offset(-1),
        flushed_end: Offset(-1),
        size_bytes: 0,
        offline_reason: Some("its leader does not answer".to_owned()),
        followers: Vec::new(),
    }
}
