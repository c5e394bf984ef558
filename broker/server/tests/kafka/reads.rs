//! Fetch and ListOffsets: what is returned, in what sizes, and what sessions hear.

use std::time::Duration;

use bytes::Bytes;
use highwater_proto::record::{
    BatchBuilder, BatchHeader, Compression, DecodeLimits, batches, decode_records,
};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, BrokerId, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest,
    MetadataResponse,
};
use uuid::Uuid;

use super::wire::{Bench, Wire, batch, name};

/// Partition, offset and most bytes.
type Asked = (i32, i64, i32);

fn fetch(topic: &str, asked: &[Asked]) -> FetchRequest {
    let partition = |(index, offset, max_bytes): &Asked| {
        FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(*max_bytes)
            .with_current_leader_epoch(-1)
    };
    let topic =
        FetchTopic::default().with_topic(name(topic)).with_partitions(asked.iter().map(partition).collect());
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_bytes(1 << 20)
        .with_min_bytes(1)
        .with_session_epoch(-1)
        .with_topics(if asked.is_empty() { Vec::new() } else { vec![topic] })
}

fn partitions(response: FetchResponse) -> Vec<PartitionData> {
    response.responses.into_iter().flat_map(|topic| topic.partitions).collect()
}

pub fn values(records: &Option<Bytes>) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    for whole in batches(records.clone().unwrap_or_default()) {
        for record in decode_records(&whole.unwrap(), &DecodeLimits::default()).unwrap() {
            let record = record.unwrap();
            found.push((record.offset.0, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
        }
    }
    found
}

async fn topic_id(wire: &mut Wire, topic: &str) -> Uuid {
    let wanted = MetadataRequestTopic::default().with_name(Some(name(topic)));
    let request = MetadataRequest::default().with_topics(Some(vec![wanted]));
    let response: MetadataResponse = wire.ask(ApiKey::Metadata, 12, &request).await;
    response.topics[0].topic_id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_version_reads_the_same_and_a_batch_is_whole_wherever_it_is_entered() {
    let bench = Bench::start().await;
    bench.create("t", 1, &[]).await;
    let mut wire = bench.wire().await;
    for compression in [Compression::None, Compression::Zstd] {
        assert_eq!(wire.produce("t", 0, batch(compression, &["a", "b", "c"])).await.error_code, 0);
    }
    let id = topic_id(&mut wire, "t").await;
    for version in 4..=17 {
        let mut request = fetch("t", &[(0, 4, 1)]);
        if version >= 13 {
            request.topics[0].topic_id = id;
        }
        let response: FetchResponse = wire.ask(ApiKey::Fetch, version, &request).await;
        let data = &partitions(response)[0];
        assert_eq!((data.error_code, data.high_watermark), (0, 6), "version {version}");
        // Offset 4 is in the middle of the second batch, which is larger than the byte asked for.
        let texts = values(&data.records);
        assert_eq!(texts[0], (3, "a".to_owned()), "version {version}");
        assert_eq!(texts.len(), 3, "version {version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_first_batch_of_an_answer_may_be_larger_than_asked() {
    let bench = Bench::start().await;
    bench.create("t", 2, &[]).await;
    let mut wire = bench.wire().await;
    let text = "x".repeat(1_000);
    for partition in 0..2 {
        for _ in 0..2 {
            assert_eq!(wire.produce("t", partition, batch(Compression::None, &[&text])).await.error_code, 0);
        }
    }
    let request = fetch("t", &[(0, 0, 1 << 20), (1, 0, 1 << 20)]).with_max_bytes(1_500);
    let began = tokio::time::Instant::now();
    let request = request.with_min_bytes(100_000).with_max_wait_ms(60_000);
    let data = partitions(wire.ask(ApiKey::Fetch, 12, &request).await);
    assert!(began.elapsed() < Duration::from_secs(20), "an answer that is full does not wait for more");
    let counts: Vec<usize> = data.iter().map(|data| values(&data.records).len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 1, "{counts:?}");
    assert!(data.iter().all(|data| (data.error_code, data.high_watermark) == (0, 2)), "both are named");
    let data = partitions(wire.ask(ApiKey::Fetch, 12, &request.with_max_bytes(10)).await);
    assert_eq!(data.iter().map(|data| values(&data.records).len()).sum::<usize>(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_hears_only_of_what_is_new() {
    let bench = Bench::start().await;
    bench.create("t", 3, &[]).await;
    let mut wire = bench.wire().await;
    let mut writer = bench.wire().await;
    let first = fetch("t", &[(0, 0, 1000), (1, 0, 1000), (2, 0, 1000)]).with_session_epoch(0);
    let response: FetchResponse = wire.ask(ApiKey::Fetch, 11, &first).await;
    let session = response.session_id;
    assert_ne!(session, 0);
    assert_eq!(partitions(response).len(), 3, "the first answer names everything");
    let mut epoch = 0;
    let mut next = |asked: &[Asked]| {
        epoch += 1;
        fetch("t", asked).with_session_id(session).with_session_epoch(epoch)
    };
    let idle: FetchResponse = wire.ask(ApiKey::Fetch, 11, &next(&[])).await;
    assert_eq!((idle.error_code, idle.session_id, idle.responses.len()), (0, session, 0));

    let waiting = next(&[]).with_max_wait_ms(60_000);
    let frame = wire.frame(ApiKey::Fetch, 11, &waiting);
    wire.send_bytes(&frame).await;
    assert_eq!(writer.produce("t", 1, batch(Compression::None, &["news"])).await.error_code, 0);
    let (_, body) = wire.receive().await.unwrap();
    let data = partitions(Wire::decode(ApiKey::Fetch, 11, body));
    assert_eq!((data.len(), data[0].partition_index), (1, 1));
    assert_eq!(values(&data[0].records), [(0, "news".to_owned())]);

    // Who does not say where to go on gets the same again; who does, does not.
    let again = partitions(wire.ask(ApiKey::Fetch, 11, &next(&[])).await);
    assert_eq!(values(&again[0].records), [(0, "news".to_owned())]);
    let on: FetchResponse = wire.ask(ApiKey::Fetch, 11, &next(&[(1, 1, 1000)])).await;
    assert!(partitions(on).iter().all(|data| values(&data.records).is_empty()));

    assert_eq!(writer.produce("t", 2, batch(Compression::None, &["unheard"])).await.error_code, 0);
    let forgotten = ForgottenTopic::default().with_topic(name("t")).with_partitions(vec![2]);
    let request = next(&[]).with_forgotten_topics_data(vec![forgotten]);
    let after: FetchResponse = wire.ask(ApiKey::Fetch, 11, &request).await;
    assert!(partitions(after).iter().all(|data| data.partition_index != 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_not_this_connections_is_refused() {
    let bench = Bench::start().await;
    bench.create("t", 1, &[]).await;
    let mut wire = bench.wire().await;
    let first = fetch("t", &[(0, 0, 1000)]).with_session_epoch(0);
    let session = wire.ask::<_, FetchResponse>(ApiKey::Fetch, 12, &first).await.session_id;
    let next = fetch("t", &[]).with_session_id(session).with_session_epoch(1);
    let elsewhere: FetchResponse = bench.wire().await.ask(ApiKey::Fetch, 12, &next).await;
    assert_eq!(elsewhere.error_code, 70);
    let skipped: FetchResponse = wire.ask(ApiKey::Fetch, 12, &next.clone().with_session_epoch(2)).await;
    assert_eq!(skipped.error_code, 71);
    let by_ids: FetchResponse = wire.ask(ApiKey::Fetch, 13, &next).await;
    assert_eq!(by_ids.error_code, 106);
    let right: FetchResponse = wire.ask(ApiKey::Fetch, 12, &next).await;
    assert_eq!(right.error_code, 0);
    // A request without a session ends the one there was.
    let _: FetchResponse = wire.ask(ApiKey::Fetch, 12, &fetch("t", &[(0, 0, 1000)])).await;
    let gone: FetchResponse = wire.ask(ApiKey::Fetch, 12, &next.with_session_epoch(2)).await;
    assert_eq!(gone.error_code, 70);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_cannot_be_read_says_why_and_the_others_are_read() {
    let bench = Bench::start().await;
    bench.create("t", 1, &[]).await;
    let mut wire = bench.wire().await;
    wire.produce("t", 0, batch(Compression::None, &["here"])).await;
    let mut request = fetch("t", &[(0, 0, 1000), (7, 0, 1000)]);
    request.topics.push(fetch("nowhere", &[(0, 0, 1000)]).topics.remove(0));
    let data = partitions(wire.ask(ApiKey::Fetch, 12, &request.with_max_wait_ms(60_000)).await);
    let codes: Vec<i16> = data.iter().map(|data| data.error_code).collect();
    assert_eq!(codes, [0, 3, 3]);
    assert_eq!(values(&data[0].records), [(0, "here".to_owned())]);

    let beyond = partitions(wire.ask(ApiKey::Fetch, 12, &fetch("t", &[(0, 99, 1000)])).await);
    assert_eq!((beyond[0].error_code, beyond[0].high_watermark), (1, -1));
    let unknown: FetchResponse = wire.ask(ApiKey::Fetch, 13, &fetch("", &[(0, 0, 1000)])).await;
    assert_eq!(partitions(unknown)[0].error_code, 100);
    let mut ahead = fetch("t", &[(0, 0, 1000)]);
    ahead.topics[0].partitions[0].current_leader_epoch = 5;
    assert_eq!(partitions(wire.ask(ApiKey::Fetch, 12, &ahead).await)[0].error_code, 75);
    let replica = fetch("t", &[(0, 0, 1000)]).with_replica_id(BrokerId(2));
    let refused = partitions(wire.ask(ApiKey::Fetch, 12, &replica).await);
    assert_eq!((refused[0].error_code, values(&refused[0].records).len()), (31, 0));
}

async fn offset(wire: &mut Wire, version: i16, timestamp: i64) -> ListOffsetsPartitionResponse {
    let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let mut response: ListOffsetsResponse = wire.ask(ApiKey::ListOffsets, version, &request).await;
    response.topics.remove(0).partitions.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_are_found_by_position_and_by_time_in_every_version() {
    let bench = Bench::start().await;
    bench.create("t", 1, &[("message.timestamp.type", "CreateTime")]).await;
    let mut wire = bench.wire().await;
    let empty = offset(&mut wire, 7, -3).await;
    assert_eq!((empty.error_code, empty.offset, empty.timestamp), (0, -1, -1));
    wire.produce("t", 0, batch(Compression::Lz4, &["a", "b", "c"])).await;
    for version in 1..=10 {
        for (timestamp, found) in
            [(-1, (3, -1)), (-2, (0, -1)), (1_001, (1, 1_001)), (0, (0, 1_000)), (5_000, (-1, -1))]
        {
            let answer = offset(&mut wire, version, timestamp).await;
            assert_eq!(
                (answer.error_code, answer.offset, answer.timestamp),
                (0, found.0, found.1),
                "v{version} {timestamp}"
            );
        }
    }
    let largest = offset(&mut wire, 7, -3).await;
    assert_eq!((largest.error_code, largest.offset, largest.timestamp), (0, 2, 1_002));
    assert_eq!(offset(&mut wire, 8, -4).await.offset, 0);
    assert_eq!(offset(&mut wire, 9, -5).await.offset, -1);
    assert_eq!(offset(&mut wire, 6, -3).await.error_code, 35);
    assert_eq!(offset(&mut wire, 10, -99).await.error_code, 35);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_batches_leave_as_they_are_but_for_offset_and_epoch() {
    let bench = Bench::start().await;
    bench.create("t", 1, &[]).await;
    let mut wire = bench.wire().await;
    let sent = batch(Compression::Snappy, &["one", "two"]);
    wire.produce("t", 0, sent.clone()).await;
    wire.produce("t", 0, sent.clone()).await;
    let data = partitions(wire.ask(ApiKey::Fetch, 12, &fetch("t", &[(0, 2, 1 << 20)])).await);
    let stored = data[0].records.clone().unwrap();
    assert_eq!(BatchHeader::parse(&stored).unwrap().base_offset.0, 2);
    assert_eq!(&stored[16..], &sent[16..]);
}

/// A frame that asks for everything in partition 0, from the beginning.
pub fn fetch_all(wire: &mut Wire, topic: &str) -> Bytes {
    fetch_some(wire, topic, 50 << 20)
}

/// A frame that asks for so many bytes of partition 0, from the beginning.
pub fn fetch_some(wire: &mut Wire, topic: &str, max_bytes: i32) -> Bytes {
    wire.frame(ApiKey::Fetch, 12, &fetch(topic, &[(0, 0, max_bytes)]).with_max_bytes(max_bytes))
}

/// A batch of records with keys.
fn keyed(records: &[(&str, &str)]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None, 1 << 20);
    for (key, value) in records {
        assert!(builder.try_append(1_000, Some(key.as_bytes()), Some(value.as_bytes()), &[]).is_ok());
    }
    builder.finish(None)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_gets_through_the_gaps_that_compaction_leaves() {
    let bench = Bench::with(|config| config.background_interval = Duration::from_millis(20)).await;
    let settings =
        [("cleanup.policy", "compact"), ("segment.bytes", "16384"), ("min.cleanable.dirty.ratio", "0")];
    bench.create("t", 1, &settings).await;
    let mut wire = bench.wire().await;
    let text = "x".repeat(1_000);
    let mut end = 0;
    for round in 0..100 {
        // One key that stays as it is in the middle, others that are written again and again.
        let stays = format!("stays {round}");
        let key = if round == 50 { stays.as_str() } else { "again" };
        let answer = wire.produce("t", 0, keyed(&[("again", &text), (key, &text)])).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, end));
        end += 2;
    }
    // Nothing says when the compactor is done but the log itself.
    let read_all = async |wire: &mut Wire| {
        let (mut at, mut offsets) = (0, Vec::new());
        while at < end {
            let mut data = partitions(wire.ask(ApiKey::Fetch, 12, &fetch("t", &[(0, at, 8_000)])).await);
            let data = data.remove(0);
            assert_eq!(data.error_code, 0);
            let mut next = at;
            for whole in batches(data.records.clone().unwrap_or_default()) {
                next = BatchHeader::parse(&whole.unwrap()).unwrap().next_offset().0;
            }
            offsets.extend(
                values(&data.records).into_iter().map(|(offset, _)| offset).filter(|offset| *offset >= at),
            );
            assert!(next > at, "a reader at {at} gets nothing although the log goes on to {end}");
            at = next;
        }
        offsets
    };
    let mut offsets = read_all(&mut wire).await;
    while offsets.len() > 60 {
        tokio::task::yield_now().await;
        offsets = read_all(&mut wire).await;
    }
    assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]), "{offsets:?}");
    assert!(offsets.contains(&101) && offsets.contains(&(end - 1)), "{offsets:?}");
    assert!(offsets.windows(2).any(|pair| pair[1] - pair[0] > 1), "{offsets:?}");
}
