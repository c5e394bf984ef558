//! A broker of a few hundred lines, in memory, that does what it is told: refuse, forget to answer, break the stream,
//! hold back, damage. Its log checks sequences as a real one does, so that it notices a client that reorders or repeats.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "each test file uses another part of it, and none of it is an interface"
)]

mod fetch;
mod log;
mod produce;
mod service;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use highwater_client::{Client, ClientConfig, ErrorCode, TopicId};
use highwater_proto::grpc::{admin_server::AdminServer, log_server::LogServer};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use log::{Log, Stored};

/// What the broker does with a batch it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBatch {
    Append,
    Refuse(ErrorCode),
    /// Written, but the answer says otherwise.
    AppendAndRefuse(ErrorCode),
    /// The stream breaks before the batch is looked at.
    Break,
    /// The stream breaks after the batch was written, before the answer.
    AppendAndBreak,
    /// Never answered.
    Swallow,
}

/// What the broker does with a fetch request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFetch {
    Answer,
    Refuse(ErrorCode),
    Break,
    /// One bit of the answer is wrong.
    Damage,
}

type BatchHook = Box<dyn FnMut(usize) -> OnBatch + Send>;
type FetchHook = Box<dyn FnMut(usize) -> OnFetch + Send>;

pub struct Topic {
    pub id: TopicId,
    pub partitions: Vec<Log>,
}

pub struct State {
    pub topics: HashMap<String, Topic>,
    on_batch: BatchHook,
    on_fetch: FetchHook,
    /// Bytes of every batch that came in, in order, with the partition.
    pub arrived: Vec<(i32, Bytes)>,
}

pub struct Fake {
    state: Mutex<State>,
    address: String,
    next_producer_id: AtomicI64,
    pub batches_seen: AtomicUsize,
    pub fetches_seen: AtomicUsize,
    /// Counts appends; fetches that wait look at it.
    appended: watch::Sender<u64>,
    /// While set, produce answers wait.
    pub held: watch::Sender<bool>,
}

impl Fake {
    pub async fn start() -> Arc<Fake> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Arc::new(Fake {
            state: Mutex::new(State {
                topics: HashMap::new(),
                on_batch: Box::new(|_| OnBatch::Append),
                on_fetch: Box::new(|_| OnFetch::Answer),
                arrived: Vec::new(),
            }),
            address: listener.local_addr().unwrap().to_string(),
            next_producer_id: AtomicI64::new(1_000),
            batches_seen: AtomicUsize::new(0),
            fetches_seen: AtomicUsize::new(0),
            appended: watch::Sender::new(0),
            held: watch::Sender::new(false),
        });
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let log =
            LogServer::from_arc(Arc::new(service::Service(fake.clone()))).max_decoding_message_size(64 << 20);
        let admin = AdminServer::from_arc(Arc::new(service::Service(fake.clone())));
        let server = tonic::transport::Server::builder().add_service(log).add_service(admin);
        tokio::spawn(server.serve_with_incoming(incoming));
        fake
    }

    /// A broker with one topic `t`, and a client of it.
    pub async fn with_topic(partitions: usize) -> (Arc<Fake>, Client) {
        let fake = Fake::start().await;
        fake.create("t", partitions);
        let client = fake.client().await;
        (fake, client)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.client_config()).await.unwrap()
    }

    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new([self.address.clone()]);
        config.retry_backoff = std::time::Duration::from_millis(1);
        config.retry_backoff_max = std::time::Duration::from_millis(20);
        config
    }

    pub fn create(&self, name: &str, partitions: usize) -> TopicId {
        let id = TopicId(rand_id(self.next_producer_id.fetch_add(1, Ordering::Relaxed)));
        let partitions = (0..partitions).map(|_| Log::default()).collect();
        self.lock().topics.insert(name.to_owned(), Topic { id, partitions });
        id
    }

    pub fn delete(&self, name: &str) {
        self.lock().topics.remove(name);
    }

    /// Decides the fate of each batch, by its number of arrival.
    pub fn on_batch(&self, hook: impl FnMut(usize) -> OnBatch + Send + 'static) {
        self.lock().on_batch = Box::new(hook);
    }

    /// Decides the fate of each fetch request, by its number of arrival.
    pub fn on_fetch(&self, hook: impl FnMut(usize) -> OnFetch + Send + 'static) {
        self.lock().on_fetch = Box::new(hook);
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What the partition holds.
    pub fn stored(&self, topic: &str, partition: usize) -> Vec<Stored> {
        self.lock().topics[topic].partitions[partition].records()
    }

    /// The partition's values as text.
    pub fn values(&self, topic: &str, partition: usize) -> Vec<String> {
        self.stored(topic, partition).into_iter().map(|record| record.value).collect()
    }

    /// Cuts the log at its front.
    pub fn delete_before(&self, topic: &str, partition: usize, offset: i64) {
        self.lock().topics.get_mut(topic).unwrap().partitions[partition].start = offset;
    }

    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Wakes fetches that wait for data.
    pub fn notify_appended(&self) {
        self.appended.send_modify(|count| *count += 1);
    }
}

fn rand_id(number: i64) -> [u8; 16] {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    id
}
