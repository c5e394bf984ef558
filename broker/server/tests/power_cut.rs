//! A power cut under a whole broker on a simulated disk: what was acknowledged is there afterwards, whatever the disk had
//! not been made to keep is gone by chance. And a disk whose fsync fails: nothing is acknowledged after it.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_client::{
    Client, ClientConfig, ConsumerConfig, NewTopic, Position, ProducerConfig, Record, RecordMetadata,
};
use highwater_env::os::{OsClock, OsRandom};
use highwater_env::sim::{CallKind, Fault, FaultKind, SimDisk};
use highwater_server::{Broker, BrokerConfig, Environment};

const PARTITIONS: i32 = 3;

async fn start(disk: &Arc<SimDisk>) -> (Broker, Client) {
    let disk = Arc::<SimDisk>::clone(disk);
    let environment = Environment { disk, clock: Arc::new(OsClock::new()), random: Arc::new(OsRandom) };
    let broker = Broker::start_in(environment, BrokerConfig::ephemeral("/data")).await.unwrap();
    let client = Client::connect(ClientConfig::new([broker.grpc_addr().to_string()])).await.unwrap();
    (broker, client)
}

async fn read_all(client: &Client) -> BTreeMap<(i32, i64), String> {
    let ends = client.admin().list_offsets("log", Position::End).await.unwrap();
    let mut missing: i64 = ends.iter().map(|end| end.0).sum();
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign_all("log", Position::Beginning).await.unwrap();
    let mut found = BTreeMap::new();
    while missing > 0 {
        let records = consumer.poll(Duration::from_secs(10)).await.unwrap();
        assert!(!records.is_empty(), "{missing} records never came");
        for record in records.iter() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            assert_eq!(
                found.insert((record.partition.0, record.offset.0), value),
                None,
                "an offset came twice"
            );
            missing -= 1;
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_power_cut_at_any_moment() {
    let disk = SimDisk::new(1);
    let (broker, client) = start(&disk).await;
    let topic = NewTopic::new("log").partitions(PARTITIONS).config("segment.bytes", "16384");
    client.admin().create_topic(topic).await.unwrap();
    let producer = client.producer(ProducerConfig::default()).await.unwrap();
    let mut acked: BTreeMap<(i32, i64), String> = BTreeMap::new();
    for round in 0..40 {
        let mut deliveries = Vec::new();
        for number in 0..30 {
            let value = format!("{round}-{number}-{}", "x".repeat(number * 7));
            let record = Record::new("log").partition(number as i32 % PARTITIONS).value(&value);
            deliveries.push((value.clone(), producer.send(record).await.unwrap()));
        }
        // The rest of the round is under way when the power goes.
        for (value, delivery) in deliveries.drain(..20) {
            let RecordMetadata { partition, offset, .. } = delivery.await.unwrap();
            acked.insert((partition.0, offset.unwrap().0), value);
        }
        let image = disk.crash_image(round);
        for (value, delivery) in deliveries {
            let RecordMetadata { partition, offset, .. } = delivery.await.unwrap();
            acked.insert((partition.0, offset.unwrap().0), value);
        }
        let (survivor, reader) = start(&image).await;
        let stored = read_all(&reader).await;
        let promised = acked.iter().filter(|(_, value)| !is_late(value, round));
        for (place, value) in promised {
            assert_eq!(stored.get(place), Some(value), "round {round}: acknowledged at {place:?}");
        }
        drop(reader);
        survivor.stop().await.unwrap();
    }
    broker.stop().await.unwrap();
}

/// Whether a value of this round was acknowledged only after its power cut.
fn is_late(value: &str, round: u64) -> bool {
    let mut words = value.split('-');
    words.next() == Some(&round.to_string())
        && words.next().and_then(|n| n.parse().ok()).is_some_and(|n: u32| n >= 20)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_fsync_nothing_is_acknowledged_until_the_disk_was_read_again() {
    let disk = SimDisk::new(2);
    let (broker, client) = start(&disk).await;
    client.admin().create_topic(NewTopic::new("log")).await.unwrap();
    let config = ProducerConfig { delivery_timeout: Duration::from_secs(1), ..ProducerConfig::default() };
    let producer = client.producer(config).await.unwrap();
    let first = producer.send(Record::new("log").value("safe")).await.unwrap().await.unwrap();
    disk.inject(Fault { call: Some(CallKind::SyncData), nth: 1, kind: FaultKind::Io });
    for _ in 0..2 {
        let refused = producer.send(Record::new("log").value("unsafe")).await.unwrap().await;
        assert!(refused.is_err(), "acknowledged although fsync had failed");
    }
    let described = client.admin().describe_topic("log").await.unwrap();
    assert!(described.partitions[0].offline_reason.contains("fsync"), "{:?}", described.partitions[0]);
    drop((client, producer));
    let _ = broker.stop().await;

    let (broker, client) = start(&disk.crash_image(3)).await;
    let stored = read_all(&client).await;
    assert_eq!(stored.get(&(0, first.offset.unwrap().0)).map(String::as_str), Some("safe"));
    let producer = client.producer(ProducerConfig::default()).await.unwrap();
    producer.send(Record::new("log").value("again")).await.unwrap().await.unwrap();
    broker.stop().await.unwrap();
}
