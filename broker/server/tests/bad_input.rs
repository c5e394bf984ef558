//! Bad input gets a named error, costs nothing, and leaves everybody else undisturbed.
#![expect(clippy::unwrap_used, reason = "a test")]

use bytes::Bytes;
use highwater_proto::grpc::admin_client::AdminClient;
use highwater_proto::grpc::log_client::LogClient;
use highwater_proto::grpc::{
    AlterTopicConfigsRequest, ConfigEntry, CreateTopicsRequest, FetchPosition, FetchRequest,
    ListOffsetsPartition, ListOffsetsRequest, NewTopic, ProducePartition, ProduceRequest, TopicConfigChange,
};
use highwater_proto::record::{BatchBuilder, Compression};
use highwater_proto::{ErrorCode, TopicId};
use highwater_server::{Broker, BrokerConfig, StartError};
use tonic::transport::Channel;

struct Bench {
    _directory: tempfile::TempDir,
    broker: Broker,
    log: LogClient<Channel>,
    admin: AdminClient<Channel>,
}

async fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(BrokerConfig::ephemeral(directory.path())).await.unwrap();
    let address = format!("http://{}", broker.grpc_addr());
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
    let (log, admin) = (LogClient::new(channel.clone()), AdminClient::new(channel));
    Bench { _directory: directory, broker, log, admin }
}

impl Bench {
    async fn create(&mut self, name: &str, configs: &[(&str, &str)]) -> (ErrorCode, String, Bytes) {
        let entry =
            |(name, value): &(&str, &str)| ConfigEntry { name: (*name).into(), value: (*value).into() };
        let configs = configs.iter().map(entry).collect();
        let topic = NewTopic { name: name.into(), partitions: 1, replication_factor: -1, configs };
        let request = CreateTopicsRequest { topics: vec![topic], validate_only: false };
        let topic = self.admin.create_topics(request).await.unwrap().into_inner().topics.remove(0);
        (ErrorCode::from_wire(topic.error), topic.message, topic.topic_id)
    }

    async fn produce(&mut self, topic_id: &Bytes, batch: impl Into<Bytes>) -> (ErrorCode, String, i64) {
        let partition = ProducePartition { topic_id: topic_id.clone(), partition: 0, batch: batch.into() };
        let request =
            ProduceRequest { correlation: 7, acks: -1, timeout_ms: 5_000, partitions: vec![partition] };
        let mut answers = self.log.produce(tokio_stream::iter([request])).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.correlation, 7);
        let result = &answer.partitions[0];
        (ErrorCode::from_wire(result.error), result.message.clone(), result.base_offset)
    }

    async fn end_offset(&mut self, topic_id: &Bytes) -> i64 {
        let partition = ListOffsetsPartition {
            topic_id: topic_id.clone(),
            partition: 0,
            timestamp: -1,
            current_leader_epoch: -1,
        };
        let request = ListOffsetsRequest { partitions: vec![partition] };
        self.log.list_offsets(request).await.unwrap().into_inner().partitions[0].offset
    }
}

fn now_ms() -> i64 {
    use highwater_env::Clock;
    highwater_env::os::OsClock::new().unix_ms()
}

fn batch(compression: Compression, value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(compression, 64 << 20);
    for _ in 0..3 {
        builder.try_append(now_ms(), Some(b"key"), Some(value), &[]).unwrap();
    }
    builder.finish(None).to_vec()
}

/// A batch changed somewhere, with its checksum made right again.
fn forged(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = batch(Compression::None, b"value");
    change(&mut bytes);
    let crc = highwater_proto::record::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_batches_are_refused_by_name_and_nothing_is_written() {
    let mut bench = bench().await;
    let (_, _, id) = bench.create("t", &[("max.message.bytes", "20000")]).await;
    let good = batch(Compression::None, b"value");
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let bomb = batch(Compression::Zstd, &vec![0; 20 << 20]);
    let cases: Vec<(&str, Vec<u8>, ErrorCode)> = vec![
        ("empty", Vec::new(), ErrorCode::CorruptMessage),
        ("cut", good[..good.len() - 1].to_vec(), ErrorCode::CorruptMessage),
        ("two batches", [good.clone(), good.clone()].concat(), ErrorCode::CorruptMessage),
        ("wrong checksum", flipped(70), ErrorCode::CorruptMessage),
        ("old magic", flipped(16), ErrorCode::UnsupportedForMessageFormat),
        (
            "too many records claimed",
            forged(|b| b[57..61].copy_from_slice(&9_i32.to_be_bytes())),
            ErrorCode::InvalidRecord,
        ),
        ("no records", forged(|b| b[57..61].copy_from_slice(&0_i32.to_be_bytes())), ErrorCode::InvalidRecord),
        (
            "negative count",
            forged(|b| b[57..61].copy_from_slice(&(-1_i32).to_be_bytes())),
            ErrorCode::InvalidRecord,
        ),
        ("a control batch", forged(|b| b[22] |= 0x20), ErrorCode::InvalidRecord),
        ("reserved bits", forged(|b| b[21] |= 0x80), ErrorCode::InvalidRecord),
        ("larger than the topic takes", batch(Compression::None, &[1; 20_000]), ErrorCode::MessageTooLarge),
        ("a bomb", bomb, ErrorCode::MessageTooLarge),
    ];
    for (what, bytes, expected) in cases {
        let (code, message, offset) = bench.produce(&id, bytes).await;
        assert_eq!((code, offset), (expected, -1), "{what}: {message}");
        assert!(!message.is_empty(), "{what} has no explanation");
    }
    assert_eq!(bench.end_offset(&id).await, 0);
    let (code, message, offset) = bench.produce(&id, good.clone()).await;
    assert_eq!((code, offset), (ErrorCode::None, 0), "{message}");
    assert_eq!(bench.end_offset(&id).await, 3);
    bench.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_and_illegal_names_ids_offsets_and_settings_are_named_errors() {
    let mut bench = bench().await;
    for name in ["", "a/b", ".", "..", "übung", &"x".repeat(250)] {
        let (code, message, _) = bench.create(name, &[]).await;
        assert_eq!(code, ErrorCode::InvalidTopicException, "{name:?}: {message}");
    }
    let (code, _, id) = bench.create("a.b", &[]).await;
    assert_eq!(code, ErrorCode::None);
    assert_eq!(bench.create("a.b", &[]).await.0, ErrorCode::TopicAlreadyExists);
    let (code, message, _) = bench.create("a_b", &[]).await;
    assert_eq!(code, ErrorCode::InvalidTopicException);
    assert!(message.contains("collides with 'a.b'"), "{message}");
    let (code, message, _) = bench.create("c", &[("segment.bytes", "1")]).await;
    assert_eq!(code, ErrorCode::InvalidConfig);
    assert!(message.contains("segment.bytes=1") && message.contains("16384"), "{message}");

    let change = TopicConfigChange { name: "a.b".into(), unset: vec!["retention.m".into()], set: vec![] };
    let request = AlterTopicConfigsRequest { topics: vec![change], validate_only: false };
    let result = bench.admin.alter_topic_configs(request).await.unwrap().into_inner().topics.remove(0);
    assert!(result.message.contains("did you mean 'retention.ms'"), "{}", result.message);

    let good = batch(Compression::None, b"v");
    let nobody = TopicId([9; 16]).to_wire();
    assert_eq!(bench.produce(&nobody, good.clone()).await.0, ErrorCode::UnknownTopicId);
    let position = |topic_id: &Bytes, offset| FetchPosition {
        topic_id: topic_id.clone(),
        offset,
        current_leader_epoch: -1,
        ..FetchPosition::default()
    };
    for (topic, offset, expected) in [
        (&nobody, 0, ErrorCode::UnknownTopicId),
        (&id, 5, ErrorCode::OffsetOutOfRange),
        (&id, -1, ErrorCode::OffsetOutOfRange),
    ] {
        let positions = vec![position(topic, offset)];
        let request =
            FetchRequest { max_wait_ms: 60_000, min_bytes: 1, positions, ..FetchRequest::default() };
        let mut answers = bench.log.fetch(tokio_stream::iter([request])).await.unwrap().into_inner();
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(ErrorCode::from_wire(answer.partitions[0].error), expected, "offset {offset}");
    }
    let short = ProducePartition { topic_id: Bytes::from_static(b"short"), partition: 0, batch: good.into() };
    let request = ProduceRequest { partitions: vec![short], ..ProduceRequest::default() };
    let mut answers = bench.log.produce(tokio_stream::iter([request])).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap_err().code(), tonic::Code::InvalidArgument);
    bench.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acks_that_cannot_be_met_write_nothing() {
    let mut bench = bench().await;
    let (_, _, id) = bench.create("two", &[("min.insync.replicas", "2")]).await;
    let (code, message, _) = bench.produce(&id, batch(Compression::None, b"v")).await;
    assert_eq!(code, ErrorCode::NotEnoughReplicas, "{message}");
    assert_eq!(bench.end_offset(&id).await, 0);
    bench.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_in_use_and_a_directory_in_use_say_so_and_leave_the_running_broker_alone() {
    let mut bench = bench().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let mut config = BrokerConfig::ephemeral(elsewhere.path());
    config.grpc = bench.broker.grpc_addr();
    let error = Broker::start(config).await.map(drop).unwrap_err();
    assert!(matches!(error, StartError::Listen { key: "listener.grpc", .. }), "{error}");
    assert!(error.to_string().contains("choose another port"), "{error}");

    let error = Broker::start(BrokerConfig::ephemeral(bench._directory.path())).await.map(drop).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&std::process::id().to_string()), "the holder's process id is not in: {text}");
    assert_eq!(bench.create("still-serving", &[]).await.0, ErrorCode::None);
    bench.broker.stop().await.unwrap();
}
