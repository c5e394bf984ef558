//! What a consumer does about a partition that failed: waits, asks who leads it, and where it may go on.

use std::sync::Arc;
use std::time::Duration;

use highwater_proto::{Offset, PartitionIndex};

use crate::client::Client;
use crate::consumer::position::{Position, resolve};
use crate::error::AdminError;
use crate::metadata::{Freshness, TopicInfo};

/// A partition to be repaired.
#[derive(Clone, Debug)]
pub(crate) struct Patient {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: PartitionIndex,
    /// The cursor's generation; a newer one makes the repair void.
    pub(crate) generation: u32,
    /// Metadata of this version turned out wrong.
    pub(crate) stale_version: u64,
    /// Wait this long first.
    pub(crate) wait: Duration,
    /// Where to go on; `None` where it stands.
    pub(crate) reset_to: Option<Position>,
}

/// What the repair found.
#[derive(Debug)]
pub(crate) struct Cure {
    pub(crate) topic: Arc<TopicInfo>,
    pub(crate) position: Option<Offset>,
}

/// Asks the cluster, once.
pub(crate) async fn repair(client: Client, patient: Patient) -> (Patient, Result<Cure, AdminError>) {
    tokio::time::sleep(patient.wait).await;
    let result = find_cure(&client, &patient).await;
    (patient, result)
}

async fn find_cure(client: &Client, patient: &Patient) -> Result<Cure, AdminError> {
    let topic = client.topic(&patient.topic, Freshness::NewerThan(patient.stale_version)).await?;
    let position = match patient.reset_to {
        Some(position) => resolve(client, &topic, &[patient.partition.0], position).await?.into_iter().next(),
        None => None,
    };
    Ok(Cure { topic, position })
}
