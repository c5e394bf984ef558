//! Leaders whose processes ended: those who have seen it elect another one at once, and one node alone unseats nobody.

mod support;

use support::{Cluster, until};

/// Who leads a steady cluster.
const LEADER: u64 = 1;

#[tokio::test]
async fn a_leader_that_both_followers_see_gone_is_replaced_without_waiting_for_its_silence() {
    let mut cluster = Cluster::steady(3, |_| {}).await;
    cluster.stop(LEADER).await;
    let seen = cluster.nodes.values().map(|node| {
        let node = node.clone();
        tokio::spawn(async move { node.leader_is_gone(LEADER).await })
    });
    let seen: Vec<_> = seen.collect();
    let leader = cluster.leader().await.status().borrow().id;
    assert_ne!(leader, LEADER);
    for seen in seen {
        seen.await.unwrap();
    }
    let index = cluster.put("a", "2").await;
    cluster.converge(index).await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_follower_that_alone_takes_the_leader_for_gone_unseats_nobody() {
    let cluster = Cluster::steady(3, |_| {}).await;
    let term = cluster.nodes[&LEADER].status().borrow().term;
    let (_, mistaken) = cluster.nodes.iter().find(|(id, _)| **id != LEADER).unwrap();
    mistaken.leader_is_gone(LEADER).await;
    let index = cluster.put("a", "2").await;
    cluster.converge(index).await;
    let status = until(mistaken, "it still follows", |status| status.leader == Some(LEADER)).await;
    assert_eq!(status.term, term, "and nobody else was elected in between");
    cluster.shutdown().await;
}

#[tokio::test]
async fn what_is_said_of_a_node_that_does_not_lead_changes_nothing() {
    let cluster = Cluster::steady(3, |_| {}).await;
    let term = cluster.nodes[&LEADER].status().borrow().term;
    let followers: Vec<u64> = cluster.nodes.keys().copied().filter(|id| *id != LEADER).collect();
    cluster.nodes[&followers[0]].leader_is_gone(followers[1]).await;
    cluster.nodes[&LEADER].leader_is_gone(LEADER).await;
    let index = cluster.put("a", "2").await;
    cluster.converge(index).await;
    assert_eq!(cluster.nodes[&LEADER].status().borrow().term, term);
    cluster.shutdown().await;
}
