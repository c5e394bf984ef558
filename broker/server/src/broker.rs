//! The broker as a whole: started in order, stopped in the reverse order.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use highwater_server::{Broker, BrokerConfig};
//!
//! let broker = Broker::start(BrokerConfig::ephemeral("/tmp/highwater-example")).await?;
//! println!("serving on {}", broker.grpc_addr());
//! broker.stop().await?;
//! # Ok(())
//! # }
//! ```

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use highwater_core::metadata::Endpoints;
use highwater_env::os::{OsClock, OsDisk, OsRandom};
use highwater_env::{Clock, Disk, Random};
use highwater_raft_store::MembershipError;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::BrokerConfig;
use crate::controller::{DoorError, JoinError, LifeFailure};
use crate::housekeeping::Housekeeper;
use crate::listener::{admin, grpc, kafka};
use crate::member::{self, Member};
use crate::partition::{CloseError, OpenError};
use crate::service::Services;

/// Why a broker did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data directory does not open.
    #[error(transparent)]
    Data(#[from] OpenError),
    /// The metadata log does not open.
    #[error(transparent)]
    Raft(#[from] highwater_raft_store::StartError),
    /// The data directory cannot be read.
    #[error("{path} cannot be read: {error}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the disk says.
        error: io::Error,
    },
    /// The cluster has no place for this broker.
    #[error(transparent)]
    Life(#[from] LifeFailure),
    /// The cluster could not be joined.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The others remember what this broker has forgotten, or too few of them answer.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// The cluster could not be founded.
    #[error("the cluster could not be founded: {0}")]
    Founding(#[from] MembershipError),
    /// An address cannot be listened on.
    #[error("{key}={address} cannot be listened on: {error}{}", remedy(.error))]
    Listen {
        /// The setting.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The system gives no more threads.
    #[error("could not start a thread: {0}")]
    Thread(io::Error),
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program has it: stop that one, or choose another port (0 picks a free one)"
        }
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges",
        _ => "",
    }
}

/// Why a broker did not stop cleanly.
#[derive(Debug, Error)]
pub enum StopError {
    /// Some logs could not be flushed and closed; they are recovered at the next start.
    #[error(transparent)]
    Close(#[from] CloseError),
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    services: Arc<Services>,
    grpc: SocketAddr,
    admin: SocketAddr,
    kafka: Vec<SocketAddr>,
    peer: SocketAddr,
    shutdown: CancellationToken,
    listeners: TaskTracker,
    housekeeper: Housekeeper,
    member: Member,
}

/// The seams a broker runs on.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Where bytes are kept.
    pub disk: Arc<dyn Disk>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where identities come from.
    pub random: Arc<dyn Random>,
}

impl Environment {
    /// The machine's own disk, clock and randomness.
    #[must_use]
    pub fn os() -> Environment {
        Environment { disk: Arc::new(OsDisk), clock: Arc::new(OsClock::new()), random: Arc::new(OsRandom) }
    }
}

impl Broker {
    /// Starts a broker; it serves when this returns. Call it within a Tokio runtime with more than one thread. One of several
    /// brokers waits here until a majority of the cluster's voters is there.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(config: BrokerConfig) -> Result<Broker, StartError> {
        Broker::start_in(Environment::os(), config).await
    }

    /// Starts a broker on other seams.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start_in(environment: Environment, config: BrokerConfig) -> Result<Broker, StartError> {
        let shutdown = CancellationToken::new();
        // Whatever runs by then ends if the rest does not start.
        let guard = shutdown.clone().drop_guard();
        // Ports first: they are what most often stands in the way, and nothing needs to be undone yet.
        let (peer_listener, peer) = listen("listener.peer", config.cluster.peer).await?;
        let (grpc_listener, grpc) = listen("listener.grpc", config.grpc).await?;
        let (admin_listener, admin) = listen("listener.admin", config.admin).await?;
        let kafka_listeners = listen_for_kafka(&config).await?;
        let kafka: Vec<SocketAddr> = kafka_listeners.iter().map(kafka::Bound::address).collect();
        let endpoints = Endpoints {
            peer: grpc::advertised(config.cluster.advertised_peer.as_deref(), peer),
            grpc: grpc::advertised(config.advertised_grpc.as_deref(), grpc),
            kafka: kafka::endpoints(&kafka_listeners),
            admin: admin.to_string(),
        };
        let member = member::start(environment, config, peer_listener, endpoints, shutdown.clone()).await?;
        let services = Arc::clone(&member.services);
        let housekeeper = Housekeeper::start(&services).map_err(StartError::Thread)?;
        let listeners = TaskTracker::new();
        let serving = grpc::serve(Arc::clone(&services), grpc_listener, shutdown.clone());
        listeners.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the gRPC listener ended");
            }
        });
        let serving = admin::serve(Arc::clone(&services), admin_listener, shutdown.clone());
        listeners.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the admin listener ended");
            }
        });
        let shared = kafka::Shared::new(&services, shutdown.clone());
        for bound in kafka_listeners {
            listeners.spawn(kafka::serve(bound, shared.clone()));
        }
        listeners.close();
        tracing::info!(%grpc, %admin, ?kafka, %peer, data = %services.config().data_dir.display(), "serving");
        guard.disarm();
        Ok(Broker { services, grpc, admin, kafka, peer, shutdown, listeners, housekeeper, member })
    }

    /// Where gRPC is served.
    #[must_use]
    pub fn grpc_addr(&self) -> SocketAddr {
        self.grpc
    }

    /// Where admin HTTP is served.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// Where the Kafka protocol is spoken; empty where it isn't.
    #[must_use]
    pub fn kafka_addrs(&self) -> &[SocketAddr] {
        &self.kafka
    }

    /// Where other brokers are served.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Waits until the broker cannot go on, and says why: its process should end then and be started again.
    pub async fn failed(&self) -> String {
        self.member.failed().await
    }

    /// The use cases, for a program that embeds the broker.
    #[must_use]
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Stops: no new work, open calls end, everything is flushed, the data directory is let go.
    ///
    /// # Errors
    /// [`StopError`] when something could not be flushed; it is recovered at the next start.
    pub async fn stop(self) -> Result<(), StopError> {
        let patience = self.services.config().shutdown_timeout;
        // Others lead first, so that clients have somewhere to go.
        self.member.step_back(patience).await;
        self.shutdown.cancel();
        if tokio::time::timeout(patience, self.listeners.wait()).await.is_err() {
            tracing::warn!("connections were still open after {patience:?}; they are cut");
        }
        let raft = self.services.control.raft().clone();
        let (services, housekeeper) = (self.services, self.housekeeper);
        let closing = move || {
            housekeeper.stop();
            services.partitions.close()
        };
        let closed = tokio::task::spawn_blocking(closing).await.expect("closing does not panic");
        raft.shutdown().await;
        Ok(closed?)
    }
}

async fn listen_for_kafka(config: &BrokerConfig) -> Result<Vec<kafka::Bound>, StartError> {
    let mut bound = Vec::new();
    for (index, listener) in config.kafka.iter().enumerate() {
        let opened = kafka::bind(listener, &format!("kafka-{index}")).await;
        bound.extend(opened.map_err(|(address, error)| {
            let key = "listener.kafka";
            StartError::Listen { key, address, error }
        })?);
    }
    Ok(bound)
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen { key, address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
