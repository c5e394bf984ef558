//! Bad input by the Kafka protocol: the protocol's own error or a closed connection, and nobody else disturbed.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use highwater_proto::record::Compression;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, ProduceResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::wire::{Bench, Wire, batch, produce};

async fn is_served(wire: &mut Wire) -> bool {
    let response: ApiVersionsResponse =
        wire.ask(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default()).await;
    response.error_code == 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_lie_end_their_connection_and_no_other() {
    let bench = Bench::start().await;
    let mut bystander = bench.wire().await;
    let header = |key: i16, version: i16, body: &[u8]| {
        let mut frame = BytesMut::new();
        frame.put_i32(10 + body.len() as i32);
        frame.put_i16(key);
        frame.put_i16(version);
        frame.put_i32(1);
        frame.put_i16(-1);
        frame.put_slice(body);
        frame.to_vec()
    };
    let lies: Vec<(&str, Vec<u8>)> = vec![
        ("a negative length", (-1_i32).to_be_bytes().to_vec()),
        ("a length of nothing", 0_i32.to_be_bytes().to_vec()),
        ("a length of 2 GiB", i32::MAX.to_be_bytes().to_vec()),
        ("a frame too short for a header", vec![0, 0, 0, 2, 0, 3]),
        ("an unknown API", header(999, 0, b"")),
        ("a version of produce that nobody serves", header(0, 2, b"")),
        ("a version from the future", header(3, 99, b"")),
        ("a negative version", header(3, -1, b"")),
        ("a count of two thousand million topics", header(3, 1, &i32::MAX.to_be_bytes())),
        ("a count below null", header(3, 1, &(-2_i32).to_be_bytes())),
        ("bytes after the request", header(3, 1, &[0, 0, 0, 0, 9])),
        ("a body that ends early", header(3, 1, &[0, 0, 0, 1, 0, 5, b'a'])),
        ("text that is no text", header(3, 1, &[0, 0, 0, 1, 0, 2, 0xff, 0xfe])),
        ("an API for other brokers", header(4, 0, b"")),
    ];
    for (what, frame) in lies {
        let mut wire = bench.wire().await;
        wire.send_bytes(&frame).await;
        assert!(wire.is_closed().await, "{what}");
        assert!(is_served(&mut bystander).await, "after {what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_batches_get_the_protocols_error_and_the_connection_stays() {
    let bench = Bench::start().await;
    bench.create("t", 1, &[("max.message.bytes", "10000")]).await;
    let mut wire = bench.wire().await;
    let good = batch(Compression::None, &["a", "b"]);
    let change = |at: usize, to: u8| {
        let mut bad = good.to_vec();
        bad[at] = to;
        Bytes::from(bad)
    };
    let mut with_zstd = batch(Compression::Zstd, &["a"]).to_vec();
    with_zstd.extend_from_slice(&good);
    let cases: Vec<(&str, Bytes, i16)> = vec![
        ("a flipped bit", change(good.len() - 1, b'x'), 2),
        ("magic 1", change(16, 1), 87),
        ("magic 0", change(16, 0), 87),
        ("another count", change(60, 7), 2),
        ("no batch", Bytes::new(), 87),
        ("two batches", Bytes::from(with_zstd), 87),
        ("half a batch", good.slice(..good.len() / 2), 87),
        ("a header and no records", good.slice(..61), 87),
        ("a few bytes", good.slice(..20), 87),
        ("magic 3", change(16, 3), 2),
        ("a base offset", change(7, 1), 87),
        ("a batch larger than the topic takes", batch(Compression::None, &["x".repeat(20_000).as_str()]), 10),
    ];
    for (what, bad, code) in cases {
        let answer = wire.produce("t", 0, bad).await;
        assert_eq!((answer.error_code, answer.base_offset), (code, -1), "{what}: {:?}", answer.error_message);
        assert!(answer.error_message.is_some(), "{what}");
    }
    assert_eq!(wire.produce("t", 3, good.clone()).await.error_code, 3);
    assert_eq!(wire.produce("nowhere", 0, good.clone()).await.error_code, 3);
    let acks: ProduceResponse = wire.ask(ApiKey::Produce, 9, &produce("t", 0, 2, good.clone())).await;
    assert_eq!(acks.responses[0].partition_responses[0].error_code, 21);
    let old: ProduceResponse = wire
        .ask(ApiKey::Produce, 6, &produce("t", 0, -1, batch(Compression::Zstd, &[&"a".repeat(500)])))
        .await;
    assert_eq!(old.responses[0].partition_responses[0].error_code, 76);
    let answer = wire.produce("t", 0, good).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 0), "nothing bad was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_acknowledgements_nothing_is_answered_and_failure_closes() {
    let bench = Bench::start().await;
    bench.create("t", 1, &[]).await;
    let mut wire = bench.wire().await;
    let frame = wire.frame(ApiKey::Produce, 9, &produce("t", 0, 0, batch(Compression::None, &["a"])));
    wire.send_bytes(&frame).await;
    assert!(is_served(&mut wire).await, "the next answer is the next request's");
    assert_eq!(wire.produce("t", 0, batch(Compression::None, &["b"])).await.base_offset, 1);
    let frame = wire.frame(ApiKey::Produce, 9, &produce("t", 9, 0, batch(Compression::None, &["a"])));
    wire.send_bytes(&frame).await;
    assert!(wire.is_closed().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_is_closed_and_places_are_limited() {
    let bench = Bench::with(|config| {
        config.connections_idle_max = Duration::from_secs(1);
        config.connections_max = 2;
    })
    .await;
    let mut first = bench.wire().await;
    let mut second = bench.wire().await;
    assert!(is_served(&mut first).await && is_served(&mut second).await);
    assert!(bench.wire().await.is_closed().await, "a third has no place");
    assert!(first.is_closed().await && second.is_closed().await, "nothing came for a second");
    let mut third = bench.wire().await;
    assert!(is_served(&mut third).await, "places come free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_and_never_reads_is_not_read_either() {
    let bench = Bench::with(|config| config.connection_inflight_bytes = 1 << 16).await;
    bench.create("t", 1, &[]).await;
    let mut writer = bench.wire().await;
    let text = "x".repeat(900_000);
    for _ in 0..8 {
        assert_eq!(writer.produce("t", 0, batch(Compression::None, &[&text])).await.error_code, 0);
    }
    let mut greedy = bench.wire().await;
    let fetch = super::reads::fetch_all(&mut greedy, "t");
    let (mut reader, mut sender) = greedy.socket.into_split();
    // Each request asks for megabytes. Sooner or later the broker stops taking requests.
    let mut sent = 0_usize;
    while tokio::time::timeout(Duration::from_millis(500), sender.write_all(&fetch)).await.is_ok() {
        sent += 1;
        assert!(sent < 2_000_000, "requests are read without end");
    }
    assert!(is_served(&mut bench.wire().await).await, "others are served meanwhile");
    let mut some = vec![0; 1 << 20];
    reader.read_exact(&mut some).await.unwrap();
    assert!(some.contains(&b'x'), "and it may read on at any time");
}
