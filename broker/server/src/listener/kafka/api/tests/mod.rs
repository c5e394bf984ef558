//! The administrators' handlers against a broker in this process, in every version whose shape differs.

mod any_request;
mod configs;
mod looks;
mod topics;

use std::sync::Arc;

use bytes::BytesMut;
use highwater_proto::record::{BatchBuilder, Compression};
use highwater_proto::{ErrorCode, PartitionIndex, ProducerId, TopicPartition};
use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use crate::Broker;
use crate::config::{Advertised, BrokerConfig};
use crate::listener::kafka::Context;
use crate::service::{Mode, PendingProduce, ProduceItem};

/// A broker and a connection to it.
struct Bench {
    _directory: tempfile::TempDir,
    broker: Broker,
    context: Context,
}

async fn bench() -> Bench {
    bench_with(|_| {}).await
}

async fn bench_with(change: impl FnOnce(&mut BrokerConfig)) -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let mut config = BrokerConfig::ephemeral(directory.path());
    change(&mut config);
    let broker = Broker::start(config).await.unwrap();
    let advertised = Arc::new(Advertised { host: "kafka.example".to_owned(), port: 9092 });
    let context =
        Context { services: Arc::clone(broker.services()), advertised, listener: Arc::from("kafka-0") };
    Bench { _directory: directory, broker, context }
}

impl Bench {
    async fn create(&self, name: &str, partitions: i32) -> uuid::Uuid {
        let configs = std::collections::BTreeMap::new();
        let created =
            self.context.services.create_topic(name.to_owned(), partitions, 1, configs, Mode::Apply).await;
        uuid::Uuid::from_bytes(created.unwrap().id.0)
    }

    fn partition(&self, topic: &str, index: i32) -> TopicPartition {
        let id = self.context.services.image().topic_named(topic).unwrap().id;
        TopicPartition::new(id, PartitionIndex(index))
    }

    /// Appends a batch of `count` records of producer 7 (epoch 2) and waits until it is safe.
    async fn produce(&self, topic: &str, index: i32, count: usize) {
        let partition = self.partition(topic, index);
        let (reply, mut replies) = tokio::sync::mpsc::unbounded_channel();
        let send = Box::new(move |outcomes| drop(reply.send(outcomes)));
        let pending = PendingProduce::new(vec![partition], send);
        let mut builder = BatchBuilder::new(Compression::None, 1 << 20);
        for _ in 0..count {
            builder.try_append(NOW_MS, Some(b"key"), Some(b"value"), &[]).unwrap();
        }
        let batch = builder.finish(Some((ProducerId(7), 2, 0)));
        self.context.services.produce(-1, vec![ProduceItem { partition, batch }], &pending).await;
        let outcomes = replies.recv().await.unwrap();
        outcomes[0].result.as_ref().unwrap();
    }
}

const NOW_MS: i64 = 1_700_000_000_000;

fn name(text: &str) -> TopicName {
    TopicName(text_of(text))
}

fn text_of(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// The response as a client of this version sees it.
fn seen<R: Encodable + Decodable>(response: R, version: i16) -> R {
    let mut bytes = BytesMut::new();
    response.encode(&mut bytes, version).unwrap();
    let mut bytes = bytes.freeze();
    let seen = R::decode(&mut bytes, version).unwrap();
    assert!(bytes.is_empty());
    seen
}

fn code(number: i16) -> ErrorCode {
    ErrorCode::from_wire(number.into())
}
