//! The embedded broker and the client library together: what goes in comes out, and stays after a restart.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use highwater_client::{
    Client, ClientConfig, Compression, ConsumerConfig, NewTopic, Offset, PartitionIndex, Position,
    ProducerConfig, Record,
};
use highwater_server::{Broker, BrokerConfig};

async fn connect(broker: &Broker) -> Client {
    Client::connect(ClientConfig::new([broker.grpc_addr().to_string()])).await.unwrap()
}

async fn read(client: &Client, topic: &str, position: Position, count: usize) -> Vec<(i32, i64, String)> {
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign_all(topic, position).await.unwrap();
    let mut found = Vec::new();
    while found.len() < count {
        let records = consumer.poll(Duration::from_secs(10)).await.unwrap();
        assert!(!records.is_empty(), "only {} of {count} records came", found.len());
        for record in records.iter() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            found.push((record.partition.0, record.offset.0, value));
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_every_codec_come_back_and_stay_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(BrokerConfig::ephemeral(directory.path())).await.unwrap();
    let client = connect(&broker).await;
    client.admin().create_topic(NewTopic::new("events").partitions(3)).await.unwrap();
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let mut sent = Vec::new();
    for compression in codecs {
        let config = ProducerConfig { compression, ..ProducerConfig::default() };
        let producer = client.producer(config).await.unwrap();
        let mut deliveries = Vec::new();
        for number in 0..300 {
            let value = format!("{compression} {number} {}", "text ".repeat(number % 40));
            let record = Record::new("events").partition(number as i32 % 3).value(&value);
            deliveries.push((value.clone(), producer.send(record).await.unwrap()));
        }
        for (value, delivery) in deliveries {
            let metadata = delivery.await.unwrap();
            sent.push((metadata.partition.0, metadata.offset.unwrap().0, value));
        }
        producer.close().await.unwrap();
    }
    sent.sort();
    assert_eq!(read(&client, "events", Position::Beginning, sent.len()).await, sent);
    drop(client);
    broker.stop().await.unwrap();

    let broker = Broker::start(BrokerConfig::ephemeral(directory.path())).await.unwrap();
    let client = connect(&broker).await;
    assert_eq!(read(&client, "events", Position::Beginning, sent.len()).await, sent);
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_reader_gets_a_record_as_soon_as_it_is_safe() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(BrokerConfig::ephemeral(directory.path())).await.unwrap();
    let client = connect(&broker).await;
    client.admin().create_topic(NewTopic::new("late")).await.unwrap();
    let mut consumer = client
        .consumer(ConsumerConfig { fetch_max_wait: Duration::from_secs(60), ..ConsumerConfig::default() });
    consumer.assign_all("late", Position::End).await.unwrap();
    let waiting = tokio::spawn(async move { consumer.next().await });
    let producer = client.producer(ProducerConfig::default()).await.unwrap();
    let delivery = producer.send(Record::new("late").value("at last")).await.unwrap();
    delivery.await.unwrap();
    // The long poll is 60 s: only the wake-up can bring the record before this gives up.
    let record =
        tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap().unwrap().unwrap();
    assert_eq!(record.value.as_deref(), Some(b"at last".as_slice()));
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_replays_from_a_time_and_deleted_records_stay_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(BrokerConfig::ephemeral(directory.path())).await.unwrap();
    let client = connect(&broker).await;
    client.admin().create_topic(NewTopic::new("history").config("retention.ms", "-1")).await.unwrap();
    let producer = client.producer(ProducerConfig::default()).await.unwrap();
    // Out of order on purpose: 1000, 3000, 2000, 5000, 4000, …
    let times: Vec<i64> = (0..200).map(|n| 1_000 * (1 + if n % 2 == 0 { n } else { n + 1 })).collect();
    for time in &times {
        let value = format!("at {time}");
        let record = Record::new("history").value(&value).timestamp_ms(*time);
        producer.send(record).await.unwrap().await.unwrap();
    }
    for target in [0, 1, 1_000, 1_001, 50_500, 199_000, 201_000] {
        let expected = times.iter().position(|time| *time >= target).unwrap();
        let found = read(&client, "history", Position::Timestamp(target), times.len() - expected).await;
        assert_eq!(found[0].1, expected as i64, "from {target}");
    }
    client.admin().delete_records("history", PartitionIndex(0), Some(Offset(50))).await.unwrap();
    let found = read(&client, "history", Position::Beginning, 150).await;
    assert_eq!(found[0].1, 50);
    drop(client);
    broker.stop().await.unwrap();

    let broker = Broker::start(BrokerConfig::ephemeral(directory.path())).await.unwrap();
    let client = connect(&broker).await;
    assert_eq!(read(&client, "history", Position::Beginning, 150).await[0].1, 50, "after a restart");
    // A year-old record is past retention.ms=1 at the next look around; the log start follows.
    client.admin().alter_topic("history", &[("retention.ms".into(), "1".into())], &[]).await.unwrap();
    let mut start = 0;
    while start < 200 {
        start = client.admin().list_offsets("history", Position::Beginning).await.unwrap()[0].0;
        tokio::task::yield_now().await;
    }
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compacted_topic_keeps_the_last_value_of_each_key_at_its_offset() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(BrokerConfig {
        background_interval: Duration::from_millis(20),
        ..BrokerConfig::ephemeral(directory.path())
    });
    let broker = broker.await.unwrap();
    let client = connect(&broker).await;
    let topic = NewTopic::new("state").config("cleanup.policy", "compact").config("segment.bytes", "16384");
    let topic = topic.config("min.cleanable.dirty.ratio", "0.01");
    client.admin().create_topic(topic).await.unwrap();
    let producer = client.producer(ProducerConfig::default()).await.unwrap();
    let unkeyed = producer.send(Record::new("state").value("no key")).await.unwrap().await;
    assert!(unkeyed.is_err(), "a compacted topic takes no records without a key");
    let mut last = std::collections::BTreeMap::new();
    for number in 0..800 {
        let (key, value) = (format!("key-{}", number % 10), format!("value-{number}-{}", "x".repeat(50)));
        let record = Record::new("state").key(&key).value(&value);
        let delivery = producer.send(record).await.unwrap().await.unwrap();
        last.insert(key, (delivery.offset.unwrap().0, value));
    }
    // Nothing says when the compactor is done but the log itself: read it until most of it is gone.
    let mut stored = Vec::new();
    while stored.is_empty() || stored.len() > 400 {
        let end = client.admin().list_offsets("state", Position::End).await.unwrap()[0].0;
        let mut consumer = client.consumer(ConsumerConfig::default());
        consumer.assign_all("state", Position::Beginning).await.unwrap();
        stored.clear();
        while consumer.position("state", 0).unwrap().0 < end {
            let records = consumer.poll(Duration::from_secs(10)).await.unwrap();
            for record in records.iter() {
                let record = record.unwrap();
                let text = |bytes: Option<bytes::Bytes>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
                stored.push((text(record.key), record.offset.0, text(record.value)));
            }
        }
    }
    let mut seen = std::collections::BTreeMap::new();
    for (key, offset, value) in stored {
        seen.insert(key, (offset, value));
    }
    assert_eq!(seen, last);
    broker.stop().await.unwrap();
}
