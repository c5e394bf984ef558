//! A broker at the door of its cluster: its port answers what others ask before they start, and nothing else; meanwhile it
//! asks them the same. Raft starts when both sides know enough.
//!
//! A broker with an empty directory may wait here for as long as too few others answer. One that brings its metadata log
//! asks once, and whoever does not answer in time is not waited for: after a power cut of all of them somebody must start.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use highwater_env::{Clock, Disk};
use highwater_proto::BrokerId;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::recall::{Judgement, Own, Recollection, judge};
use super::{Answer, BrokerService, RecallError, Request, small_file};
use crate::config::ClusterConfig;
use crate::peer::{Hello, Kind, PeerService, Peers, call_once};

/// Whoever does not say within this time what it remembers is not counted.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// Between rounds of asking.
const PAUSE: Duration = Duration::from_millis(150);
/// How often a broker that waits says what for.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(3);
/// Where a broker that came late keeps the entry before which it must not vote, in the data directory.
const LATE_FILE: &str = "raft.late";

/// How a broker may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// As what its directory says.
    AsIs,
    /// It founds the cluster with the others.
    Founder,
    /// It hears first, and votes once it has applied this entry.
    Late(u64),
}

/// Why a broker did not get beyond the door.
#[derive(Debug, Error)]
pub enum DoorError {
    /// It has forgotten something.
    #[error(transparent)]
    Forgotten(#[from] RecallError),
    /// What it has to remember of this could not be kept or read.
    #[error("{path}: {error}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the disk says.
        error: std::io::Error,
    },
    /// It was told to stop before.
    #[error("stopped before enough other brokers answered")]
    Stopped,
}

/// The service of a broker's port, before and after the broker has started.
pub(crate) struct Doorway {
    log_end: Option<u64>,
    inside: OnceLock<BrokerService>,
}

impl Doorway {
    /// A closed door, of a broker whose metadata log ends with this entry.
    pub(crate) fn closed(log_end: Option<u64>) -> Arc<Doorway> {
        Arc::new(Doorway { log_end, inside: OnceLock::new() })
    }

    /// Everything is answered from now on.
    pub(crate) fn open(&self, service: BrokerService) {
        assert!(self.inside.set(service).is_ok(), "a broker starts once");
    }

    fn answer_outside(&self, kind: Kind, body: &[u8]) -> Result<Bytes, String> {
        if kind == Kind::Raft {
            return Err("this broker is starting".to_owned());
        }
        let request = serde_json::from_slice(body);
        let answer = match request.map_err(|error| format!("the request cannot be read: {error}"))? {
            Request::Recall(_) => {
                Answer::Recalled(Recollection { log_end: self.log_end, ..Recollection::default() })
            }
            Request::Describe(_) => return Err("this broker is starting".to_owned()),
            Request::Submit(_) | Request::Heartbeat { .. } | Request::Members(_) | Request::Nodes => {
                Answer::NotController { leader: None }
            }
        };
        Ok(serde_json::to_vec(&answer).expect("an answer is plain data").into())
    }
}

impl PeerService for Doorway {
    fn call(&self, from: &Hello, kind: Kind, body: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        match self.inside.get() {
            Some(inside) => inside.call(from, kind, body),
            None => {
                let answer = self.answer_outside(kind, &body);
                Box::pin(async move { answer })
            }
        }
    }

    fn feed(&self, from: Hello, stream: TcpStream) -> BoxFuture<'static, ()> {
        match self.inside.get() {
            Some(inside) => inside.feed(from, stream),
            None => Box::pin(async {}),
        }
    }

    fn left(&self, from: &Hello) {
        if let Some(inside) = self.inside.get() {
            inside.left(from);
        }
    }
}

/// Asks the others what they remember of this broker, for as long as it takes to know whether it may start.
///
/// # Errors
/// [`DoorError`]: above all, it must not start.
pub(crate) async fn may_start(
    own: &Own,
    cluster: &ClusterConfig,
    peers: &Peers,
    (disk, clock): (&dyn Disk, &dyn Clock),
    stop: &CancellationToken,
) -> Result<Admission, DoorError> {
    let others = cluster.voters.keys().filter(|id| **id != own.id).count();
    let mut complain_at = clock.monotonic() + COMPLAINT_INTERVAL;
    loop {
        let memories = tokio::select! {
            memories = ask_all(own.id, cluster, peers) => memories,
            () = stop.cancelled() => return Err(DoorError::Stopped),
        };
        match judge(own, others, &memories)? {
            Judgement::GoOn => {
                return Ok(read_late(disk, &own.data_dir)?.map_or(Admission::AsIs, Admission::Late));
            }
            Judgement::Found => return Ok(Admission::Founder),
            Judgement::CatchUp { index } => {
                write_late(disk, &own.data_dir, index)?;
                return Ok(Admission::Late(index));
            }
            Judgement::Wait { what } => {
                if clock.monotonic() >= complain_at {
                    tracing::warn!("waiting: {what}");
                    complain_at = clock.monotonic() + COMPLAINT_INTERVAL;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Everybody at once, and then the controller that they name, if it is none of them.
async fn ask_all(broker: BrokerId, cluster: &ClusterConfig, peers: &Peers) -> Vec<(String, Recollection)> {
    let body = serde_json::to_vec(&Request::Recall(broker)).expect("a request is plain data");
    let ask = async |id: Option<BrokerId>, address: String| {
        let answer = match id {
            Some(id) => peers.call(id, &address, Kind::Control, &body, ANSWER_WAIT).await,
            None => call_once(peers.identity(), &address, Kind::Control, &body, ANSWER_WAIT).await,
        };
        let answer = answer.map_err(|error| tracing::debug!(%error, "nothing is recalled")).ok()?;
        match serde_json::from_slice(&answer) {
            Ok(Answer::Recalled(memory)) => {
                let name = id.map_or(address.clone(), |id| format!("broker {id} at {address}"));
                Some((name, memory))
            }
            _ => None,
        }
    };
    let voters = cluster.voters.iter().filter(|(id, _)| **id != broker);
    let asked: Vec<(Option<BrokerId>, String)> = voters
        .map(|(id, address)| (Some(*id), address.clone()))
        .chain(cluster.join.iter().map(|address| (None, address.clone())))
        .collect();
    let asking = asked.iter().map(|(id, address)| ask(*id, address.clone()));
    let mut memories: Vec<_> = join_all(asking).await.into_iter().flatten().collect();
    let named = memories.iter().find_map(|(_, memory)| memory.controller.clone());
    let is_new = |(id, address): &(BrokerId, String)| {
        *id != broker && !asked.iter().any(|(asked, at)| *asked == Some(*id) || at == address)
    };
    if let Some((id, address)) = named.filter(is_new) {
        memories.extend(ask(Some(id), address).await);
    }
    memories
}

fn read_late(disk: &dyn Disk, data_dir: &Path) -> Result<Option<u64>, DoorError> {
    let path = data_dir.join(LATE_FILE);
    let read = || {
        let Some(line) = small_file::read(disk, &path)? else { return Ok(None) };
        line.parse()
            .map(Some)
            .map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "it holds no number"))
    };
    read().map_err(|error| DoorError::Disk { path: path.clone(), error })
}

/// This broker has caught up: what it may have confirmed before, it knows again.
pub(crate) fn forget_late(disk: &dyn Disk, data_dir: &Path) -> Result<(), DoorError> {
    let path = data_dir.join(LATE_FILE);
    let remove = || {
        if disk.exists(&path)? {
            disk.remove_file(&path)?;
            disk.sync_dir(data_dir)?;
        }
        Ok(())
    };
    remove().map_err(|error| DoorError::Disk { path: path.clone(), error })
}

fn write_late(disk: &dyn Disk, data_dir: &Path, index: u64) -> Result<(), DoorError> {
    let written = small_file::write(disk, data_dir, LATE_FILE, &index.to_string());
    written.map_err(|error| DoorError::Disk { path: data_dir.join(LATE_FILE), error })
}
