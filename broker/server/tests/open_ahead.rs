//! After a start, what has data opens by itself and side by side; without descriptors to spare nothing goes offline.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use highwater_client::{Client, ClientConfig, NewTopic, ProducerConfig, Record};
use highwater_env::os::{OsClock, OsRandom};
use highwater_env::sim::SimDisk;
use highwater_server::{Broker, BrokerConfig, Environment};

const PARTITIONS: i32 = 60;

async fn start(disk: &Arc<SimDisk>) -> (Broker, Client) {
    let disk = Arc::<SimDisk>::clone(disk);
    let environment = Environment { disk, clock: Arc::new(OsClock::new()), random: Arc::new(OsRandom) };
    let config =
        BrokerConfig { background_interval: Duration::from_millis(10), ..BrokerConfig::ephemeral("/data") };
    let broker = Broker::start_in(environment, config).await.unwrap();
    let client = Client::connect(ClientConfig::new([broker.grpc_addr().to_string()])).await.unwrap();
    (broker, client)
}

async fn fill(client: &Client, value: &str) {
    let producer = client.producer(ProducerConfig::default()).await.unwrap();
    let mut deliveries = Vec::new();
    for partition in 0..PARTITIONS {
        let record = Record::new("log").partition(partition).value(value);
        deliveries.push(producer.send(record).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_data_is_open_soon_after_a_start_without_being_asked_for() {
    let disk = SimDisk::with_file_bytes_max(1, 1 << 24);
    let (broker, client) = start(&disk).await;
    client.admin().create_topic(NewTopic::new("log").partitions(PARTITIONS)).await.unwrap();
    client.admin().create_topic(NewTopic::new("empty").partitions(PARTITIONS)).await.unwrap();
    fill(&client, "one").await;
    drop(client);
    broker.stop().await.unwrap();

    let (broker, _) = start(&disk).await;
    while broker.services().metrics().partitions_open.get() < i64::from(PARTITIONS) {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        broker.services().metrics().partitions_open.get(),
        i64::from(PARTITIONS),
        "those without data stay closed"
    );
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_partitions_than_open_files_are_written_described_and_closed() {
    let disk = SimDisk::with_file_bytes_max(2, 1 << 24);
    disk.set_open_files_max(PARTITIONS as usize / 2);
    let (broker, client) = start(&disk).await;
    client.admin().create_topic(NewTopic::new("log").partitions(PARTITIONS)).await.unwrap();
    for value in ["one", "two", "three"] {
        fill(&client, value).await;
    }
    let described = client.admin().describe_topic("log").await.unwrap();
    assert_eq!(described.partitions.len(), PARTITIONS as usize);
    for (index, partition) in described.partitions.iter().enumerate() {
        assert_eq!((partition.partition.0, partition.log_end_offset.0), (index as i32, 3));
        assert_eq!(partition.offline_reason, "");
    }
    assert_eq!(broker.services().metrics().partitions_offline.get(), 0);
    drop(client);
    broker.stop().await.unwrap();

    let (broker, client) = start(&disk).await;
    fill(&client, "four").await;
    broker.stop().await.unwrap();
}
