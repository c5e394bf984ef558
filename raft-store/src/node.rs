//! A running node: the handle that the rest of a process holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use highwater_env::Disk;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, InitializeError, LinearizableReadError, RaftError};
use openraft::{BasicNode, ReadPolicy};
use tokio::sync::{Mutex, watch};

use crate::incoming::Incoming;
use crate::log::{IoThread, LogStore};
use crate::machine::{self, Machine, StateMachine};
use crate::network::Network;
use crate::opened::OpenedNode;
use crate::start::{Opened, StartError};
use crate::status::RaftStatus;
use crate::transport::Transport;
use crate::types::{Payload, TypeConfig};
use crate::{MembershipError, RaftConfig};

/// A proposal that took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Where it is in the log.
    pub index: u64,
    /// What the state machine of this node said to it.
    pub reply: Vec<u8>,
}

/// Why a proposal has no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was proposed: this node does not lead, or cannot reach enough voters to lead.
    #[error("this node does not lead; the leader is {leader:?}")]
    NotLeader {
        /// Who leads and where, if it is known.
        leader: Option<(u64, String)>,
    },
    /// It was proposed, and then this node lost the lead: it may or may not take effect. A proposer that tries again must
    /// be able to tell whether it did.
    #[error("the lead was lost on the way: the proposal may or may not take effect")]
    OutcomeUnknown,
    /// Nothing was proposed.
    #[error("a payload of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// Bytes of the payload.
        bytes: usize,
        /// [`RaftConfig::payload_bytes_max`].
        bytes_max: usize,
    },
    /// The node has stopped. If it stopped after the proposal was taken, the outcome is unknown.
    #[error("the raft node has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// Why there is no index to read at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinearizeError {
    /// Only the leader can say.
    #[error("this node does not lead; the leader is {leader:?}")]
    NotLeader {
        /// Who leads and where, if it is known.
        leader: Option<(u64, String)>,
    },
    /// Not enough voters answered.
    #[error("a majority of the voters cannot be reached")]
    NoQuorum,
    /// The node has stopped.
    #[error("the raft node has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// A node; clones are handles to the same one. Without [`RaftNode::shutdown`] it runs as long as the runtime.
#[derive(Clone)]
pub struct RaftNode {
    pub(crate) raft: openraft::Raft<TypeConfig, Machine>,
    machine: Machine,
    incoming: Arc<Incoming>,
    status: watch::Receiver<RaftStatus>,
    thread: Arc<Mutex<Option<IoThread>>>,
    payload_bytes_max: usize,
    lease: Duration,
    pub(crate) majority_patience: Duration,
}

impl RaftNode {
    /// Starts a node over its directory, or a new one over an empty directory. Returns when the state machine holds all
    /// that this node knows to be committed. A sole voter asks for its own vote at once and leads a moment later.
    pub async fn start(
        config: RaftConfig,
        disk: Arc<dyn Disk>,
        state_machine: impl StateMachine,
        transport: Arc<dyn Transport>,
    ) -> Result<RaftNode, StartError> {
        OpenedNode::open(config, disk).await?.start(state_machine, transport).await
    }

    /// Starts a node over what was opened.
    pub(crate) async fn over(
        node: OpenedNode,
        state_machine: impl StateMachine,
        transport: Arc<dyn Transport>,
    ) -> Result<RaftNode, StartError> {
        let recovery = |reason: String| StartError::Recovery { reason };
        let OpenedNode { config, settings, opened: Opened { log, snapshots }, withheld_until } = node;
        let machine = Machine::new(Box::new(state_machine), snapshots);
        let (store, thread) = LogStore::start(log).map_err(|error| recovery(error.to_string()))?;
        let cluster = crc32c::crc32c(config.cluster_name.as_bytes());
        let network = Network {
            transport,
            id: config.id,
            cluster,
            heartbeat_timeout: config.heartbeat_timeout(),
            append_timeout: config.append_timeout(),
        };
        let started =
            openraft::Raft::new(config.id, Arc::new(settings), network, store.clone(), machine.clone()).await;
        let raft = match started {
            Ok(raft) => raft,
            Err(error) => {
                thread.stop().await;
                return Err(recovery(error.to_string()));
            }
        };
        let status = watch_status(&raft, store, &config);
        let node = RaftNode {
            raft,
            machine,
            incoming: Arc::new(Incoming::new(config.id, cluster, config.snapshot_bytes_max, withheld_until)),
            status,
            thread: Arc::new(Mutex::new(Some(thread))),
            payload_bytes_max: config.payload_bytes_max,
            lease: config.lease(),
            majority_patience: config.majority_patience,
        };
        match withheld_until {
            Some(index) => node.vote_from(index),
            None => node.elect_if_alone().await?,
        }
        Ok(node)
    }

    /// Lets the node vote and ask for votes once it has applied the entry at `index`.
    fn vote_from(&self, index: u64) {
        let node = self.clone();
        tokio::spawn(async move {
            if node.wait_applied(index).await {
                node.raft.runtime_config().elect(true);
            }
        });
    }

    /// Whether it may not stand yet: it may have forgotten what it confirmed.
    pub(crate) fn withholds_votes(&self) -> bool {
        self.incoming.withholds_votes(&self.raft)
    }

    async fn elect_if_alone(&self) -> Result<(), StartError> {
        let id = *self.raft.node_id();
        let alone = move |state: &openraft::RaftState<TypeConfig>| {
            state.membership_state.effective().voter_ids().eq([id])
        };
        let stopped = |error: String| StartError::Recovery { reason: error };
        if self.raft.with_raft_state(alone).await.map_err(|error| stopped(error.to_string()))? {
            self.raft.trigger().elect(false).await.map_err(|error| stopped(error.to_string()))?;
        }
        Ok(())
    }

    /// Whether this node knows of a cluster that it belongs, or belonged, to.
    pub async fn is_initialized(&self) -> bool {
        self.raft.is_initialized().await.unwrap_or(false)
    }

    /// Founds a cluster of these voters, with their addresses. Fine to call on each of them with the same voters, and on
    /// a node that was initialised before: then nothing happens.
    pub async fn initialize(&self, voters: BTreeMap<u64, String>) -> Result<(), MembershipError> {
        let nodes: BTreeMap<u64, BasicNode> =
            voters.into_iter().map(|(id, addr)| (id, BasicNode { addr })).collect();
        match self.raft.initialize(nodes).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(error)) => Err(MembershipError::Refused { reason: error.to_string() }),
            Err(RaftError::Fatal(fatal)) => Err(MembershipError::Stopped { reason: fatal.to_string() }),
        }
    }

    /// Answers a request that another node's [`Transport::call`] brought here.
    pub async fn handle(&self, request: Bytes) -> Bytes {
        self.incoming.handle(&self.raft, request).await
    }

    /// Appends a payload and waits until it is committed and applied here. On a leader that was cut off this can take
    /// until another one is heard of: wrap it in a timeout, after which the outcome is unknown.
    pub async fn propose(&self, payload: Vec<u8>) -> Result<Proposed, ProposeError> {
        let (bytes, bytes_max) = (payload.len(), self.payload_bytes_max);
        if bytes > bytes_max {
            return Err(ProposeError::TooLarge { bytes, bytes_max });
        }
        match self.raft.client_write(Payload(Bytes::from(payload))).await {
            Ok(written) => Ok(Proposed { index: written.log_id.index, reply: written.data.0 }),
            Err(RaftError::Fatal(fatal)) => Err(ProposeError::Stopped { reason: fatal.to_string() }),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                let address = forward.leader_node.map(|node| node.addr).unwrap_or_default();
                Err(ProposeError::NotLeader { leader: forward.leader_id.map(|id| (id, address)) })
            }
            Err(RaftError::APIError(_)) => Err(ProposeError::OutcomeUnknown),
        }
    }

    /// Makes sure that this node led when asked, by asking a majority (never by a lease: clocks may drift), and waits until
    /// it has applied everything that was committed before. What is read here afterwards is at least as new as anything
    /// acknowledged before the call. Gives that index; on a follower, ask the leader for one and
    /// [`RaftNode::wait_applied`].
    pub async fn linearize(&self) -> Result<u64, LinearizeError> {
        match self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(read) => Ok(read.index()),
            Err(RaftError::Fatal(fatal)) => Err(LinearizeError::Stopped { reason: fatal.to_string() }),
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(LinearizeError::NoQuorum)
            }
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                let address = forward.leader_node.map(|node| node.addr).unwrap_or_default();
                Err(LinearizeError::NotLeader { leader: forward.leader_id.map(|id| (id, address)) })
            }
        }
    }

    /// Waits until this node has applied the entry at `index`. `false` if it stopped before.
    pub async fn wait_applied(&self, index: u64) -> bool {
        let mut status = self.status.clone();
        let reached = status.wait_for(|now| now.applied >= Some(index) || now.failure.is_some()).await;
        reached.is_ok_and(|now| now.applied >= Some(index))
    }

    /// Asks this node, the leader, to hand the lead to another voter. Returns when the request is on its way.
    pub async fn transfer_leader(&self, to: u64) -> Result<(), MembershipError> {
        let status = self.current();
        if !status.voters.contains_key(&to) {
            return Err(MembershipError::NotMember { id: to });
        }
        if status.leader != Some(status.id) {
            let leader = status.leader.map(|id| (id, status.voters.get(&id).cloned().unwrap_or_default()));
            return Err(MembershipError::NotLeader { leader });
        }
        let asked = self.raft.trigger().transfer_leader(to).await;
        asked.map_err(|fatal| MembershipError::Stopped { reason: fatal.to_string() })
    }

    /// Lets this node ask for votes now, unless the others hear of a leader.
    pub async fn trigger_election(&self) {
        if self.withholds_votes() {
            return;
        }
        // A node that has stopped says so in its status.
        let _ = self.raft.trigger().elect(true).await;
    }

    /// Lets this node take a snapshot now.
    pub async fn trigger_snapshot(&self) {
        let _ = self.raft.trigger().snapshot().await;
    }

    /// What this node knows, as it changes.
    pub fn status(&self) -> watch::Receiver<RaftStatus> {
        self.status.clone()
    }

    /// What this node knows now.
    pub(crate) fn current(&self) -> RaftStatus {
        RaftStatus::of(&self.raft.metrics().borrow_watched(), self.lease)
    }

    /// The applied index and the state machine's digest at it: equal on all nodes at equal index. Walks the whole state.
    pub fn digest(&self) -> (Option<u64>, u32) {
        self.machine.digest()
    }

    /// Stops the node and lets its directory go. What was handed over is durable when this returns.
    pub async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "the raft node ended badly");
        }
        machine::close(&self.machine).await;
        if let Some(thread) = self.thread.lock().await.take() {
            thread.stop().await;
        }
    }
}

/// Keeps the status up to date, and the log in memory within its limit, as long as the node runs.
fn watch_status(
    raft: &openraft::Raft<TypeConfig, Machine>,
    store: LogStore,
    config: &RaftConfig,
) -> watch::Receiver<RaftStatus> {
    let (lease, heartbeat, log_bytes_max) = (config.lease(), config.heartbeat, config.log_bytes_max);
    let mut metrics = raft.metrics();
    let (sender, receiver) = watch::channel(RaftStatus::of(&metrics.borrow_watched(), lease));
    let raft = raft.clone();
    tokio::spawn(async move {
        let mut snapshot_at = None;
        loop {
            // That nobody answers a leader is no change of anything: it is looked at from time to time.
            let changed = tokio::time::timeout(heartbeat, metrics.changed()).await;
            if changed.is_ok_and(|changed| changed.is_err()) {
                break;
            }
            let now = RaftStatus::of(&metrics.borrow_watched(), lease);
            let taken = now.snapshot;
            let stopped = now.failure.is_some();
            sender.send_if_modified(|held| std::mem::replace(held, now.clone()) != now);
            if stopped {
                break;
            }
            // Once per state of the snapshot: the next one is worth taking when this one has freed memory.
            if store.bytes_in_memory() > log_bytes_max && snapshot_at != Some(taken) {
                snapshot_at = Some(taken);
                let _ = raft.trigger().snapshot().await;
            }
        }
    });
    receiver
}
