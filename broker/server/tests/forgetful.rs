//! Brokers that come back without their memory, in real clusters within one process: an emptied directory, an older copy,
//! and, to tell them from these, first starts in every order.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use highwater_proto::BrokerId;
use highwater_server::config::ClusterConfig;
use highwater_server::{Broker, BrokerConfig, DoorError, Forgotten, StartError};
use tempfile::TempDir;
use tokio::task::JoinHandle;

type Starting = JoinHandle<Result<Broker, StartError>>;

/// The first brokers 1, 2, ... of a cluster; which of them run is the test's business.
struct Cluster {
    directory: TempDir,
    voters: BTreeMap<BrokerId, String>,
}

impl Cluster {
    fn of(count: usize) -> Cluster {
        let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses = held.iter().map(|listener| listener.local_addr().unwrap().to_string());
        let voters = (1..).map(BrokerId).zip(addresses).collect();
        Cluster { directory: tempfile::tempdir().unwrap(), voters }
    }

    fn data_dir(&self, id: i32) -> PathBuf {
        self.directory.path().join(id.to_string())
    }

    fn config(&self, id: i32) -> BrokerConfig {
        let config = BrokerConfig::ephemeral(self.data_dir(id));
        let peer = self.voters[&BrokerId(id)].parse().unwrap();
        BrokerConfig {
            broker_id: BrokerId(id),
            cluster: ClusterConfig { peer, voters: self.voters.clone(), ..config.cluster.clone() },
            ..config
        }
    }

    fn start(&self, id: i32) -> Starting {
        tokio::spawn(Broker::start(self.config(id)))
    }

    /// Starts these and waits until all serve.
    async fn serve(&self, ids: &[i32]) -> BTreeMap<i32, Broker> {
        let starting: Vec<(i32, Starting)> = ids.iter().map(|id| (*id, self.start(*id))).collect();
        let mut brokers = BTreeMap::new();
        for (id, broker) in starting {
            brokers.insert(id, broker.await.unwrap().unwrap());
        }
        brokers
    }

    fn wipe(&self, id: i32) {
        std::fs::remove_dir_all(self.data_dir(id)).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

async fn stop(brokers: BTreeMap<i32, Broker>) {
    for (_, broker) in brokers {
        broker.stop().await.unwrap();
    }
}

async fn listens(address: &str) {
    let began = Instant::now();
    while tokio::net::TcpStream::connect(address).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "somebody listens at {address}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn forgotten(outcome: Result<Broker, StartError>) -> Forgotten {
    match outcome {
        Err(StartError::Door(DoorError::Forgotten(error))) => {
            let words = error.to_string();
            assert!(words.contains("must not start") && words.contains("cluster.join"), "{words}");
            error.forgotten
        }
        other => panic!("it must not start: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_brokers_find_each_other_in_whatever_order_they_start() {
    for order in [[1, 2, 3], [3, 1, 2]] {
        let cluster = Cluster::of(3);
        let mut starting = Vec::new();
        for id in order {
            starting.push((id, cluster.start(id)));
            listens(&cluster.voters[&BrokerId(id)]).await;
        }
        let mut brokers = BTreeMap::new();
        for (id, broker) in starting {
            brokers.insert(id, broker.await.unwrap().unwrap());
        }
        stop(brokers).await;
        // All of them come back at once.
        stop(cluster.serve(&order).await).await;
    }
}

/// It confirmed what only it and one other have; empty, it would elect the third, which has not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_with_an_emptied_directory_does_not_vote_again() {
    let cluster = Cluster::of(3);
    let mut brokers = cluster.serve(&[1, 2, 3]).await;
    brokers.remove(&2).unwrap().stop().await.unwrap();
    let before = cluster.data_dir(2);
    copy(&before, &cluster.directory.path().join("kept"));
    cluster.wipe(2);
    let lost = forgotten(cluster.start(2).await.unwrap());
    assert!(matches!(lost, Forgotten::Everything { .. }), "both others are there: {lost:?}");
    brokers.remove(&1).unwrap().stop().await.unwrap();
    let lost = forgotten(cluster.start(2).await.unwrap());
    assert!(matches!(lost, Forgotten::Everything { .. }), "one of them is there: {lost:?}");
    brokers.remove(&3).unwrap().stop().await.unwrap();
    // Nobody is there who could say so: it waits, until the first one comes back.
    cluster.wipe(2);
    let waiting = cluster.start(2);
    listens(&cluster.voters[&BrokerId(2)]).await;
    let third = cluster.start(3);
    assert!(matches!(forgotten(waiting.await.unwrap()), Forgotten::Everything { .. }));
    // With its own directory it is welcome.
    cluster.wipe(2);
    copy(&cluster.directory.path().join("kept"), &before);
    let second = cluster.start(2).await.unwrap().unwrap();
    let third = third.await.unwrap().unwrap();
    stop(BTreeMap::from([(2, second), (3, third)])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_a_directory_does_not_start() {
    let cluster = Cluster::of(3);
    let mut brokers = cluster.serve(&[1, 2, 3]).await;
    brokers.remove(&2).unwrap().stop().await.unwrap();
    let (live, kept) = (cluster.data_dir(2), cluster.directory.path().join("kept"));
    copy(&live, &kept);
    cluster.start(2).await.unwrap().unwrap().stop().await.unwrap();
    cluster.wipe(2);
    copy(&kept, &live);
    let lost = forgotten(cluster.start(2).await.unwrap());
    assert!(matches!(lost, Forgotten::Life { here: Some(_), .. }), "{lost:?}");
    stop(brokers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_broker_may_come_when_the_cluster_stands_already() {
    let cluster = Cluster::of(5);
    let mut brokers = cluster.serve(&[1, 2, 3, 4]).await;
    let fifth = cluster.start(5).await.unwrap().unwrap();
    assert!(!cluster.data_dir(5).join("raft.late").exists(), "it has caught up");
    let overview = fifth.services().cluster_overview().await;
    assert_eq!(overview.brokers.iter().filter(|broker| broker.id == BrokerId(5)).count(), 1);
    brokers.insert(5, fifth);
    stop(brokers).await;
}

/// Every file under a directory with its bytes, but for locks.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(contents(&path));
        } else if entry.file_name() != "lock" {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

/// The others have everything, but this disk may have confirmed what it no longer holds: it must not go on, and a person
/// must be told how to go on without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_whose_metadata_log_has_rotted_stops_and_says_how_to_replace_it() {
    let cluster = Cluster::of(3);
    let mut brokers = cluster.serve(&[1, 2, 3]).await;
    let second = brokers.remove(&2).unwrap();
    second
        .services()
        .create_topic("t".to_owned(), 1, 3, BTreeMap::new(), highwater_server::service::Mode::Apply)
        .await
        .unwrap();
    second.stop().await.unwrap();
    let directory = cluster.data_dir(2);
    let segment = contents(&directory.join("raft"));
    let (path, bytes) =
        segment.iter().find(|(path, _)| path.extension().is_some_and(|e| e == "log")).unwrap();
    let mut rotten = bytes.clone();
    rotten[100] ^= 4;
    std::fs::write(path, &rotten).unwrap();
    let before = contents(&directory.join("raft"));
    let words = cluster.start(2).await.unwrap().unwrap_err().to_string();
    for part in ["is damaged", "Nothing was deleted", "remove this node from the cluster", "new id"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(contents(&directory.join("raft")) == before, "it was touched");
    assert!(directory.join("partitions").exists());
    stop(brokers).await;
}
