//! The client: one cluster, its metadata and control connections, shared by producers, consumers and admins.

use std::sync::Arc;

use highwater_proto::grpc::{self, log_client::LogClient};
use highwater_proto::{BrokerId, ErrorCode, ProducerId, TopicId};
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::admin::Admin;
use crate::config::ClientConfig;
use crate::connection::{Control, MESSAGE_BYTES_MAX, Repeat, dial};
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
    /// Asks the bootstrap brokers, one after the other, who is in the cluster.
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
        for address in &config.bootstrap {
            match client.greet(address).await {
                Ok(brokers) => {
                    client.inner.metadata.keep_brokers(&brokers);
                    return Ok(client);
                }
                Err(AdminError::Connect(ConnectError::Unreachable { reason: why, .. })) => reason = why,
                Err(error) => reason = error.to_string(),
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
        let answer = self.inner.control.call_once(config, "Metadata", &addresses, deadline, &ask).await;
        Ok(answer.map_err(crate::connection::Failed::into_error)?.brokers)
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

    /// A unary call that any broker answers.
    pub(crate) async fn call<T, F, Fut>(
        &self,
        call: &'static str,
        repeat: Repeat,
        request: F,
    ) -> Result<T, AdminError>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let addresses = self.inner.metadata.addresses(&self.inner.config);
        self.inner.control.call(&self.inner.config, call, &addresses, repeat, request).await
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
            .call("InitProducerId", Repeat::UntilTimeout, |channel| async move {
                let request = grpc::InitProducerIdRequest { producer_id: -1, producer_epoch: -1 };
                LogClient::new(channel).init_producer_id(request).await
            })
            .await?;
        if answer.error != ErrorCode::None.to_wire() {
            return Err(AdminError::refused("producer id", answer.error, &answer.message));
        }
        let epoch = i16::try_from(answer.producer_epoch).map_err(|_| AdminError::Protocol {
            call: "InitProducerId",
            reason: format!("epoch {} does not fit 16 bits", answer.producer_epoch),
        })?;
        Ok((ProducerId(answer.producer_id), epoch))
    }

    /// Offsets of `partitions` at `timestamp` (milliseconds, or the wire's negative words for latest and earliest).
    pub(crate) async fn list_offsets(
        &self,
        topic: TopicId,
        partitions: &[i32],
        timestamp: i64,
    ) -> Result<Vec<grpc::ListOffsetsPartitionResult>, AdminError> {
        let request = grpc::ListOffsetsRequest {
            partitions: partitions
                .iter()
                .map(|partition| grpc::ListOffsetsPartition {
                    topic_id: topic.to_wire(),
                    partition: *partition,
                    timestamp,
                    current_leader_epoch: -1,
                })
                .collect(),
        };
        let answer = self
            .call("ListOffsets", Repeat::UntilTimeout, |channel| {
                let request = request.clone();
                async move {
                    LogClient::new(channel)
                        .max_decoding_message_size(MESSAGE_BYTES_MAX)
                        .list_offsets(request)
                        .await
                }
            })
            .await?;
        Ok(answer.partitions)
    }
}
