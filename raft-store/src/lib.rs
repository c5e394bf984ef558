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

mod codec;
mod config;
mod incoming;
mod log;
mod machine;
mod members;
mod network;
mod node;
mod snapshot;
mod start;
mod status;
mod transport;
mod types;
mod wire;

pub use config::RaftConfig;
pub use machine::StateMachine;
pub use members::MembershipError;
pub use node::{LinearizeError, ProposeError, Proposed, RaftNode};
pub use start::StartError;
pub use status::RaftStatus;
pub use transport::{BoxFuture, Transport, TransportError};

#[cfg(test)]
mod tests;
