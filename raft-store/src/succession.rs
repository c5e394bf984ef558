//! A leader whose process has ended is followed by another one at once, and not only when it was silent long enough.
//!
//! Voters that have heard of a leader lately vote for nobody else. That is for the sake of peace and not of safety: nothing
//! here reads by that lease. A voter that has seen for itself that the leader's process is gone gives its part of it up, and
//! asks whether the others would vote. They would if they have seen the same: a majority agrees that the leader is gone, or
//! nothing changes. A leader that is only out of reach of one node stays.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::TransferLeaderRequest;

use crate::node::RaftNode;
use crate::types::Vote;

/// Voters ask one after the other, so much apart: two that ask at once would each get one vote.
const TURN: Duration = Duration::from_millis(50);
/// The first one waits a moment, until the others have seen it too.
const FIRST_TURN: Duration = Duration::from_millis(5);
/// Each asks so often; after that it waits for the timeouts like everybody.
const TURNS_MAX: usize = 6;

/// What a voter that lost its leader knows.
struct Orphan {
    vote: Vote,
    /// How many voters ask before it.
    rank: u32,
    /// Voters without the leader.
    others: u32,
}

impl RaftNode {
    /// This node has seen that the process of `leader` has ended: it waits for that leader no longer. Returns when somebody
    /// else leads, or after a few attempts. Nothing happens if `leader` does not lead as far as this node knows.
    pub async fn leader_is_gone(&self, leader: u64) {
        let Some(orphan) = self.orphan(leader) else { return };
        if self.current().leader != Some(leader) || self.withholds_votes() {
            return;
        }
        let mut pause = FIRST_TURN + TURN * orphan.rank;
        for _ in 0..TURNS_MAX {
            let Some(orphan) = self.orphan(leader) else { return };
            // Naming another node than this one as the next leader only ends the lease.
            let request = TransferLeaderRequest::new(orphan.vote, leader, None);
            if self.raft.handle_transfer_leader(request).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
            if self.orphan(leader).is_none() || self.raft.trigger().elect(true).await.is_err() {
                return;
            }
            pause = TURN * orphan.others;
        }
    }

    /// `None` when somebody else leads by now, or this node has no vote.
    fn orphan(&self, leader: u64) -> Option<Orphan> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.current_leader.is_some_and(|now| now != leader) {
            return None;
        }
        let mut others: Vec<u64> = metrics.membership_config.membership().voter_ids().collect();
        others.retain(|id| *id != leader);
        others.sort_unstable();
        others.dedup();
        let rank = others.iter().position(|id| *id == metrics.id)?;
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Some(Orphan { vote: metrics.vote, rank: count(rank), others: count(others.len()) })
    }
}
