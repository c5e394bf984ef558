//! One and three nodes end to end: they elect, agree, survive the loss of a leader, and come back from their disks.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use highwater_raft_store::{LinearizeError, ProposeError, Proposed};
use support::{Cluster, address, until};

#[tokio::test]
async fn a_sole_voter_leads_answers_and_comes_back_with_all_it_acknowledged() {
    let mut cluster = Cluster::of(1, |_| {}).await;
    let first = cluster.leader().await.propose(b"a=1".to_vec()).await.unwrap();
    let second = cluster.leader().await.propose(b"a=2".to_vec()).await.unwrap();
    assert_eq!(second, Proposed { index: first.index + 1, reply: b"1".to_vec() });
    assert_eq!(cluster.value(1, "a").as_deref(), Some("2"), "published before the proposer hears of it");

    cluster.stop(1).await;
    cluster.disks[&1].crash();
    // With an election timeout of an hour, only a vote asked for at once can make it leader.
    cluster.tune = |config| {
        config.election_min = Duration::from_secs(3600);
        config.election_max = Duration::from_secs(7200);
    };
    let node = cluster.start(1).await.unwrap();
    assert!(node.is_initialized().await);
    let leader = cluster.leader().await;
    assert!(leader.linearize().await.unwrap() > second.index);
    assert_eq!(cluster.value(1, "a").as_deref(), Some("2"));
    cluster.shutdown().await;
}

#[tokio::test]
async fn three_nodes_agree_and_a_follower_names_the_leader() {
    let cluster = Cluster::steady(3, |_| {}).await;
    let index = cluster.put("a", "1").await;
    cluster.converge(index).await;
    let leader = cluster.leader().await;
    let leader_id = leader.status().borrow().id;
    for (id, node) in cluster.nodes.iter().filter(|(id, _)| **id != leader_id) {
        let refused = node.propose(b"b=1".to_vec()).await;
        let named = Some((leader_id, address(leader_id)));
        assert_eq!(refused, Err(ProposeError::NotLeader { leader: named.clone() }), "node {id}");
        assert_eq!(node.linearize().await, Err(LinearizeError::NotLeader { leader: named }), "node {id}");
    }
    assert!(leader.linearize().await.unwrap() >= index);
    let status = until(&leader, "the followers have it", |status| {
        status.replication.values().all(|matched| *matched >= Some(index))
    })
    .await;
    assert_eq!(status.voters, (1..=3).map(|id| (id, address(id))).collect::<BTreeMap<_, _>>());
    cluster.shutdown().await;
}

#[tokio::test]
async fn when_the_leader_is_cut_off_another_one_takes_over_and_the_old_one_gives_in() {
    let cluster = Cluster::of(3, |_| {}).await;
    cluster.put("a", "1").await;
    let old = cluster.leader().await;
    let old_id = old.status().borrow().id;
    cluster.isolate(old_id);
    let lost = tokio::spawn({
        let old = old.clone();
        async move { old.propose(b"lost=1".to_vec()).await }
    });
    let index = cluster.put("a", "2").await;
    let new_id = cluster.leader().await.status().borrow().id;
    assert_ne!(new_id, old_id);
    until(&old, "nobody answers it", |status| !status.is_leader).await;
    assert!(old.linearize().await.is_err(), "a leader without followers cannot vouch for a read");
    cluster.heal();
    until(&old, "the old leader follows", |status| status.leader.is_some_and(|id| id != old_id)).await;
    assert!(lost.await.unwrap().is_err());
    cluster.converge(index).await;
    for id in 1..=3 {
        assert_eq!(cluster.value(id, "a").as_deref(), Some("2"));
        assert_eq!(cluster.value(id, "lost"), None);
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn three_nodes_that_lose_power_together_come_back_with_all_that_was_acknowledged() {
    let mut cluster = Cluster::of(3, |_| {}).await;
    let mut index = 0;
    for round in 0..5 {
        for key in 0..20 {
            index = cluster.put(&format!("key-{key}"), &format!("{round}")).await;
        }
        for id in 1..=3 {
            cluster.stop(id).await;
            cluster.disks[&id].crash();
        }
        for id in 1..=3 {
            cluster.start(id).await.unwrap();
        }
    }
    cluster.leader().await;
    cluster.converge(index).await;
    for key in 0..20 {
        assert_eq!(cluster.value(1, &format!("key-{key}")).as_deref(), Some("4"));
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_payload_over_the_limit_is_refused_with_both_numbers() {
    let cluster = Cluster::of(1, |config| config.payload_bytes_max = 10).await;
    let refused = cluster.leader().await.propose(vec![b'='; 11]).await;
    assert_eq!(refused, Err(ProposeError::TooLarge { bytes: 11, bytes_max: 10 }));
    cluster.shutdown().await;
}

#[tokio::test]
async fn entries_that_take_longer_than_a_heartbeat_are_not_sent_again_and_again() {
    let cluster = Cluster::steady(3, |_| {}).await;
    let index = cluster.put("a", "1").await;
    cluster.converge(index).await;
    *cluster.net.large_takes.lock().unwrap() = Duration::from_millis(250);
    let index = cluster.put("a", &"x".repeat(20_000)).await;
    cluster.converge(index).await;
    // Once for each follower; once more if one was just about to be sent something else.
    let sent = cluster.net.large.load(Ordering::Relaxed);
    assert!((2..=4).contains(&sent), "sent {sent} times");
    cluster.shutdown().await;
}
