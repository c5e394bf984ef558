//! A Kafka client that does exactly what a test says, one frame at a time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use highwater_proto::record::{BatchBuilder, Compression};
use highwater_server::{Broker, BrokerConfig};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ApiKey, ProduceRequest, ProduceResponse, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A broker that keeps records however old they are: [`batch`] dates them to 1970.
pub fn config(data_dir: &Path) -> BrokerConfig {
    let topic_defaults = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
    BrokerConfig { topic_defaults, ..BrokerConfig::ephemeral(data_dir) }
}

/// A broker and its directory.
pub struct Bench {
    _directory: tempfile::TempDir,
    pub broker: Broker,
}

impl Bench {
    pub async fn start() -> Bench {
        Bench::with(|_| ()).await
    }

    pub async fn with(change: impl FnOnce(&mut BrokerConfig)) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path());
        change(&mut config);
        let broker = Broker::start(config).await.unwrap();
        Bench::of(directory, broker)
    }

    pub fn of(directory: tempfile::TempDir, broker: Broker) -> Bench {
        Bench { _directory: directory, broker }
    }

    pub fn address(&self) -> SocketAddr {
        self.broker.kafka_addrs()[0]
    }

    pub async fn wire(&self) -> Wire {
        Wire::to(TcpStream::connect(self.address()).await.unwrap())
    }

    pub async fn create(&self, topic: &str, partitions: i32, configs: &[(&str, &str)]) {
        use highwater_client::{Client, ClientConfig, NewTopic};
        let client = Client::connect(ClientConfig::new([self.broker.grpc_addr().to_string()])).await.unwrap();
        let mut new = NewTopic::new(topic).partitions(partitions);
        for (name, value) in configs {
            new = new.config(*name, *value);
        }
        client.admin().create_topic(new).await.unwrap();
    }
}

/// One connection.
pub struct Wire {
    pub socket: TcpStream,
    sent: i32,
}

impl Wire {
    pub fn to(socket: TcpStream) -> Wire {
        Wire { socket, sent: 0 }
    }

    /// Encodes a request; returns its frame. Numbers count from 1.
    pub fn frame<R: Encodable>(&mut self, key: ApiKey, version: i16, request: &R) -> Bytes {
        self.sent += 1;
        let mut frame = BytesMut::new();
        frame.put_i32(0);
        frame.put_i16(key as i16);
        frame.put_i16(version);
        frame.put_i32(self.sent);
        frame.put_i16(4);
        frame.put_slice(b"test");
        if key.request_header_version(version) >= 2 {
            frame.put_u8(0);
        }
        request.encode(&mut frame, version).unwrap();
        let length = frame.len() as i32 - 4;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame.freeze()
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// The next answer: its number and the rest. `None`: the broker closed.
    pub async fn receive(&mut self) -> Option<(i32, Bytes)> {
        let receiving = async {
            let length = self.socket.read_i32().await.ok()?;
            let mut body = vec![0; usize::try_from(length).unwrap()];
            self.socket.read_exact(&mut body).await.ok()?;
            let mut body = Bytes::from(body);
            Some((body.get_i32(), body))
        };
        tokio::time::timeout(Duration::from_secs(20), receiving).await.expect("an answer within 20 s")
    }

    /// Whether the broker closes without a word.
    pub async fn is_closed(&mut self) -> bool {
        self.receive().await.is_none()
    }

    pub fn decode<R: Decodable>(key: ApiKey, version: i16, mut body: Bytes) -> R {
        if key.response_header_version(version) >= 1 {
            assert_eq!(body.get_u8(), 0);
        }
        let response = R::decode(&mut body, version).unwrap();
        assert!(body.is_empty(), "{} bytes after the answer", body.len());
        response
    }

    /// Sends a request and reads its answer.
    pub async fn ask<Q: Encodable, R: Decodable>(&mut self, key: ApiKey, version: i16, request: &Q) -> R {
        let frame = self.frame(key, version, request);
        self.send_bytes(&frame).await;
        let (number, body) = self.receive().await.expect("an answer");
        assert_eq!(number, self.sent);
        Wire::decode(key, version, body)
    }

    pub async fn produce(&mut self, topic: &str, partition: i32, batch: Bytes) -> PartitionProduceResponse {
        let request = produce(topic, partition, -1, batch);
        let mut response: ProduceResponse = self.ask(ApiKey::Produce, 9, &request).await;
        response.responses.remove(0).partition_responses.remove(0)
    }
}

pub fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

pub fn produce(topic: &str, partition: i32, acks: i16, batch: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![partition]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(10_000).with_topic_data(vec![topic])
}

/// A batch of these values, timestamps from 1,000 on.
pub fn batch(compression: Compression, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(compression, 1 << 20);
    for (timestamp, value) in (1_000..).zip(values) {
        assert!(builder.try_append(timestamp, None, Some(value.as_bytes()), &[]).is_ok());
    }
    builder.finish(None)
}
