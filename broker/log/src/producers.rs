//! What each idempotent producer wrote last: tells a retry from a gap.
//!
//! Pure state, derived from the log's batches and from snapshots of itself (rules M-30 to M-35). Per producer id it
//! keeps the epoch and the last five batches, as many as a producer may have in flight.

use std::collections::BTreeMap;

use highwater_proto::record::BatchHeader;
use highwater_proto::{Offset, ProducerId};

/// Batches remembered per producer: the most a producer keeps in flight.
pub const BATCHES_REMEMBERED: usize = 5;

/// One batch of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerBatch {
    /// Sequence number of its first record.
    pub base_sequence: i32,
    /// Sequence number of its last record.
    pub last_sequence: i32,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Its largest timestamp; milliseconds since 1970.
    pub max_timestamp_ms: i64,
}

/// What is known of one producer id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Its incarnation.
    pub epoch: i16,
    /// When it was last heard of; milliseconds since 1970.
    pub last_seen_ms: i64,
    /// Its last batches, oldest first; never empty, never more than [`BATCHES_REMEMBERED`].
    pub batches: Vec<ProducerBatch>,
}

/// Why a batch of an idempotent producer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// A newer incarnation has written here.
    #[error("producer {producer_id} has epoch {current_epoch} here, the batch has {epoch}")]
    Fenced {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's epoch.
        epoch: i16,
        /// The newest epoch seen.
        current_epoch: i16,
    },
    /// The sequence leaves a gap.
    #[error(
        "producer {producer_id} must go on with sequence {expected_sequence}, the batch has {base_sequence}"
    )]
    OutOfOrder {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's first sequence number.
        base_sequence: i32,
        /// The one that would be right.
        expected_sequence: i32,
    },
    /// The batch was appended before, too long ago for its offsets to be known.
    #[error(
        "producer {producer_id} appended sequence {base_sequence} before; its offsets are no longer known"
    )]
    StaleDuplicate {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's first sequence number.
        base_sequence: i32,
    },
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProducerVerdict {
    Append,
    /// It is in the log already.
    Duplicate(ProducerBatch),
}

/// All producers of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerStates {
    entries: BTreeMap<i64, ProducerEntry>,
}

/// The sequence number after this one; 0 follows the largest.
fn next_sequence(sequence: i32) -> i32 {
    if sequence == i32::MAX { 0 } else { sequence + 1 }
}

impl ProducerStates {
    /// Judges a batch before it is appended. Changes nothing.
    pub(crate) fn check(&self, header: &BatchHeader) -> Result<ProducerVerdict, ProducerError> {
        let Some(entry) = self.entries.get(&header.producer_id.0) else {
            // Nothing is known (expired, or all its records are gone): any sequence is a start (rule M-33).
            return Ok(ProducerVerdict::Append);
        };
        let (producer_id, base_sequence) = (header.producer_id, header.base_sequence);
        if header.producer_epoch < entry.epoch {
            let (epoch, current_epoch) = (header.producer_epoch, entry.epoch);
            return Err(ProducerError::Fenced { producer_id, epoch, current_epoch });
        }
        if header.producer_epoch > entry.epoch {
            return if base_sequence == 0 {
                Ok(ProducerVerdict::Append)
            } else {
                Err(ProducerError::OutOfOrder { producer_id, base_sequence, expected_sequence: 0 })
            };
        }
        let last_sequence = header.last_sequence();
        let same = |batch: &&ProducerBatch| {
            batch.base_sequence == base_sequence && batch.last_sequence == last_sequence
        };
        if let Some(batch) = entry.batches.iter().find(same) {
            return Ok(ProducerVerdict::Duplicate(*batch));
        }
        let last = entry.batches.last().expect("an entry has at least one batch");
        let expected_sequence = next_sequence(last.last_sequence);
        if base_sequence == expected_sequence {
            return Ok(ProducerVerdict::Append);
        }
        // Sequence numbers go round a circle of 2^31: less than half of it behind is the past, the rest is the future.
        let behind = |sequence: i32| {
            let distance = i64::from(expected_sequence) - i64::from(sequence);
            (1..=1 << 30).contains(&distance.rem_euclid(1 << 31))
        };
        if behind(base_sequence) && behind(last_sequence) {
            Err(ProducerError::StaleDuplicate { producer_id, base_sequence })
        } else {
            Err(ProducerError::OutOfOrder { producer_id, base_sequence, expected_sequence })
        }
    }

    /// Takes note of a batch that is in the log. Does the same live and during recovery.
    pub(crate) fn replay(&mut self, header: &BatchHeader, seen_ms: i64) {
        if !header.has_producer() {
            return;
        }
        let entry = self.entries.entry(header.producer_id.0).or_insert_with(|| ProducerEntry {
            epoch: header.producer_epoch,
            last_seen_ms: seen_ms,
            batches: Vec::with_capacity(BATCHES_REMEMBERED),
        });
        if entry.epoch != header.producer_epoch {
            entry.epoch = header.producer_epoch;
            entry.batches.clear();
        }
        if entry.batches.len() == BATCHES_REMEMBERED {
            entry.batches.remove(0);
        }
        entry.last_seen_ms = entry.last_seen_ms.max(seen_ms);
        entry.batches.push(ProducerBatch {
            base_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp_ms: header.max_timestamp_ms,
        });
    }

    /// Forgets producers unheard of since before `horizon_ms`.
    pub(crate) fn expire(&mut self, horizon_ms: i64) {
        self.entries.retain(|_, entry| entry.last_seen_ms >= horizon_ms);
    }

    /// Every producer, by id.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerEntry)> {
        self.entries.iter().map(|(id, entry)| (ProducerId(*id), entry))
    }

    pub(crate) fn insert(&mut self, id: ProducerId, entry: ProducerEntry) {
        self.entries.insert(id.0, entry);
    }

    /// How many producers are known.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
