//! Producer and consumer against a real broker, on several threads at once.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use highwater_client::{
    Client, ClientConfig, Compression, Consumer, ConsumerConfig, NewTopic, Position, Producer,
    ProducerConfig, Record,
};
use highwater_server::{Broker, BrokerConfig};

struct World {
    broker: Broker,
    client: Client,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let broker = Broker::start(BrokerConfig::ephemeral(folder.path())).await.unwrap();
        let client = Client::connect(ClientConfig::new([broker.grpc_addr().to_string()])).await.unwrap();
        World { broker, client, _folder: folder }
    }
}

/// Sends `count` records of one writer, which go to one partition because of their key.
async fn write(producer: Arc<Producer>, writer: u32, count: u32) {
    let mut deliveries = Vec::new();
    for number in 0..count {
        let (key, value) = (format!("writer {writer}"), format!("{writer} {number}"));
        deliveries.push(producer.send(Record::new("t").key(&key).value(&value)).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
}

/// Reads `count` records and checks that each writer's come in order, each once.
async fn check(consumer: &mut Consumer, writers: u32, count: usize) {
    let mut next = vec![0; writers as usize];
    let mut read = 0;
    while read < count {
        let records = consumer.poll(Duration::from_secs(20)).await.unwrap();
        assert!(!records.is_empty(), "stuck at {read} of {count}");
        for record in records.iter() {
            let value = String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap();
            let (writer, number) = value.split_once(' ').unwrap();
            let expected = &mut next[writer.parse::<usize>().unwrap()];
            assert_eq!(number.parse::<u32>().unwrap(), *expected, "writer {writer}");
            *expected += 1;
            read += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_in_little_memory_keep_their_order_while_a_reader_follows() {
    const WRITERS: u32 = 8;
    const EACH: u32 = 3_000;
    for compression in [Compression::None, Compression::Lz4] {
        let world = World::new().await;
        world.client.admin().create_topic(NewTopic::new("t").partitions(3)).await.unwrap();
        let mut consumer = world.client.consumer(ConsumerConfig::default());
        consumer.assign_all("t", Position::Beginning).await.unwrap();
        let config = ProducerConfig {
            compression,
            batch_bytes: 2_000,
            max_request_bytes: 4_000,
            buffer_memory: 20_000,
            ..ProducerConfig::default()
        };
        let producer = Arc::new(world.client.producer(config).await.unwrap());
        let writers: Vec<_> = (0..WRITERS).map(|w| tokio::spawn(write(producer.clone(), w, EACH))).collect();
        check(&mut consumer, WRITERS, (WRITERS * EACH) as usize).await;
        for writer in writers {
            writer.await.unwrap();
        }
        world.broker.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_record_at_a_time_never_waits_for_company() {
    let world = World::new().await;
    world.client.admin().create_topic(NewTopic::new("t")).await.unwrap();
    let producer = world.client.producer(ProducerConfig::default()).await.unwrap();
    for number in 0..300 {
        let delivery = producer.send(Record::new("t").value("x")).await.unwrap();
        let metadata =
            tokio::time::timeout(Duration::from_secs(10), delivery).await.expect("no wake-up is lost");
        assert_eq!(metadata.unwrap().offset.unwrap().0, number);
    }
    world.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_survive_a_broker_that_restarts_under_the_producer_and_the_consumer() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(BrokerConfig::ephemeral(folder.path())).await.unwrap();
    let address = broker.grpc_addr();
    let mut config = ClientConfig::new([address.to_string()]);
    config.retry_backoff_max = Duration::from_millis(50);
    let client = Client::connect(config).await.unwrap();
    client.admin().create_topic(NewTopic::new("t")).await.unwrap();
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign_all("t", Position::Beginning).await.unwrap();
    let producer = Arc::new(client.producer(ProducerConfig::default()).await.unwrap());
    let mut running = broker;
    for round in 0..3 {
        let writing = tokio::spawn({
            let producer = producer.clone();
            async move {
                for number in 0..2_000 {
                    let value = format!("{round} {number}");
                    let delivery = producer.send(Record::new("t").partition(0).value(&value)).await.unwrap();
                    if number % 100 == 0 {
                        delivery.await.unwrap();
                    }
                }
                producer.flush().await.unwrap();
            }
        });
        tokio::task::yield_now().await;
        running.stop().await.unwrap();
        let restarted = BrokerConfig { grpc: address, ..BrokerConfig::ephemeral(folder.path()) };
        running = Broker::start(restarted).await.unwrap();
        writing.await.unwrap();
    }
    for round in 0..3 {
        for number in 0..2_000 {
            let record =
                tokio::time::timeout(Duration::from_secs(20), consumer.next()).await.expect("in time");
            let value = record.unwrap().unwrap().value.unwrap();
            assert_eq!(value, format!("{round} {number}"));
        }
    }
    running.stop().await.unwrap();
}
