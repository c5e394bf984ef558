//! Asks the controller for changes of in-sync replicas, for the partitions that this broker leads, many at once.

use std::sync::Arc;
use std::time::Duration;

use highwater_core::metadata::{AlterPartition, AlterPartitionError, Command, Outcome};
use highwater_core::replication::{IsrProposal, ProposalOutcome};
use highwater_proto::{BrokerEpoch, BrokerId};
use tokio_util::sync::CancellationToken;

use super::Control;
use crate::metadata::MetadataStore;
use crate::partition::{Attention, Partition, Wish};
use crate::peer::Identity;

/// Partitions in which somebody is behind are looked at so often.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// A proposal has this long; then it is asked again.
const PROPOSAL_WAIT: Duration = Duration::from_secs(2);
/// Proposals in one request, at most.
const PROPOSALS_MAX: usize = 1000;

/// Keeps the in-sync replicas of this broker's partitions right, until told to stop.
pub(crate) async fn keep(
    attention: Arc<Attention>,
    control: Control,
    store: MetadataStore,
    identity: Arc<Identity>,
    stop: CancellationToken,
) {
    let mut unsettled: Vec<Arc<Partition>> = Vec::new();
    loop {
        let wait = async {
            if unsettled.is_empty() {
                attention.called().await
            } else {
                tokio::time::sleep(LOOK_INTERVAL).await
            }
        };
        tokio::select! {
            () = wait => {}
            () = stop.cancelled() => return,
        }
        for partition in unsettled.drain(..) {
            partition.attend_again();
        }
        let image = store.image();
        let life =
            |id: BrokerId| image.broker(id).filter(|broker| broker.is_active()).map(|broker| broker.epoch);
        let mut proposals = Vec::new();
        let mut resigned = Vec::new();
        for partition in attention.take() {
            let (wish, again) = partition.propose(life);
            match wish {
                Wish::Change(proposal) => {
                    let recovered = image.partition(partition.id()).is_some_and(|known| known.recovering);
                    proposals.push((Arc::clone(&partition), proposal, recovered));
                }
                // A sole replica has nobody to leave the lead to; opening it again sorts it out.
                Wish::Resign
                    if image.partition(partition.id()).is_some_and(|known| known.replicas.len() > 1) =>
                {
                    resigned.push(partition);
                    continue;
                }
                Wish::Resign => {}
                Wish::Nothing => {}
            }
            if again {
                unsettled.push(partition);
            }
        }
        let (broker, epoch) = (identity.id(), identity.epoch());
        if epoch == BrokerEpoch::UNKNOWN {
            continue;
        }
        while !proposals.is_empty() {
            let rest = proposals.split_off(proposals.len().min(PROPOSALS_MAX));
            propose(&control, (broker, epoch), std::mem::replace(&mut proposals, rest)).await;
        }
        if !resigned.is_empty() {
            tracing::error!(partitions = resigned.len(), "logs are damaged: others have to lead them");
            let partitions = resigned.iter().map(|partition| partition.id()).collect();
            let report = Command::ReportUnclean { broker, epoch, partitions };
            if let Err(error) = control.submit(report, PROPOSAL_WAIT).await {
                tracing::warn!(%error, "damaged logs could not be reported; it is tried again");
                unsettled.append(&mut resigned);
            }
        }
    }
}

async fn propose(
    control: &Control,
    (broker, epoch): (BrokerId, BrokerEpoch),
    proposals: Vec<(Arc<Partition>, IsrProposal, bool)>,
) {
    let changes = proposals.iter().map(|(partition, proposal, recovered)| AlterPartition {
        partition: partition.id(),
        leader_epoch: proposal.leader_epoch,
        partition_epoch: proposal.partition_epoch,
        isr: proposal.isr.clone(),
        recovered: *recovered,
    });
    let command = Command::AlterPartition { broker, epoch, changes: changes.collect() };
    let outcomes: Vec<ProposalOutcome> = match control.submit(command, PROPOSAL_WAIT).await {
        Ok(Outcome::PartitionsAltered { results }) => {
            results.iter().map(|result| outcome(result.result.as_ref().err())).collect()
        }
        Ok(_) => Vec::new(),
        Err(error) => {
            tracing::debug!(%error, "in-sync replicas could not be changed; it is tried again");
            Vec::new()
        }
    };
    let outcomes = outcomes.into_iter().chain(std::iter::repeat(ProposalOutcome::Unanswered));
    for ((partition, proposal, _), outcome) in proposals.into_iter().zip(outcomes) {
        tracing::debug!(partition = %partition.id(), ?proposal, ?outcome, "in-sync replicas");
        partition.proposal_answered(proposal.leader_epoch, outcome);
    }
}

fn outcome(error: Option<&AlterPartitionError>) -> ProposalOutcome {
    match error {
        None | Some(AlterPartitionError::NewLeaderElected) => ProposalOutcome::Accepted,
        Some(AlterPartitionError::NewerEpoch) => ProposalOutcome::Unanswered,
        Some(
            AlterPartitionError::UnknownPartition
            | AlterPartitionError::FencedLeaderEpoch { .. }
            | AlterPartitionError::NotLeader { .. }
            | AlterPartitionError::InvalidUpdateVersion { .. },
        ) => ProposalOutcome::Outdated,
        Some(AlterPartitionError::InvalidIsr { .. } | AlterPartitionError::IneligibleReplica { .. }) => {
            ProposalOutcome::Refused
        }
    }
}
