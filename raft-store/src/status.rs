//! What a node knows of itself and its cluster, for everyone who waits for a change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::Instant;
use openraft::{RaftMetrics, ServerState};

use crate::types::{TypeConfig, term_of};

/// A node's view. Only what is committed and applied is certain; the rest can be overtaken at any moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftStatus {
    /// This node.
    pub id: u64,
    /// The term it is in.
    pub term: u64,
    /// Who leads, as far as it knows. A follower that was cut off goes on naming the leader it knew.
    pub leader: Option<u64>,
    /// Whether this node leads *and is ready*: it has applied an entry of its own term, so it has applied everything that
    /// earlier leaders committed, and a majority answered it within twice [`crate::RaftConfig::election_max`]. No proof
    /// that nobody else leads by now: [`crate::RaftNode::linearize`] is.
    pub is_leader: bool,
    /// The nodes that vote, with their addresses: while a change is under way, those of either side.
    pub voters: BTreeMap<u64, String>,
    /// The nodes that only follow, with their addresses.
    pub learners: BTreeMap<u64, String>,
    /// The last entry of the log.
    pub last_log_index: Option<u64>,
    /// The last entry that this node knows to be committed.
    pub committed: Option<u64>,
    /// The last entry that was applied here.
    pub applied: Option<u64>,
    /// On a leader: the last entry that each node is known to have.
    pub replication: BTreeMap<u64, Option<u64>>,
    /// On a leader: itself and the nodes that answered it within the last [`crate::RaftConfig::election_max`].
    pub answering: BTreeSet<u64>,
    /// Whether a change of voters is under way.
    pub changing_voters: bool,
    /// The entry up to which a snapshot was taken.
    pub snapshot: Option<u64>,
    /// The last entry of which the log has nothing but the snapshot any more.
    pub purged: Option<u64>,
    /// Why the node stopped, if it did: it will not go on, and its process should end.
    pub failure: Option<String>,
}

impl RaftStatus {
    /// A leader counts as one for `lease` after a majority last answered it.
    pub(crate) fn of(metrics: &RaftMetrics<TypeConfig>, lease: Duration) -> RaftStatus {
        let membership = metrics.membership_config.membership();
        let voting: Vec<u64> = membership.voter_ids().collect();
        let (mut voters, mut learners) = (BTreeMap::new(), BTreeMap::new());
        for (id, node) in membership.nodes() {
            let side = if voting.contains(id) { &mut voters } else { &mut learners };
            side.insert(*id, node.addr.clone());
        }
        let leads = metrics.state == ServerState::Leader && metrics.current_leader == Some(metrics.id);
        let applied_own = metrics.last_applied.is_some_and(|last| term_of(&last) == metrics.current_term);
        let heard =
            metrics.last_quorum_acked.is_some_and(|at| at.elapsed() < lease) || voting == [metrics.id];
        let replication = metrics.replication.iter().flatten();
        let acked = metrics.heartbeat.iter().flatten();
        let acked = acked.filter(|(_, at)| at.is_some_and(|at| at.elapsed() < lease)).map(|(id, _)| *id);
        RaftStatus {
            id: metrics.id,
            term: metrics.current_term,
            leader: metrics.current_leader,
            is_leader: leads && applied_own && heard && metrics.running_state.is_ok(),
            voters,
            learners,
            last_log_index: metrics.last_log_index,
            committed: metrics.local_committed.map(|id| id.index),
            applied: metrics.last_applied.map(|id| id.index),
            replication: replication.map(|(id, matched)| (*id, matched.map(|id| id.index))).collect(),
            answering: acked
                .chain((metrics.current_leader == Some(metrics.id)).then_some(metrics.id))
                .collect(),
            changing_voters: membership.get_joint_config().len() > 1,
            snapshot: metrics.snapshot.map(|id| id.index),
            purged: metrics.purged.map(|id| id.index),
            failure: metrics.running_state.as_ref().err().map(ToString::to_string),
        }
    }
}
