//! The consumer against a broker that misbehaves: every record once, in order, or a clear error.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::time::Duration;

use futures_util::StreamExt;
use highwater_client::{
    Client, ConsumeError, Consumer, ConsumerConfig, ErrorCode, Offset, OffsetReset, PartitionIndex, Position,
    ProducerConfig, Record,
};
use support::{Fake, OnFetch};

const LONG: Duration = Duration::from_secs(10);

/// Writes the numbers of the range as records with ascending timestamps.
async fn fill(client: &Client, partition: i32, range: std::ops::Range<i64>) {
    // Three records per batch.
    let config =
        ProducerConfig { batch_bytes: 90, linger: Duration::from_millis(1), ..ProducerConfig::default() };
    let producer = client.producer(config).await.unwrap();
    for n in range {
        let value = n.to_string();
        let record = Record::new("t").partition(partition).value(&value).timestamp_ms(1_000 + n * 10);
        drop(producer.send(record).await.unwrap());
    }
    producer.close().await.unwrap();
}

async fn filled(partitions: usize, records: i64) -> (std::sync::Arc<Fake>, Client) {
    let (fake, client) = Fake::with_topic(partitions).await;
    for partition in 0..partitions as i32 {
        fill(&client, partition, 0..records).await;
    }
    (fake, client)
}

fn small() -> ConsumerConfig {
    ConsumerConfig { fetch_max_bytes: 300, prefetch_bytes: 900, ..ConsumerConfig::default() }
}

async fn next_offset(consumer: &mut Consumer) -> i64 {
    tokio::time::timeout(LONG, consumer.next())
        .await
        .expect("in time")
        .expect("no error")
        .expect("a record")
        .offset
        .0
}

#[tokio::test]
async fn everything_is_read_once_and_in_order() {
    let (_fake, client) = filled(1, 100).await;
    let mut consumer = client.consumer(small());
    consumer.assign("t", 0, Position::Beginning).await.unwrap();
    for n in 0..100 {
        let record = tokio::time::timeout(LONG, consumer.next()).await.unwrap().unwrap().unwrap();
        assert_eq!((record.offset.0, record.value.unwrap()), (n, n.to_string().into()));
        assert_eq!(consumer.position("t", 0).unwrap(), Offset(n + 1));
    }
    assert_eq!(consumer.high_watermark("t", 0).unwrap(), Some(Offset(100)));
}

#[tokio::test]
async fn batches_and_the_stream_bring_the_same_records() {
    let (_fake, client) = filled(2, 60).await;
    let mut by_batch = client.consumer(small());
    by_batch.assign_all("t", Position::Beginning).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 120 {
        let records = by_batch.poll(LONG).await.unwrap();
        assert!(!records.is_empty(), "stuck after {}", seen.len());
        seen.extend(records.iter().map(|r| r.unwrap()).map(|r| (r.partition.0, r.offset.0)));
    }
    seen.sort_unstable();
    let mut by_record = client.consumer(small());
    by_record.assign_all("t", Position::Beginning).await.unwrap();
    let mut streamed: Vec<_> =
        by_record.stream().take(120).map(|r| r.unwrap()).map(|r| (r.partition.0, r.offset.0)).collect().await;
    streamed.sort_unstable();
    assert_eq!(seen, streamed);
    assert_eq!(seen, (0..2).flat_map(|p| (0..60).map(move |o| (p, o))).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_seek_lands_on_the_exact_record_even_inside_a_batch() {
    let (_fake, client) = filled(1, 50).await;
    let mut consumer = client.consumer(small());
    consumer.assign("t", 0, Position::Beginning).await.unwrap();
    assert_eq!(next_offset(&mut consumer).await, 0);
    for (position, expected) in [
        (Position::Offset(Offset(31)), 31),
        (Position::Timestamp(1_000 + 17 * 10), 17),
        (Position::Timestamp(1_000 + 17 * 10 + 1), 18),
        (Position::Beginning, 0),
        (Position::Offset(Offset(49)), 49),
    ] {
        consumer.seek("t", 0, position).await.unwrap();
        assert_eq!(next_offset(&mut consumer).await, expected, "{position:?}");
    }
    for end in [Position::End, Position::Timestamp(i64::MAX)] {
        consumer.seek("t", 0, end).await.unwrap();
        assert_eq!(consumer.position("t", 0).unwrap(), Offset(50));
    }
    fill(&client, 0, 50..51).await;
    assert_eq!(next_offset(&mut consumer).await, 50);
}

#[tokio::test]
async fn a_waiting_consumer_gets_what_is_written_meanwhile() {
    let (_fake, client) = Fake::with_topic(1).await;
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign("t", 0, Position::End).await.unwrap();
    assert!(consumer.poll(Duration::from_millis(10)).await.unwrap().is_empty());
    fill(&client, 0, 0..3).await;
    assert_eq!(next_offset(&mut consumer).await, 0);
}

#[tokio::test]
async fn broken_streams_resume_at_the_exact_next_offset() {
    let (fake, client) = filled(2, 200).await;
    let mut state = 11_u64;
    fake.on_fetch(move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match (state >> 33) % 6 {
            0 => OnFetch::Break,
            1 => OnFetch::Refuse(ErrorCode::NotLeaderOrFollower),
            _ => OnFetch::Answer,
        }
    });
    let mut consumer = client.consumer(small());
    consumer.assign_all("t", Position::Beginning).await.unwrap();
    let mut next = [0, 0];
    for _ in 0..400 {
        let record = tokio::time::timeout(LONG, consumer.next()).await.unwrap().unwrap().unwrap();
        let expected = &mut next[record.partition.0 as usize];
        assert_eq!(record.offset.0, *expected);
        *expected += 1;
    }
    assert_eq!(next, [200, 200]);
}

#[tokio::test]
async fn damage_on_the_way_is_noticed_and_the_next_call_reads_it_again() {
    let (fake, client) = filled(1, 30).await;
    fake.on_fetch(|n| if n == 1 { OnFetch::Damage } else { OnFetch::Answer });
    let mut consumer = client.consumer(small());
    consumer.assign("t", 0, Position::Beginning).await.unwrap();
    let mut damaged = 0;
    let mut next = 0;
    while next < 30 {
        match tokio::time::timeout(LONG, consumer.next()).await.unwrap() {
            Ok(record) => {
                assert_eq!(record.unwrap().offset.0, next);
                next += 1;
            }
            Err(error) => {
                assert!(matches!(error, ConsumeError::Corrupt { .. }) && error.is_retriable(), "{error}");
                damaged += 1;
            }
        }
    }
    assert_eq!(damaged, 1);
}

#[tokio::test]
async fn a_position_outside_the_log_is_an_error_or_goes_where_the_policy_says() {
    let (fake, client) = filled(1, 30).await;
    fake.delete_before("t", 0, 12);
    let mut consumer = client.consumer(small());
    consumer.assign("t", 0, Position::Offset(Offset(3))).await.unwrap();
    let error = consumer.poll(LONG).await.expect_err("out of range");
    let expected = ConsumeError::OffsetOutOfRange {
        topic: "t".into(),
        partition: PartitionIndex(0),
        offset: Offset(3),
        log_start: Offset(12),
        log_end: Offset(30),
    };
    assert_eq!(error, expected);
    consumer.seek("t", 0, Position::Offset(Offset(12))).await.unwrap();
    assert_eq!(next_offset(&mut consumer).await, 12);

    let config = ConsumerConfig { offset_reset: OffsetReset::Earliest, ..small() };
    let mut consumer = client.consumer(config);
    consumer.assign("t", 0, Position::Offset(Offset(3))).await.unwrap();
    assert_eq!(next_offset(&mut consumer).await, 12);

    let config = ConsumerConfig { offset_reset: OffsetReset::Latest, ..small() };
    let mut consumer = client.consumer(config);
    consumer.assign("t", 0, Position::Offset(Offset(99))).await.unwrap();
    assert!(consumer.poll(Duration::from_millis(200)).await.unwrap().is_empty());
    fill(&client, 0, 30..31).await;
    assert_eq!(next_offset(&mut consumer).await, 30);
}

#[tokio::test]
async fn a_paused_partition_is_silent_and_resumes_where_it_stopped() {
    let (_fake, client) = filled(2, 30).await;
    let mut consumer = client.consumer(small());
    consumer.assign_all("t", Position::Beginning).await.unwrap();
    let first = tokio::time::timeout(LONG, consumer.next()).await.unwrap().unwrap().unwrap();
    consumer.pause("t", first.partition.0).unwrap();
    for n in 0..30 {
        let record = tokio::time::timeout(LONG, consumer.next()).await.unwrap().unwrap().unwrap();
        assert_eq!((record.partition.0, record.offset.0), (1 - first.partition.0, n));
    }
    assert_eq!(consumer.position("t", first.partition.0).unwrap(), Offset(1));
    consumer.resume("t", first.partition.0).unwrap();
    for n in 1..30 {
        assert_eq!(next_offset(&mut consumer).await, n);
    }
}

#[tokio::test]
async fn polling_after_single_records_goes_on_behind_them() {
    let (_fake, client) = filled(1, 30).await;
    let mut consumer = client.consumer(small());
    consumer.assign("t", 0, Position::Beginning).await.unwrap();
    for n in 0..4 {
        assert_eq!(next_offset(&mut consumer).await, n);
    }
    let mut next = 4;
    while next < 30 {
        for record in consumer.poll(LONG).await.unwrap().iter() {
            assert_eq!(record.unwrap().offset.0, next);
            next += 1;
        }
    }
}

#[tokio::test]
async fn unknown_topics_and_partitions_are_named() {
    let (fake, client) = filled(1, 3).await;
    let mut consumer = client.consumer(small());
    let error = consumer.assign("nope", 0, Position::End).await.expect_err("unknown");
    assert!(matches!(&error, ConsumeError::Metadata(e) if e.is_not_found()), "{error}");
    let error = consumer.assign("t", 7, Position::End).await.expect_err("unknown");
    assert!(matches!(error, ConsumeError::UnknownPartition { partitions: 1, .. }), "{error}");
    assert!(matches!(consumer.position("t", 0), Err(ConsumeError::NotAssigned { .. })));
    assert_eq!(consumer.next().await, Ok(None), "nothing is assigned");

    consumer.assign("t", 0, Position::Beginning).await.unwrap();
    assert_eq!(next_offset(&mut consumer).await, 0);
    fake.delete("t");
    fake.notify_appended();
    consumer.seek("t", 0, Position::Offset(Offset(0))).await.unwrap();
    let error = consumer.poll(LONG).await.expect_err("deleted");
    assert!(matches!(&error, ConsumeError::Metadata(e) if e.is_not_found()), "{error}");
}
