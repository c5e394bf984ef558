//! The producer against a broker that misbehaves: order, once, and clear errors.

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use highwater_client::{
    Acks, Client, ConnectError, ErrorCode, Idempotence, Offset, ProduceError, ProducerConfig, Record,
    partition_for_key,
};
use support::{Fake, OnBatch};

/// One record per batch, so that every record can meet its own fate.
fn one_by_one() -> ProducerConfig {
    ProducerConfig { batch_bytes: 62, ..ProducerConfig::default() }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

async fn send_numbers(
    producer: &highwater_client::Producer,
    range: std::ops::Range<usize>,
) -> Vec<highwater_client::Delivery> {
    let mut deliveries = Vec::new();
    for number in range {
        let value = number.to_string();
        deliveries.push(producer.send(Record::new("t").partition(0).value(&value)).await.expect("taken"));
    }
    deliveries
}

#[tokio::test]
async fn records_are_acknowledged_in_order_with_their_offsets() {
    let (fake, client) = Fake::with_topic(1).await;
    let producer = client.producer(ProducerConfig::default()).await.unwrap();
    let deliveries = send_numbers(&producer, 0..1_000).await;
    for (n, delivery) in deliveries.into_iter().enumerate() {
        let metadata = delivery.await.expect("delivered");
        assert_eq!(metadata.offset, Some(Offset(n as i64)));
    }
    assert_eq!(fake.values("t", 0), numbers(0..1_000));
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_the_pipeline_keeps_order_and_repeats_nothing() {
    let (fake, client) = Fake::with_topic(1).await;
    fake.on_batch(|n| if n == 2 { OnBatch::Refuse(ErrorCode::NotEnoughReplicas) } else { OnBatch::Append });
    let producer = client.producer(one_by_one()).await.unwrap();
    for (n, delivery) in send_numbers(&producer, 0..50).await.into_iter().enumerate() {
        assert_eq!(delivery.await.expect("delivered").offset, Some(Offset(n as i64)));
    }
    assert_eq!(fake.values("t", 0), numbers(0..50));
}

#[tokio::test]
async fn a_lost_acknowledgement_is_answered_with_the_first_offset_after_the_retry() {
    let (fake, client) = Fake::with_topic(1).await;
    fake.on_batch(|n| if n == 1 { OnBatch::AppendAndBreak } else { OnBatch::Append });
    let producer = client.producer(one_by_one()).await.unwrap();
    for (n, delivery) in send_numbers(&producer, 0..20).await.into_iter().enumerate() {
        assert_eq!(delivery.await.expect("delivered").offset, Some(Offset(n as i64)));
    }
    assert_eq!(fake.values("t", 0), numbers(0..20));
}

#[tokio::test]
async fn written_but_not_by_enough_replicas_is_retried_and_not_repeated() {
    let (fake, client) = Fake::with_topic(1).await;
    let code = ErrorCode::NotEnoughReplicasAfterAppend;
    fake.on_batch(move |n| if n % 3 == 0 { OnBatch::AppendAndRefuse(code) } else { OnBatch::Append });
    let producer = client.producer(one_by_one()).await.unwrap();
    for delivery in send_numbers(&producer, 0..30).await {
        delivery.await.expect("delivered");
    }
    assert_eq!(fake.values("t", 0), numbers(0..30));
}

#[tokio::test]
async fn every_kind_of_mishap_at_every_third_batch_leaves_each_record_once_and_in_order() {
    let (fake, client) = Fake::with_topic(3).await;
    let mut state = 7_u64;
    fake.on_batch(move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match (state >> 33) % 21 {
            0 => OnBatch::Break,
            1 => OnBatch::AppendAndBreak,
            2 => OnBatch::Refuse(ErrorCode::NotLeaderOrFollower),
            3 => OnBatch::Refuse(ErrorCode::RequestTimedOut),
            4 => OnBatch::AppendAndRefuse(ErrorCode::RequestTimedOut),
            5 => OnBatch::AppendAndRefuse(ErrorCode::KafkaStorageError),
            6 => OnBatch::Refuse(ErrorCode::CorruptMessage),
            _ => OnBatch::Append,
        }
    });
    let config = ProducerConfig { batch_bytes: 90, ..ProducerConfig::default() };
    let producer = client.producer(config).await.unwrap();
    let mut deliveries = Vec::new();
    for n in 0..600 {
        let value = n.to_string();
        let record = Record::new("t").partition(n % 3).value(&value);
        deliveries.push((n, producer.send(record).await.unwrap()));
    }
    for (n, delivery) in deliveries {
        let metadata = delivery.await.expect("delivered");
        assert_eq!(metadata.offset, Some(Offset(i64::from(n / 3))), "record {n}");
    }
    for partition in 0..3 {
        let expected: Vec<String> = (0..200).map(|n| (n * 3 + partition).to_string()).collect();
        assert_eq!(fake.values("t", partition), expected);
    }
}

#[tokio::test]
async fn a_batch_refused_for_good_fails_alone_and_those_after_it_are_written_in_order() {
    let (fake, client) = Fake::with_topic(1).await;
    fake.on_batch(|n| if n == 2 { OnBatch::Refuse(ErrorCode::InvalidRecord) } else { OnBatch::Append });
    let producer = client.producer(one_by_one()).await.unwrap();
    for (n, delivery) in send_numbers(&producer, 0..20).await.into_iter().enumerate() {
        match delivery.await {
            Err(error) => {
                assert_eq!((n, error.code()), (2, Some(ErrorCode::InvalidRecord)));
                assert!(!error.is_retriable() && !error.may_be_written());
            }
            Ok(_) => assert_ne!(n, 2),
        }
    }
    let expected: Vec<String> = numbers(0..20).into_iter().filter(|n| n != "2").collect();
    assert_eq!(fake.values("t", 0), expected);
}

#[tokio::test]
async fn a_record_without_an_answer_times_out_and_later_ones_go_on() {
    let (fake, client) = Fake::with_topic(1).await;
    fake.on_batch(|n| if n == 0 { OnBatch::Swallow } else { OnBatch::Append });
    let config = ProducerConfig { delivery_timeout: Duration::from_millis(200), ..one_by_one() };
    let producer = client.producer(config).await.unwrap();
    let first = send_numbers(&producer, 0..1).await.remove(0);
    let error = first.await.expect_err("timed out");
    assert!(matches!(error, ProduceError::TimedOut { attempts: 1, .. }), "{error}");
    assert!(error.is_retriable() && error.may_be_written());
    for delivery in send_numbers(&producer, 1..5).await {
        delivery.await.expect("delivered");
    }
    assert_eq!(fake.values("t", 0), numbers(1..5));
}

#[tokio::test]
async fn a_connection_whose_answers_stop_is_given_up_and_nothing_is_lost() {
    let fake = Fake::start().await;
    fake.create("t", 1);
    let mut config = fake.client_config();
    config.request_timeout = Duration::from_millis(200);
    let client = Client::connect(config).await.unwrap();
    fake.on_batch(|n| if n == 1 { OnBatch::Swallow } else { OnBatch::Append });
    let producer = client.producer(one_by_one()).await.unwrap();
    for delivery in send_numbers(&producer, 0..10).await {
        delivery.await.expect("delivered");
    }
    assert_eq!(fake.values("t", 0), numbers(0..10));
}

#[tokio::test]
async fn a_newer_producer_fences_this_one_for_good() {
    let (fake, client) = Fake::with_topic(1).await;
    fake.on_batch(|_| OnBatch::Refuse(ErrorCode::InvalidProducerEpoch));
    let producer = client.producer(ProducerConfig::default()).await.unwrap();
    let delivery = send_numbers(&producer, 0..1).await.remove(0);
    assert!(matches!(delivery.await, Err(ProduceError::Fenced { .. })));
    let later = producer.send(Record::new("t").value("x")).await;
    assert!(matches!(later, Err(ProduceError::Fenced { .. })), "{later:?}");
}

#[tokio::test]
async fn full_memory_pushes_back_until_answers_come() {
    let (fake, client) = Fake::with_topic(1).await;
    fake.hold(true);
    let config = ProducerConfig {
        max_request_bytes: 4_096,
        batch_bytes: 1_024,
        buffer_memory: 4_096,
        ..ProducerConfig::default()
    };
    let producer = client.producer(config).await.unwrap();
    producer.prepare("t").await.unwrap();
    let value = [b'x'; 200];
    let record = Record::new("t").value(&value);
    let mut deliveries = Vec::new();
    let refused = loop {
        match producer.try_send(record) {
            Ok(delivery) => deliveries.push(delivery),
            Err(error) => break error,
        }
        assert!(deliveries.len() < 100, "no push back");
    };
    assert_eq!(refused, ProduceError::WouldBlock);
    let waiting = tokio::spawn({
        let producer = producer.clone();
        async move { producer.send(Record::new("t").value(&[b'y'; 200])).await.map(drop) }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    fake.hold(false);
    waiting.await.unwrap().expect("memory came back");
    for delivery in deliveries {
        delivery.await.expect("delivered");
    }
    producer.close().await.expect("flushed");
}

#[tokio::test]
async fn keys_choose_partitions_as_kafka_does_and_records_may_choose_themselves() {
    let (fake, client) = Fake::with_topic(5).await;
    let producer = client.producer(ProducerConfig::default()).await.unwrap();
    for key in ["21", "foobar", "abc"] {
        let metadata = producer.send(Record::new("t").key(key).value("v")).await.unwrap().await.unwrap();
        assert_eq!(metadata.partition.0, partition_for_key(key.as_bytes(), 5));
    }
    let chosen = producer.send(Record::new("t").key("21").partition(4).value("mine")).await.unwrap();
    assert_eq!(chosen.await.unwrap().partition.0, 4);
    assert!(fake.values("t", 4).contains(&"mine".to_owned()));
    let unknown = producer.send(Record::new("t").partition(5)).await;
    assert!(matches!(unknown, Err(ProduceError::UnknownPartition { partitions: 5, .. })), "{unknown:?}");
}

#[tokio::test]
async fn records_without_a_key_spread_over_the_partitions() {
    let (fake, client) = Fake::with_topic(4).await;
    let producer = client.producer(ProducerConfig::default()).await.unwrap();
    for _ in 0..200 {
        producer.send(Record::new("t").value("v")).await.unwrap().await.unwrap();
    }
    for partition in 0..4 {
        let count = fake.values("t", partition).len();
        assert!(count > 10, "partition {partition} has {count} of 200");
    }
}

#[tokio::test]
async fn with_linger_records_wait_for_company() {
    let (fake, client) = Fake::with_topic(1).await;
    let config = ProducerConfig { linger: Duration::from_millis(50), ..ProducerConfig::default() };
    let producer = client.producer(config).await.unwrap();
    producer.prepare("t").await.unwrap();
    let deliveries: Vec<_> =
        (0..10).map(|_| producer.try_send(Record::new("t").value("v")).unwrap()).collect();
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(fake.batches_seen.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn flush_does_not_wait_for_the_linger() {
    let (fake, client) = Fake::with_topic(1).await;
    let config = ProducerConfig {
        linger: Duration::from_secs(3_600),
        delivery_timeout: Duration::from_secs(7_200),
        ..ProducerConfig::default()
    };
    let producer = client.producer(config).await.unwrap();
    let delivery = send_numbers(&producer, 0..1).await.remove(0);
    assert_eq!(delivery.peek(), None);
    producer.flush().await.expect("flushed");
    assert!(delivery.peek().expect("settled").is_ok());
    assert_eq!(fake.values("t", 0), numbers(0..1));
}

#[tokio::test]
async fn a_full_buffer_does_not_wait_for_the_linger_either() {
    let (fake, client) = Fake::with_topic(2).await;
    let config = ProducerConfig {
        linger: Duration::from_secs(3_600),
        delivery_timeout: Duration::from_secs(7_200),
        batch_bytes: 2_000,
        max_request_bytes: 2_000,
        buffer_memory: 2_000,
        ..ProducerConfig::default()
    };
    let producer = client.producer(config).await.unwrap();
    for n in 0..100 {
        let value = n.to_string();
        drop(producer.send(Record::new("t").partition(n % 2).value(&value)).await.unwrap());
    }
    producer.close().await.unwrap();
    assert_eq!(fake.values("t", 0).len() + fake.values("t", 1).len(), 100);
}

#[tokio::test]
async fn without_acknowledgements_sent_is_delivered() {
    let (fake, client) = Fake::with_topic(1).await;
    let producer = client.producer(ProducerConfig { acks: Acks::None, ..one_by_one() }).await.unwrap();
    for delivery in send_numbers(&producer, 0..20).await {
        assert_eq!(delivery.await.expect("sent").offset, None);
    }
    let mut appended = 0;
    while appended < 20 {
        tokio::task::yield_now().await;
        appended = fake.values("t", 0).len();
    }
    assert_eq!(fake.values("t", 0), numbers(0..20));
}

#[tokio::test]
async fn without_acknowledgements_a_closed_producer_has_left_nothing_behind() {
    for round in 0..20 {
        let (fake, client) = Fake::with_topic(1).await;
        let config = ProducerConfig { acks: Acks::None, ..ProducerConfig::default() };
        let producer = client.producer(config).await.unwrap();
        let large = "x".repeat(200_000);
        for _ in 0..20 {
            drop(producer.send(Record::new("t").value(&large)).await.unwrap());
        }
        producer.close().await.unwrap();
        assert_eq!(fake.values("t", 0).len(), 20, "round {round}");
    }
}

#[tokio::test]
async fn without_idempotence_batches_carry_no_producer() {
    let (fake, client) = Fake::with_topic(1).await;
    let config = ProducerConfig { idempotence: Idempotence::Off, ..one_by_one() };
    let producer = client.producer(config).await.unwrap();
    for delivery in send_numbers(&producer, 0..3).await {
        delivery.await.unwrap();
    }
    for (_, batch) in &fake.lock().arrived {
        let header = highwater_proto::record::BatchHeader::parse(batch).unwrap();
        assert_eq!((header.producer_id.0, header.base_sequence), (-1, -1));
    }
}

#[tokio::test]
async fn dropping_the_producer_settles_what_is_on_its_way() {
    let (fake, client) = Fake::with_topic(1).await;
    fake.hold(true);
    let producer = client.producer(ProducerConfig::default()).await.unwrap();
    let delivery = send_numbers(&producer, 0..1).await.remove(0);
    drop(producer);
    assert_eq!(delivery.await, Err(ProduceError::Closed));
}

#[tokio::test]
async fn a_topic_made_anew_under_its_name_takes_the_records() {
    let (fake, client) = Fake::with_topic(1).await;
    let producer = client.producer(one_by_one()).await.unwrap();
    send_numbers(&producer, 0..1).await.remove(0).await.unwrap();
    fake.delete("t");
    fake.create("t", 1);
    send_numbers(&producer, 1..2).await.remove(0).await.expect("delivered to the new one");
    assert_eq!(fake.values("t", 0), numbers(1..2));
}

#[tokio::test]
async fn an_unknown_topic_and_an_oversized_record_are_said_at_once() {
    let (_fake, client) = Fake::with_topic(1).await;
    let config = ProducerConfig { topic_timeout: Duration::from_millis(50), ..ProducerConfig::default() };
    let producer = client.producer(config).await.unwrap();
    let unknown = producer.send(Record::new("nope").value("v")).await.expect_err("unknown");
    assert_eq!(unknown.code(), Some(ErrorCode::UnknownTopicOrPartition), "{unknown}");
    let large = vec![0; 2 << 20];
    let error = producer.send(Record::new("t").value(&large)).await.expect_err("too large");
    assert!(matches!(error, ProduceError::RecordTooLarge { max_bytes: 1_048_576, .. }), "{error}");
}

#[tokio::test]
async fn nobody_at_the_address_is_an_error_that_names_it() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let error =
        Client::connect(highwater_client::ClientConfig::new([address.clone()])).await.expect_err("nobody");
    assert!(
        matches!(&error, ConnectError::Unreachable { addresses, .. } if *addresses == address),
        "{error}"
    );
}

#[tokio::test]
async fn the_second_bootstrap_address_is_tried_when_the_first_is_dead() {
    let fake = Fake::start().await;
    let mut config = fake.client_config();
    config.bootstrap.insert(0, "127.0.0.1:1".to_owned());
    Client::connect(config).await.expect("the second answers");
}
