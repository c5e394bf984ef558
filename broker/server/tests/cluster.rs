//! Three brokers in one process: they find each other, replicate, and one takes over from another.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use highwater_proto::BrokerId;
use highwater_server::config::ClusterConfig;
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
