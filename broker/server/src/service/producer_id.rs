//! Producer ids: drawn in blocks from the metadata, so that none is ever handed out twice, and handed out from memory.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use highwater_core::metadata::topics;
use highwater_proto::ProducerId;

use super::Services;
use crate::metadata::ChangeError;

/// What is left of the block drawn last.
#[derive(Debug, Default)]
pub struct ProducerIds {
    block: Mutex<Range<i64>>,
}

impl ProducerIds {
    fn next(&self) -> Option<ProducerId> {
        self.block.lock().unwrap_or_else(PoisonError::into_inner).next().map(ProducerId)
    }
}

impl Services {
    /// A producer id that nobody had before. Its epoch is 0.
    ///
    /// # Errors
    /// [`ChangeError`] when a new block was needed and could not be kept.
    pub async fn new_producer_id(self: &Arc<Services>) -> Result<ProducerId, ChangeError> {
        loop {
            if let Some(id) = self.producer_ids.next() {
                return Ok(id);
            }
            let services = Arc::clone(self);
            let draw = move || {
                let mut block = services.producer_ids.block.lock().unwrap_or_else(PoisonError::into_inner);
                if block.is_empty() {
                    *block = services.metadata.change(|image| {
                        let (record, range) = topics::take_producer_ids(image);
                        Ok((vec![record], range))
                    })?;
                }
                Ok::<(), ChangeError>(())
            };
            tokio::task::spawn_blocking(draw).await.expect("drawing a block does not panic")?;
        }
    }
}
