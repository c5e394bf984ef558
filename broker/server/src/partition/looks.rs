//! What a partition tells of itself beyond its records: where epochs end, which producers it remembers.

use highwater_log::ProducerEntry;
use highwater_proto::{LeaderEpoch, Offset, ProducerId};

use super::outcome::ListOffsetsError;
use super::owner::Partition;
use crate::service::ProducerDetails;

impl Partition {
    /// Where the records of the newest epoch not above `asked` end, with that epoch; `None` if there is none. `current`
    /// is the epoch that the client believes in.
    ///
    /// # Errors
    /// [`ListOffsetsError`].
    pub(crate) fn end_of_epoch(
        &self,
        asked: LeaderEpoch,
        current: LeaderEpoch,
    ) -> Result<Option<(LeaderEpoch, Offset)>, ListOffsetsError> {
        let now = self.now();
        let state = self.lock();
        if state.gone {
            return Err(ListOffsetsError::Gone);
        }
        let epoch = self.leader(&state, current, now)?.epoch();
        Ok(match asked {
            LeaderEpoch::UNKNOWN => None,
            // A leader's epoch begins with it, not with its first record.
            _ if asked == epoch => Some((epoch, state.log.log_end())),
            _ if asked > epoch => None,
            older => state.log.end_offset_for_epoch(older),
        })
    }

    /// The idempotent producers that it remembers, by id; none if it was deleted.
    pub(crate) fn producers(&self) -> Vec<ProducerDetails> {
        let details = |(id, entry): (ProducerId, &ProducerEntry)| {
            let last = entry.batches.last()?;
            Some(ProducerDetails {
                id,
                epoch: entry.epoch,
                last_sequence: last.last_sequence,
                last_timestamp_ms: last.max_timestamp_ms,
            })
        };
        self.with_log(|log, _, _| log.producers().iter().filter_map(details).collect()).unwrap_or_default()
    }
}
