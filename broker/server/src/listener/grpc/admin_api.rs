//! The `Admin` service: topics, settings, the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_core::metadata::{ConfigEdit, Partition, Topic};
use highwater_core::settings::TopicSettings;
use highwater_proto::grpc::admin_server::Admin;
use highwater_proto::grpc::{
    AlterTopicConfigsRequest, Broker, ChangeBrokerRequest, ChangeBrokerResponse, ConfigDescription,
    ConfigEntry, CreatePartitionsRequest, CreateTopicsRequest, CreateTopicsResponse, CreatedTopic,
    DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsResult, DeleteTopicsRequest,
    DescribeClusterRequest, DescribeClusterResponse, DescribeTopicsRequest, DescribeTopicsResponse,
    ElectLeadersRequest, ListReassignmentsRequest, ListReassignmentsResponse, MetadataRequest,
    MetadataResponse, PartitionDescription, PartitionMetadata, PartitionResults, ReassignRequest,
    ReplicaDescription, TopicDescription, TopicMetadata, TopicResult, TopicResults,
};
use highwater_proto::{BrokerId, ErrorCode, Offset};
use tonic::{Request, Response, Status};

use crate::listener::error_map::Coded;
use crate::service::{Mode, PartitionDetails, Services, TopicFailure};

/// The `Admin` service over the use cases.
#[derive(Debug)]
pub(super) struct AdminApi {
    pub(super) services: Arc<Services>,
}

fn mode(validate_only: bool) -> Mode {
    if validate_only { Mode::ValidateOnly } else { Mode::Apply }
}

fn topic_result(name: String, outcome: Result<(), TopicFailure>) -> TopicResult {
    match outcome {
        Ok(()) => TopicResult { name, error: 0, message: String::new() },
        Err(error) => TopicResult { name, error: error.code().to_wire(), message: error.to_string() },
    }
}

fn entries(entries: Vec<ConfigEntry>) -> BTreeMap<String, String> {
    entries.into_iter().map(|entry| (entry.name, entry.value)).collect()
}

#[tonic::async_trait]
impl Admin for AdminApi {
    async fn metadata(
        &self,
        request: Request<MetadataRequest>,
    ) -> Result<Response<MetadataResponse>, Status> {
        let MetadataRequest { topics: names, allow_auto_create } = request.into_inner();
        let mut topics = Vec::new();
        if names.is_empty() {
            topics.extend(self.services.image().topics().map(|topic| self.metadata_of(topic)));
        }
        for name in names {
            let known = self.services.image().topic_named(&name).cloned();
            topics.push(match known {
                Some(topic) => self.metadata_of(&topic),
                None if allow_auto_create => match self.services.topic_or_create(&name).await {
                    Ok(topic) => self.metadata_of(&topic),
                    Err(error) => missing(name, error.code(), error.to_string()),
                },
                None => {
                    let message = format!("there is no topic '{}'", name.escape_default());
                    missing(name, ErrorCode::UnknownTopicOrPartition, message)
                }
            });
        }
        let image = self.services.image();
        let brokers = image.brokers().filter(|broker| broker.is_active()).map(|broker| Broker {
            id: broker.id.0,
            grpc: broker.endpoints.grpc.clone(),
            rack: broker.rack.clone().unwrap_or_default(),
        });
        let cluster_id = self.services.cluster_id();
        Ok(Response::new(MetadataResponse { cluster_id, brokers: brokers.collect(), topics }))
    }

    async fn create_topics(
        &self,
        request: Request<CreateTopicsRequest>,
    ) -> Result<Response<CreateTopicsResponse>, Status> {
        let CreateTopicsRequest { topics: wanted, validate_only } = request.into_inner();
        let mut topics = Vec::with_capacity(wanted.len());
        for topic in wanted {
            let name = topic.name.clone();
            let configs = entries(topic.configs);
            let factor = topic.replication_factor;
            let created = self
                .services
                .create_topic(topic.name, topic.partitions, factor, configs, mode(validate_only))
                .await;
            topics.push(match created {
                Ok(topic) => CreatedTopic {
                    name,
                    error: 0,
                    message: String::new(),
                    topic_id: topic.id.to_wire(),
                    partitions: topic.partition_count(),
                    replication_factor: topic.partitions.first().map_or(0, |p| ids(&p.replicas).len() as i32),
                },
                Err(error) => CreatedTopic {
                    name,
                    error: error.code().to_wire(),
                    message: error.to_string(),
                    ..CreatedTopic::default()
                },
            });
        }
        Ok(Response::new(CreateTopicsResponse { topics }))
    }

    async fn delete_topics(
        &self,
        request: Request<DeleteTopicsRequest>,
    ) -> Result<Response<TopicResults>, Status> {
        let mut topics = Vec::new();
        for name in request.into_inner().names {
            let outcome = self.services.delete_topic(name.clone()).await;
            topics.push(topic_result(name, outcome));
        }
        Ok(Response::new(TopicResults { topics }))
    }

    async fn create_partitions(
        &self,
        request: Request<CreatePartitionsRequest>,
    ) -> Result<Response<TopicResults>, Status> {
        let CreatePartitionsRequest { topics: wanted, validate_only } = request.into_inner();
        let mut topics = Vec::new();
        for topic in wanted {
            let name = topic.name.clone();
            let outcome =
                self.services.add_partitions(topic.name, topic.partitions, mode(validate_only)).await;
            topics.push(topic_result(name, outcome));
        }
        Ok(Response::new(TopicResults { topics }))
    }

    async fn describe_topics(
        &self,
        request: Request<DescribeTopicsRequest>,
    ) -> Result<Response<DescribeTopicsResponse>, Status> {
        let names = request.into_inner().names;
        let image = self.services.image();
        let mut topics = Vec::new();
        if names.is_empty() {
            for topic in image.topics() {
                topics.push(self.describe(topic).await);
            }
        }
        for name in names {
            topics.push(match image.topic_named(&name) {
                Some(topic) => self.describe(topic).await,
                None => TopicDescription {
                    error: ErrorCode::UnknownTopicOrPartition.to_wire(),
                    message: format!("there is no topic '{}'", name.escape_default()),
                    name,
                    ..TopicDescription::default()
                },
            });
        }
        Ok(Response::new(DescribeTopicsResponse { topics }))
    }

    async fn alter_topic_configs(
        &self,
        request: Request<AlterTopicConfigsRequest>,
    ) -> Result<Response<TopicResults>, Status> {
        let AlterTopicConfigsRequest { topics: wanted, validate_only } = request.into_inner();
        let mut topics = Vec::new();
        for topic in wanted {
            let set = topic.set.into_iter().map(|entry| (entry.name, ConfigEdit::Set(entry.value)));
            let changes = set.chain(topic.unset.into_iter().map(|name| (name, ConfigEdit::Reset))).collect();
            let outcome = self.services.alter_configs(topic.name.clone(), changes, mode(validate_only)).await;
            topics.push(topic_result(topic.name, outcome));
        }
        Ok(Response::new(TopicResults { topics }))
    }

    async fn delete_records(
        &self,
        request: Request<DeleteRecordsRequest>,
    ) -> Result<Response<DeleteRecordsResponse>, Status> {
        let mut partitions = Vec::new();
        for wanted in request.into_inner().partitions {
            let before = Some(Offset(wanted.before_offset)).filter(|offset| offset.0 >= 0);
            let (topic, partition) = (wanted.topic, wanted.partition);
            partitions.push(match self.services.delete_records(&topic, partition, before).await {
                Ok(start) => DeleteRecordsResult {
                    topic,
                    partition,
                    error: 0,
                    message: String::new(),
                    log_start_offset: start.0,
                },
                Err(error) => DeleteRecordsResult {
                    topic,
                    partition,
                    error: error.code().to_wire(),
                    message: error.to_string(),
                    log_start_offset: -1,
                },
            });
        }
        Ok(Response::new(DeleteRecordsResponse { partitions }))
    }

    async fn describe_cluster(
        &self,
        _: Request<DescribeClusterRequest>,
    ) -> Result<Response<DescribeClusterResponse>, Status> {
        Ok(Response::new(self.overview().await))
    }

    async fn elect_leaders(
        &self,
        request: Request<ElectLeadersRequest>,
    ) -> Result<Response<PartitionResults>, Status> {
        Ok(Response::new(self.elect(request.into_inner()).await?))
    }

    async fn reassign(
        &self,
        request: Request<ReassignRequest>,
    ) -> Result<Response<PartitionResults>, Status> {
        Ok(Response::new(self.move_replicas(request.into_inner()).await))
    }

    async fn list_reassignments(
        &self,
        _: Request<ListReassignmentsRequest>,
    ) -> Result<Response<ListReassignmentsResponse>, Status> {
        Ok(Response::new(self.moves()))
    }

    async fn change_broker(
        &self,
        request: Request<ChangeBrokerRequest>,
    ) -> Result<Response<ChangeBrokerResponse>, Status> {
        Ok(Response::new(self.change(request.into_inner()).await))
    }
}

impl AdminApi {
    fn metadata_of(&self, topic: &Topic) -> TopicMetadata {
        let partition = |(index, partition): (i32, &Partition)| PartitionMetadata {
            partition: index,
            error: match partition.leader {
                Some(_) => 0,
                None => ErrorCode::LeaderNotAvailable.to_wire(),
            },
            leader: partition.leader.map_or(-1, |id| id.0),
            leader_epoch: partition.leader_epoch.0,
            replicas: ids(&partition.replicas),
            in_sync_replicas: ids(&partition.isr),
        };
        TopicMetadata {
            error: 0,
            message: String::new(),
            name: topic.name.clone(),
            topic_id: topic.id.to_wire(),
            partitions: (0..).zip(&topic.partitions).map(partition).collect(),
        }
    }

    async fn describe(&self, topic: &Topic) -> TopicDescription {
        let details = self.services.describe_topic(topic).await;
        let settings = TopicSettings::explain(&topic.configs, &self.services.config().topic_defaults);
        let configs = settings.map(|(key, value, source)| ConfigDescription {
            name: key.name.to_owned(),
            value: value.to_owned(),
            source: source.to_owned(),
            documentation: key.text.to_owned(),
        });
        TopicDescription {
            name: topic.name.clone(),
            error: 0,
            message: String::new(),
            topic_id: topic.id.to_wire(),
            configs: configs.collect(),
            partitions: (topic.partitions.iter().zip(details.partitions))
                .map(|(known, details)| describe_partition(known, details))
                .collect(),
        }
    }
}

pub(super) fn ids(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|id| id.0).collect()
}

fn describe_partition(known: &Partition, details: PartitionDetails) -> PartitionDescription {
    let replica = |id: &BrokerId| {
        let reported = details.followers.iter().find(|follower| follower.id == *id).and_then(|it| it.ends);
        let leads = known.leader == Some(*id);
        let ends = if leads { Some((details.log_end, details.flushed_end)) } else { reported };
        ReplicaDescription {
            broker: id.0,
            in_sync: known.isr.contains(id),
            log_end_offset: ends.map_or(-1, |ends| ends.0.0),
            flushed_end_offset: ends.map_or(-1, |ends| ends.1.0),
            lag_records: ends.map_or(-1, |ends| details.log_end.0.saturating_sub(ends.0.0)),
        }
    };
    PartitionDescription {
        partition: details.id.partition.0,
        leader: known.leader.map_or(-1, |id| id.0),
        leader_epoch: known.leader_epoch.0,
        replicas: ids(&known.replicas),
        in_sync_replicas: ids(&known.isr),
        log_start_offset: details.log_start.0,
        high_watermark: details.high_watermark.0,
        log_end_offset: details.log_end.0,
        size_bytes: i64::try_from(details.size_bytes).unwrap_or(i64::MAX),
        eligible_leader_replicas: ids(&known.elr),
        last_known_eligible_leader_replicas: ids(&known.last_known_elr),
        partition_epoch: known.partition_epoch.0,
        replica_states: known.replicas.iter().map(replica).collect(),
        adding_replicas: ids(&known.adding),
        removing_replicas: ids(&known.removing),
        offline_reason: match known.leader {
            Some(_) => details.offline_reason.unwrap_or_default(),
            None => "it has no leader: none of its in-sync or eligible replicas is alive".to_owned(),
        },
    }
}

fn missing(name: String, code: ErrorCode, message: String) -> TopicMetadata {
    TopicMetadata { error: code.to_wire(), message, name, ..TopicMetadata::default() }
}
