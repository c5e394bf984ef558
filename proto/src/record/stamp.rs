//! What is written into the header of a batch whose body stays as it is.

use super::checksum::{crc32c, shift};
use super::header::{BatchAttributes, BatchHeader, HEADER_BYTES, at, put};
use crate::ids::{LeaderEpoch, Offset, ProducerId};

/// Bytes in front of a batch that [`stamp`] replaces: base offset, length, leader epoch. None is in the checksum.
pub const STAMP_BYTES: usize = at::MAGIC;

/// The first 16 bytes of the batch with this base offset and leader epoch; the rest is written as it came.
#[inline]
pub fn stamp(header: &BatchHeader, base_offset: Offset, epoch: LeaderEpoch) -> [u8; STAMP_BYTES] {
    let mut front = [0; STAMP_BYTES];
    front[at::BASE_OFFSET..at::BATCH_LENGTH].copy_from_slice(&base_offset.0.to_be_bytes());
    front[at::BATCH_LENGTH..at::LEADER_EPOCH].copy_from_slice(&header.batch_length.to_be_bytes());
    front[at::LEADER_EPOCH..at::MAGIC].copy_from_slice(&epoch.0.to_be_bytes());
    front
}

/// The 61 header bytes of a batch whose records take the broker's time: base offset, epoch, timestamp type, max
/// timestamp and checksum are new; the body stays as it came.
///
/// The new checksum is derived from the old one and the change in the header, not read from the body again: a body that
/// was damaged after it was checked stays detectable.
///
/// # Panics
/// When `batch` has fewer than [`HEADER_BYTES`] bytes: it must have been validated.
pub fn restamp_append_time(
    batch: &[u8],
    base_offset: Offset,
    epoch: LeaderEpoch,
    now_ms: i64,
) -> [u8; HEADER_BYTES] {
    changed(batch, |front| {
        put(front, at::BASE_OFFSET, base_offset.0.to_be_bytes());
        put(front, at::LEADER_EPOCH, epoch.0.to_be_bytes());
        front[at::ATTRIBUTES + 1] |= BatchAttributes::LOG_APPEND_TIME as u8;
        put(front, at::MAX_TIMESTAMP, now_ms.to_be_bytes());
    })
}

/// The 61 header bytes of a batch that a producer sends again under another identity: producer id, epoch, first
/// sequence number and checksum are new.
///
/// # Panics
/// When `batch` has fewer than [`HEADER_BYTES`] bytes: it must come from a builder.
pub fn renumber(batch: &[u8], producer: (ProducerId, i16, i32)) -> [u8; HEADER_BYTES] {
    let (producer_id, producer_epoch, base_sequence) = producer;
    changed(batch, |front| {
        put(front, at::PRODUCER_ID, producer_id.0.to_be_bytes());
        put(front, at::PRODUCER_EPOCH, producer_epoch.to_be_bytes());
        put(front, at::BASE_SEQUENCE, base_sequence.to_be_bytes());
    })
}

/// The header of `batch` after `change`, with the checksum that belongs to it.
fn changed(batch: &[u8], change: impl FnOnce(&mut [u8; HEADER_BYTES])) -> [u8; HEADER_BYTES] {
    let old: &[u8; HEADER_BYTES] = batch.first_chunk().expect("a whole batch has a header");
    let mut new = *old;
    change(&mut new);
    // crc(front ++ body) = shift(crc(front), body length) ^ crc(body), and the body's share is the same before and after.
    let difference = crc32c(&old[at::ATTRIBUTES..]) ^ crc32c(&new[at::ATTRIBUTES..]);
    let stored = u32::from_be_bytes([old[at::CRC], old[at::CRC + 1], old[at::CRC + 2], old[at::CRC + 3]]);
    let crc = stored ^ shift(difference, batch.len() - HEADER_BYTES);
    put(&mut new, at::CRC, crc.to_be_bytes());
    new
}
