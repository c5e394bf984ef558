//! Three brokers in one process: they find each other, replicate, and one takes over from another.

#[path = "support/cluster.rs"]
mod support;

use std::collections::BTreeMap;

use highwater_proto::BrokerId;
use highwater_server::service::NodeRole;
use highwater_server::{Broker, BrokerConfig, SubmitError};

use support::{Cluster, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_brokers_replicate_a_topic_and_one_takes_over() {
    let mut cluster = Cluster::serving(3).await;
    let services = cluster.brokers[&1].services();
    let topic = services
        .create_topic("t".to_owned(), 3, 3, BTreeMap::new(), highwater_server::service::Mode::Apply)
        .await
        .unwrap();
    let leaders: std::collections::BTreeSet<i32> =
        topic.partitions.iter().filter_map(|partition| partition.leader).map(|id| id.0).collect();
    assert_eq!(leaders.len(), 3, "each leads one: {topic:?}");
    cluster.all_see("the topic", |image| image.topic_named("t").is_some()).await;
    cluster.stop(1).await;
    cluster
        .sees(2, "somebody else lead what broker 1 led", |image| {
            image.topic_named("t").unwrap().partitions.iter().all(|partition| {
                partition.leader.is_some_and(|leader| leader != BrokerId(1)) && partition.isr.len() == 2
            })
        })
        .await;
    cluster.start(1).await;
    cluster
        .sees(2, "broker 1 in sync again", |image| {
            image.topic_named("t").unwrap().partitions.iter().all(|partition| partition.isr.len() == 3)
        })
        .await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_joins_takes_over_and_another_one_leaves_for_good() {
    let mut cluster = Cluster::serving(3).await;
    let apply = highwater_server::service::Mode::Apply;
    // Others find a voter where it was when it came.
    let peer = cluster.another_address();
    let services = cluster.brokers[&1].services();
    services.create_topic("t".to_owned(), 2, 3, BTreeMap::new(), apply).await.unwrap();
    let mut config = BrokerConfig::ephemeral(cluster.directory().join("fourth"));
    config.cluster.join = vec![cluster.address(2).to_string()];
    config.cluster.peer = peer;
    let fourth = Broker::start(config.clone()).await.unwrap();
    let id = fourth.services().config().broker_id;
    assert_eq!(id, BrokerId(4), "the next one that nobody had");
    // Everything moves from 3 to the new one.
    services.drain_broker(BrokerId(3)).await.unwrap();
    cluster
        .sees(1, "broker 3 hold nothing", |image| {
            image.partitions().all(|(_, _, partition)| !partition.replicas.contains(&BrokerId(3)))
        })
        .await;
    let refused = services.remove_broker(BrokerId(4)).await.unwrap_err().to_string();
    assert!(refused.contains('4'), "it holds replicas: {refused}");
    fourth.services().add_voter(id).await.unwrap();
    services.remove_broker(BrokerId(3)).await.unwrap();
    wait_for("broker 2 to know 1, 2 and 4 only", async || {
        let overview = cluster.brokers[&2].services().cluster_overview().await;
        overview.brokers.iter().map(|broker| broker.id.0).eq([1, 2, 4])
    })
    .await;
    let removed = cluster.brokers.remove(&3).unwrap();
    let _ = removed.stop().await;
    let back = Broker::start(cluster.config(3)).await.unwrap_err().to_string();
    assert!(back.contains("removed"), "{back}");
    // The new one keeps its number over a restart.
    fourth.stop().await.unwrap();
    let fourth = Broker::start(config).await.unwrap();
    assert_eq!(fourth.services().config().broker_id, id);
    fourth.stop().await.unwrap();
    cluster.end().await;
}

/// Taking the controller's own vote answered well, left it out of Raft altogether, and ended its process at the next change
/// of voters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controller_can_lose_its_vote_and_get_it_back() {
    let cluster = Cluster::serving(3).await;
    let services = cluster.brokers[&1].services();
    let mut controller = None;
    // It keeps its vote while the others are too busy to answer it.
    wait_for("the controller to give its vote away", async || {
        controller = services.cluster_overview().await.controller;
        let Some(id) = controller else { return false };
        match services.remove_voter(id).await {
            Ok(()) => true,
            Err(SubmitError::Impossible { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    })
    .await;
    let controller = controller.unwrap();
    let role_of = async |id: BrokerId| {
        let overview = cluster.brokers[&1].services().cluster_overview().await;
        let role = overview.brokers.iter().find(|broker| broker.id == id).map(|broker| broker.role);
        (role, overview.controller)
    };
    wait_for("another controller, and this one to follow", async || {
        let (role, now) = role_of(controller).await;
        role == Some(NodeRole::Learner) && now.is_some_and(|now| now != controller)
    })
    .await;
    services.add_voter(controller).await.unwrap();
    wait_for("its vote again", async || role_of(controller).await.0 == Some(NodeRole::Voter)).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_of_another_cluster_is_told_so() {
    let cluster = Cluster::serving(3).await;
    let mut config = BrokerConfig::ephemeral(cluster.directory().join("stranger"));
    config.cluster.join = vec![cluster.address(1).to_string()];
    config.cluster_name = "another".to_owned();
    let refused = Broker::start(config).await.unwrap_err().to_string();
    assert!(refused.contains("not 'another'"), "{refused}");
    cluster.end().await;
}
