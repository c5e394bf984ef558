//! Produce: batches in, acknowledgements out when the records are as safe as the client asked for.

use std::sync::Arc;

use bytes::Bytes;
use highwater_proto::TopicPartition;
use thiserror::Error;

use super::pending::PendingProduce;
use super::{PartitionError, Services};
use crate::partition::ProduceError;

/// One batch for one partition.
#[derive(Clone, Debug)]
pub struct ProduceItem {
    /// Where it goes.
    pub partition: TopicPartition,
    /// Exactly one RecordBatch v2.
    pub batch: Bytes,
}

/// Why a batch was not acknowledged.
#[derive(Clone, Debug, Error)]
pub enum ProduceFailure {
    /// The partition cannot be served.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The partition refused.
    #[error(transparent)]
    Refused(#[from] ProduceError),
    /// The batch may be written, and may become visible, but it was not safe in time.
    #[error("not acknowledged in time; it may have been written all the same")]
    TimedOut,
}

impl Services {
    /// Appends the batches in order. `pending` hears of each, at once or when its records are safe; with `acks = 0` as
    /// soon as it was tried.
    pub async fn produce(&self, acks: i32, items: Vec<ProduceItem>, pending: &Arc<PendingProduce>) {
        for (index, item) in items.into_iter().enumerate() {
            let partition = match self.partitions.get(item.partition) {
                Some(partition) => partition,
                None => match self.partition(item.partition).await {
                    Ok(partition) => partition,
                    Err(error) => {
                        self.metrics.batches_refused.inc();
                        pending.settle(index, Err(error.into()));
                        continue;
                    }
                },
            };
            let settle = Arc::clone(pending);
            let ack = Box::new(move |result: Result<_, ProduceError>| {
                settle.settle(index, result.map_err(ProduceFailure::from));
            });
            partition.append(&item.batch, acks, ack);
        }
    }
}
