//! Leaders whose processes ended: those who have seen it elect another one at once, and one node alone unseats nobody.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use highwater_raft_store::RaftConfig;
use support::{Cluster, address, until};

/// With these nobody is ever elected because a leader was silent.
fn patient(config: &mut RaftConfig) {
    config.election_min = Duration::from_secs(3600);
    config.election_max = Duration::from_secs(7200);
}

async fn patient_cluster() -> (Cluster, u64) {
    let mut cluster = Cluster::new(patient);
    for id in 1..=3 {
        cluster.start(id).await.expect("the node starts");
    }
    let voters: BTreeMap<u64, String> = (1..=3).map(|id| (id, address(id))).collect();
    cluster.nodes[&1].initialize(voters).await.expect("it was never initialised");
    cluster.nodes[&1].trigger_election().await;
    let index = cluster.put("a", "1").await;
    cluster.converge(index).await;
    let leader = cluster.leader().await.status().borrow().id;
    (cluster, leader)
}

#[tokio::test]
async fn a_leader_that_both_followers_see_gone_is_replaced_without_waiting_for_its_silence() {
    let (mut cluster, old) = patient_cluster().await;
    cluster.stop(old).await;
    let seen = cluster.nodes.values().map(|node| {
        let node = node.clone();
        tokio::spawn(async move { node.leader_is_gone(old).await })
    });
    let seen: Vec<_> = seen.collect();
    let leader = cluster.leader().await.status().borrow().id;
    assert_ne!(leader, old);
    for seen in seen {
        seen.await.unwrap();
    }
    let index = cluster.put("a", "2").await;
    cluster.converge(index).await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_follower_that_alone_takes_the_leader_for_gone_unseats_nobody() {
    let (cluster, leader) = patient_cluster().await;
    let term = cluster.nodes[&leader].status().borrow().term;
    let (_, mistaken) = cluster.nodes.iter().find(|(id, _)| **id != leader).unwrap();
    mistaken.leader_is_gone(leader).await;
    let index = cluster.put("a", "2").await;
    cluster.converge(index).await;
    let status = until(mistaken, "it still follows", |status| status.leader == Some(leader)).await;
    assert_eq!(status.term, term, "and nobody else was elected in between");
    cluster.shutdown().await;
}

#[tokio::test]
async fn what_is_said_of_a_node_that_does_not_lead_changes_nothing() {
    let (cluster, leader) = patient_cluster().await;
    let term = cluster.nodes[&leader].status().borrow().term;
    let followers: Vec<u64> = cluster.nodes.keys().copied().filter(|id| *id != leader).collect();
    cluster.nodes[&followers[0]].leader_is_gone(followers[1]).await;
    cluster.nodes[&leader].leader_is_gone(leader).await;
    let index = cluster.put("a", "2").await;
    cluster.converge(index).await;
    assert_eq!(cluster.nodes[&leader].status().borrow().term, term);
    cluster.shutdown().await;
}
