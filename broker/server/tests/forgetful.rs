//! Brokers that come back without their memory, in real clusters within one process: an emptied directory, an older copy,
//! and, to tell them from these, first starts in every order.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

#[path = "support/cluster.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use highwater_proto::BrokerId;
use highwater_server::{Broker, DoorError, Forgotten, StartError};

use support::Cluster;

impl Cluster {
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
        let mut cluster = Cluster::of(3);
        let mut starting = Vec::new();
        for id in order {
            starting.push((id, cluster.begin(id)));
            cluster.listens(id).await;
        }
        for (id, broker) in starting {
            cluster.serves(id, broker).await;
        }
        for id in [1, 2, 3] {
            cluster.stop(id).await;
        }
        // All of them come back at once.
        cluster.start_these(&order).await;
        cluster.end().await;
    }
}

/// It confirmed what only it and one other have; empty, it would elect the third, which has not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_with_an_emptied_directory_does_not_vote_again() {
    let mut cluster = Cluster::serving(3).await;
    cluster.stop(2).await;
    let before = cluster.data_dir(2);
    copy(&before, &cluster.directory().join("kept"));
    cluster.wipe(2);
    let lost = forgotten(cluster.begin(2).await.unwrap());
    assert!(matches!(lost, Forgotten::Everything { .. }), "both others are there: {lost:?}");
    cluster.stop(1).await;
    let lost = forgotten(cluster.begin(2).await.unwrap());
    assert!(matches!(lost, Forgotten::Everything { .. }), "one of them is there: {lost:?}");
    cluster.stop(3).await;
    // Nobody is there who could say so: it waits, until the first one comes back.
    cluster.wipe(2);
    let waiting = cluster.begin(2);
    cluster.listens(2).await;
    let third = cluster.begin(3);
    assert!(matches!(forgotten(waiting.await.unwrap()), Forgotten::Everything { .. }));
    // With its own directory it is welcome.
    cluster.wipe(2);
    copy(&cluster.directory().join("kept"), &before);
    cluster.start(2).await;
    cluster.serves(3, third).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_a_directory_does_not_start() {
    let mut cluster = Cluster::serving(3).await;
    cluster.stop(2).await;
    let (live, kept) = (cluster.data_dir(2), cluster.directory().join("kept"));
    copy(&live, &kept);
    cluster.start(2).await;
    cluster.stop(2).await;
    cluster.wipe(2);
    copy(&kept, &live);
    let lost = forgotten(cluster.begin(2).await.unwrap());
    assert!(matches!(lost, Forgotten::Life { here: Some(_), .. }), "{lost:?}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_broker_may_come_when_the_cluster_stands_already() {
    let mut cluster = Cluster::of(5);
    cluster.start_these(&[1, 2, 3, 4]).await;
    cluster.start(5).await;
    assert!(!cluster.data_dir(5).join("raft.late").exists(), "it has caught up");
    let overview = cluster.brokers[&5].services().cluster_overview().await;
    assert_eq!(overview.brokers.iter().filter(|broker| broker.id == BrokerId(5)).count(), 1);
    cluster.end().await;
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
    let mut cluster = Cluster::serving(3).await;
    cluster.brokers[&2]
        .services()
        .create_topic("t".to_owned(), 1, 3, BTreeMap::new(), highwater_server::service::Mode::Apply)
        .await
        .unwrap();
    cluster.stop(2).await;
    let directory = cluster.data_dir(2);
    let segment = contents(&directory.join("raft"));
    let (path, bytes) =
        segment.iter().find(|(path, _)| path.extension().is_some_and(|e| e == "log")).unwrap();
    let mut rotten = bytes.clone();
    rotten[100] ^= 4;
    std::fs::write(path, &rotten).unwrap();
    let before = contents(&directory.join("raft"));
    let words = cluster.begin(2).await.unwrap().unwrap_err().to_string();
    for part in ["is damaged", "Nothing was deleted", "remove this node from the cluster", "new id"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(contents(&directory.join("raft")) == before, "it was touched");
    assert!(directory.join("partitions").exists());
    cluster.end().await;
}
