//! Who belongs to the cluster: joining, leaving, falling behind and coming back.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use highwater_raft_store::{MembershipError, RaftConfig};
use support::{Cluster, Keys, PATIENCE, address, until};

/// Snapshots soon, and nothing kept behind them.
fn purging(config: &mut RaftConfig) {
    config.snapshot_entries = 20;
    config.entries_kept = 0;
    config.segment_bytes = 4096;
}

/// Of a steady cluster's nodes, one misses others as soon as it would anywhere else.
fn quick(config: &mut RaftConfig, id: u64) {
    if config.id == id {
        config.election_min = Duration::from_millis(300);
        config.election_max = Duration::from_millis(600);
    }
}

/// Node 3 asks for votes soon, and the others never do.
fn restless_third(config: &mut RaftConfig) {
    quick(config, 3);
}

/// Node 1, which leads, soon notices who does not answer, and waits for them as long as it takes.
fn quick_to_miss(config: &mut RaftConfig) {
    quick(config, 1);
    config.majority_patience = PATIENCE;
}

/// The same, but it does not wait for long.
fn impatient(config: &mut RaftConfig) {
    quick_to_miss(config);
    config.majority_patience = Duration::from_millis(200);
}

#[tokio::test]
async fn a_follower_that_missed_a_purge_gets_a_snapshot_and_comes_back_with_it() {
    let mut cluster = Cluster::of(3, purging).await;
    cluster.put("before", "1").await;
    let leader = cluster.leader().await.status().borrow().id;
    let behind = (1..=3).find(|id| *id != leader).expect("a follower");
    cluster.stop(behind).await;
    let mut index = 0;
    for number in 0..100 {
        index = cluster.put(&format!("key-{number}"), "v").await;
    }
    let leader = cluster.leader().await;
    let purged = until(&leader, "the log is purged", |status| status.purged > Some(50)).await.purged;
    cluster.start(behind).await.expect("it starts");
    cluster.converge(index).await;
    assert!(
        cluster.net.snapshot_pieces_to(behind) > 0,
        "it lacks entries up to {purged:?}, which nobody has"
    );
    // And it starts from that snapshot, after a power cut too.
    cluster.stop(behind).await;
    cluster.disks[&behind].crash();
    cluster.start(behind).await.expect("it starts again");
    let index = cluster.put("after", "1").await;
    cluster.converge(index).await;
    assert_eq!(cluster.value(behind, "key-0").as_deref(), Some("v"));
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_snapshot_of_several_pieces_arrives_whole() {
    let mut cluster = Cluster::of(3, purging).await;
    let leader = cluster.leader().await.status().borrow().id;
    let behind = (1..=3).find(|id| *id != leader).expect("a follower");
    cluster.stop(behind).await;
    let value = "x".repeat(100_000);
    let mut index = 0;
    for number in 0..40 {
        index = cluster.put(&format!("key-{number}"), &value).await;
    }
    until(&cluster.leader().await, "a snapshot is taken", |status| status.snapshot > Some(20)).await;
    cluster.start(behind).await.expect("it starts");
    cluster.converge(index).await;
    assert_eq!(cluster.value(behind, "key-0"), Some(value));
    cluster.shutdown().await;
}

#[tokio::test]
async fn all_nodes_restart_one_after_the_other_through_snapshots_and_purges() {
    let mut cluster = Cluster::of(3, purging).await;
    let mut index = 0;
    for round in 0..6 {
        for number in 0..30 {
            index = cluster.put(&format!("key-{number}"), &format!("{round}")).await;
        }
        let id = round % 3 + 1;
        cluster.stop(id).await;
        cluster.disks[&id].crash();
        cluster.put("while down", &format!("{round}")).await;
        cluster.start(id).await.expect("it starts");
    }
    cluster.converge(index).await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_learner_follows_becomes_a_voter_and_a_voter_leaves() {
    let mut cluster = Cluster::steady(3, purging).await;
    for number in 0..50 {
        cluster.put(&format!("key-{number}"), "v").await;
    }
    let node = cluster.start(4).await.expect("an empty directory");
    assert!(!node.is_initialized().await);
    let leader = cluster.leader().await;
    leader.add_learner(4, &address(4)).await.expect("it is added");
    leader.add_learner(4, &address(4)).await.expect("again is fine");
    let elsewhere = leader.add_learner(4, "elsewhere").await;
    assert_eq!(elsewhere, Err(MembershipError::OtherAddress { id: 4, address: address(4) }));
    let index = cluster.put("with a learner", "1").await;
    cluster.converge(index).await;
    let status = until(&node, "it knows", |status| status.learners.contains_key(&4)).await;
    assert_eq!(status.voters.len(), 3);

    let leader = cluster.leader().await;
    assert!(leader.wait_caught_up(4).await);
    leader.change_voters(BTreeSet::from([1, 2, 3, 4])).await.expect("it becomes a voter");
    until(&node, "it votes", |status| status.voters.len() == 4 && !status.changing_voters).await;

    let id = leader.status().borrow().id;
    let gone = (1..=3).find(|other| *other != id).expect("a follower");
    leader.remove(gone).await.expect("it is removed");
    leader.remove(gone).await.expect("again is fine");
    let status = until(&leader, "three are left", |status| status.voters.len() == 3).await;
    assert!(!status.voters.contains_key(&gone) && !status.learners.contains_key(&gone));
    cluster.stop(gone).await;
    let index = cluster.put("without one", "1").await;
    cluster.converge(index).await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn the_last_voter_stays_and_strangers_are_no_voters() {
    let cluster = Cluster::of(1, |_| {}).await;
    let node = cluster.leader().await;
    assert_eq!(node.change_voters(BTreeSet::new()).await, Err(MembershipError::LastVoter));
    assert_eq!(node.remove(1).await, Err(MembershipError::LastVoter));
    let stranger = node.change_voters(BTreeSet::from([1, 9])).await;
    assert_eq!(stranger, Err(MembershipError::NotMember { id: 9 }));
    assert_eq!(node.transfer_leader(9).await, Err(MembershipError::NotMember { id: 9 }));
    node.remove(9).await.expect("it is not there");
    cluster.put("still", "here").await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_learner_that_has_nothing_is_made_no_voter() {
    let cluster = Cluster::of(1, |_| {}).await;
    let leader = cluster.leader().await;
    leader.add_learner(2, &address(2)).await.expect("it is added");
    let mut proposals = tokio::task::JoinSet::new();
    for number in 0..1_100 {
        let leader = leader.clone();
        proposals.spawn(async move { leader.propose(format!("key={number}").into_bytes()).await });
    }
    proposals.join_all().await;
    let refused = leader.change_voters(BTreeSet::from([1, 2])).await;
    assert!(matches!(refused, Err(MembershipError::Behind { id: 2, matched: None, .. })), "{refused:?}");
    leader.remove(2).await.expect("it is removed");
    cluster.shutdown().await;
}

#[tokio::test]
async fn entries_that_fill_the_memory_are_put_into_a_snapshot() {
    let cluster = Cluster::of(1, |config| {
        config.log_bytes_max = 100_000;
        config.entries_kept = 0;
    })
    .await;
    for number in 0..30 {
        cluster.put(&format!("{}", number % 3), &"x".repeat(10_000)).await;
    }
    until(&cluster.leader().await, "a snapshot is taken", |status| status.snapshot > Some(10)).await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_removed_voter_that_was_not_told_cannot_unseat_the_leader() {
    let cluster = Cluster::steady(3, restless_third).await;
    let leader = cluster.leader().await;
    let (id, removed) = (1, 3);
    cluster.isolate(removed);
    leader.remove(removed).await.expect("it is removed");
    let term = leader.status().borrow().term;
    let node = &cluster.nodes[&removed];
    // It hears of nobody, so it asks for votes in vain, and goes on asking when it can reach the others again.
    cluster.asks_for_votes(removed, 2).await;
    cluster.heal();
    cluster.asks_for_votes(removed, 6).await;
    let index = cluster.put("undisturbed", "1").await;
    assert!(leader.wait_applied(index).await);
    assert_eq!(node.status().borrow().term, term, "asking first costs no term");
    let now = leader.status().borrow().clone();
    assert_eq!((now.leader, now.term), (Some(id), term));
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_follower_that_was_cut_off_comes_back_without_unseating_the_leader() {
    let cluster = Cluster::steady(3, restless_third).await;
    let leader = cluster.leader().await;
    let (id, away) = (1, 3);
    let term = leader.status().borrow().term;
    cluster.isolate(away);
    cluster.asks_for_votes(away, 6).await;
    let index = cluster.put("meanwhile", "1").await;
    assert_eq!(cluster.nodes[&away].status().borrow().term, term, "asking first costs no term");
    cluster.heal();
    cluster.converge(index).await;
    let now = leader.status().borrow().clone();
    assert_eq!((now.leader, now.term), (Some(id), term));
    cluster.shutdown().await;
}

#[tokio::test]
async fn the_lead_is_handed_over_on_request_and_by_a_leader_that_removes_itself() {
    let cluster = Cluster::steady(3, |_| {}).await;
    let first = cluster.leader().await;
    let first_id = first.status().borrow().id;
    let to = first_id % 3 + 1;
    first.transfer_leader(to).await.expect("it is asked");
    let second = &cluster.nodes[&to];
    until(second, "it leads", |status| status.is_leader).await;
    let refused = first.transfer_leader(first_id).await;
    let named = until(&first, "it follows", |status| status.leader == Some(to)).await;
    assert!(refused.is_err() || named.leader == Some(to));
    second.remove(to).await.expect("it removes itself");
    let third = until(&first, "another one leads", |status| status.leader.is_some_and(|id| id != to)).await;
    assert_eq!(third.voters.len(), 2);
    cluster.put("without it", "1").await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn what_is_not_for_this_node_or_cluster_is_refused() {
    let cluster = Cluster::of(1, |_| {}).await;
    let other = Cluster::of(1, |config| config.cluster_name = "other".to_owned()).await;
    let node = cluster.leader().await;
    // A vote request of the smallest size: version, kind, from, to, cluster, vote, no log, no transfer.
    let request = |to: u64, name: &str| {
        let mut bytes = vec![1, 2];
        bytes.extend_from_slice(&5_u64.to_le_bytes());
        bytes.extend_from_slice(&to.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(name.as_bytes()).to_le_bytes());
        bytes.extend_from_slice(&99_u64.to_le_bytes());
        bytes.extend_from_slice(&5_u64.to_le_bytes());
        bytes.extend_from_slice(&[0, 0, 0]);
        bytes::Bytes::from(bytes)
    };
    for wrong in
        [request(2, "test"), request(1, "other"), bytes::Bytes::from_static(b"\x01"), bytes::Bytes::new()]
    {
        assert_eq!(node.handle(wrong).await[..2], [1, 0], "refused");
    }
    assert_eq!(node.handle(request(1, "test")).await[..2], [1, 2], "answered");
    cluster.shutdown().await;
    other.shutdown().await;
}

/// Two voters of which one is gone would be left: the change would never be committed, and nothing after it.
#[tokio::test]
async fn a_removal_that_leaves_no_majority_is_refused_and_the_cluster_goes_on() {
    let mut cluster = Cluster::steady(3, impatient).await;
    let leader = cluster.leader().await;
    let (id, gone, alive) = (1, 2, 3);
    cluster.stop(gone).await;
    until(&leader, "it is missed", |status| !status.answering.contains(&gone)).await;
    let both = leader.change_voters([id, gone].into());
    let (both, demoted, removed) = tokio::join!(both, leader.demote(alive), leader.remove(alive));
    for refused in [both, demoted, removed] {
        let error = refused.expect_err("nothing could be decided");
        assert!(matches!(error, MembershipError::NoMajority { needed: 2, .. }), "{error}");
        assert!(error.to_string().contains("only"), "{error}");
    }
    cluster.put("a", "1").await;
    // The one that is gone may go.
    until(&leader, "the other one is heard", |status| status.answering.contains(&alive)).await;
    leader.remove(gone).await.expect("two are there");
    cluster.put("b", "2").await;
    cluster.shutdown().await;
}

/// Whoever leads since a moment has heard of nobody yet, and a voter that is back was just not heard of.
#[tokio::test]
async fn a_voter_is_removed_though_the_one_that_stays_was_not_heard_of_yet() {
    let cluster = Cluster::steady(3, quick_to_miss).await;
    let leader = cluster.leader().await;
    cluster.isolate(2);
    until(&leader, "it is missed", |status| !status.answering.contains(&2)).await;
    cluster.heal();
    assert!(!leader.status().borrow().answering.contains(&2), "it had no time to answer");
    leader.remove(3).await.expect("it answers in a moment");
    cluster.put("a", "1").await;
    cluster.shutdown().await;
}

/// It confirmed an entry that only one other has, and forgot it. Its vote would make the third one lead, without the entry.
#[tokio::test]
async fn a_node_that_withholds_its_vote_elects_nobody_before_it_has_caught_up() {
    let mut cluster = Cluster::of(3, |_| {}).await;
    let index = cluster.put("a", "1").await;
    cluster.converge(index).await;
    cluster.stop(3).await;
    let index = cluster.put("b", "2").await;
    for id in [1, 2] {
        cluster.stop(id).await;
    }
    cluster.disks.remove(&2);
    let mut empty = cluster.open(2).await.expect("it is empty");
    assert_eq!(empty.last_log_index(), None);
    empty.withhold_votes_until(index);
    let machine = Keys::default();
    cluster.machines.insert(2, machine.clone());
    cluster.start_opened(2, empty, machine).await.expect("it listens");
    cluster.start(3).await.expect("it starts");
    cluster.nodes[&2].leader_is_gone(1).await;
    cluster.nodes[&2].trigger_election().await;
    cluster.asks_for_votes(3, 4).await;
    assert!(cluster.nodes.values().all(|node| !node.status().borrow().is_leader));
    cluster.start(1).await.expect("it starts");
    let index = cluster.put("c", "3").await;
    cluster.converge(index).await;
    assert_eq!(cluster.value(2, "b").as_deref(), Some("2"));
    // From now on it counts like any other.
    cluster.stop(1).await;
    cluster.put("d", "4").await;
    cluster.shutdown().await;
}
