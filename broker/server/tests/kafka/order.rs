//! A connection's requests: answered in order, begun in order, and none lost when the broker goes down.

use highwater_client::{Client, ClientConfig, ConsumerConfig, Position, ProducerConfig, Record};
use highwater_proto::record::Compression;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse, InitProducerIdRequest,
    InitProducerIdResponse, MetadataRequest, MetadataResponse, ProduceResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::wire::{Bench, Wire, batch, name, produce};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_sent_ahead_take_effect_and_are_answered_in_order() {
    let bench = Bench::start().await;
    let mut wire = bench.wire().await;
    let create = MetadataRequest::default()
        .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name("new")))]))
        .with_allow_auto_topic_creation(true);
    let mut frames = vec![wire.frame(ApiKey::Metadata, 9, &create)];
    for number in 0..20 {
        let request = produce("new", 0, -1, batch(Compression::None, &[&format!("record {number}")]));
        frames.push(wire.frame(ApiKey::Produce, 9, &request));
    }
    frames.push(wire.frame(ApiKey::Metadata, 9, &create));
    let all = frames.concat();
    // Cut where it hurts: in the middle of everything.
    for part in all.chunks(97) {
        wire.send_bytes(part).await;
    }
    let (number, body) = wire.receive().await.unwrap();
    let made: MetadataResponse = Wire::decode(ApiKey::Metadata, 9, body);
    assert_eq!((number, made.topics[0].error_code), (1, 0));
    for expected in 0..20 {
        let (number, body) = wire.receive().await.unwrap();
        assert_eq!(number, expected + 2);
        let response: ProduceResponse = Wire::decode(ApiKey::Produce, 9, body);
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, i64::from(expected)));
    }
    assert_eq!(wire.receive().await.unwrap().0, 22);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_protocol_writes_the_other_reads() {
    let bench = Bench::start().await;
    bench.create("both", 1, &[]).await;
    let mut wire = bench.wire().await;
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let config = ClientConfig::new([bench.broker.grpc_addr().to_string()]);
    let client = Client::connect(config).await.unwrap();
    let mut expected = Vec::new();
    for compression in codecs {
        let (kafka, grpc) = (format!("kafka {compression}"), format!("grpc {compression}"));
        assert_eq!(wire.produce("both", 0, batch(compression, &[&kafka])).await.error_code, 0);
        let producer =
            client.producer(ProducerConfig { compression, ..ProducerConfig::default() }).await.unwrap();
        producer.send(Record::new("both").value(&grpc)).await.unwrap().await.unwrap();
        expected.extend([kafka, grpc]);
    }
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign_all("both", Position::Beginning).await.unwrap();
    for text in &expected {
        let record = consumer.next().await.unwrap().unwrap();
        assert_eq!(record.value.as_deref(), Some(text.as_bytes()));
    }
    let partition = FetchPartition::default().with_partition_max_bytes(1 << 20).with_current_leader_epoch(-1);
    let topic = FetchTopic::default().with_topic(name("both")).with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    let response: FetchResponse = wire.ask(ApiKey::Fetch, 12, &request).await;
    let records = response.responses[0].partitions[0].records.clone().unwrap();
    let stored = highwater_proto::record::batches(records).count();
    assert_eq!(stored, expected.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_nobody_knows_is_answered_so_that_everybody_can_read_it() {
    let bench = Bench::start().await;
    let mut wire = bench.wire().await;
    let mut frame = wire.frame(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default()).to_vec();
    frame[6..8].copy_from_slice(&77_i16.to_be_bytes());
    wire.send_bytes(&frame).await;
    let (_, body) = wire.receive().await.unwrap();
    let response: ApiVersionsResponse = Wire::decode(ApiKey::ApiVersions, 0, body);
    assert_eq!(response.error_code, 35);
    let range = &response.api_keys[0];
    assert_eq!((range.api_key, range.min_version, range.max_version), (18, 0, 4));
    for version in 0..=4 {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("a-test"))
            .with_client_software_version(StrBytes::from_static_str("1.0"));
        let request = if version >= 3 { request } else { ApiVersionsRequest::default() };
        let response: ApiVersionsResponse = wire.ask(ApiKey::ApiVersions, version, &request).await;
        assert_eq!((response.error_code, response.api_keys.is_empty()), (0, false), "version {version}");
        let produce = response.api_keys.iter().find(|range| range.api_key == 0).unwrap();
        assert_eq!(produce.min_version, 0, "or clients think that we cannot decompress");
    }
    let nameless: ApiVersionsResponse =
        wire.ask(ApiKey::ApiVersions, 3, &ApiVersionsRequest::default()).await;
    assert_eq!(nameless.error_code, 42);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_producer_gets_an_id_of_its_own_whatever_it_asks_for() {
    let bench = Bench::start().await;
    let mut wire = bench.wire().await;
    let mut ids = Vec::new();
    for version in 0..=5 {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_producer_id(if version >= 3 { 0 } else { -1 }.into())
            .with_producer_epoch(if version >= 3 { 0 } else { -1 });
        let response: InitProducerIdResponse = wire.ask(ApiKey::InitProducerId, version, &request).await;
        assert_eq!((response.error_code, response.producer_epoch), (0, 0));
        ids.push(response.producer_id.0);
    }
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_answers_what_was_taken_in() {
    let bench = Bench::start().await;
    bench.create("t", 1, &[]).await;
    let mut wire = bench.wire().await;
    assert_eq!(wire.produce("t", 0, batch(Compression::None, &["warm"])).await.error_code, 0);
    let request = produce("t", 0, -1, batch(Compression::None, &["last"]));
    let frame = wire.frame(ApiKey::Produce, 9, &request);
    wire.send_bytes(&frame).await;
    let stopping = tokio::spawn(bench.broker.stop());
    // Taken in before the end, it is acknowledged; after it, the connection ends. Nothing in between.
    if let Some((_, body)) = wire.receive().await {
        let response: ProduceResponse = Wire::decode(ApiKey::Produce, 9, body);
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }
    assert!(wire.is_closed().await);
    stopping.await.unwrap().unwrap();
}
