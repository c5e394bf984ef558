//! Calls that only a partition's leader answers: sent to each leader, asked again where leaders change meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use highwater_proto::grpc::{self, admin_client::AdminClient, log_client::LogClient};
use highwater_proto::{BrokerId, ErrorCode, Offset};
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::client::Client;
use crate::connection::MESSAGE_BYTES_MAX;
use crate::error::AdminError;
use crate::metadata::{Freshness, TopicInfo};

/// What a leader says about one partition.
trait Answer {
    fn partition(&self) -> i32;
    fn error(&self) -> i32;
    fn message(&self) -> &str;
}

impl Answer for grpc::ListOffsetsPartitionResult {
    fn partition(&self) -> i32 {
        self.partition
    }
    fn error(&self) -> i32 {
        self.error
    }
    fn message(&self) -> &str {
        &self.message
    }
}

impl Answer for grpc::DeleteRecordsResult {
    fn partition(&self) -> i32 {
        self.partition
    }
    fn error(&self) -> i32 {
        self.error
    }
    fn message(&self) -> &str {
        &self.message
    }
}

type Answers<A> = Result<tonic::Response<Vec<A>>, tonic::Status>;

/// What is still open of a call.
struct Open<A> {
    answers: BTreeMap<i32, A>,
    pending: Vec<i32>,
    failure: Option<AdminError>,
}

impl Client {
    /// Offsets of `partitions` at `timestamp` (milliseconds, or the wire's negative words for latest and earliest), in their
    /// order.
    pub(crate) async fn list_offsets(
        &self,
        topic: &Arc<TopicInfo>,
        partitions: &[i32],
        timestamp: i64,
    ) -> Result<Vec<grpc::ListOffsetsPartitionResult>, AdminError> {
        self.ask_leaders("ListOffsets", topic, partitions, move |channel, topic, partitions| async move {
            let one = |partition| grpc::ListOffsetsPartition {
                topic_id: topic.id.to_wire(),
                partition,
                timestamp,
                current_leader_epoch: -1,
            };
            let request = grpc::ListOffsetsRequest { partitions: partitions.into_iter().map(one).collect() };
            let mut stub = LogClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
            Ok(stub.list_offsets(request).await?.map(|answer| answer.partitions))
        })
        .await
    }

    /// Deletes what is before `before` in one partition (`None`: all that can be read).
    pub(crate) async fn delete_records(
        &self,
        topic: &Arc<TopicInfo>,
        partition: i32,
        before: Option<Offset>,
    ) -> Result<Option<grpc::DeleteRecordsResult>, AdminError> {
        let partitions = [partition];
        let before_offset = before.map_or(-1, |offset| offset.0);
        let deleted = self.ask_leaders(
            "DeleteRecords",
            topic,
            &partitions,
            move |channel, topic, partitions| async move {
                let one = |partition| grpc::DeleteRecordsPartition {
                    topic: topic.name.to_string(),
                    partition,
                    before_offset,
                };
                let request =
                    grpc::DeleteRecordsRequest { partitions: partitions.into_iter().map(one).collect() };
                let answer = AdminClient::new(channel).delete_records(request).await?;
                Ok(answer.map(|answer| answer.partitions))
            },
        );
        Ok(deleted.await?.pop())
    }

    /// Asks each partition's leader, and asks anew where an answer says that this may help, until the request timeout.
    async fn ask_leaders<A, F, Fut>(
        &self,
        call: &'static str,
        topic: &Arc<TopicInfo>,
        partitions: &[i32],
        request: F,
    ) -> Result<Vec<A>, AdminError>
    where
        A: Answer,
        F: Fn(Channel, Arc<TopicInfo>, Vec<i32>) -> Fut,
        Fut: Future<Output = Answers<A>>,
    {
        let deadline = Instant::now() + self.config().request_timeout;
        let mut topic = topic.clone();
        let mut open = Open { answers: BTreeMap::new(), pending: partitions.to_vec(), failure: None };
        let mut attempt = 0;
        loop {
            let asked = by_leader(&topic, &open.pending).into_iter().map(|(leader, partitions)| {
                let (topic, request) = (topic.clone(), &request);
                async move {
                    let Some(leader) = leader else { return (partitions, None) };
                    let ask = |channel| request(channel, topic.clone(), partitions.clone());
                    let answers = self.call_at(leader, call, ask).await.map_err(|failed| failed.error);
                    (partitions, Some(answers))
                }
            });
            for (partitions, answers) in join_all(asked).await {
                open.take(call, &topic, &partitions, answers)?;
            }
            open.pending.retain(|partition| !open.answers.contains_key(partition));
            let Some(failure) = open.failure.take().filter(|_| !open.pending.is_empty()) else {
                return Ok(partitions
                    .iter()
                    .filter_map(|partition| open.answers.remove(partition))
                    .collect());
            };
            let wait = self.config().backoff().wait(attempt);
            if Instant::now() + wait >= deadline {
                return Err(failure);
            }
            tokio::time::sleep(wait).await;
            attempt += 1;
            match self.topic(&topic.name, Freshness::NewerThan(topic.version)).await {
                Ok(newer) => topic = newer,
                Err(error) if error.is_retriable() && !error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn by_leader(topic: &TopicInfo, partitions: &[i32]) -> BTreeMap<Option<BrokerId>, Vec<i32>> {
    let mut leaders: BTreeMap<_, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        let known = usize::try_from(*partition).ok().and_then(|index| topic.partitions.get(index));
        leaders.entry(known.and_then(|leader| leader.broker)).or_default().push(*partition);
    }
    leaders
}

impl<A: Answer> Open<A> {
    /// Takes one leader's answers (`None`: there is no leader) about these partitions.
    fn take(
        &mut self,
        call: &'static str,
        topic: &TopicInfo,
        partitions: &[i32],
        answers: Option<Result<Vec<A>, AdminError>>,
    ) -> Result<(), AdminError> {
        let subject = |partition: i32| format!("{}-{partition}", topic.name);
        let mut answers = match answers {
            None => {
                let first = partitions.first().copied().unwrap_or_default();
                let code = ErrorCode::LeaderNotAvailable;
                self.failure = Some(AdminError::refused(subject(first), code.to_wire(), ""));
                return Ok(());
            }
            Some(Err(error)) if error.is_retriable() => {
                self.failure = Some(error);
                return Ok(());
            }
            Some(answers) => answers?,
        };
        for partition in partitions {
            let found = answers.iter().position(|answer| answer.partition() == *partition);
            let answer = found.map(|index| answers.swap_remove(index)).ok_or_else(|| {
                let reason = format!("partition {partition} of {} is not in it", topic.name);
                AdminError::Protocol { call, reason }
            })?;
            if answer.error() == ErrorCode::None.to_wire() {
                self.answers.insert(*partition, answer);
                continue;
            }
            let error = AdminError::refused(subject(*partition), answer.error(), answer.message());
            if !error.is_retriable() {
                return Err(error);
            }
            self.failure = Some(error);
        }
        Ok(())
    }
}
