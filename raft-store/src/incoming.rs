//! Requests from other nodes: checked, handed to openraft, answered.

use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use openraft::alias::SnapshotOf;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::SnapshotResponse;

use crate::machine::Machine;
use crate::snapshot::Image;
use crate::types::{TypeConfig, Vote};
use crate::wire::{Chunk, Request, Response};

type Raft = openraft::Raft<TypeConfig, Machine>;

/// What the answering side of a node keeps.
pub(crate) struct Incoming {
    pub(crate) id: u64,
    pub(crate) cluster: u32,
    pub(crate) snapshot_bytes_max: u64,
    /// No vote is given before this entry was applied.
    withheld_until: Option<u64>,
    arriving: Mutex<Option<Arriving>>,
}

/// A snapshot of which pieces have come.
struct Arriving {
    from: u64,
    vote: Vote,
    transfer: u32,
    total: u64,
    bytes: BytesMut,
}

impl Incoming {
    pub(crate) fn new(
        id: u64,
        cluster: u32,
        snapshot_bytes_max: u64,
        withheld_until: Option<u64>,
    ) -> Incoming {
        Incoming { id, cluster, snapshot_bytes_max, withheld_until, arriving: Mutex::new(None) }
    }

    /// Whether this node has yet to learn what it may have confirmed before.
    pub(crate) fn withholds_votes(&self, raft: &Raft) -> bool {
        let applied = || raft.metrics().borrow_watched().last_applied.map(|id| id.index);
        self.withheld_until.is_some_and(|index| applied() < Some(index))
    }

    /// Answers a request.
    pub(crate) async fn handle(&self, raft: &Raft, request: Bytes) -> Bytes {
        self.answer(raft, request).await.unwrap_or_else(Response::Refused).encode()
    }

    async fn answer(&self, raft: &Raft, request: Bytes) -> Result<Response, String> {
        let (envelope, request) = Request::decode(request).map_err(|error| error.to_string())?;
        if envelope.to != self.id || envelope.cluster != self.cluster {
            return Err(format!("this is node {}, not node {} of that cluster", self.id, envelope.to));
        }
        match request {
            Request::Vote(_) | Request::PreVote(_) | Request::Transfer(_) if self.withholds_votes(raft) => {
                Err(format!("node {} does not vote before it has caught up", self.id))
            }
            Request::Append(request) => {
                raft.append_entries(request).await.map(Response::Append).map_err(|e| e.to_string())
            }
            Request::Vote(request) => raft.vote(request).await.map(Response::Vote).map_err(|e| e.to_string()),
            Request::PreVote(request) => {
                raft.pre_vote(request).await.map(Response::PreVote).map_err(|e| e.to_string())
            }
            Request::Snapshot(chunk) => {
                self.snapshot(raft, envelope.from, chunk).await.map(Response::Snapshot)
            }
            Request::Transfer(request) => {
                raft.handle_transfer_leader(request).await.map(Response::Transfer).map_err(|e| e.to_string())
            }
        }
    }

    async fn snapshot(
        &self,
        raft: &Raft,
        from: u64,
        chunk: Chunk,
    ) -> Result<Option<SnapshotResponse<TypeConfig>>, String> {
        let Some((vote, bytes)) = self.collect(from, chunk)? else { return Ok(None) };
        let (meta, snapshot) = Image::decode(bytes).map_err(|error| error.to_string())?;
        let snapshot = SnapshotOf::<TypeConfig, Image> { meta, snapshot };
        raft.install_full_snapshot(vote, snapshot).await.map(Some).map_err(|error| error.to_string())
    }

    /// Keeps a piece; gives the whole when it is there. One snapshot at a time arrives: a first piece takes the place of
    /// whatever was there.
    fn collect(&self, from: u64, chunk: Chunk) -> Result<Option<(Vote, Bytes)>, String> {
        let mut arriving = self.arriving.lock().unwrap_or_else(PoisonError::into_inner);
        if chunk.total > self.snapshot_bytes_max {
            let most = self.snapshot_bytes_max;
            return Err(format!("a snapshot of {} bytes is over the limit of {most}", chunk.total));
        }
        let Chunk { vote, transfer, total, offset, bytes } = chunk;
        if offset == 0 {
            *arriving = Some(Arriving { from, vote, transfer, total, bytes: BytesMut::new() });
        }
        let fits = |a: &Arriving| {
            (a.from, a.vote, a.transfer, a.total) == (from, vote, transfer, total)
                && a.bytes.len() as u64 == offset
                && offset + bytes.len() as u64 <= total
        };
        let Some(expected) = arriving.as_mut().filter(|a| fits(a)) else {
            *arriving = None;
            return Err("this piece of a snapshot does not follow the one before".to_owned());
        };
        expected.bytes.extend_from_slice(&bytes);
        if (expected.bytes.len() as u64) < total {
            return Ok(None);
        }
        Ok(arriving.take().map(|whole| (vote, whole.bytes.freeze())))
    }
}
