//! The listener for other brokers.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Kind;
use super::frames::{FrameReader, write_parts};
use super::hello::{self, Hello, Identity, Purpose};

/// The longest call that is taken: a piece of a snapshot, or a batch of log entries.
pub(super) const CALL_BYTES_MAX: usize = 64 << 20;
/// Calls of one connection that are worked on at a time.
const CALLS_MAX: usize = 256;
/// Connections of brokers at a time.
const CONNECTIONS_MAX: usize = 1024;
/// A connection that is silent for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// What a broker does for others.
pub(crate) trait PeerService: Send + Sync + 'static {
    /// Answers a call.
    fn call(&self, from: &Hello, kind: Kind, body: Bytes) -> BoxFuture<'static, Result<Bytes, String>>;

    /// Feeds a follower for as long as the connection lasts.
    fn feed(&self, from: Hello, stream: TcpStream) -> BoxFuture<'static, ()>;

    /// A connection on which somebody called has ended.
    fn left(&self, from: &Hello);
}

/// Serves other brokers until told to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    identity: Arc<Identity>,
    service: Arc<dyn PeerService>,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a peer could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { continue };
        let (identity, service, stop) = (Arc::clone(&identity), Arc::clone(&service), stop.clone());
        tokio::spawn(async move {
            let _permit = permit;
            tokio::select! {
                () = one(stream, &identity, service) => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

async fn one(mut stream: TcpStream, identity: &Identity, service: Arc<dyn PeerService>) {
    let _ = stream.set_nodelay(true);
    let Some(hello) = hello::receive(identity, &mut stream).await else { return };
    match hello.purpose {
        Purpose::Replication => service.feed(hello, stream).await,
        Purpose::Control => {
            // Who only looked whether somebody is here, and would be looked for in turn, for ever, has not left.
            if answer_calls(&hello, stream, &service).await > 0 {
                service.left(&hello);
            }
        }
    }
}

/// Answers calls until the connection ends. Returns how many there were.
async fn answer_calls(hello: &Hello, stream: TcpStream, service: &Arc<dyn PeerService>) -> u64 {
    let mut calls = 0;
    let (reader, writer) = stream.into_split();
    let mut frames = FrameReader::new(reader, CALL_BYTES_MAX);
    let writer = Arc::new(Mutex::new(writer));
    let permits = Arc::new(Semaphore::new(CALLS_MAX));
    while let Ok(mut frame) = frames.next(IDLE_MAX).await {
        if frame.len() < 9 {
            return calls;
        }
        calls += 1;
        let (correlation, kind) = (frame.get_u64(), Kind::from_wire(frame.get_u8()));
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return calls };
        let answering = match kind {
            Some(kind) => service.call(hello, kind, frame),
            None => Box::pin(async { Err("a kind of call that this version does not know".to_owned()) }),
        };
        let writer = Arc::clone(&writer);
        tokio::spawn(async move {
            let _permit = permit;
            let (status, body) = match answering.await {
                Ok(body) => (0_u8, body),
                Err(reason) => (1, Bytes::from(reason)),
            };
            let Ok(length) = u32::try_from(9 + body.len()) else { return };
            let parts = [&length.to_be_bytes()[..], &correlation.to_be_bytes(), &[status], &body];
            // A broken connection is seen by the reader.
            let _ = write_parts(&mut *writer.lock().await, &parts).await;
        });
    }
    calls
}
