//! Calls to other brokers: a connection per broker and kind, made when first needed and again when it broke.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use highwater_proto::BrokerId;
use thiserror::Error;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::frames::{FrameReader, write_parts};
use super::hello::{DialError, Identity, Purpose, dial};
use super::{Kind, serve};

/// A connection on which nothing came for so long is given up once somebody waits on it.
const SILENCE_MAX: Duration = Duration::from_secs(3600);

/// Why a call has no answer.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// No answer in time; it may have been carried out.
    #[error("broker {to} did not answer in {patience:?}")]
    TimedOut {
        /// Who was called.
        to: BrokerId,
        /// How long was waited.
        patience: Duration,
    },
    /// The connection broke; it may have been carried out.
    #[error("the connection to broker {to} broke")]
    Broken {
        /// Who was called.
        to: BrokerId,
    },
    /// The other side could not make sense of it.
    #[error("broker {to} refused the call: {reason}")]
    Refused {
        /// Who was called.
        to: BrokerId,
        /// In its own words.
        reason: String,
    },
}

/// Connections to other brokers.
#[derive(Debug)]
pub(crate) struct Peers {
    identity: Arc<Identity>,
    connections: Mutex<HashMap<(BrokerId, u8), Arc<Connection>>>,
}

#[derive(Debug)]
struct Connection {
    address: String,
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<(u8, Bytes)>>>,
    next: AtomicU64,
    broken: CancellationToken,
}

impl Peers {
    pub(crate) fn new(identity: Arc<Identity>) -> Arc<Peers> {
        Arc::new(Peers { identity, connections: Mutex::default() })
    }

    /// Who this broker says it is.
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(BrokerId, u8), Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls the broker `to`, which is at `address`.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) async fn call(
        &self,
        to: BrokerId,
        address: &str,
        kind: Kind,
        body: &[u8],
        patience: Duration,
    ) -> Result<Bytes, CallError> {
        let calling = async {
            let connection = self.connection(to, address, kind, patience).await?;
            connection.call(to, kind, body).await
        };
        match tokio::time::timeout(patience, calling).await {
            Ok(result) => result,
            Err(_) => {
                // After a cut a fresh connection is faster than waiting for the old one's retransmissions.
                if let Some(connection) = self.lock().remove(&(to, kind.to_wire())) {
                    connection.broken.cancel();
                }
                Err(CallError::TimedOut { to, patience })
            }
        }
    }

    async fn connection(
        &self,
        to: BrokerId,
        address: &str,
        kind: Kind,
        patience: Duration,
    ) -> Result<Arc<Connection>, CallError> {
        let key = (to, kind.to_wire());
        let there = self.lock().get(&key).cloned();
        if let Some(connection) =
            there.filter(|there| there.address == address && !there.broken.is_cancelled())
        {
            return Ok(connection);
        }
        let stream = dial(&self.identity, Purpose::Control, Some(to), address, patience).await?;
        let (reader, writer) = stream.into_split();
        let connection = Arc::new(Connection {
            address: address.to_owned(),
            writer: tokio::sync::Mutex::new(writer),
            waiting: Mutex::default(),
            next: AtomicU64::new(1),
            broken: CancellationToken::new(),
        });
        let hearing = Arc::clone(&connection);
        tokio::spawn(async move {
            let mut frames = FrameReader::new(reader, serve::CALL_BYTES_MAX);
            let broken = hearing.broken.clone();
            let listen = async {
                while let Ok(frame) = frames.next(SILENCE_MAX).await {
                    hearing.answered(frame);
                }
            };
            tokio::select! {
                () = listen => {}
                () = broken.cancelled() => {}
            }
            hearing.broken.cancel();
            // Dropping the senders tells who waits.
            hearing.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
        });
        // Two may have dialled at once; the later one is used from now on, and the other ends with its callers.
        self.lock().insert(key, Arc::clone(&connection));
        Ok(connection)
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        for connection in self.lock().values() {
            connection.broken.cancel();
        }
    }
}

impl Connection {
    async fn call(&self, to: BrokerId, kind: Kind, body: &[u8]) -> Result<Bytes, CallError> {
        let correlation = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(correlation, sender);
        let length = u32::try_from(9 + body.len())
            .map_err(|_| CallError::Refused { to, reason: "the call is too long".to_owned() })?;
        {
            let mut writer = self.writer.lock().await;
            let kind = [kind.to_wire()];
            let parts = [&length.to_be_bytes()[..], &correlation.to_be_bytes(), &kind, body];
            // A call that is given up in the middle of writing would leave half a frame behind.
            let guard = CancelOnDrop(Some(&self.broken));
            let written = write_parts(&mut *writer, &parts).await;
            guard.disarm();
            if written.is_err() {
                self.broken.cancel();
                return Err(CallError::Broken { to });
            }
        }
        if self.broken.is_cancelled() {
            return Err(CallError::Broken { to });
        }
        match answer.await {
            Ok((0, body)) => Ok(body),
            Ok((_, reason)) => {
                Err(CallError::Refused { to, reason: String::from_utf8_lossy(&reason).into_owned() })
            }
            Err(_) => Err(CallError::Broken { to }),
        }
    }

    fn answered(&self, mut frame: Bytes) {
        if frame.len() < 9 {
            return self.broken.cancel();
        }
        let (correlation, status) = (frame.get_u64(), frame.get_u8());
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&correlation);
        if let Some(sender) = waiting {
            let _ = sender.send((status, frame));
        }
    }
}

/// Breaks the connection unless it is disarmed.
struct CancelOnDrop<'a>(Option<&'a CancellationToken>);

impl CancelOnDrop<'_> {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(token) = self.0 {
            token.cancel();
        }
    }
}

/// One call to whoever is at `address`, on a connection of its own: for a broker that knows nobody yet.
///
/// # Errors
/// [`CallError`].
pub(crate) async fn call_once(
    identity: &Identity,
    address: &str,
    kind: Kind,
    body: &[u8],
    patience: Duration,
) -> Result<Bytes, CallError> {
    let to = BrokerId(-1);
    let mut stream = dial(identity, Purpose::Control, None, address, patience).await?;
    let length = u32::try_from(9 + body.len())
        .map_err(|_| CallError::Refused { to, reason: "the call is too long".to_owned() })?;
    let parts = [&length.to_be_bytes()[..], &0_u64.to_be_bytes(), &[kind.to_wire()], body];
    write_parts(&mut stream, &parts).await.map_err(|_| CallError::Broken { to })?;
    let mut frame = FrameReader::new(stream, serve::CALL_BYTES_MAX)
        .next(patience)
        .await
        .map_err(|_| CallError::Broken { to })?;
    if frame.len() < 9 {
        return Err(CallError::Broken { to });
    }
    let (_, status) = (frame.get_u64(), frame.get_u8());
    match status {
        0 => Ok(frame),
        _ => Err(CallError::Refused { to, reason: String::from_utf8_lossy(&frame).into_owned() }),
    }
}
