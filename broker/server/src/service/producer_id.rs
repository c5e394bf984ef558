//! Producer ids: drawn in blocks from the metadata, so that none is ever handed out twice, and handed out from memory.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use highwater_core::metadata::{Command, Outcome};
use highwater_proto::ProducerId;

use super::{Services, TopicFailure};

/// What is left of the block drawn last.
#[derive(Debug, Default)]
pub struct ProducerIds {
    block: Mutex<Range<i64>>,
    /// Held by whoever draws, so that one block is drawn and not one for each who waits.
    drawing: tokio::sync::Mutex<()>,
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
    /// [`TopicFailure`] when a new block was needed and could not be had.
    pub async fn new_producer_id(self: &Arc<Services>) -> Result<ProducerId, TopicFailure> {
        loop {
            if let Some(id) = self.producer_ids.next() {
                return Ok(id);
            }
            let _drawing = self.producer_ids.drawing.lock().await;
            if let Some(id) = self.producer_ids.next() {
                return Ok(id);
            }
            if let Outcome::ProducerIds { ids } = self.change(Command::TakeProducerIds).await? {
                *self.producer_ids.block.lock().unwrap_or_else(PoisonError::into_inner) = ids;
            }
        }
    }
}
