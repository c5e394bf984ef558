//! `{end_offset:020}.snapshot`: all producers as they were after the records below an offset.
//!
//! Written at checkpoints under a name of its own. Any whole one that does not reach beyond the log's end is right, since
//! truncation and recovery remove those that do; without one the state is rebuilt from the log. Big-endian:
//!
//! ```text
//!  0  u32  magic "HWPR"
//!  4  u16  version 1
//!  6  u16  0
//!  8  i64  end offset: the records below it are accounted for
//! 16  u32  number of producers
//!     then for each: i64 id, i16 epoch, i64 last seen (ms since 1970), u8 batches (1 to 5),
//!     then for each batch, oldest first: i32 base sequence, i32 last sequence, i64 base offset, i64 last offset,
//!     i64 max timestamp
//! -4  u32  CRC-32C of everything before
//! ```

use highwater_proto::record::crc32c;
use highwater_proto::{Offset, ProducerId};

use crate::producers::{BATCHES_REMEMBERED, ProducerBatch, ProducerEntry};

pub use crate::producers::ProducerStates;

/// How the files' names end.
pub const SNAPSHOT_SUFFIX: &str = ".snapshot";

const MAGIC: u32 = u32::from_be_bytes(*b"HWPR");
const VERSION: u32 = 1 << 16;

/// The file's bytes.
pub fn encode(end: Offset, producers: &ProducerStates) -> Vec<u8> {
    let mut raw = Vec::new();
    raw.extend(MAGIC.to_be_bytes());
    raw.extend(VERSION.to_be_bytes());
    raw.extend(end.0.to_be_bytes());
    raw.extend(u32::try_from(producers.len()).unwrap_or(u32::MAX).to_be_bytes());
    for (id, entry) in producers.iter() {
        raw.extend(id.0.to_be_bytes());
        raw.extend(entry.epoch.to_be_bytes());
        raw.extend(entry.last_seen_ms.to_be_bytes());
        raw.push(entry.batches.len() as u8);
        for batch in &entry.batches {
            raw.extend(batch.base_sequence.to_be_bytes());
            raw.extend(batch.last_sequence.to_be_bytes());
            raw.extend(batch.base_offset.0.to_be_bytes());
            raw.extend(batch.last_offset.0.to_be_bytes());
            raw.extend(batch.max_timestamp_ms.to_be_bytes());
        }
    }
    raw.extend(crc32c(&raw).to_be_bytes());
    raw
}

/// Reads a file; `None` if anything about it is wrong.
pub fn decode(raw: &[u8]) -> Option<(Offset, ProducerStates)> {
    let (body, crc) = raw.split_last_chunk::<4>()?;
    if u32::from_be_bytes(*crc) != crc32c(body) {
        return None;
    }
    let mut rest = body;
    if u32::from_be_bytes(take(&mut rest)?) != MAGIC || u32::from_be_bytes(take(&mut rest)?) != VERSION {
        return None;
    }
    let end = Offset(i64::from_be_bytes(take(&mut rest)?));
    let count = u32::from_be_bytes(take(&mut rest)?);
    let mut producers = ProducerStates::default();
    for _ in 0..count {
        let id = ProducerId(i64::from_be_bytes(take(&mut rest)?));
        producers.insert(id, entry(&mut rest)?);
    }
    rest.is_empty().then_some((end, producers))
}

fn entry(rest: &mut &[u8]) -> Option<ProducerEntry> {
    let epoch = i16::from_be_bytes(take(rest)?);
    let last_seen_ms = i64::from_be_bytes(take(rest)?);
    let count = usize::from(take::<1>(rest)?[0]);
    if count == 0 || count > BATCHES_REMEMBERED {
        return None;
    }
    let mut batches = Vec::with_capacity(BATCHES_REMEMBERED);
    for _ in 0..count {
        batches.push(ProducerBatch {
            base_sequence: i32::from_be_bytes(take(rest)?),
            last_sequence: i32::from_be_bytes(take(rest)?),
            base_offset: Offset(i64::from_be_bytes(take(rest)?)),
            last_offset: Offset(i64::from_be_bytes(take(rest)?)),
            max_timestamp_ms: i64::from_be_bytes(take(rest)?),
        });
    }
    Some(ProducerEntry { epoch, last_seen_ms, batches })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (front, back) = rest.split_first_chunk::<N>()?;
    *rest = back;
    Some(*front)
}
