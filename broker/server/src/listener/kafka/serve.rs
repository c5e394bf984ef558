//! Opens the Kafka listeners and takes connections in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::api::fetch::Fetcher;
use super::connection::{Connection, End, Limits};
use super::context::Context;
use super::frame::{FrameError, FrameMemory};
use super::pins::{EndedPins, Pins};
use crate::config::{Advertised, BrokerConfig, IfTaken, KafkaListener};
use crate::service::Services;
use highwater_core::metadata::KafkaEndpoint;

/// After a connection could not be taken in, the next attempt waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often pins of ended connections are looked at.
const SWEEP: Duration = Duration::from_secs(30);
/// A peer that is silent for so long is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// A peer that acknowledges nothing for so long is gone.
const USER_TIMEOUT_MS: u32 = 60_000;

/// A socket that listens, and what its clients are told.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    advertised: Option<Advertised>,
    /// The listener's name among brokers: clients that came by one listener are told of that listener on the others.
    name: String,
}

/// What other brokers tell their clients of these listeners: the first address of each.
pub(crate) fn endpoints(bound: &[Bound]) -> Vec<KafkaEndpoint> {
    let mut endpoints: Vec<KafkaEndpoint> = Vec::new();
    for bound in bound {
        if endpoints.last().is_none_or(|last| last.name != bound.name) {
            let Advertised { host, port } =
                bound.advertised.clone().unwrap_or_else(|| Advertised::from(bound.address));
            endpoints.push(KafkaEndpoint { name: bound.name.clone(), host, port });
        }
    }
    endpoints
}

impl Bound {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Opens one listener on all its addresses. The first must succeed; the others (`localhost` has two) take its port and
/// may be missing on this machine.
pub(crate) async fn bind(wanted: &KafkaListener, name: &str) -> Result<Vec<Bound>, (SocketAddr, io::Error)> {
    let mut bound: Vec<Bound> = Vec::new();
    for address in &wanted.addresses {
        let mut address = *address;
        if let Some(first) = bound.first() {
            address.set_port(first.address.port());
        }
        let mut opened = open(address).await;
        let taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
        if bound.is_empty() && wanted.if_taken == IfTaken::AnyPort && opened.as_ref().is_err_and(taken) {
            tracing::warn!(%address, "another program has this port; taking a free one");
            address.set_port(0);
            opened = open(address).await;
        }
        match opened {
            Ok((listener, address)) => {
                let (advertised, name) = (wanted.advertised.clone(), name.to_owned());
                bound.push(Bound { listener, address, advertised, name });
            }
            Err(error) if bound.is_empty() => return Err((address, error)),
            Err(error) => tracing::info!(%address, %error, "not listening here as well"),
        }
    }
    Ok(bound)
}

async fn open(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// What all listeners share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    services: Arc<Services>,
    limits: Limits,
    places: Arc<Semaphore>,
    session_ids: Arc<AtomicI32>,
    ended_pins: Arc<EndedPins>,
    connections: TaskTracker,
    shutdown: CancellationToken,
}

impl Shared {
    /// With the limits of the configuration.
    pub(crate) fn new(services: &Arc<Services>, shutdown: CancellationToken) -> Shared {
        let config: &BrokerConfig = services.config();
        let limits = Limits {
            frame_bytes: config.request_max_bytes,
            waiting_bytes: config.connection_inflight_bytes,
            idle: config.connections_idle_max,
            memory: FrameMemory::new(config.requests_memory_bytes),
        };
        Shared {
            limits,
            places: Arc::new(Semaphore::new(config.connections_max)),
            session_ids: Arc::new(AtomicI32::new(1)),
            ended_pins: Arc::default(),
            connections: TaskTracker::new(),
            services: Arc::clone(services),
            shutdown,
        }
    }
}

/// Serves a listener until shutdown, then waits until its connections have ended.
pub(crate) async fn serve(bound: Bound, shared: Shared) {
    loop {
        let accepted = tokio::select! {
            () = shared.shutdown.cancelled() => break,
            accepted = bound.listener.accept() => accepted,
            () = tokio::time::sleep(SWEEP) => {
                shared.ended_pins.sweep();
                continue;
            }
        };
        match accepted {
            Ok((socket, peer)) => take_in(socket, peer, &bound, &shared),
            Err(error) => {
                tracing::warn!(listener = %bound.address, %error, "could not take a connection in");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    shared.connections.close();
    shared.connections.wait().await;
}

fn take_in(socket: TcpStream, peer: SocketAddr, bound: &Bound, shared: &Shared) {
    let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() else {
        shared.services.metrics().kafka_connections_refused.inc();
        tracing::debug!(%peer, "connections.max is reached; closed");
        return;
    };
    if let Err(error) = set_options(&socket) {
        tracing::debug!(%peer, %error, "closed before it could be set up");
        return;
    }
    // Without a name of our own, clients are told the address they reached us by.
    let reached = || socket.local_addr().unwrap_or(bound.address);
    let advertised = bound.advertised.clone().unwrap_or_else(|| Advertised::from(reached()));
    let context = Context {
        services: Arc::clone(&shared.services),
        advertised: Arc::new(advertised),
        listener: Arc::from(bound.name.as_str()),
    };
    let fetcher = Fetcher::new(&context, Arc::clone(&shared.session_ids));
    let pins = Pins::new(Arc::clone(&shared.ended_pins));
    let connection = Connection::new(socket, context, shared.limits.clone(), fetcher, pins);
    shared.connections.spawn(run(connection, peer, place, shared.clone()));
}

async fn run(mut connection: Connection, peer: SocketAddr, place: OwnedSemaphorePermit, shared: Shared) {
    let metrics = Arc::clone(shared.services.metrics());
    metrics.kafka_connections_open.inc();
    let end = Box::pin(connection.serve(shared.shutdown)).await;
    metrics.kafka_connections_open.dec();
    match &end {
        End::Frame(FrameError::Closed | FrameError::Io(_)) | End::Idle(_) | End::Shutdown => {
            tracing::debug!(%peer, reason = %end, "connection ended");
        }
        _ => tracing::warn!(%peer, client = connection.client(), reason = %end, "connection closed"),
    }
    drop(place);
}

fn set_options(socket: &TcpStream) -> io::Result<()> {
    // Answers are small and somebody waits for them.
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE)?;
    sockopt::set_tcp_user_timeout(socket, USER_TIMEOUT_MS)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_an_error_or_replaced_as_was_asked() {
        let (_taken, address) = open("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let wanted = |if_taken| KafkaListener { addresses: vec![address], advertised: None, if_taken };
        let (failed, error) = bind(&wanted(IfTaken::Fail), "kafka-0").await.unwrap_err();
        assert_eq!((failed, error.kind()), (address, io::ErrorKind::AddrInUse));
        let bound = bind(&wanted(IfTaken::AnyPort), "kafka-0").await.unwrap();
        assert_ne!(bound[0].address().port(), address.port());
    }

    #[tokio::test]
    async fn localhost_listens_on_the_same_port_of_both_addresses() {
        let bound = bind(&KafkaListener::parse("localhost:0").unwrap(), "kafka-0").await.unwrap();
        let ports: Vec<u16> = bound.iter().map(|bound| bound.address().port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0), "{ports:?}");
        assert!(bound[0].address().is_ipv4());
    }
}
