//! Writers go on while nodes are cut off, lose power and come back: nothing that was acknowledged is lost, and all nodes
//! hold the same in the end.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{Cluster, Net};
use tokio::sync::watch;

/// Writes unique keys through whoever leads, and keeps those that were acknowledged.
async fn write(
    net: Arc<Net>,
    name: usize,
    done: Arc<AtomicBool>,
    acknowledged: Arc<watch::Sender<BTreeSet<String>>>,
) {
    let mut number = 0;
    while !done.load(Ordering::Relaxed) {
        number += 1;
        let key = format!("{name}-{number}");
        if let Some(leader) = net.leader() {
            let proposal = leader.propose(format!("{key}=1").into_bytes());
            if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(2), proposal).await {
                acknowledged.send_if_modified(|keys| keys.insert(key));
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn what_was_acknowledged_outlives_partitions_and_power_cuts() {
    let mut cluster = Cluster::of(3, |config| {
        config.heartbeat = Duration::from_millis(30);
        config.election_min = Duration::from_millis(150);
        config.election_max = Duration::from_millis(300);
        config.snapshot_entries = 60;
        config.entries_kept = 5;
        config.segment_bytes = 4096;
    })
    .await;
    let done = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(watch::Sender::new(BTreeSet::new()));
    let mut writers = tokio::task::JoinSet::new();
    for name in 0..4 {
        writers.spawn(write(cluster.net.clone(), name, done.clone(), acknowledged.clone()));
    }
    for round in 0..12_u64 {
        let leader = cluster.leader().await.status().borrow().id;
        // In turn: the leader is cut off, a follower is, the leader loses power, a follower does.
        let victim = if round % 2 == 0 { leader } else { leader % 3 + 1 };
        if round % 4 < 2 {
            cluster.isolate(victim);
        } else {
            cluster.stop(victim).await;
            cluster.disks[&victim].crash();
        }
        let enough = acknowledged.borrow().len() + 40;
        let mut written = acknowledged.subscribe();
        let writing = written.wait_for(|keys| keys.len() >= enough);
        let went_on = tokio::time::timeout(support::PATIENCE, writing).await;
        assert!(went_on.is_ok_and(|went_on| went_on.is_ok()), "two of three go on");
        if round % 4 < 2 {
            cluster.heal();
        } else {
            cluster.start(victim).await.unwrap();
        }
    }
    done.store(true, Ordering::Relaxed);
    writers.join_all().await;
    let last = cluster.put("last", "1").await;
    cluster.converge(last).await;
    let acknowledged = acknowledged.borrow().clone();
    for id in 1..=3 {
        let held = cluster.machines[&id].published.lock().unwrap().1.clone();
        let lost: Vec<_> = acknowledged.iter().filter(|key| !held.contains_key(*key)).collect();
        assert!(lost.is_empty(), "node {id} lost {lost:?}");
    }
    cluster.shutdown().await;
}
