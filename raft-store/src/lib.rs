//! Raft for Highwater: the durable log, vote and snapshots, and a node over them, generic over the state machine.
//!
//! The one place that knows openraft. A caller brings a [`StateMachine`], a [`Transport`] and a `highwater_env::Disk`, and
//! gets a [`RaftNode`]: it proposes opaque payloads, which every node applies in the same order, and hears who leads.
//!
//! Invariants, whatever the disk does:
//! * what was acknowledged (a vote that was given, an entry whose flush was reported) is there after a crash, or the
//!   node refuses to start: damage below the point known to be durable is never cut away and nothing is deleted for it;
//! * vote and log are written by one thread, in the order in which they were handed over ([`log`](self) in `log/`);
//! * after a failed write or sync nothing more is written: the node stops;
//! * applied index, membership and data of the state machine are one unit, in memory and in each snapshot file.
//!
//! What it must not know: topics, partitions, or any other content of the entries it stores.
//!
//! # Traps of Raft, and of openraft, and what keeps us out of them
//!
//! | trap | kept out by | test |
//! |---|---|---|
//! | a commit without a quorum; a stale membership after a snapshot | openraft of the 0.10 line, pinned | `storm`, `members` |
//! | a new leader's first entry is not flushed and what it committed is gone after a restart | callbacks only after the sync | `three_nodes_that_lose_power_together_..` |
//! | a higher vote that was only seen counts as given; a vote is forgotten and given twice | both copies are synced before `save_vote` returns | `after_a_power_cut_at_any_call_..`, `a_vote_with_one_rotten_copy_..` |
//! | entries of a term are durable before the vote of that term | one thread, one queue, in order | `after_a_power_cut_at_any_call_..` |
//! | replies before the flush, completions out of order | group commit on the same thread, reported in order | `after_a_power_cut_at_any_call_..` |
//! | a leader that restarts still leads, with an older state | no leader restore; `is_leader` only after an entry of its own term was applied; `committed` is kept | `a_sole_voter_leads_..` |
//! | a read by lease after the lead was handed over | `linearize` asks a majority each time | `when_the_leader_is_cut_off_..` |
//! | acknowledgements that outlive a log that was taken back | log reversion is never allowed: a damaged log refuses to start | `damage`, `starting` |
//! | a snapshot that is not what was taken | checksums, and the state's digest after each restore | `a_state_that_comes_back_different_..`, `formats` |
//! | a purged log and a follower behind it | a snapshot, and its entries count as purged | `a_follower_that_missed_a_purge_..` |
//! | a purged log without its snapshot is taken for an empty state | compared at the start | `a_missing_snapshot_is_not_..` |
//! | a leader that is taken for dead is unseated by one that alone cannot reach it | voters give up their lease one by one, and pre-vote counts them | `succession` |
//! | a node without the leader disturbs it with ever higher terms | pre-vote | `a_removed_voter_that_was_not_told_..`, `a_follower_that_was_cut_off_..` |
//! | an empty disk under an old id, or another node's disk | `identity`; requests name their target and cluster | `a_missing_identity_is_not_..`, `what_is_not_for_this_node_..` |
//! | an empty disk under an old id that was let in all the same votes with what it forgot | a node can withhold its vote until it has caught up | `a_node_that_withholds_its_vote_..` |
//! | a change to voters that cannot decide | refused by the leader that does not hear them | `a_removal_that_leaves_no_majority_..` |
//! | a failed sync is tried again and succeeds | the first error stops the node; what is not known to be durable is written again at the next start | `any_call_that_fails_..` |

mod codec;
mod config;
mod incoming;
mod log;
mod machine;
mod members;
mod network;
mod node;
mod opened;
mod snapshot;
mod start;
mod status;
mod succession;
mod transport;
mod types;
mod wire;

pub use config::RaftConfig;
pub use machine::StateMachine;
pub use members::MembershipError;
pub use node::{LinearizeError, ProposeError, Proposed, RaftNode};
pub use opened::OpenedNode;
pub use start::StartError;
pub use status::RaftStatus;
pub use transport::{BoxFuture, Transport, TransportError};

#[cfg(test)]
mod tests;
