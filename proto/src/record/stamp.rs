//! What the leader writes into a batch that is otherwise taken as it came.

use super::checksum::{crc32c, shift};
use super::header::{BatchAttributes, BatchHeader, HEADER_BYTES, at, put};
use crate::ids::{LeaderEpoch, Offset};

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
    let old: &[u8; HEADER_BYTES] = batch.first_chunk().expect("a validated batch has a header");
    let mut new = *old;
    put(&mut new, at::BASE_OFFSET, base_offset.0.to_be_bytes());
    put(&mut new, at::LEADER_EPOCH, epoch.0.to_be_bytes());
    new[at::ATTRIBUTES + 1] |= BatchAttributes::LOG_APPEND_TIME as u8;
    put(&mut new, at::MAX_TIMESTAMP, now_ms.to_be_bytes());
    // crc(front ++ body) = shift(crc(front), body length) ^ crc(body), and the body's share is the same before and after.
    let change = crc32c(&old[at::ATTRIBUTES..]) ^ crc32c(&new[at::ATTRIBUTES..]);
    let stored = u32::from_be_bytes([old[17], old[18], old[19], old[20]]);
    let crc = stored ^ shift(change, batch.len() - HEADER_BYTES);
    put(&mut new, at::CRC, crc.to_be_bytes());
    new
}
