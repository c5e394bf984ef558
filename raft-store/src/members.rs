//! Changes of who belongs to the cluster. All go through the leader and are entries of the log.
//!
//! A voter's address never changes in place: two sets of nodes that disagree on who an id is could each find a majority.
//! A node that moves is removed and comes back with a new id and an empty directory.

use std::collections::{BTreeMap, BTreeSet};

use openraft::errors::{ClientWriteError, RaftError};
use openraft::{BasicNode, ChangeMembers};

use crate::node::RaftNode;
use crate::status::RaftStatus;
use crate::types::TypeConfig;

/// Why the members stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Only the leader changes members.
    #[error("this node does not lead; the leader is {leader:?}")]
    NotLeader {
        /// Who leads and where, if it is known.
        leader: Option<(u64, String)>,
    },
    /// A cluster without voters can never decide anything again.
    #[error("removing the last voter would leave nobody to decide: add another voter first")]
    LastVoter,
    /// Of the voters that would be left too few answer: nothing could be decided after it, not even to take it back.
    #[error(
        "without it a majority of the voters that are left, {needed} of {voters:?}, must answer, and only {answering:?} do: \
         bring one of the others back or give a vote to another node first"
    )]
    NoMajority {
        /// The voters there would be.
        voters: BTreeSet<u64>,
        /// Those of them that answer the leader.
        answering: BTreeSet<u64>,
        /// How many must.
        needed: usize,
    },
    /// The node is not a member.
    #[error("node {id} is not a member: add it as a learner first")]
    NotMember {
        /// Which node.
        id: u64,
    },
    /// The id belongs to a member at another address.
    #[error("node {id} is a member at {address}: remove it first, and add it again under a new id")]
    OtherAddress {
        /// Which node.
        id: u64,
        /// Where it is.
        address: String,
    },
    /// The node lacks too much of the log to count: with it the cluster could decide nothing until it has caught up.
    #[error("node {id} has {matched:?} of {last:?}: let it catch up first")]
    Behind {
        /// Which node.
        id: u64,
        /// The last entry that it is known to have.
        matched: Option<u64>,
        /// The last entry there is.
        last: Option<u64>,
    },
    /// Another change is under way; try again when it is done.
    #[error("another change of members is under way")]
    InProgress,
    /// The entry was proposed, but this node lost the lead: it may or may not take effect.
    #[error("the lead was lost on the way: look at the members before trying again")]
    OutcomeUnknown,
    /// Any other refusal.
    #[error("refused: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// The node has stopped.
    #[error("the raft node has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// A learner that lacks more entries than this is not made a voter.
const LAG_MAX: u64 = 1_000;

impl RaftNode {
    /// Lets a node follow. Returns when that is committed, not when the node has caught up: see
    /// [`RaftNode::wait_caught_up`]. Fine to repeat with the same address.
    pub async fn add_learner(&self, id: u64, address: &str) -> Result<(), MembershipError> {
        let status = self.current();
        if let Some(held) = status.voters.get(&id).or_else(|| status.learners.get(&id)) {
            if held == address {
                return Ok(());
            }
            return Err(MembershipError::OtherAddress { id, address: held.clone() });
        }
        let node = BasicNode::new(address);
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(id, node)])), Leaving::Stay).await
    }

    /// Makes these nodes, all of them members, the voters. A voter that is not among them is no member any more.
    /// Returns when the new voters have committed it. A learner that is far behind is refused: see
    /// [`RaftNode::wait_caught_up`].
    pub async fn change_voters(&self, voters: BTreeSet<u64>) -> Result<(), MembershipError> {
        let status = self.current();
        if voters.is_empty() {
            return Err(MembershipError::LastVoter);
        }
        if let Some(id) = voters.iter().find(|id| !is_member(&status, **id)) {
            return Err(MembershipError::NotMember { id: *id });
        }
        if status.leader == Some(status.id) {
            for id in voters.iter().filter(|id| !status.voters.contains_key(id)) {
                let matched = status.replication.get(id).copied().flatten();
                if status.last_log_index.unwrap_or(0) > matched.map_or(0, |matched| matched + LAG_MAX) {
                    return Err(MembershipError::Behind { id: *id, matched, last: status.last_log_index });
                }
            }
        }
        self.wait_for_majority(&voters).await?;
        self.change(ChangeMembers::ReplaceAllVoters(voters), Leaving::Go).await
    }

    /// On the leader: waits until a member has all that is in the log now. `false` if this node stopped, or leads no more.
    pub async fn wait_caught_up(&self, id: u64) -> bool {
        let last = self.current().last_log_index;
        let mut status = self.status();
        let done = |now: &RaftStatus| now.replication.get(&id).is_some_and(|matched| *matched >= last);
        let leads = |now: &RaftStatus| now.leader == Some(now.id) && now.failure.is_none();
        status.wait_for(|now| done(now) || !leads(now)).await.is_ok_and(|now| done(&now))
    }

    /// Takes a node's vote; it stays as a learner. Fine to repeat. A leader should hand the lead over first.
    pub async fn demote(&self, id: u64) -> Result<(), MembershipError> {
        let status = self.current();
        if !status.voters.contains_key(&id) {
            return if is_member(&status, id) { Ok(()) } else { Err(MembershipError::NotMember { id }) };
        }
        if status.voters.len() == 1 {
            return Err(MembershipError::LastVoter);
        }
        self.wait_for_majority(&voters_without(&status, id)).await?;
        self.change(ChangeMembers::RemoveVoters(BTreeSet::from([id])), Leaving::Stay).await
    }

    /// Removes a voter or a learner. Fine to repeat. The leader can remove itself: it hands the lead over.
    pub async fn remove(&self, id: u64) -> Result<(), MembershipError> {
        let status = self.current();
        if status.voters.contains_key(&id) {
            if status.voters.len() == 1 {
                return Err(MembershipError::LastVoter);
            }
            self.wait_for_majority(&voters_without(&status, id)).await?;
            return self.change(ChangeMembers::RemoveVoters(BTreeSet::from([id])), Leaving::Go).await;
        }
        if !is_member(&status, id) {
            return Ok(());
        }
        self.change(ChangeMembers::RemoveNodes(BTreeSet::from([id])), Leaving::Go).await
    }

    /// On the leader: whether these voters could decide anything, as far as it hears of them. A change to voters that cannot
    /// would never be committed, and stand in the way of everything that comes after it. One that leads since a moment has
    /// not heard of everybody yet, nor has anyone of a voter that is just back.
    async fn wait_for_majority(&self, voters: &BTreeSet<u64>) -> Result<(), MembershipError> {
        let needed = voters.len() / 2 + 1;
        let answering = |now: &RaftStatus| -> BTreeSet<u64> { voters & &now.answering };
        let mut status = self.status();
        // What does not lead, or has stopped, is refused by what comes next.
        let settled = status.wait_for(|now| {
            answering(now).len() >= needed || now.leader != Some(now.id) || now.failure.is_some()
        });
        if tokio::time::timeout(self.majority_patience, settled).await.is_ok() {
            return Ok(());
        }
        Err(MembershipError::NoMajority {
            voters: voters.clone(),
            answering: answering(&self.current()),
            needed,
        })
    }

    async fn change(
        &self,
        changes: ChangeMembers<u64, BasicNode>,
        leaving: Leaving,
    ) -> Result<(), MembershipError> {
        let changed = self.raft.change_membership(changes, leaving == Leaving::Stay).await;
        changed.map(|_| ()).map_err(refusal)
    }
}

/// Whether a voter that is one no more stays as a learner.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    Stay,
    Go,
}

fn voters_without(status: &RaftStatus, id: u64) -> BTreeSet<u64> {
    status.voters.keys().copied().filter(|voter| *voter != id).collect()
}

fn is_member(status: &RaftStatus, id: u64) -> bool {
    status.voters.contains_key(&id) || status.learners.contains_key(&id)
}

fn refusal(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> MembershipError {
    use openraft::errors::ChangeMembershipError as Change;
    match error {
        RaftError::Fatal(fatal) => MembershipError::Stopped { reason: fatal.to_string() },
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            let address = forward.leader_node.map(|node| node.addr).unwrap_or_default();
            MembershipError::NotLeader { leader: forward.leader_id.map(|id| (id, address)) }
        }
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => MembershipError::OutcomeUnknown,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(change)) => match change {
            Change::InProgress(_) => MembershipError::InProgress,
            Change::EmptyMembership(_) => MembershipError::LastVoter,
            Change::LearnerNotFound(missing) => MembershipError::NotMember { id: missing.node_id },
            other => MembershipError::Refused { reason: other.to_string() },
        },
        RaftError::APIError(other) => MembershipError::Refused { reason: other.to_string() },
    }
}
