//! Partitions that have data are opened after the start, so that their first reader and writer need not wait for it.
//!
//! A few threads that give way to whoever waits for a partition, and end when the last one is open. Being ready does not
//! wait for them: what is not open yet opens when it is asked for. Partitions without data cost nothing here.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use highwater_log::PartitionEntry;
use highwater_proto::TopicPartition;

use crate::service::Services;

/// Threads that open ahead.
pub(super) const OPENERS: usize = 4;
/// How long they stand back for somebody who waits for an opening, before they look again.
const PAUSE: Duration = Duration::from_millis(2);

/// Partitions that have data and may not be open yet.
#[derive(Debug)]
pub(super) struct Unopened {
    ids: Mutex<std::vec::IntoIter<TopicPartition>>,
}

impl Unopened {
    /// Those whose topic there is.
    pub(super) fn list(services: &Services) -> Unopened {
        let image = services.image();
        let entries = services.partitions.directory().list_partitions().unwrap_or_default();
        let ids = entries.into_iter().filter_map(|entry| match entry {
            PartitionEntry::Partition(id) => image.has(id).then_some(id),
            PartitionEntry::Stray(_) => None,
        });
        let ids: Vec<TopicPartition> = ids.collect();
        tracing::info!(partitions = ids.len(), "opening what has data, in the background");
        Unopened { ids: Mutex::new(ids.into_iter()) }
    }

    /// Opens one after the other until none is left, or until `wait` says that it is time to end.
    pub(super) fn open_all(&self, services: &Services, wait: impl Fn(Duration) -> bool) {
        while !wait(Duration::ZERO) {
            if services.partitions.is_opening_for_somebody() {
                if wait(PAUSE) {
                    return;
                }
                continue;
            }
            let next = self.ids.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(id) = next else { return };
            // Deleted meanwhile, or damaged: who asks for it is told.
            if let Err(error) = services.partition_blocking(id) {
                tracing::debug!(partition = %id, %error, "not opened ahead");
            }
        }
    }
}
