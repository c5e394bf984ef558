//! The calls of the `Admin` service that are about the cluster.

use highwater_core::metadata::{ElectionKind, Reassignment};
use highwater_proto::grpc::change_broker_request::Change;
use highwater_proto::grpc::{
    ChangeBrokerRequest, ChangeBrokerResponse, ClusterBroker, DescribeClusterResponse, ElectLeadersRequest,
    ListReassignmentsResponse, OngoingReassignment, PartitionResult, PartitionResults, ReassignRequest,
    TopicPartitionName,
};
use highwater_proto::{BrokerId, ErrorCode, PartitionIndex, TopicPartition};
use tonic::Status;

use super::admin_api::{AdminApi, ids};
use crate::listener::error_map::Coded;
use crate::service::{BrokerOverview, NodeRole};

/// A partition that was named, or why there is none.
type Named = Result<TopicPartition, PartitionResult>;

impl AdminApi {
    pub(super) async fn overview(&self) -> DescribeClusterResponse {
        let overview = self.services.cluster_overview().await;
        DescribeClusterResponse {
            cluster_name: self.services.config().cluster_name.clone(),
            cluster_id: overview.id,
            controller: overview.controller.map_or(-1, |id| id.0),
            metadata_applied: overview.applied,
            brokers: overview.brokers.into_iter().map(broker).collect(),
            topics: overview.topics,
            partitions: overview.partitions,
            leaderless: overview.leaderless,
            under_replicated: overview.under_replicated,
            under_min_in_sync: overview.under_min_in_sync,
        }
    }

    pub(super) async fn elect(&self, request: ElectLeadersRequest) -> Result<PartitionResults, Status> {
        let kind = if request.unclean { ElectionKind::Unclean } else { ElectionKind::Preferred };
        let all = request.partitions.is_empty();
        let (known, mut partitions) = self.named(request.partitions.into_iter());
        if known.is_empty() && !all {
            return Ok(PartitionResults { partitions });
        }
        match self.services.elect_leaders(kind, (!all).then(|| known.clone())).await {
            Ok(results) => partitions.extend(results.into_iter().map(|result| match result.result {
                Ok(leader) => PartitionResult { leader: leader.0, ..self.result(result.partition) },
                Err(error) => self.failed(result.partition, error.code(), &error),
            })),
            // An empty list would say that there was nothing to do.
            Err(error) if all => return Err(Status::unavailable(error.to_string())),
            Err(error) => {
                partitions.extend(known.into_iter().map(|id| self.failed(id, error.code(), &error)));
            }
        }
        Ok(PartitionResults { partitions })
    }

    pub(super) async fn move_replicas(&self, request: ReassignRequest) -> PartitionResults {
        let mut partitions = Vec::new();
        let mut wanted = Vec::new();
        for entry in request.partitions {
            let name = TopicPartitionName { topic: entry.topic, partition: entry.partition };
            let replicas: Vec<BrokerId> = entry.replicas.into_iter().map(BrokerId).collect();
            match self.find(name) {
                Ok(partition) => {
                    let replicas = (!replicas.is_empty()).then_some(replicas);
                    wanted.push(Reassignment { partition, replicas });
                }
                Err(missing) => partitions.push(missing),
            }
        }
        let known: Vec<TopicPartition> = wanted.iter().map(|entry| entry.partition).collect();
        match self.services.reassign(wanted).await {
            Ok(results) => partitions.extend(results.into_iter().map(|result| match result.result {
                Ok(now) => PartitionResult {
                    leader: now.leader.map_or(-1, |id| id.0),
                    ..self.result(result.partition)
                },
                Err(error) => self.failed(result.partition, error.code(), &error),
            })),
            Err(error) => {
                partitions.extend(known.into_iter().map(|id| self.failed(id, error.code(), &error)));
            }
        }
        PartitionResults { partitions }
    }

    pub(super) fn moves(&self) -> ListReassignmentsResponse {
        let image = self.services.image();
        let moving = image.partitions().filter(|(_, _, partition)| partition.is_reassigning());
        let partitions = moving.map(|(id, topic, partition)| OngoingReassignment {
            topic: topic.name.clone(),
            partition: id.partition.0,
            replicas: ids(&partition.replicas),
            adding: ids(&partition.adding),
            removing: ids(&partition.removing),
        });
        ListReassignmentsResponse { partitions: partitions.collect() }
    }

    pub(super) async fn change(&self, request: ChangeBrokerRequest) -> ChangeBrokerResponse {
        let broker = BrokerId(request.broker);
        let failed = |error: &dyn Coded| ChangeBrokerResponse {
            error: error.code().to_wire(),
            message: error.to_string(),
            partitions: 0,
        };
        let services = &self.services;
        let done = |partitions| ChangeBrokerResponse { error: 0, message: String::new(), partitions };
        match request.change() {
            Change::Drain => match services.drain_broker(broker).await {
                Ok(partitions) => done(partitions),
                Err(error) => failed(&error),
            },
            Change::CancelDrain => match services.cancel_drain(broker).await {
                Ok(()) => done(0),
                Err(error) => failed(&error),
            },
            change => {
                let changed = match change {
                    Change::AddVoter => services.add_voter(broker).await,
                    Change::RemoveVoter => services.remove_voter(broker).await,
                    _ => services.remove_broker(broker).await,
                };
                changed.map_or_else(|error| failed(&error), |()| done(0))
            }
        }
    }

    fn named(
        &self,
        names: impl Iterator<Item = TopicPartitionName>,
    ) -> (Vec<TopicPartition>, Vec<PartitionResult>) {
        let (mut known, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            match self.find(name) {
                Ok(id) => known.push(id),
                Err(result) => missing.push(result),
            }
        }
        (known, missing)
    }

    fn find(&self, name: TopicPartitionName) -> Named {
        let image = self.services.image();
        let id = image
            .topic_named(&name.topic)
            .map(|topic| TopicPartition::new(topic.id, PartitionIndex(name.partition)));
        id.filter(|id| image.has(*id)).ok_or_else(|| PartitionResult {
            error: ErrorCode::UnknownTopicOrPartition.to_wire(),
            message: format!("there is no partition {} of '{}'", name.partition, name.topic.escape_default()),
            topic: name.topic,
            partition: name.partition,
            leader: -1,
        })
    }

    fn result(&self, id: TopicPartition) -> PartitionResult {
        let image = self.services.image();
        let topic = image.topic(id.topic).map(|topic| topic.name.clone()).unwrap_or_default();
        PartitionResult { topic, partition: id.partition.0, error: 0, message: String::new(), leader: -1 }
    }

    fn failed(&self, id: TopicPartition, code: ErrorCode, error: &dyn std::fmt::Display) -> PartitionResult {
        PartitionResult { error: code.to_wire(), message: error.to_string(), ..self.result(id) }
    }
}

fn broker(overview: BrokerOverview) -> ClusterBroker {
    let BrokerOverview { id, broker, role, leaders, replicas, metadata_matched } = overview;
    let role = match role {
        NodeRole::Voter => "voter",
        NodeRole::Learner => "learner",
        NodeRole::None => "",
    };
    let matched = metadata_matched.and_then(|index| i64::try_from(index).ok()).unwrap_or(-1);
    let carried = ClusterBroker {
        id: id.0,
        epoch: -1,
        state: "unregistered".to_owned(),
        role: role.to_owned(),
        leaders,
        replicas,
        metadata_matched: matched,
        ..ClusterBroker::default()
    };
    let Some(broker) = broker else { return carried };
    let state = match (broker.fenced, broker.stopping) {
        (_, true) => "stopping",
        (true, false) => "fenced",
        (false, false) => "active",
    };
    let kafka = broker.endpoints.kafka.iter().map(|endpoint| format!("{}:{}", endpoint.host, endpoint.port));
    ClusterBroker {
        epoch: broker.epoch.0,
        state: state.to_owned(),
        draining: broker.draining,
        rack: broker.rack.unwrap_or_default(),
        peer: broker.endpoints.peer,
        grpc: broker.endpoints.grpc,
        kafka: kafka.collect(),
        admin: broker.endpoints.admin,
        ..carried
    }
}
