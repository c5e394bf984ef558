//! `leader-epochs`: at which offset each leader epoch began.
//!
//! Answers where two logs part ways (rules M-01, M-02). Replaced as a whole: written aside, synced, renamed. Big-endian:
//!
//! ```text
//!  0  u32  magic "HWEP"
//!  4  u32  version 1
//!  8  u32  number of entries
//! 12  each 12 bytes: i32 epoch, i64 start offset; both strictly rising
//! -4  u32  CRC-32C of everything before
//! ```

use highwater_proto::museum::{self, Bug};
use highwater_proto::record::crc32c;
use highwater_proto::{LeaderEpoch, Offset};

/// The file's name in the partition's directory.
pub const EPOCHS_FILE: &str = "leader-epochs";

const MAGIC: u32 = u32::from_be_bytes(*b"HWEP");
const VERSION: u32 = 1;

/// Epochs with their first offsets, both strictly rising.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl LeaderEpochs {
    /// The newest epoch.
    pub fn last(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// Every epoch with its first offset.
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// The epoch in which the record at `offset` was written, as far as epochs are known back to it.
    pub(crate) fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|(_, start)| *start <= offset);
        Some(self.entries[after.checked_sub(1)?].0)
    }

    /// Takes note that `epoch` begins at `start`, unless it is known already. Entries that begin at or after `start`
    /// wrote nothing and go. Says whether anything changed.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> Change {
        if self.last().is_some_and(|last| last >= epoch) {
            return Change::None;
        }
        self.entries.retain(|(_, other)| *other < start);
        self.entries.push((epoch, start));
        Change::Made
    }

    /// Where the newest epoch not above `epoch` ended: the start of the one after it, or the log's end. With no such
    /// epoch, the start of the oldest one known.
    pub fn end_offset(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let after = self.entries.partition_point(|(other, _)| *other <= epoch);
        let end = self.entries.get(after).map_or(log_end, |(_, start)| *start);
        Some((self.entries.get(after.checked_sub(1)?)?.0, end))
    }

    /// Puts what the batches from `from` to `end` say in the place of what was known of them.
    pub(crate) fn replace_range(&mut self, from: Offset, end: Offset, seen: &LeaderEpochs) {
        let later = self.entries.split_off(self.entries.partition_point(|(_, start)| *start < end));
        self.entries.truncate(self.entries.partition_point(|(_, start)| *start < from));
        for (epoch, start) in seen.entries.iter().chain(&later) {
            let _ = self.assign(*epoch, *start);
        }
    }

    /// Forgets epochs that begin at or after the log's new end.
    pub(crate) fn truncate_end(&mut self, end: Offset) -> Change {
        if museum::active(Bug::EmptyEpochKept) {
            return Change::None;
        }
        let before = self.entries.len();
        self.entries.retain(|(_, start)| *start < end);
        if self.entries.len() == before { Change::None } else { Change::Made }
    }

    /// Forgets epochs that ended before the log's new start; the one in force there now begins there.
    pub(crate) fn truncate_start(&mut self, start: Offset) -> Change {
        let after = self.entries.partition_point(|(_, other)| *other <= start);
        let Some(current) = after.checked_sub(1) else { return Change::None };
        let unchanged = current == 0 && self.entries[0].1 == start;
        self.entries.drain(..current);
        self.entries[0].1 = start;
        if unchanged { Change::None } else { Change::Made }
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut raw = Vec::new();
        raw.extend(MAGIC.to_be_bytes());
        raw.extend(VERSION.to_be_bytes());
        raw.extend(u32::try_from(self.entries.len()).unwrap_or(u32::MAX).to_be_bytes());
        for (epoch, start) in &self.entries {
            raw.extend(epoch.0.to_be_bytes());
            raw.extend(start.0.to_be_bytes());
        }
        raw.extend(crc32c(&raw).to_be_bytes());
        raw
    }

    /// Reads a file; `None` if anything about it is wrong.
    pub fn decode(raw: &[u8]) -> Option<LeaderEpochs> {
        let (body, crc) = raw.split_last_chunk::<4>()?;
        if u32::from_be_bytes(*crc) != crc32c(body) {
            return None;
        }
        let (head, entries) = body.split_first_chunk::<12>()?;
        let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (entries, rest) = entries.as_chunks::<12>();
        if number(0) != MAGIC
            || number(4) != VERSION
            || number(8) as usize != entries.len()
            || !rest.is_empty()
        {
            return None;
        }
        let entries: Vec<(LeaderEpoch, Offset)> = entries
            .iter()
            .map(|raw| {
                let (epoch, start) = raw.split_at(4);
                (
                    LeaderEpoch(i32::from_be_bytes(epoch.try_into().expect("4 bytes"))),
                    Offset(i64::from_be_bytes(start.try_into().expect("8 bytes"))),
                )
            })
            .collect();
        let rising = entries.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        rising.then_some(LeaderEpochs { entries })
    }
}

/// Whether an update made a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Change {
    None,
    Made,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for (epoch, start) in entries {
            let _ = epochs.assign(LeaderEpoch(*epoch), Offset(*start));
        }
        epochs
    }

    #[test]
    fn an_epoch_that_wrote_nothing_is_replaced_by_the_next_one() {
        assert_eq!(epochs(&[(1, 0), (2, 10), (4, 10)]), epochs(&[(1, 0), (4, 10)]));
        assert_eq!(epochs(&[(1, 0), (1, 7), (0, 9)]), epochs(&[(1, 0)]));
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next_known_one() {
        let epochs = epochs(&[(1, 0), (2, 10), (5, 20)]);
        for (asked, epoch, end) in [(1, 1, 10), (2, 2, 20), (4, 2, 20), (5, 5, 33), (9, 5, 33)] {
            let found = epochs.end_offset(LeaderEpoch(asked), Offset(33));
            assert_eq!(found, Some((LeaderEpoch(epoch), Offset(end))), "epoch {asked}");
        }
        assert_eq!(epochs.end_offset(LeaderEpoch(0), Offset(33)), None);
    }

    #[test]
    fn cutting_either_end_keeps_what_is_left_consistent() {
        let mut cut = epochs(&[(1, 0), (2, 10), (5, 20)]);
        assert_eq!(cut.truncate_end(Offset(20)), Change::Made);
        assert_eq!(cut, epochs(&[(1, 0), (2, 10)]));
        assert_eq!(cut.truncate_start(Offset(12)), Change::Made);
        assert_eq!(cut, epochs(&[(2, 12)]));
        assert_eq!(cut.truncate_start(Offset(12)), Change::None);
    }

    #[test]
    fn the_layout_is_pinned_and_any_flipped_bit_is_seen() {
        let raw = epochs(&[(1, 2), (3, 4)]).encode();
        #[rustfmt::skip]
        let body = [
            b'H', b'W', b'E', b'P', 0, 0, 0, 1, 0, 0, 0, 2,
            0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2,
            0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4,
        ];
        assert_eq!(raw[..raw.len() - 4], body);
        assert_eq!(LeaderEpochs::decode(&raw), Some(epochs(&[(1, 2), (3, 4)])));
        for bit in 0..raw.len() * 8 {
            let mut flipped = raw.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(LeaderEpochs::decode(&flipped), None, "bit {bit}");
        }
    }
}
