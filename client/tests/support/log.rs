//! One partition in memory, with the duplicate and sequence checks of a real one.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use highwater_client::{ErrorCode, LeaderEpoch, Offset};
use highwater_proto::record::{BatchHeader, DecodeLimits, decode_records, stamp, verify_crc};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<String>,
    pub value: String,
}

#[derive(Default)]
pub struct Log {
    pub batches: Vec<(i64, Bytes)>,
    pub start: i64,
    pub end: i64,
    producers: HashMap<i64, Producer>,
}

struct Producer {
    epoch: i16,
    next_sequence: i32,
    /// First sequence, last sequence, base offset of the last five batches.
    recent: VecDeque<(i32, i32, i64)>,
}

impl Log {
    /// Checks and appends; returns the base offset, which for a duplicate is the first one's.
    pub fn append(&mut self, batch: &Bytes) -> Result<i64, ErrorCode> {
        verify_crc(batch).map_err(|_| ErrorCode::CorruptMessage)?;
        let header = BatchHeader::parse(batch).map_err(|_| ErrorCode::CorruptMessage)?;
        if header.producer_id.0 >= 0
            && let Some(base) = self.check_sequence(&header)?
        {
            return Ok(base);
        }
        let base = self.end;
        let mut stored = batch.to_vec();
        let front = stamp(&header, Offset(base), LeaderEpoch(1));
        stored[..front.len()].copy_from_slice(&front);
        self.batches.push((base, Bytes::from(stored)));
        self.end += i64::from(header.records_count);
        if let Some(producer) = self.producers.get_mut(&header.producer_id.0) {
            producer.recent.push_back((header.base_sequence, header.last_sequence(), base));
            producer.recent.truncate(5 + producer.recent.len().saturating_sub(5));
            while producer.recent.len() > 5 {
                producer.recent.pop_front();
            }
            producer.next_sequence = header.last_sequence().wrapping_add(1) & i32::MAX;
        }
        Ok(base)
    }

    fn check_sequence(&mut self, header: &BatchHeader) -> Result<Option<i64>, ErrorCode> {
        let (sequence, epoch) = (header.base_sequence, header.producer_epoch);
        let producer = self.producers.entry(header.producer_id.0).or_insert_with(|| Producer {
            epoch,
            next_sequence: sequence, // an unknown producer may begin anywhere (M-33)
            recent: VecDeque::new(),
        });
        if epoch < producer.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        let last = header.last_sequence();
        if let Some((_, _, base)) = producer.recent.iter().find(|(f, l, _)| (*f, *l) == (sequence, last)) {
            return Ok(Some(*base));
        }
        if sequence != producer.next_sequence {
            return Err(ErrorCode::OutOfOrderSequenceNumber);
        }
        Ok(None)
    }

    pub fn records(&self) -> Vec<Stored> {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let decode = |(_, batch): &(i64, Bytes)| decode_records(batch, &DecodeLimits::default()).unwrap();
        let records = self.batches.iter().flat_map(decode).map(|record| record.unwrap());
        records
            .map(|record| Stored {
                offset: record.offset.0,
                timestamp_ms: record.timestamp_ms,
                key: record.key.map(text),
                value: record.value.map(text).unwrap_or_default(),
            })
            .collect()
    }

    /// Whole batches from the one that holds `offset` on, at least one if there is any.
    pub fn read(&self, offset: i64, max_bytes: usize) -> (Bytes, i64) {
        let mut bytes = Vec::new();
        let mut next = offset;
        for (_, batch) in &self.batches {
            let end = BatchHeader::parse(batch).unwrap().next_offset().0;
            if end <= offset {
                continue;
            }
            if !bytes.is_empty() && bytes.len() + batch.len() > max_bytes {
                break;
            }
            bytes.extend_from_slice(batch);
            next = end;
        }
        (Bytes::from(bytes), next)
    }

    /// First offset at or after a time; -1 when there is none.
    pub fn offset_for(&self, timestamp: i64) -> i64 {
        match timestamp {
            -1 => self.end,
            -2 => self.start,
            time => self.records().iter().find(|r| r.timestamp_ms >= time).map_or(-1, |r| r.offset),
        }
    }
}
