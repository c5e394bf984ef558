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
use std::sync::Arc;

use highwater_env::os::{OsClock, OsDisk, OsRandom};
use highwater_env::{Clock, Disk, Random};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::BrokerConfig;
use crate::housekeeping::Housekeeper;
use crate::listener::{admin, grpc, kafka};
use crate::metadata::{ChangeError, MetadataStore};
use crate::metrics::Metrics;
use crate::partition::{CloseError, OpenError, PartitionTable};
use crate::service::{ProducerIds, Services};

/// Why a broker did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The data directory does not open.
    #[error(transparent)]
    Data(#[from] OpenError),
    /// The metadata does not open.
    #[error("the metadata in the data directory cannot be used: {0}")]
    Metadata(#[from] ChangeError),
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
    shutdown: CancellationToken,
    listeners: TaskTracker,
    housekeeper: Housekeeper,
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
    /// Starts a broker; it serves when this returns. Call it within a Tokio runtime with more than one thread.
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
        // Ports first: they are what most often stands in the way, and nothing needs to be undone yet.
        let (grpc_listener, grpc) = listen("listener.grpc", config.grpc).await?;
        let (admin_listener, admin) = listen("listener.admin", config.admin).await?;
        let kafka_listeners = listen_for_kafka(&config).await?;
        let kafka: Vec<SocketAddr> = kafka_listeners.iter().map(kafka::Bound::address).collect();
        let opening = tokio::task::spawn_blocking(move || open(environment, config));
        let services = opening.await.expect("opening does not panic")?;
        let housekeeper = Housekeeper::start(&services).map_err(StartError::Thread)?;
        let shutdown = CancellationToken::new();
        let listeners = TaskTracker::new();
        let advertised = grpc::advertised(services.config().advertised_grpc.as_deref(), grpc);
        let serving = grpc::serve(Arc::clone(&services), grpc_listener, advertised, shutdown.clone());
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
        tracing::info!(%grpc, %admin, ?kafka, data = %services.config().data_dir.display(), "serving");
        Ok(Broker { services, grpc, admin, kafka, shutdown, listeners, housekeeper })
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
        self.shutdown.cancel();
        let patience = self.services.config().shutdown_timeout;
        if tokio::time::timeout(patience, self.listeners.wait()).await.is_err() {
            tracing::warn!("connections were still open after {patience:?}; they are cut");
        }
        let (services, housekeeper) = (self.services, self.housekeeper);
        let closing = move || {
            housekeeper.stop();
            services.partitions.close()
        };
        tokio::task::spawn_blocking(closing).await.expect("closing does not panic")?;
        Ok(())
    }
}

async fn listen_for_kafka(config: &BrokerConfig) -> Result<Vec<kafka::Bound>, StartError> {
    let mut bound = Vec::new();
    for listener in &config.kafka {
        let opened = kafka::bind(listener).await;
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

/// Opens data and metadata; blocks on the disk.
fn open(environment: Environment, config: BrokerConfig) -> Result<Arc<Services>, StartError> {
    let metrics = Arc::new(Metrics::new());
    let partitions = PartitionTable::open(&environment, &config, &metrics)?;
    let metadata = MetadataStore::open(&environment.disk, &config.data_dir.join("metadata"))?;
    metadata.register_alone(config.broker_id)?;
    let services = Arc::new(Services {
        config,
        metadata,
        partitions: Arc::new(partitions),
        producer_ids: ProducerIds::default(),
        metrics,
        clock: environment.clock,
        random: environment.random,
    });
    services.partitions.report_strays(&services.image());
    Ok(services)
}
