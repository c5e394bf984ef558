//! The handshake: who calls, who was meant, and in which cluster.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use highwater_proto::{BrokerEpoch, BrokerId};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::frames::{FrameError, write_parts};

const MAGIC: &[u8; 4] = b"HWPR";
/// Raised when brokers could no longer talk to older ones.
const PROTOCOL: u16 = 1;
/// A handshake has this long.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(3);
const HELLO_BYTES_MAX: usize = 16 << 10;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Purpose {
    /// Calls with answers.
    Control,
    /// The caller follows partitions that the other side leads.
    Replication,
}

/// What the caller says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// What for.
    pub(crate) purpose: Purpose,
    /// The cluster's name.
    pub(crate) cluster_name: String,
    /// The cluster's identity, once it is known.
    pub(crate) cluster_id: Option<String>,
    /// Who calls; nobody has a number before it was given one.
    pub(crate) from: Option<i32>,
    /// In which life.
    pub(crate) broker_epoch: i64,
    /// Who is meant; anybody, if it is not known who is there.
    pub(crate) to: Option<i32>,
}

/// What the other side says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// Who it is.
    id: i32,
    /// The cluster's identity, once it is known.
    cluster_id: Option<String>,
    /// Why it will not talk.
    refused: Option<String>,
}

/// Who this broker is, as far as it is known by now.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) cluster_name: String,
    known: RwLock<Known>,
}

#[derive(Clone, Debug)]
struct Known {
    id: BrokerId,
    epoch: BrokerEpoch,
    cluster_id: Option<String>,
}

/// Why a connection was not made.
#[derive(Debug, Error)]
pub(crate) enum DialError {
    /// Nobody listens there: the process is gone.
    #[error("nobody listens at {address}")]
    Nobody {
        /// As dialled.
        address: String,
    },
    /// It could not be reached.
    #[error("{address} could not be reached: {error}")]
    Unreachable {
        /// As dialled.
        address: String,
        /// What the system says.
        error: io::Error,
    },
    /// The other side does not follow the protocol.
    #[error("{address} does not answer like a broker: {problem}")]
    Strange {
        /// As dialled.
        address: String,
        /// What is wrong.
        problem: String,
    },
    /// The other side will not talk to this one.
    #[error("{address} refuses: {reason}")]
    Refused {
        /// As dialled.
        address: String,
        /// In its own words.
        reason: String,
    },
}

impl Identity {
    pub(crate) fn new(cluster_name: String, id: BrokerId) -> Arc<Identity> {
        let known = Known { id, epoch: BrokerEpoch::UNKNOWN, cluster_id: None };
        Arc::new(Identity { cluster_name, known: RwLock::new(known) })
    }

    fn known(&self) -> Known {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This life's number is known.
    pub(crate) fn set_epoch(&self, epoch: BrokerEpoch) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).epoch = epoch;
    }

    /// This broker was given its number.
    pub(crate) fn set_id(&self, id: BrokerId) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).id = id;
    }

    /// The cluster's identity is known.
    pub(crate) fn set_cluster_id(&self, cluster_id: &str) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).cluster_id = Some(cluster_id.to_owned());
    }

    /// This life's number.
    pub(crate) fn epoch(&self) -> BrokerEpoch {
        self.known().epoch
    }

    /// This broker.
    pub(crate) fn id(&self) -> BrokerId {
        self.known().id
    }

    fn hello(&self, purpose: Purpose, to: Option<BrokerId>) -> Hello {
        let known = self.known();
        Hello {
            purpose,
            cluster_name: self.cluster_name.clone(),
            cluster_id: known.cluster_id,
            // A broker without a number has none to tell.
            from: (known.id.0 >= 0).then_some(known.id.0),
            broker_epoch: known.epoch.0,
            to: to.map(|id| id.0),
        }
    }

    /// Why this broker will not talk to that one, if it won't.
    fn objection(&self, hello: &Hello) -> Option<String> {
        let known = self.known();
        if hello.cluster_name != self.cluster_name {
            let (theirs, ours) = (hello.cluster_name.escape_default(), &self.cluster_name);
            return Some(format!("this is a broker of cluster '{ours}', not '{theirs}' (cluster.name)"));
        }
        if let (Some(ours), Some(theirs)) = (&known.cluster_id, &hello.cluster_id)
            && ours != theirs
        {
            let theirs = theirs.escape_default();
            return Some(format!(
                "this cluster's id is {ours}, the caller's data directory belongs to {theirs}: two clusters of one name, or \
                 a data directory from another one"
            ));
        }
        match hello.to {
            Some(meant) if meant != known.id.0 => Some(format!(
                "this is broker {}, and broker {meant} was meant: an address is wrong",
                known.id
            )),
            _ if hello.from == Some(known.id.0) => {
                Some(format!("both are broker {}: each needs a broker.id of its own", known.id))
            }
            _ => None,
        }
    }
}

/// Connects to a broker, resolving its name anew, and shakes hands. `to` is who must be there.
pub(crate) async fn dial(
    identity: &Identity,
    purpose: Purpose,
    to: Option<BrokerId>,
    address: &str,
    patience: Duration,
) -> Result<TcpStream, DialError> {
    let unreachable = |error: io::Error| match error.kind() {
        io::ErrorKind::ConnectionRefused => DialError::Nobody { address: address.to_owned() },
        _ => DialError::Unreachable { address: address.to_owned(), error },
    };
    let late = |_| unreachable(io::Error::from(io::ErrorKind::TimedOut));
    let connecting = tokio::time::timeout(patience, TcpStream::connect(address));
    let mut stream = connecting.await.map_err(late)?.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    let shaking = shake(identity, purpose, to, &mut stream);
    let strange = |problem: String| DialError::Strange { address: address.to_owned(), problem };
    let welcome = tokio::time::timeout(patience, shaking).await.map_err(late)?;
    let welcome = welcome.map_err(|error| match error {
        FrameError::Io(error) => unreachable(error),
        error => strange(error.to_string()),
    })?;
    let welcome: Welcome = serde_json::from_slice(&welcome).map_err(|error| strange(error.to_string()))?;
    if let Some(reason) = welcome.refused {
        return Err(DialError::Refused { address: address.to_owned(), reason });
    }
    Ok(stream)
}

async fn shake(
    identity: &Identity,
    purpose: Purpose,
    to: Option<BrokerId>,
    stream: &mut TcpStream,
) -> Result<bytes::Bytes, FrameError> {
    let hello = serde_json::to_vec(&identity.hello(purpose, to)).expect("a hello is plain data");
    let protocol = PROTOCOL.to_be_bytes();
    write_parts(stream, &[MAGIC, &protocol, &(hello.len() as u32).to_be_bytes(), &hello]).await?;
    read_frame(stream).await
}

/// Exactly one frame, and no byte beyond it: what follows belongs to the stream's next reader.
async fn read_frame(stream: &mut TcpStream) -> Result<bytes::Bytes, FrameError> {
    let bytes = stream.read_u32().await? as usize;
    if bytes > HELLO_BYTES_MAX {
        return Err(FrameError::TooLong { bytes, bytes_max: HELLO_BYTES_MAX });
    }
    let mut frame = vec![0; bytes];
    stream.read_exact(&mut frame).await?;
    Ok(frame.into())
}

/// Takes a caller's hello and answers it. `None`: it was refused, or it was no broker.
pub(super) async fn receive(identity: &Identity, stream: &mut TcpStream) -> Option<Hello> {
    let receiving = async {
        let mut magic = [0; 6];
        stream.read_exact(&mut magic).await.ok()?;
        let protocol = u16::from_be_bytes([magic[4], magic[5]]);
        if &magic[..4] != MAGIC {
            // Not a broker: an answer would only confuse it.
            return None;
        }
        let hello = read_frame(stream).await.ok()?;
        let parsed: Result<Hello, _> = serde_json::from_slice(&hello);
        let refused = match &parsed {
            _ if protocol != PROTOCOL => Some(format!(
                "this broker speaks version {PROTOCOL} of the brokers' protocol, not {protocol}"
            )),
            Ok(hello) => identity.objection(hello),
            Err(error) => Some(format!("the hello cannot be read: {error}")),
        };
        let known = identity.known();
        let welcome = Welcome { id: known.id.0, cluster_id: known.cluster_id, refused: refused.clone() };
        let welcome = serde_json::to_vec(&welcome).expect("a welcome is plain data");
        write_parts(stream, &[&(welcome.len() as u32).to_be_bytes(), &welcome]).await.ok()?;
        match refused {
            Some(reason) => {
                tracing::warn!(%reason, "a peer was refused");
                let _ = stream.shutdown().await;
                None
            }
            None => parsed.ok(),
        }
    };
    tokio::time::timeout(HANDSHAKE_WAIT, receiving).await.ok().flatten()
}
