//! From a time to an offset, exactly, even where timestamps are out of order (rule M-25, check E21).
//!
//! The index says from where on a record of that time can be at all; from there batches are walked, and those that may
//! hold it are decoded. Like a read, a lookup is planned under the log's lock and run without it.

use std::sync::Arc;

use bytes::Bytes;
use highwater_proto::record::{BatchHeader, DecodeLimits, Record, decode_records};
use highwater_proto::{LeaderEpoch, Offset};

use crate::error::fault;
use crate::index::{self, IndexEntry};
use crate::log::PartitionLog;
use crate::read::ReadError;
use crate::segment::SegmentReader;

/// A record found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOffset {
    /// The record.
    pub offset: Offset,
    /// Its timestamp; milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
}

/// A lookup that knows its segments. Run it where waiting for the device is fine.
#[derive(Debug)]
#[must_use]
pub struct TimestampPlan {
    target_ms: i64,
    log_start: Offset,
    bound_end: Offset,
    candidates: Vec<Candidate>,
}

#[derive(Debug)]
struct Candidate {
    reader: Arc<SegmentReader>,
    data_bytes: u64,
    end: Offset,
    max_timestamp_ms: i64,
    /// Where to start, for the active segment; a sealed one's index is looked at when the plan runs.
    entry: Option<IndexEntry>,
}

impl PartitionLog {
    /// Plans to find the first record with a timestamp of `target_ms` or later, below `bound_end`.
    pub fn plan_timestamp(&self, target_ms: i64, bound_end: Offset) -> TimestampPlan {
        let mut candidates: Vec<Candidate> = Vec::new();
        for sealed in self.sealed.iter().filter(|sealed| sealed.end > self.log_start) {
            candidates.push(Candidate {
                reader: Arc::clone(&sealed.reader),
                data_bytes: sealed.data_bytes,
                end: sealed.end,
                max_timestamp_ms: sealed.max_timestamp_ms,
                entry: None,
            });
        }
        if let Some(active) = &self.active {
            candidates.push(Candidate {
                reader: Arc::clone(&active.reader),
                data_bytes: active.data_bytes,
                end: self.log_end,
                max_timestamp_ms: active.index.max_timestamp_ms,
                entry: Some(index::seek_time(&active.index.entries, target_ms)),
            });
        }
        candidates
            .retain(|candidate| candidate.max_timestamp_ms >= target_ms && candidate.reader.base < bound_end);
        TimestampPlan { target_ms, log_start: self.log_start, bound_end, candidates }
    }

    /// Plans to find the first of the records with the largest timestamp below `bound_end`.
    pub fn plan_max_timestamp(&self, bound_end: Offset) -> TimestampPlan {
        let mut plan = self.plan_timestamp(i64::MIN, bound_end);
        for candidate in &mut plan.candidates {
            candidate.entry = Some(IndexEntry::START);
        }
        plan
    }
}

impl TimestampPlan {
    /// The first record with the wanted timestamp or a later one; `None` if there is none.
    pub fn find(self) -> Result<Option<TimedOffset>, ReadError> {
        for candidate in &self.candidates {
            let mut found = None;
            candidate.walk(candidate.start(self.target_ms)?, |header, batch| {
                if header.max_timestamp_ms < self.target_ms || header.next_offset() <= self.log_start {
                    return Ok(Walk::On);
                }
                if header.base_offset >= self.bound_end {
                    return Ok(Walk::Stop);
                }
                found = self
                    .first_match(candidate, header, &batch, |record| record.timestamp_ms >= self.target_ms)?;
                Ok(if found.is_some() { Walk::Stop } else { Walk::On })
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The first of the records with the largest timestamp; `None` if there are no records.
    pub fn find_max(self) -> Result<Option<TimedOffset>, ReadError> {
        let mut best: Option<TimedOffset> = None;
        for candidate in &self.candidates {
            if best.is_some_and(|best| best.timestamp_ms >= candidate.max_timestamp_ms) {
                continue;
            }
            candidate.walk(0, |header, batch| {
                if header.base_offset >= self.bound_end {
                    return Ok(Walk::Stop);
                }
                while best.is_none_or(|best| header.max_timestamp_ms > best.timestamp_ms)
                    && header.next_offset() > self.log_start
                {
                    let larger =
                        |record: &Record| best.is_none_or(|best| record.timestamp_ms > best.timestamp_ms);
                    let found = self.first_match(candidate, header, &batch, larger)?;
                    if found.is_none() {
                        break;
                    }
                    best = found;
                }
                Ok(Walk::On)
            })?;
        }
        Ok(best)
    }

    fn first_match(
        &self,
        candidate: &Candidate,
        header: &BatchHeader,
        batch: &Bytes,
        wanted: impl Fn(&Record) -> bool,
    ) -> Result<Option<TimedOffset>, ReadError> {
        let rotten = |_| candidate.rotten(header.base_offset);
        for record in decode_records(batch, &DecodeLimits::default()).map_err(rotten)? {
            let record = record.map_err(rotten)?;
            let inside = record.offset >= self.log_start && record.offset < self.bound_end;
            if inside && wanted(&record) {
                let (offset, timestamp_ms) = (record.offset, record.timestamp_ms);
                return Ok(Some(TimedOffset { offset, timestamp_ms, leader_epoch: header.leader_epoch }));
            }
        }
        Ok(None)
    }
}

enum Walk {
    On,
    Stop,
}

impl Candidate {
    fn start(&self, target_ms: i64) -> Result<u64, ReadError> {
        let entry = match self.entry {
            Some(entry) => entry,
            None => {
                let entries = self.reader.index(self.data_bytes).map_err(|error| self.gone(error))?;
                index::seek_time(&entries, target_ms)
            }
        };
        Ok(u64::from(entry.position))
    }

    fn walk(
        &self,
        start: u64,
        mut visit: impl FnMut(&BatchHeader, Bytes) -> Result<Walk, ReadError>,
    ) -> Result<(), ReadError> {
        let map = self.reader.map(self.data_bytes).map_err(|error| self.gone(error))?;
        let data = map.slice(..self.data_bytes as usize);
        let mut at = start as usize;
        let mut next = self.reader.base;
        while at < data.len() {
            let header = BatchHeader::parse(&data[at..]).map_err(|_| self.rotten(next))?;
            let end = at + header.size_bytes();
            if end > data.len() || header.next_offset() > self.end {
                return Err(self.rotten(next));
            }
            if let Walk::Stop = visit(&header, data.slice(at..end))? {
                break;
            }
            at = end;
            next = header.next_offset();
        }
        Ok(())
    }

    fn gone(&self, error: std::io::Error) -> ReadError {
        if self.reader.is_retired() {
            ReadError::Moved
        } else {
            fault("read", &self.reader.log_path)(error).into()
        }
    }

    fn rotten(&self, offset: Offset) -> ReadError {
        ReadError::Rotten { path: self.reader.log_path.clone(), position: 0, offset }
    }
}
