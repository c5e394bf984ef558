//! `kill -9` under load, again and again: every acknowledged record is there once, in order.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::HashMap;
use std::time::Duration;

use highwater_client::{
    Client, ClientConfig, ConsumerConfig, NewTopic, Position, Producer, ProducerConfig, Record,
};
use highwater_tests::BrokerProcess;

const ROUNDS: u32 = 12;
const PARTITIONS: i32 = 3;
/// Acknowledgements to wait for before the broker is killed; more are on their way then.
const ACKED_PER_ROUND: usize = 2_000;

/// Sends until the broker dies; returns what was acknowledged as `(partition, offset, value)`.
async fn produce_until_killed(broker: BrokerProcess, round: u32) -> Vec<(i32, i64, String)> {
    let config =
        ClientConfig { request_timeout: Duration::from_secs(2), ..ClientConfig::new([broker.grpc.clone()]) };
    let client = Client::connect(config).await.unwrap();
    let delivery_timeout = Duration::from_secs(1);
    let producer =
        client.producer(ProducerConfig { delivery_timeout, ..ProducerConfig::default() }).await.unwrap();
    let mut broker = Some(broker);
    let mut acked = Vec::new();
    let mut waiting = std::collections::VecDeque::new();
    for sequence in 0.. {
        let partition = sequence % PARTITIONS;
        let value = format!("round {round} partition {partition} sequence {sequence:08}");
        match send(&producer, partition, &value).await {
            Some(delivery) => waiting.push_back((partition, value, delivery)),
            None => break,
        }
        while waiting.len() > 500 || (broker.is_none() && !waiting.is_empty()) {
            let (partition, value, delivery) = waiting.pop_front().unwrap();
            match delivery.await {
                Ok(metadata) => acked.push((partition, metadata.offset.unwrap().0, value)),
                Err(_) => assert!(broker.is_none(), "a delivery failed while the broker lived"),
            }
        }
        if acked.len() >= ACKED_PER_ROUND
            && let Some(broker) = broker.take()
        {
            broker.kill().unwrap();
        }
        if broker.is_none() && waiting.is_empty() {
            break;
        }
    }
    acked
}

async fn send(producer: &Producer, partition: i32, value: &str) -> Option<highwater_client::Delivery> {
    producer.send(Record::new("log").partition(partition).value(value)).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_record_is_there_once_and_in_order_after_every_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut acked = Vec::new();
    for round in 0..ROUNDS {
        let broker = BrokerProcess::start(directory.path(), &[]).unwrap();
        if round == 0 {
            let client = Client::connect(ClientConfig::new([broker.grpc.clone()])).await.unwrap();
            // Small segments, so that rolls and recycling happen between the kills too.
            let topic = NewTopic::new("log").partitions(PARTITIONS).config("segment.bytes", "65536");
            client.admin().create_topic(topic).await.unwrap();
        }
        let before = acked.len();
        acked.extend(produce_until_killed(broker, round).await);
        assert!(acked.len() >= before + ACKED_PER_ROUND);
    }
    let broker = BrokerProcess::start(directory.path(), &[]).unwrap();
    let stored = read_all(&broker).await;
    check(&acked, &stored);
    assert!(broker.stop().unwrap().success());
}

async fn read_all(broker: &BrokerProcess) -> Vec<(i32, i64, String)> {
    let client = Client::connect(ClientConfig::new([broker.grpc.clone()])).await.unwrap();
    let ends = client.admin().list_offsets("log", Position::End).await.unwrap();
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign_all("log", Position::Beginning).await.unwrap();
    let mut stored = Vec::new();
    let mut missing: i64 = ends.iter().map(|end| end.0).sum();
    while missing > 0 {
        let records = consumer.poll(Duration::from_secs(10)).await.unwrap();
        assert!(!records.is_empty(), "{missing} records never came");
        for record in records.iter() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            stored.push((record.partition.0, record.offset.0, value));
            missing -= 1;
        }
    }
    stored
}

fn check(acked: &[(i32, i64, String)], stored: &[(i32, i64, String)]) {
    let mut at: HashMap<&str, (i32, i64)> = HashMap::new();
    let mut next = [0_i64; PARTITIONS as usize];
    for (partition, offset, value) in stored {
        assert_eq!(*offset, next[*partition as usize], "a hole or a step back in partition {partition}");
        next[*partition as usize] += 1;
        assert!(
            value.contains(&format!("partition {partition} ")),
            "{value:?} was read from partition {partition}"
        );
        let twice = at.insert(value, (*partition, *offset));
        assert_eq!(twice, None, "{value:?} is there twice");
    }
    for (partition, offset, value) in acked {
        assert_eq!(at.get(value.as_str()), Some(&(*partition, *offset)), "{value:?} was acknowledged there");
    }
    // Values sort by round and sequence, so within a partition they must come sorted.
    for partition in 0..PARTITIONS {
        let key = |value: &str| -> (u32, u64) {
            let words: Vec<&str> = value.split(' ').collect();
            (words[1].parse().unwrap(), words[5].parse().unwrap())
        };
        let order: Vec<_> = stored.iter().filter(|(p, ..)| *p == partition).map(|(.., v)| key(v)).collect();
        assert!(order.windows(2).all(|pair| pair[0] < pair[1]), "partition {partition} is out of order");
    }
}
