//! The calls about the cluster: brokers, elections, moves of replicas.

use highwater_proto::{BrokerId, PartitionIndex, grpc};

use super::calls::{Admin, stub};
use super::cluster_types::{BrokerChange, ClusterStatus, Election, Move, OngoingMove, PartitionOutcome};
use crate::client::{Earlier, check};
use crate::connection::{Failed, Patience, Reach};
use crate::error::AdminError;

impl Admin {
    /// Brokers with their state, who decides, and how many partitions are not as they should be.
    ///
    /// # Errors
    /// When no broker answers.
    pub async fn cluster_status(&self) -> Result<ClusterStatus, AdminError> {
        let status = self.client.until_settled(|_| async move {
            let call = |channel| async move {
                stub(channel).describe_cluster(grpc::DescribeClusterRequest {}).await
            };
            self.client.call("DescribeCluster", Patience::Long, call).await
        });
        Ok(status.await?.into())
    }

    /// Has leaders elected for these partitions; for all when none is named.
    ///
    /// # Errors
    /// When no broker answers, or there is no controller; what is refused for one partition is in its outcome.
    pub async fn elect_leaders(
        &self,
        election: Election,
        partitions: &[(String, PartitionIndex)],
    ) -> Result<Vec<PartitionOutcome>, AdminError> {
        let name = |(topic, partition): &(String, PartitionIndex)| grpc::TopicPartitionName {
            topic: topic.clone(),
            partition: partition.0,
        };
        let request = &grpc::ElectLeadersRequest {
            unclean: election == Election::Unclean,
            partitions: partitions.iter().map(name).collect(),
        };
        let elected = self.client.until_settled(|_| async move {
            let call = |channel| async move { stub(channel).elect_leaders(request.clone()).await };
            outcomes(self.client.call("ElectLeaders", Patience::Long, call).await?)
        });
        elected.await
    }

    /// Moves replicas, or takes moves back. Returns once the moves have begun.
    ///
    /// # Errors
    /// When no broker answers, or there is no controller; what is refused for one partition is in its outcome.
    pub async fn reassign(&self, moves: &[Move]) -> Result<Vec<PartitionOutcome>, AdminError> {
        let wire = |one: &Move| grpc::PartitionReassignment {
            topic: one.topic.clone(),
            partition: one.partition.0,
            replicas: one.replicas.iter().flatten().map(|id| id.0).collect(),
        };
        let request = &grpc::ReassignRequest { partitions: moves.iter().map(wire).collect() };
        let moved = self.client.until_settled(|_| async move {
            let call = |channel| async move { stub(channel).reassign(request.clone()).await };
            outcomes(self.client.call("Reassign", Patience::Long, call).await?)
        });
        moved.await
    }

    /// Moves that are under way.
    ///
    /// # Errors
    /// When no broker answers.
    pub async fn list_reassignments(&self) -> Result<Vec<OngoingMove>, AdminError> {
        let listed = self.client.until_settled(|_| async move {
            let call = |channel| async move {
                stub(channel).list_reassignments(grpc::ListReassignmentsRequest {}).await
            };
            self.client.call("ListReassignments", Patience::Long, call).await
        });
        Ok(listed.await?.partitions.into_iter().map(OngoingMove::from).collect())
    }

    /// Drains or removes a broker, or changes whether it votes. Returns how many partitions it still holds, where that matters.
    ///
    /// # Errors
    /// [`AdminError::Refused`] with the controller's reason.
    pub async fn change_broker(&self, broker: BrokerId, change: BrokerChange) -> Result<u32, AdminError> {
        let request = &grpc::ChangeBrokerRequest { broker: broker.0, change: change.to_wire() };
        let changed = self.client.until_settled(|earlier| async move {
            let call = |channel| async move { stub(channel).change_broker(*request).await };
            let answer = self.client.call("ChangeBroker", Patience::Long, call).await?;
            match check(&format!("broker {broker}"), answer.error, &answer.message) {
                Err(failed) if earlier == Earlier::MayHaveWorked && change == BrokerChange::Remove => {
                    let known = self.cluster_status().await.map(|status| status.brokers);
                    let is_gone = known.is_ok_and(|known| known.iter().all(|known| known.id != broker));
                    if is_gone { Ok(0) } else { Err(failed) }
                }
                checked => checked.map(|()| answer.partitions),
            }
        });
        changed.await
    }
}

/// The outcomes, unless what stood in the way of all of them may be gone soon.
fn outcomes(answer: grpc::PartitionResults) -> Result<Vec<PartitionOutcome>, Failed> {
    let outcomes: Vec<PartitionOutcome> = answer.partitions.into_iter().map(PartitionOutcome::from).collect();
    let retriable = |outcome: &PartitionOutcome| match &outcome.result {
        Err(error) if error.is_retriable() && !error.is_not_found() => Some(error.clone()),
        _ => None,
    };
    let in_the_way: Option<Vec<AdminError>> = outcomes.iter().map(retriable).collect();
    match in_the_way.and_then(|errors| errors.into_iter().next()) {
        Some(error) => Err(Failed { reach: Reach::Broker, error }),
        None => Ok(outcomes),
    }
}
