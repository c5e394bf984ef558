//! Three brokers in one process: they find each other, replicate, and one takes over from another.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use highwater_proto::BrokerId;
use highwater_server::config::ClusterConfig;
use highwater_server::service::NodeRole;
use highwater_server::{Broker, BrokerConfig};
use tempfile::TempDir;

/// Ports that were free a moment ago.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

struct Cluster {
    directory: TempDir,
    voters: BTreeMap<BrokerId, String>,
    brokers: BTreeMap<i32, Broker>,
}

impl Cluster {
    async fn start() -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let ports = free_ports(3);
        let voters = (1..).zip(ports).map(|(id, port)| (BrokerId(id), format!("127.0.0.1:{port}"))).collect();
        let mut cluster = Cluster { directory, voters, brokers: BTreeMap::new() };
        let configs = [1, 2, 3].map(|id| cluster.config(id));
        let [one, two, three] = configs;
        let (one, two, three) = tokio::join!(Broker::start(one), Broker::start(two), Broker::start(three));
        for (id, broker) in [(1, one), (2, two), (3, three)] {
            cluster.brokers.insert(id, broker.unwrap());
        }
        cluster
    }

    fn config(&self, id: i32) -> BrokerConfig {
        let config = BrokerConfig::ephemeral(self.directory.path().join(id.to_string()));
        let peer = self.voters[&BrokerId(id)].parse().unwrap();
        BrokerConfig {
            broker_id: BrokerId(id),
            cluster: ClusterConfig { peer, voters: self.voters.clone(), ..config.cluster.clone() },
            ..config
        }
    }
}

async fn wait_for(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(60), "waited for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_brokers_replicate_a_topic_and_one_takes_over() {
    let mut cluster = Cluster::start().await;
    let services = cluster.brokers[&1].services();
    let topic = services
        .create_topic("t".to_owned(), 3, 3, BTreeMap::new(), highwater_server::service::Mode::Apply)
        .await
        .unwrap();
    let leaders: std::collections::BTreeSet<i32> =
        topic.partitions.iter().filter_map(|partition| partition.leader).map(|id| id.0).collect();
    assert_eq!(leaders.len(), 3, "each leads one: {topic:?}");
    wait_for("every broker to know the topic", async || {
        cluster.brokers.values().all(|broker| broker.services().image().topic_named("t").is_some())
    })
    .await;
    let stopped = cluster.brokers.remove(&1).unwrap();
    stopped.stop().await.unwrap();
    wait_for("somebody else to lead what broker 1 led", async || {
        let image = cluster.brokers[&2].services().image();
        let topic = image.topic_named("t").unwrap();
        topic.partitions.iter().all(|partition| {
            partition.leader.is_some_and(|leader| leader != BrokerId(1)) && partition.isr.len() == 2
        })
    })
    .await;
    cluster.brokers.insert(1, Broker::start(cluster.config(1)).await.unwrap());
    wait_for("broker 1 to be in sync again", async || {
        let image = cluster.brokers[&2].services().image();
        image.topic_named("t").unwrap().partitions.iter().all(|partition| partition.isr.len() == 3)
    })
    .await;
    for (_, broker) in std::mem::take(&mut cluster.brokers) {
        broker.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_joins_takes_over_and_another_one_leaves_for_good() {
    let mut cluster = Cluster::start().await;
    let apply = highwater_server::service::Mode::Apply;
    let services = cluster.brokers[&1].services();
    services.create_topic("t".to_owned(), 2, 3, BTreeMap::new(), apply).await.unwrap();
    let member = cluster.voters[&BrokerId(2)].clone();
    let mut config = BrokerConfig::ephemeral(cluster.directory.path().join("fourth"));
    config.cluster.join = vec![member.clone()];
    // Others find a voter where it was when it came.
    config.cluster.peer = format!("127.0.0.1:{}", free_ports(1)[0]).parse().unwrap();
    let fourth = Broker::start(config.clone()).await.unwrap();
    let id = fourth.services().config().broker_id;
    assert_eq!(id, BrokerId(4), "the next one that nobody had");
    // Everything moves from 3 to the new one.
    services.drain_broker(BrokerId(3)).await.unwrap();
    wait_for("broker 3 to be empty", async || {
        let image = cluster.brokers[&1].services().image();
        image.partitions().all(|(_, _, partition)| !partition.replicas.contains(&BrokerId(3)))
    })
    .await;
    let refused = services.remove_broker(BrokerId(4)).await.unwrap_err().to_string();
    assert!(refused.contains('4'), "it holds replicas: {refused}");
    fourth.services().add_voter(id).await.unwrap();
    services.remove_broker(BrokerId(3)).await.unwrap();
    let overview = cluster.brokers[&2].services().cluster_overview().await;
    let ids: Vec<i32> = overview.brokers.iter().map(|broker| broker.id.0).collect();
    assert_eq!(ids, [1, 2, 4]);
    let removed = cluster.brokers.remove(&3).unwrap();
    let _ = removed.stop().await;
    let back = Broker::start(cluster.config(3)).await.unwrap_err().to_string();
    assert!(back.contains("removed"), "{back}");
    // The new one keeps its number over a restart.
    fourth.stop().await.unwrap();
    let fourth = Broker::start(config).await.unwrap();
    assert_eq!(fourth.services().config().broker_id, id);
    fourth.stop().await.unwrap();
    for (_, broker) in std::mem::take(&mut cluster.brokers) {
        broker.stop().await.unwrap();
    }
}

/// Taking the controller's own vote answered well, left it out of Raft altogether, and ended its process at the next change
/// of voters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controller_can_lose_its_vote_and_get_it_back() {
    let mut cluster = Cluster::start().await;
    let services = cluster.brokers[&1].services();
    let controller = services.cluster_overview().await.controller.unwrap();
    services.remove_voter(controller).await.unwrap();
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
    for (_, broker) in std::mem::take(&mut cluster.brokers) {
        broker.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_of_another_cluster_is_told_so() {
    let mut cluster = Cluster::start().await;
    let mut config = BrokerConfig::ephemeral(cluster.directory.path().join("stranger"));
    config.cluster.join = vec![cluster.voters[&BrokerId(1)].clone()];
    config.cluster_name = "another".to_owned();
    let refused = Broker::start(config).await.unwrap_err().to_string();
    assert!(refused.contains("not 'another'"), "{refused}");
    for (_, broker) in std::mem::take(&mut cluster.brokers) {
        broker.stop().await.unwrap();
    }
}
