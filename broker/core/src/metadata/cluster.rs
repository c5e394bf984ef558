//! The cluster's own affairs: it is formed once, gives ids to brokers and never the same twice, and raises the version
//! of its records when every broker reads it.

use highwater_proto::BrokerId;

use super::broker::ClusterId;
use super::image::Image;
use super::partition::{has_duplicates, numbers};
use super::record::{METADATA_VERSION, Record, change};
use super::refusal::ClusterError;

/// Most ids that wait for their brokers.
pub const UNREGISTERED_IDS_MAX: usize = 1000;

/// Forms the cluster of these first brokers.
///
/// # Errors
/// [`ClusterError`], and nothing changes.
pub fn form(image: &Image, id: ClusterId, name: &str, brokers: &[BrokerId]) -> Result<Record, ClusterError> {
    if let Some(cluster) = image.cluster() {
        return Err(ClusterError::FormedAlready { id: cluster.id });
    }
    let mut brokers = brokers.to_vec();
    brokers.sort_unstable();
    let wrong = |problem: &str| {
        Err(ClusterError::Brokers { brokers: numbers(&brokers), problem: problem.to_owned() })
    };
    if brokers.is_empty() {
        return wrong("it has at least one");
    }
    if has_duplicates(&brokers) {
        return wrong("one of them is there twice");
    }
    if brokers.iter().any(|id| id.0 < 0 || id.0 == i32::MAX) {
        return wrong("ids are numbers from 0");
    }
    if brokers.iter().any(|id| id.0 < image.next_broker_id().0) {
        return wrong("an id was given away before");
    }
    Ok(change::Change::ClusterFormed(change::ClusterFormed {
        cluster_id: id.0.to_vec(),
        name: name.to_owned(),
        broker_ids: numbers(&brokers),
    })
    .into())
}

/// Takes the next id for a broker that wants to join.
///
/// # Errors
/// [`ClusterError`], and nothing changes.
pub fn take_broker_id(image: &Image) -> Result<(Record, BrokerId), ClusterError> {
    if image.cluster().is_none() {
        return Err(ClusterError::NotFormed);
    }
    let waiting = image.unregistered_ids().len();
    let id = image.next_broker_id();
    if waiting >= UNREGISTERED_IDS_MAX || id.0 == i32::MAX {
        return Err(ClusterError::TooManyIds { waiting });
    }
    let taken = change::BrokerIdTaken { broker_id: id.0 };
    Ok((change::Change::BrokerIdTaken(taken).into(), id))
}

/// Raises the version of the records that may be written; `None` if it is that already.
///
/// # Errors
/// [`ClusterError`], and nothing changes.
pub fn raise_version(image: &Image, version: u32) -> Result<Option<Record>, ClusterError> {
    let now = image.metadata_version();
    if version == now {
        return Ok(None);
    }
    if version < now {
        return Err(ClusterError::VersionFalls { version, now });
    }
    if let Some(older) = image.brokers().find(|broker| broker.version < version) {
        return Err(ClusterError::VersionUnreadable { version, broker: older.id, reads: older.version });
    }
    if version > METADATA_VERSION {
        return Err(ClusterError::VersionUnknown { version, known: METADATA_VERSION });
    }
    let raised = change::MetadataVersionRaised { version };
    Ok(Some(change::Change::MetadataVersionRaised(raised).into()))
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
