//! Several brokers in one process, which a test starts, stops and looks into. Nothing here says how they should behave.
//!
//! What a broker knows of the metadata is waited for as it learns it; only what nothing tells of is asked for again and again.
#![expect(clippy::unwrap_used, reason = "a test fails where it goes wrong")]
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::allow_attributes, reason = "whether the part is used differs between the tests")]

#[path = "../../../../tests/src/ports.rs"]
mod ports;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use highwater_proto::BrokerId;
use highwater_server::config::ClusterConfig;
use highwater_server::service::Image;
use highwater_server::{Broker, BrokerConfig, StartError};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use ports::Port;

/// No condition takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what has to be asked for.
const PACE: Duration = Duration::from_millis(20);

/// A broker that may wait for others before it serves.
pub type Starting = JoinHandle<Result<Broker, StartError>>;

/// Brokers 1, 2, ..., all of them first voters; which of them run is the test's business.
pub struct Cluster {
    directory: TempDir,
    addresses: BTreeMap<i32, SocketAddr>,
    racks: BTreeMap<i32, &'static str>,
    /// Kept until the end, so that no other test gets the port of a broker that is down.
    ports: Vec<Port>,
    /// Those that run.
    pub brokers: BTreeMap<i32, Broker>,
}

impl Cluster {
    /// So many brokers, none of which runs yet.
    pub fn of(count: usize) -> Cluster {
        let ports: Vec<Port> = (0..count).map(|_| Port::claim()).collect();
        let addresses = (1..).zip(ports.iter().map(Port::address)).collect();
        let directory = tempfile::tempdir().unwrap();
        Cluster { directory, addresses, racks: BTreeMap::new(), ports, brokers: BTreeMap::new() }
    }

    /// So many brokers, all of which serve.
    pub async fn serving(count: usize) -> Cluster {
        let mut cluster = Cluster::of(count);
        cluster.start_all().await;
        cluster
    }

    /// Puts brokers 1, 2, ... on these racks.
    pub fn on_racks(mut self, racks: &[&'static str]) -> Cluster {
        self.racks = (1..).zip(racks.iter().copied()).collect();
        self
    }

    /// The folder with everybody's data, which goes with the cluster.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn data_dir(&self, id: i32) -> PathBuf {
        self.directory().join(id.to_string())
    }

    /// Where a first broker is listened to by the others, whether it runs or not.
    pub fn address(&self, id: i32) -> SocketAddr {
        self.addresses[&id]
    }

    /// Another address, for a broker that comes later.
    pub fn another_address(&mut self) -> SocketAddr {
        let port = Port::claim();
        let address = port.address();
        self.ports.push(port);
        address
    }

    pub fn config(&self, id: i32) -> BrokerConfig {
        let config = BrokerConfig::ephemeral(self.data_dir(id));
        let voters = self.addresses.iter().map(|(id, address)| (BrokerId(*id), address.to_string()));
        let cluster = ClusterConfig {
            peer: self.address(id),
            voters: voters.collect(),
            rack: self.racks.get(&id).map(|rack| (*rack).to_owned()),
            ..config.cluster.clone()
        };
        // Tests date their records as they like.
        let topic_defaults = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
        // What is stored is looked at all the time.
        let log_scrub_interval = Duration::from_millis(100);
        BrokerConfig { broker_id: BrokerId(id), cluster, topic_defaults, log_scrub_interval, ..config }
    }

    /// Starts a broker without waiting for it, and leaves it to the test what becomes of it.
    pub fn begin(&self, id: i32) -> Starting {
        tokio::spawn(Broker::start(self.config(id)))
    }

    /// Starts these at once, in this order, and waits until all serve.
    pub async fn start_these(&mut self, ids: &[i32]) {
        let starting: Vec<(i32, Starting)> = ids.iter().map(|id| (*id, self.begin(*id))).collect();
        for (id, broker) in starting {
            self.serves(id, broker).await;
        }
    }

    /// Starts all at once, and waits until they serve.
    pub async fn start_all(&mut self) {
        let ids: Vec<i32> = self.addresses.keys().copied().collect();
        self.start_these(&ids).await;
    }

    /// Starts one, for the first time or again, and waits until it serves.
    pub async fn start(&mut self, id: i32) {
        self.start_these(&[id]).await;
    }

    /// Waits until a broker that was begun serves, and takes it in.
    pub async fn serves(&mut self, id: i32, starting: Starting) {
        self.brokers.insert(id, starting.await.unwrap().unwrap());
    }

    pub async fn stop(&mut self, id: i32) {
        self.brokers.remove(&id).unwrap().stop().await.unwrap();
    }

    /// Stops whoever still runs.
    pub async fn end(self) {
        for broker in self.brokers.into_values() {
            broker.stop().await.unwrap();
        }
    }

    /// Waits until this broker's metadata is so.
    pub async fn sees(&self, id: i32, what: &str, holds: impl Fn(&Image) -> bool) {
        let services = self.brokers[&id].services();
        let mut applied = services.metadata_applied();
        let seen = applied.wait_for(|_| holds(&services.image()));
        let in_time = matches!(tokio::time::timeout(PATIENCE, seen).await, Ok(Ok(_)));
        let newest = *services.metadata_applied().borrow();
        assert!(in_time, "waited {PATIENCE:?} for broker {id} to see {what}; it has applied {newest}");
    }

    /// Waits until every broker that runs sees it so.
    pub async fn all_see(&self, what: &str, holds: impl Fn(&Image) -> bool) {
        for id in self.brokers.keys() {
            self.sees(*id, what, &holds).await;
        }
    }

    /// Waits until somebody listens where this first broker does.
    pub async fn listens(&self, id: i32) {
        let address = self.address(id);
        wait_for(&format!("somebody to listen at {address}"), async || {
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
    }
}

/// Asks until it is so. For what no broker's metadata shows: roles in Raft, ports, what a client is told.
pub async fn wait_for(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !holds().await {
            tokio::time::sleep(PACE).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, asking).await.is_ok(), "waited {PATIENCE:?} for {what}");
}
