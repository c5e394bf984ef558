//! openraft's requests to other nodes, over the caller's [`Transport`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{BasicNode, OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};

use crate::snapshot::Image;
use crate::transport::{Transport, TransportError};
use crate::types::{TypeConfig, Vote};
use crate::wire::{Chunk, Envelope, Request, Response};

/// A snapshot travels in pieces of this many bytes.
const CHUNK_BYTES: usize = 1 << 20;

type Failure = RPCError<TypeConfig>;

/// Makes the connections to other nodes.
pub(crate) struct Network {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) id: u64,
    pub(crate) cluster: u32,
    /// How long a heartbeat may take.
    pub(crate) heartbeat_timeout: Duration,
    /// How long entries may take to be durable on the other side.
    pub(crate) append_timeout: Duration,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Connection {
        let envelope = Envelope { from: self.id, to: target, cluster: self.cluster };
        Connection {
            transport: Arc::clone(&self.transport),
            envelope,
            address: node.addr.clone(),
            heartbeat_timeout: self.heartbeat_timeout,
            append_timeout: self.append_timeout,
        }
    }
}

/// The way to one node.
pub(crate) struct Connection {
    transport: Arc<dyn Transport>,
    envelope: Envelope,
    address: String,
    heartbeat_timeout: Duration,
    append_timeout: Duration,
}

impl Connection {
    async fn call(&self, action: RPCTypes, request: Request, timeout: Duration) -> Result<Response, Failure> {
        let target = self.envelope.to;
        let bytes = request.encode(self.envelope);
        let answer = self.transport.call(target, &self.address, bytes, timeout).await;
        let answer = answer.map_err(|error| match error {
            TransportError::Timeout => {
                RPCError::Timeout(Timeout { action, id: self.envelope.from, target, timeout })
            }
            TransportError::Unreachable { .. } => RPCError::Unreachable(Unreachable::new(&error)),
        })?;
        match decode(answer) {
            // Whoever refuses will refuse again: not at once, so it counts as unreachable.
            Ok(Response::Refused(reason)) => Err(RPCError::Unreachable(Unreachable::from_string(reason))),
            Ok(response) => Ok(response),
            Err(error) => Err(RPCError::Network(error)),
        }
    }
}

fn decode(answer: Bytes) -> Result<Response, NetworkError<TypeConfig>> {
    Response::decode(answer).map_err(|error| NetworkError::new(&error))
}

fn unexpected() -> Failure {
    RPCError::Network(NetworkError::from_string("the answer is to another kind of request"))
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = Image;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Failure> {
        // openraft allows three quarters of a heartbeat's interval, and stops waiting for a heartbeat itself after the whole of it.
        // That a peer is short of processor time is no reason to give the connection up, as a timeout of ours would. A disk takes
        // longer still, and then all would be sent once more.
        let least = if rpc.entries.is_empty() { self.heartbeat_timeout } else { self.append_timeout };
        let timeout = option.soft_ttl().max(least);
        match self.call(RPCTypes::AppendEntries, Request::Append(rpc), timeout).await? {
            Response::Append(response) => Ok(response),
            _ => Err(unexpected()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        match self.call(RPCTypes::Vote, Request::Vote(rpc), option.soft_ttl()).await? {
            Response::Vote(response) => Ok(response),
            _ => Err(unexpected()),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Failure> {
        match self.call(RPCTypes::Vote, Request::PreVote(rpc), option.soft_ttl()).await? {
            Response::PreVote(response) => Ok(response),
            _ => Err(unexpected()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<TypeConfig, Image>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let mut cancel = std::pin::pin!(cancel);
        let bytes = snapshot.snapshot.bytes;
        let (transfer, total) = (crc32c::crc32c(&bytes), bytes.len() as u64);
        for start in (0..bytes.len()).step_by(CHUNK_BYTES) {
            let piece = bytes.slice(start..bytes.len().min(start + CHUNK_BYTES));
            let chunk = Chunk { vote, transfer, total, offset: start as u64, bytes: piece };
            let call = self.call(RPCTypes::InstallSnapshot, Request::Snapshot(chunk), option.soft_ttl());
            let response = tokio::select! {
                closed = &mut cancel => return Err(StreamingError::Closed(closed)),
                response = call => response?,
            };
            match response {
                Response::Snapshot(None) => {}
                Response::Snapshot(Some(installed)) => return Ok(installed),
                _ => return Err(unexpected().into()),
            }
        }
        Err(StreamingError::Network(NetworkError::from_string("all was sent, but nothing installed")))
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Failure> {
        match self.call(RPCTypes::TransferLeader, Request::Transfer(req), option.soft_ttl()).await? {
            Response::Transfer(response) => Ok(response),
            _ => Err(unexpected()),
        }
    }
}
