//! The client: one cluster, its metadata and control connections, shared by producers, consumers and admins.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use highwater_proto::grpc::{self, log_client::LogClient};
use highwater_proto::{BrokerId, ErrorCode, ProducerId};
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::admin::Admin;
use crate::config::ClientConfig;
use crate::connection::{Control, Failed, Patience, Reach, dial};
use crate::consumer::{Consumer, ConsumerConfig};
use crate::error::{AdminError, ConnectError, ProduceError};
use crate::metadata::{Freshness, Metadata, Missing, TopicInfo};
use crate::producer::{Producer, ProducerConfig};

/// A connection to a cluster. Cheap to clone; clones share metadata and control connections.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ClientConfig,
    control: Control,
    metadata: Metadata,
}

impl Client {
    /// Asks the bootstrap brokers who is in the cluster: the first one, and the next ones if it takes its time.
    ///
    /// # Errors
    /// [`ConnectError::Config`] for settings that cannot work, [`ConnectError::Unreachable`] when none answers; one
    /// round is made, without waiting and retrying, so that a wrong address is told at once.
    pub async fn connect(config: ClientConfig) -> Result<Client, ConnectError> {
        config.validate()?;
        let client = Client {
            inner: Arc::new(Inner { config, control: Control::default(), metadata: Metadata::default() }),
        };
        let config = &client.inner.config;
        let mut reason = String::new();
        {
            let mut greetings: FuturesUnordered<_> =
                (0..).zip(&config.bootstrap).map(greet_later(&client)).collect();
            while let Some(greeted) = greetings.next().await {
                match greeted {
                    Ok(brokers) => {
                        client.inner.metadata.keep_brokers(&brokers);
                        return Ok(client.clone());
                    }
                    Err(AdminError::Connect(ConnectError::Unreachable { reason: why, .. })) => reason = why,
                    Err(error) => reason = error.to_string(),
                }
            }
        }
        Err(ConnectError::Unreachable { addresses: config.bootstrap.join(", "), reason })
    }

    async fn greet(&self, address: &str) -> Result<Vec<grpc::Broker>, AdminError> {
        let config = &self.inner.config;
        let deadline = Instant::now() + config.connect_timeout;
        let addresses = [address.to_owned()];
        // A topic name that cannot exist: the answer then holds the brokers and not every topic of the cluster.
        let ask = |channel: Channel| async move {
            let request = grpc::MetadataRequest { topics: vec![String::new()], allow_auto_create: false };
            grpc::admin_client::AdminClient::new(channel).metadata(request).await
        };
        let control = &self.inner.control;
        let answer = control.call_once(config, "Metadata", &addresses, Patience::Long, deadline, &ask).await;
        Ok(answer.map_err(|failed| failed.error)?.brokers)
    }

    /// A producer with connections of its own.
    ///
    /// # Errors
    /// [`ProduceError::Config`] for settings that cannot work; the error of the first call to the cluster.
    pub async fn producer(&self, config: ProducerConfig) -> Result<Producer, ProduceError> {
        Producer::start(self.clone(), config).await
    }

    /// A consumer with connections of its own. It reads nothing before a partition is assigned.
    pub fn consumer(&self, config: ConsumerConfig) -> Consumer {
        Consumer::new(self.clone(), config)
    }

    /// Topics, settings and offsets.
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// The settings this client was made with.
    pub fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// The topic as a reader asks for it: one that does not exist is an error.
    pub(crate) async fn topic(&self, name: &str, freshness: Freshness) -> Result<Arc<TopicInfo>, AdminError> {
        let inner = &*self.inner;
        inner.metadata.topic(&inner.config, &inner.control, name, freshness, Missing::Report).await
    }

    /// The topic as a writer asks for it: one that does not exist may be made.
    pub(crate) async fn topic_to_write(
        &self,
        name: &str,
        freshness: Freshness,
    ) -> Result<Arc<TopicInfo>, AdminError> {
        let inner = &*self.inner;
        inner.metadata.topic(&inner.config, &inner.control, name, freshness, Missing::Create).await
    }

    pub(crate) async fn metadata(
        &self,
        request: grpc::MetadataRequest,
    ) -> Result<grpc::MetadataResponse, AdminError> {
        self.inner.metadata.ask(&self.inner.config, &self.inner.control, request).await
    }

    /// One attempt of a unary call that any broker answers; see [`Client::until_settled`].
    pub(crate) async fn call<T, F, Fut>(
        &self,
        call: &'static str,
        patience: Patience,
        request: F,
    ) -> Result<T, Failed>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let inner = &*self.inner;
        let addresses = inner.metadata.addresses(&inner.config);
        let deadline = Instant::now() + inner.config.request_timeout;
        inner.control.call_once(&inner.config, call, &addresses, patience, deadline, &request).await
    }

    /// One attempt of a unary call that only this broker answers.
    pub(crate) async fn call_at<T, F, Fut>(
        &self,
        broker: BrokerId,
        call: &'static str,
        request: F,
    ) -> Result<T, Failed>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let inner = &*self.inner;
        let addresses = inner.metadata.addresses_of(&inner.config, broker);
        let deadline = Instant::now() + inner.config.request_timeout;
        inner.control.call_once(&inner.config, call, &addresses, Patience::Short, deadline, &request).await
    }

    /// Repeats attempts until one succeeds or fails for good, or the request timeout is over. Each attempt is told whether
    /// an earlier one may have taken effect.
    pub(crate) async fn until_settled<T, F, Fut>(&self, attempt: F) -> Result<T, AdminError>
    where
        F: Fn(Earlier) -> Fut,
        Fut: Future<Output = Result<T, Failed>>,
    {
        let config = &self.inner.config;
        let deadline = Instant::now() + config.request_timeout;
        let mut earlier = Earlier::WithoutEffect;
        let mut attempts = 0;
        loop {
            let failed = match attempt(earlier).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let wait = config.backoff().wait(attempts);
            let is_final = !failed.error.is_retriable() || failed.error.is_not_found();
            if is_final || Instant::now() + wait >= deadline {
                return Err(failed.error);
            }
            if failed.reach == Reach::Broker {
                earlier = Earlier::MayHaveWorked;
            }
            tokio::time::sleep(wait).await;
            attempts += 1;
        }
    }

    /// A broker's connection broke: others are asked first for a while.
    pub(crate) fn suspect(&self, broker: BrokerId) {
        for address in self.inner.metadata.addresses_of(&self.inner.config, broker) {
            self.inner.control.suspect(&address);
        }
    }

    /// A fresh connection to a broker, for one bulk stream.
    pub(crate) async fn dial_bulk(&self, broker: BrokerId) -> Result<Channel, ConnectError> {
        let mut last = None;
        for address in self.inner.metadata.addresses_of(&self.inner.config, broker) {
            match dial(&self.inner.config, &address).await {
                Ok(channel) => return Ok(channel),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| ConnectError::Unreachable {
            addresses: format!("broker {broker}"),
            reason: "no address is known".to_owned(),
        }))
    }

    /// A producer id that nobody has used, at epoch 0 or whatever the broker chooses.
    pub(crate) async fn init_producer_id(&self) -> Result<(ProducerId, i16), AdminError> {
        let answer = self
            .until_settled(|_| async move {
                let asked = |channel| async move {
                    let request = grpc::InitProducerIdRequest { producer_id: -1, producer_epoch: -1 };
                    LogClient::new(channel).init_producer_id(request).await
                };
                let answer = self.call("InitProducerId", Patience::Long, asked).await?;
                check("producer id", answer.error, &answer.message)?;
                Ok(answer)
            })
            .await?;
        let epoch = i16::try_from(answer.producer_epoch).map_err(|_| AdminError::Protocol {
            call: "InitProducerId",
            reason: format!("epoch {} does not fit 16 bits", answer.producer_epoch),
        })?;
        Ok((ProducerId(answer.producer_id), epoch))
    }
}

/// Whether an earlier attempt of a call may have done what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Earlier {
    WithoutEffect,
    MayHaveWorked,
}

/// The broker's own error, if it sent one.
pub(crate) fn check(subject: &str, code: i32, message: &str) -> Result<(), Failed> {
    if code == ErrorCode::None.to_wire() {
        return Ok(());
    }
    Err(Failed { reach: Reach::Broker, error: AdminError::refused(subject, code, message) })
}

/// How much later than the one before it each bootstrap broker is asked, unless one has answered.
const STAGGER: Duration = Duration::from_millis(50);

fn greet_later(
    client: &Client,
) -> impl Fn((u32, &String)) -> BoxFuture<'static, Result<Vec<grpc::Broker>, AdminError>> {
    let client = client.clone();
    move |(index, address)| {
        let (client, address) = (client.clone(), address.clone());
        Box::pin(async move {
            tokio::time::sleep(STAGGER.saturating_mul(index)).await;
            client.greet(&address).await
        })
    }
}
