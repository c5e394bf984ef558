//! A bit that flips on a disk in use: it is found, others lead, and the replica gets back what it lost.
#![expect(clippy::unwrap_used, reason = "tests and their helpers")]
#![expect(clippy::disallowed_methods, reason = "the test changes the disk behind a real broker's back")]

#[path = "../../broker/server/tests/support/cluster.rs"]
mod support;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use highwater_client::{
    BrokerId, Client, ClientConfig, ConsumerConfig, NewTopic, Position, ProducerConfig, Record,
};
use highwater_server::service::Image;
use support::{Cluster, wait_for};

const RECORDS: i64 = 2000;

fn is_whole(image: &Image) -> bool {
    image.topic_named("t").is_some_and(|topic| topic.partitions.iter().all(|now| now.isr.len() == 3))
}

/// The oldest segment of the only partition that holds data.
fn oldest_segment(cluster: &Cluster, broker: i32) -> PathBuf {
    let partitions = std::fs::read_dir(cluster.data_dir(broker).join("partitions")).unwrap();
    let files = partitions.flat_map(|partition| std::fs::read_dir(partition.unwrap().path()).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|it| it == "log")).min().unwrap()
}

/// Flips a bit of a record of the oldest segment, and returns the byte as it was.
fn flip(path: &PathBuf, position: u64) -> u8 {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_all_at(&[byte[0] ^ 4], position).unwrap();
    byte[0]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bit_that_flips_on_a_disk_in_use_is_found_and_copied_back_from_another_replica() {
    let cluster = Cluster::serving(3).await;
    let client =
        Client::connect(ClientConfig::new([cluster.brokers[&1].grpc_addr().to_string()])).await.unwrap();
    let admin = client.admin();
    let topic = NewTopic::new("t").partitions(1).replication_factor(3).config("segment.bytes", "65536");
    admin.create_topic(topic).await.unwrap();
    let producer = client.producer(ProducerConfig::default()).await.unwrap();
    let mut deliveries = Vec::new();
    for number in 0..RECORDS {
        let value = format!("{number:>200}");
        deliveries.push(producer.send(Record::new("t").partition(0).value(&value)).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    // First a follower's disk, then the leader's.
    let leader = admin.describe_topic("t").await.unwrap().partitions[0].leader.unwrap();
    let follower = BrokerId(leader.0 % 3 + 1);
    for broker in [follower, leader] {
        let repaired = || cluster.brokers[&broker.0].services().metrics().replication.logs_repaired.get();
        assert_eq!(repaired(), 0);
        let path = oldest_segment(&cluster, broker.0);
        let byte = flip(&path, 3000);
        wait_for("the damage to be found and mended", async || repaired() == 1).await;
        cluster.all_see("all in sync again", is_whole).await;
        let mut now = [0];
        let file = std::fs::File::open(oldest_segment(&cluster, broker.0)).unwrap();
        file.read_exact_at(&mut now, 3000).unwrap();
        assert_eq!(now[0], byte, "the batch is what it was, byte for byte");
    }
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign("t", 0, Position::Beginning).await.unwrap();
    let mut next = 0;
    while next < RECORDS {
        for record in consumer.poll(Duration::from_millis(200)).await.unwrap().iter() {
            let value = record.unwrap().value.unwrap();
            assert_eq!(std::str::from_utf8(&value).unwrap().trim_start(), next.to_string());
            next += 1;
        }
    }
    cluster.end().await;
}
