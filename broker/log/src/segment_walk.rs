//! A walk through a segment during recovery: batches that are whole and follow each other.
//!
//! It learns the index and the epochs on its way, and judges nothing: why it stopped is for recovery to weigh.

use highwater_proto::record::BatchHeader;
use highwater_proto::{LeaderEpoch, Offset};

use crate::epochs::LeaderEpochs;
use crate::index::IndexHeader;
use crate::scan::{ScanStop, Scanner};
use crate::segment::IndexBuilder;

/// A walk through a segment with checksums, that learns index and epochs on the way.
pub(crate) struct SegmentWalk<'f> {
    pub(crate) scanner: Scanner<'f>,
    pub(crate) index: IndexBuilder,
    pub(crate) position: u64,
    pub(crate) next: Offset,
    /// The next segment's first offset: nothing in this one can reach beyond it.
    pub(crate) limit: Option<Offset>,
    /// Bytes known to be flushed, and the offset after them.
    pub(crate) flushed: (u64, Option<Offset>),
    pub(crate) epoch: LeaderEpoch,
    /// The newest epoch of flushed batches, if known.
    pub(crate) epoch_max: Option<LeaderEpoch>,
    /// Epochs of batches below it may have been forgotten.
    pub(crate) log_start: Offset,
    pub(crate) created_ms: Option<i64>,
    /// What the index file said, if the walk went on from there.
    pub(crate) resumed: Option<IndexHeader>,
    pub(crate) file_bytes: u64,
}

impl SegmentWalk<'_> {
    /// Goes on as long as batches are whole and follow each other.
    pub(crate) fn run(&mut self, epochs: &mut LeaderEpochs) -> std::io::Result<ScanStop> {
        loop {
            let header = match self.scanner.header(self.position)? {
                Ok(header) => header,
                Err(reason) => return Ok(reason),
            };
            if !self.scanner.checksum_is_right(self.position, &header)? {
                return Ok(ScanStop::Checksum);
            }
            if header.base_offset < self.next {
                // A whole batch of an earlier life of this file: the data ends before it.
                return Ok(ScanStop::Stale);
            }
            if !self.follows(&header) {
                return Ok(ScanStop::NoBatch);
            }
            self.epoch = header.leader_epoch;
            self.index.push(self.position, &header);
            let _ = epochs.assign(header.leader_epoch, header.base_offset);
            self.created_ms.get_or_insert(header.max_timestamp_ms);
            self.position += header.size_bytes() as u64;
            self.next = header.next_offset();
        }
    }
}

impl SegmentWalk<'_> {
    /// Offset and epoch lie outside the checksum, so whether they can be right is to be seen from what is around them.
    /// Compaction leaves gaps only in what was flushed.
    fn follows(&self, header: &BatchHeader) -> bool {
        let (flushed_bytes, flushed_end) = self.flushed;
        let below = |limit: Option<Offset>| limit.is_none_or(|limit| header.next_offset() <= limit);
        let in_place = if self.position < flushed_bytes {
            let shown = header.next_offset() > self.log_start;
            below(flushed_end) && !(shown && self.epoch_max.is_some_and(|max| header.leader_epoch > max))
        } else {
            header.base_offset == self.next
        };
        in_place && below(self.limit) && header.leader_epoch >= self.epoch
    }
}
