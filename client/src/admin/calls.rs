//! The admin calls, one method each.

use highwater_proto::grpc::{self, admin_client::AdminClient};
use highwater_proto::{BrokerId, ErrorCode, Offset, PartitionIndex};
use tonic::transport::Channel;

use crate::admin::types::{
    ClusterDescription, CreatedTopic, NewTopic, TopicDescription, entries, topic_description, topic_id,
};
use crate::client::{Client, Earlier, check};
use crate::connection::{Failed, MESSAGE_BYTES_MAX, Patience, Reach};
use crate::consumer::Position;
use crate::error::AdminError;
use crate::metadata::Freshness;

/// The control plane of a cluster. Make it with [`Client::admin`](crate::Client::admin).
///
/// ```no_run
/// # async fn example(client: highwater_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use highwater_client::{NewTopic, Position};
///
/// let admin = client.admin();
/// admin.create_topic(NewTopic::new("orders").partitions(4).config("retention.ms", "86400000")).await?;
/// for partition in admin.describe_topic("orders").await?.partitions {
///     println!("{}: [{}, {})", partition.partition, partition.log_start_offset, partition.high_watermark);
/// }
/// let ends = admin.list_offsets("orders", Position::End).await?;
/// assert_eq!(ends.len(), 4);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Admin {
    pub(super) client: Client,
}

pub(super) fn stub(channel: Channel) -> AdminClient<Channel> {
    AdminClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// A broker's answer that is no use.
pub(super) fn at_broker(error: AdminError) -> Failed {
    Failed { reach: Reach::Broker, error }
}

pub(super) fn missing(call: &'static str, what: &str) -> AdminError {
    AdminError::Protocol { call, reason: format!("{what} is not in it") }
}

fn check_topics(answer: &grpc::TopicResults) -> Result<(), Failed> {
    answer.topics.iter().try_for_each(|t| check(&format!("topic {}", t.name), t.error, &t.message))
}

impl Admin {
    pub(crate) fn new(client: Client) -> Admin {
        Admin { client }
    }

    /// Brokers, and topics with their number of partitions.
    ///
    /// # Errors
    /// When no broker answers.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, AdminError> {
        let answer = self.client.metadata(grpc::MetadataRequest::default()).await?;
        let mut topics: Vec<_> = answer
            .topics
            .into_iter()
            .map(|t| (t.name, i32::try_from(t.partitions.len()).unwrap_or(i32::MAX)))
            .collect();
        topics.sort();
        Ok(ClusterDescription {
            cluster_id: answer.cluster_id,
            brokers: answer.brokers.into_iter().map(|b| (BrokerId(b.id), b.grpc)).collect(),
            topics,
        })
    }

    /// Creates a topic. If a broker is lost on the way and the topic is there when another one is asked, it counts as created.
    ///
    /// # Errors
    /// [`AdminError::Refused`] with the broker's reason: the name is taken or not legal, a setting is out of bounds.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<CreatedTopic, AdminError> {
        let request = &grpc::CreateTopicsRequest { topics: vec![topic.to_wire()], validate_only: false };
        let name = &topic.name;
        let created = self.client.until_settled(|earlier| async move {
            let call = |channel| async move { stub(channel).create_topics(request.clone()).await };
            let answer = self.client.call("CreateTopics", Patience::Long, call).await?;
            let created =
                answer.topics.into_iter().next().ok_or_else(|| at_broker(missing("CreateTopics", name)))?;
            match check(&format!("topic {name}"), created.error, &created.message) {
                Err(failed)
                    if earlier == Earlier::MayHaveWorked
                        && failed.error.code() == Some(ErrorCode::TopicAlreadyExists) =>
                {
                    Ok(None)
                }
                checked => checked.map(|()| Some(created)),
            }
        });
        let Some(created) = created.await? else { return Ok(self.describe_topic(name).await?.as_created()) };
        Ok(CreatedTopic {
            id: topic_id(&created.topic_id, "CreateTopics", &created.name)?,
            name: created.name,
            partitions: created.partitions,
            replication_factor: created.replication_factor,
        })
    }

    /// Deletes a topic and its records.
    ///
    /// # Errors
    /// [`AdminError::is_not_found`] when there is none of this name.
    pub async fn delete_topic(&self, name: &str) -> Result<(), AdminError> {
        let request = &grpc::DeleteTopicsRequest { names: vec![name.to_owned()] };
        let deleted = self.client.until_settled(|earlier| async move {
            let call = |channel| async move { stub(channel).delete_topics(request.clone()).await };
            let answer = self.client.call("DeleteTopics", Patience::Long, call).await?;
            match check_topics(&answer) {
                Err(failed) if earlier == Earlier::MayHaveWorked && failed.error.is_not_found() => Ok(()),
                checked => checked,
            }
        });
        deleted.await
    }

    /// One topic with partitions, offsets and settings.
    ///
    /// # Errors
    /// [`AdminError::is_not_found`] when there is none of this name.
    pub async fn describe_topic(&self, name: &str) -> Result<TopicDescription, AdminError> {
        let described = match self.describe_one(name).await {
            // Known to another broker, perhaps; then this one hears of it soon.
            Err(error) if error.is_not_found() && self.client.topic(name, Freshness::ANEW).await.is_ok() => {
                tokio::time::sleep(self.client.config().retry_backoff_max).await;
                self.describe_one(name).await
            }
            described => described,
        };
        topic_description(described?)
    }

    async fn describe_one(&self, name: &str) -> Result<grpc::TopicDescription, AdminError> {
        let mut topics = self.describe(vec![name.to_owned()]).await?;
        let topic = topics.pop().ok_or_else(|| missing("DescribeTopics", name))?;
        check(&format!("topic {name}"), topic.error, &topic.message).map_err(|failed| failed.error)?;
        Ok(topic)
    }

    /// Every topic, by name.
    ///
    /// # Errors
    /// When no broker answers.
    pub async fn describe_topics(&self) -> Result<Vec<TopicDescription>, AdminError> {
        let mut topics = self.describe(Vec::new()).await?;
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        topics.into_iter().map(topic_description).collect()
    }

    async fn describe(&self, names: Vec<String>) -> Result<Vec<grpc::TopicDescription>, AdminError> {
        let request = &grpc::DescribeTopicsRequest { names };
        let described = self.client.until_settled(|_| async move {
            let call = |channel| async move { stub(channel).describe_topics(request.clone()).await };
            self.client.call("DescribeTopics", Patience::Long, call).await
        });
        Ok(described.await?.topics)
    }

    /// Sets single settings of a topic and puts others back to their defaults; the rest stays.
    ///
    /// # Errors
    /// [`AdminError::Refused`] names the setting that is unknown or out of bounds; then nothing was changed.
    pub async fn alter_topic(
        &self,
        name: &str,
        set: &[(String, String)],
        unset: &[String],
    ) -> Result<(), AdminError> {
        let change =
            grpc::TopicConfigChange { name: name.to_owned(), set: entries(set), unset: unset.to_vec() };
        let request = &grpc::AlterTopicConfigsRequest { topics: vec![change], validate_only: false };
        let altered = self.client.until_settled(|_| async move {
            let call = |channel| async move { stub(channel).alter_topic_configs(request.clone()).await };
            check_topics(&self.client.call("AlterTopicConfigs", Patience::Long, call).await?)
        });
        altered.await
    }

    /// Raises a topic's number of partitions to `partitions`. Records with keys written later may land elsewhere.
    ///
    /// # Errors
    /// [`AdminError::Refused`] when the topic has as many already.
    pub async fn add_partitions(&self, name: &str, partitions: i32) -> Result<(), AdminError> {
        let count = grpc::PartitionCount { name: name.to_owned(), partitions };
        let request = &grpc::CreatePartitionsRequest { topics: vec![count], validate_only: false };
        let added = self.client.until_settled(|earlier| async move {
            let call = |channel| async move { stub(channel).create_partitions(request.clone()).await };
            match check_topics(&self.client.call("CreatePartitions", Patience::Long, call).await?) {
                Err(failed) if earlier == Earlier::MayHaveWorked => {
                    let now = self.describe_topic(name).await.map(|topic| topic.partitions.len());
                    let is_done = now.is_ok_and(|now| i32::try_from(now) == Ok(partitions));
                    if is_done { Ok(()) } else { Err(failed) }
                }
                checked => checked,
            }
        });
        added.await
    }

    /// Deletes a partition's records before `before` (`None`: all that can be read), and returns where the log
    /// starts now.
    ///
    /// # Errors
    /// [`AdminError::Refused`] when `before` is past the high watermark.
    pub async fn delete_records(
        &self,
        name: &str,
        partition: PartitionIndex,
        before: Option<Offset>,
    ) -> Result<Offset, AdminError> {
        let topic = self.client.topic(name, Freshness::ANEW).await?;
        if usize::try_from(partition.0).ok().is_none_or(|index| index >= topic.partitions.len()) {
            let code = ErrorCode::UnknownTopicOrPartition;
            return Err(AdminError::refused(format!("{name}-{partition}"), code.to_wire(), ""));
        }
        let result = self.client.delete_records(&topic, partition.0, before).await?;
        let result = result.ok_or_else(|| missing("DeleteRecords", name))?;
        Ok(Offset(result.log_start_offset))
    }

    /// The offset of `position` in every partition of a topic, by partition index. For a timestamp after the last
    /// record it is the end.
    ///
    /// # Errors
    /// [`AdminError::is_not_found`] when there is no such topic.
    pub async fn list_offsets(&self, name: &str, position: Position) -> Result<Vec<Offset>, AdminError> {
        let topic = self.client.topic(name, Freshness::ANEW).await?;
        let partitions: Vec<i32> = (0..).take(topic.partitions.len()).collect();
        crate::consumer::resolve(&self.client, &topic, &partitions, position).await
    }
}
