//! Directories that are not this node's, or not what they were: the node says so and leaves them alone.

mod support;

use std::path::{Path, PathBuf};

use highwater_env::Disk;
use highwater_raft_store::{RaftConfig, StartError, StateMachine};
use support::{Cluster, Keys, until};

fn purging(config: &mut RaftConfig) {
    config.snapshot_entries = 20;
    config.entries_kept = 0;
    config.segment_bytes = 4096;
}

/// A stopped sole voter with a snapshot and a purged log; the snapshot's path.
async fn with_snapshot() -> (Cluster, PathBuf) {
    let mut cluster = Cluster::of(1, purging).await;
    for number in 0..60 {
        cluster.put(&format!("key-{number}"), "v").await;
    }
    until(&cluster.leader().await, "a snapshot is taken", |status| status.snapshot > Some(30)).await;
    cluster.stop(1).await;
    let is_snapshot = |path: &&PathBuf| path.to_string_lossy().contains("snapshot-");
    let snapshots: Vec<PathBuf> = cluster.disks[&1].contents().keys().filter(is_snapshot).cloned().collect();
    assert_eq!(snapshots.len(), 1, "older ones are removed");
    let snapshot = snapshots[0].clone();
    (cluster, snapshot)
}

fn files(cluster: &Cluster) -> Vec<(PathBuf, Vec<u8>)> {
    let is_lock = |path: &Path| path.ends_with("lock");
    cluster.disks[&1].contents().into_iter().filter(|(path, _)| !is_lock(path)).collect()
}

#[tokio::test]
async fn a_rotten_snapshot_is_refused_and_nothing_is_deleted() {
    for position in [3, 20, 24, 60, 200] {
        let (mut cluster, snapshot) = with_snapshot().await;
        cluster.disks[&1].rot(&snapshot, position, 1).expect("the byte is there");
        let before = files(&cluster);
        let error = cluster.start(1).await.map(|_| ()).expect_err("it is rotten");
        assert!(matches!(error, StartError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("new id and an empty directory"), "{error}");
        assert_eq!(files(&cluster), before);
    }
}

/// A state machine that forgets a key of each snapshot.
struct Forgetful(Keys);

impl StateMachine for Forgetful {
    fn apply(&mut self, index: u64, payload: &[u8]) -> Vec<u8> {
        self.0.apply(index, payload)
    }

    fn applied_up_to(&mut self, index: u64) {
        self.0.applied_up_to(index);
    }

    fn snapshot(&self) -> Box<dyn FnOnce() -> Vec<u8> + Send> {
        self.0.snapshot()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let mut data: std::collections::BTreeMap<String, String> =
            serde_json::from_slice(snapshot).map_err(|error| error.to_string())?;
        data.pop_first();
        self.0.restore(&serde_json::to_vec(&data).map_err(|error| error.to_string())?)
    }

    fn digest(&self) -> u32 {
        self.0.digest()
    }
}

#[tokio::test]
async fn a_state_that_comes_back_different_from_its_snapshot_is_refused() {
    let (mut cluster, _) = with_snapshot().await;
    let before = files(&cluster);
    let error = cluster.start_with(1, Forgetful(Keys::default())).await.map(|_| ()).expect_err("it differs");
    assert!(matches!(error, StartError::Recovery { .. }), "{error}");
    assert!(error.to_string().contains("digest"), "{error}");
    let is_marker = |(path, _): &(PathBuf, Vec<u8>)| path.ends_with("marker");
    let after = files(&cluster);
    assert!(after.iter().filter(|f| !is_marker(f)).eq(before.iter().filter(|f| !is_marker(f))));
    cluster.start(1).await.expect("a sound one starts");
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_missing_snapshot_is_not_taken_for_an_empty_state() {
    let (mut cluster, snapshot) = with_snapshot().await;
    cluster.disks[&1].remove_file(&snapshot).expect("it is there");
    let before = files(&cluster);
    let error = cluster.start(1).await.map(|_| ()).expect_err("the log begins after the snapshot");
    assert!(matches!(error, StartError::Damaged { .. }), "{error}");
    assert_eq!(files(&cluster), before);
}

#[tokio::test]
async fn a_missing_identity_is_not_taken_for_a_new_node() {
    let (mut cluster, _) = with_snapshot().await;
    cluster.disks[&1].remove_file(Path::new("/raft/identity")).expect("it is there");
    let error = cluster.start(1).await.map(|_| ()).expect_err("somebody was here");
    assert!(matches!(error, StartError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn another_nodes_directory_is_refused() {
    let (mut cluster, _) = with_snapshot().await;
    cluster.disks.insert(2, cluster.disks[&1].clone());
    let error = cluster.start(2).await.map(|_| ()).expect_err("it is node 1's");
    assert!(matches!(error, StartError::OtherNode { found_id: 1, id: 2, .. }), "{error}");
    cluster.tune = |config| config.cluster_name = "other".to_owned();
    let error = cluster.start(1).await.map(|_| ()).expect_err("it is another cluster's");
    assert!(matches!(error, StartError::OtherNode { .. }), "{error}");
}

#[tokio::test]
async fn a_directory_in_use_is_refused_and_free_after_the_node_stopped() {
    let mut cluster = Cluster::of(1, |_| {}).await;
    let error = cluster.start(1).await.map(|_| ()).expect_err("it runs");
    assert!(matches!(error, StartError::Locked { .. }), "{error}");
    cluster.stop(1).await;
    cluster.start(1).await.expect("it is free");
    cluster.leader().await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_node_whose_disk_fails_stops_and_says_why() {
    use highwater_env::sim::{CallKind, Fault, FaultKind};
    let mut cluster = Cluster::of(1, |_| {}).await;
    let index = cluster.put("a", "1").await;
    let node = cluster.leader().await;
    cluster.disks[&1].inject(Fault { call: Some(CallKind::SyncData), nth: 1, kind: FaultKind::Io });
    let refused = node.propose(b"a=2".to_vec()).await;
    assert!(refused.is_err(), "{refused:?}");
    let status = until(&node, "it stops", |status| status.failure.is_some()).await;
    assert!(!status.is_leader);
    assert!(node.propose(b"a=3".to_vec()).await.is_err());
    cluster.stop(1).await;
    cluster.disks[&1].crash();
    cluster.start(1).await.expect("the disk is well again");
    let now = cluster.put("b", "1").await;
    assert!(now > index);
    let value = cluster.value(1, "a");
    assert!(value.as_deref() == Some("1") || value.as_deref() == Some("2"), "{value:?}");
    cluster.shutdown().await;
}
