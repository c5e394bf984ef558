//! One segment: every batch walked and summed, every index entry held against them.
//!
//! A segment's file is longer than its data: space is allocated ahead, and a recycled file ends in bytes of an earlier
//! life, and attests where its own end. So what cannot be read is damage only below what is known to be flushed; beyond it, the log ends there.

use std::io;
use std::path::Path;

use highwater_env::os::OsDisk;
use highwater_env::{Disk, DiskFile};
use highwater_log::index::{self, IndexEntry, IndexHeader, Seal};
use highwater_log::inspect::data_limit;
use highwater_log::state::PartitionState;
use highwater_proto::record::{BatchHeader, HEADER_BYTES, verify_crc};
use serde::Serialize;

/// Largest batch that is believed without its checksum.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// What is known of a segment before it is read.
#[derive(Debug)]
pub(super) struct Extent {
    base: i64,
    /// Base of the segment after it.
    next_base: Option<i64>,
    /// Bytes that are known to be flushed, if the state file speaks of this segment.
    flushed_bytes: Option<u64>,
}

impl Extent {
    pub(super) fn new(base: i64, next_base: Option<i64>, state: Option<&PartitionState>) -> Extent {
        let flushed_bytes = state.filter(|state| state.segment_base.0 == base).map(|state| state.position);
        Extent { base, next_base, flushed_bytes }
    }
}

/// What stands in a segment.
#[derive(Debug, Serialize)]
pub(super) struct SegmentReport {
    pub(super) file: String,
    pub(super) base_offset: i64,
    pub(super) end_offset: i64,
    pub(super) batches: u64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) index: String,
    pub(super) problems: Vec<String>,
    /// One line per batch, when asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) listed: Vec<String>,
}

pub(super) fn inspect_segment(
    dir: &Path,
    name: &str,
    extent: &Extent,
    with_batches: bool,
) -> io::Result<SegmentReport> {
    let path = dir.join(name);
    let file = OsDisk.open(&path)?;
    let attested_bytes = data_limit(&OsDisk, &path)?;
    let index_path = dir.join(format!("{:020}.index", extent.base));
    let index_file = if OsDisk.exists(&index_path)? { Some(OsDisk.open(&index_path)?) } else { None };
    let header = match &index_file {
        Some(index_file) => index::read_header(&**index_file)?.map(|(_, header)| header),
        None => None,
    };
    let mut walk = Walk::new(name, extent, header.as_ref(), with_batches);
    walk.limit_bytes = walk.data_bytes.unwrap_or(attested_bytes);
    walk.batches(&*file)?;
    match (&index_file, &header) {
        (Some(index_file), Some(header)) => {
            let entries = index::read_entries(&**index_file, header)?;
            walk.check_index(entries.as_deref());
        }
        (Some(_), None) => walk.report.index = "not valid; it will be built anew".to_owned(),
        (None, _) => walk.report.index = "none".to_owned(),
    }
    Ok(walk.report)
}

struct Walk {
    report: SegmentReport,
    /// Damage below here; beyond, the end of the log.
    certain_bytes: u64,
    /// Nothing is read from here on, if known.
    data_bytes: Option<u64>,
    /// Up to where there may be data.
    limit_bytes: u64,
    /// Must end here, if known.
    expected_end: Option<i64>,
    /// Position and offset of every batch.
    starts: Vec<(u64, i64)>,
    with_batches: bool,
}

impl Walk {
    fn new(name: &str, extent: &Extent, header: Option<&IndexHeader>, with_batches: bool) -> Walk {
        let sealed = header.filter(|header| header.seal == Seal::Sealed);
        let indexed = header.map_or(0, |header| header.data_bytes);
        Walk {
            report: SegmentReport {
                file: name.to_owned(),
                base_offset: extent.base,
                end_offset: extent.base,
                batches: 0,
                records: 0,
                bytes: 0,
                index: String::new(),
                problems: Vec::new(),
                listed: Vec::new(),
            },
            certain_bytes: indexed.max(extent.flushed_bytes.unwrap_or(0)),
            data_bytes: sealed.map(|header| header.data_bytes),
            limit_bytes: u64::MAX,
            expected_end: sealed.map(|header| header.end.0).or(extent.next_base),
            starts: Vec::new(),
            with_batches,
        }
    }

    fn batches(&mut self, file: &dyn DiskFile) -> io::Result<()> {
        let limit = file.len()?.min(self.limit_bytes);
        let mut position = 0;
        while position < limit {
            match self.batch(file, position, limit)? {
                Ok(size) => position += size,
                Err(reason) => {
                    if position < self.certain_bytes {
                        let file = &self.report.file;
                        self.report.problems.push(format!("{file} at byte {position}: {reason}"));
                    }
                    break;
                }
            }
        }
        self.report.bytes = position;
        let (file, end) = (&self.report.file, self.report.end_offset);
        if let Some(expected) =
            self.expected_end.filter(|expected| end < *expected && self.report.problems.is_empty())
        {
            // Compaction may leave a gap before the next segment, never one that the segment's own index denies.
            if self.data_bytes.is_some() {
                self.report.problems.push(format!("{file} ends at offset {end}, and not at {expected}"));
            }
        }
        Ok(())
    }

    /// One batch: its size, or why there is none.
    fn batch(&mut self, file: &dyn DiskFile, position: u64, limit: u64) -> io::Result<Result<u64, String>> {
        let mut front = [0; HEADER_BYTES];
        if limit - position < HEADER_BYTES as u64 {
            return Ok(Err("too few bytes for a batch".to_owned()));
        }
        file.read_exact_at(position, &mut front)?;
        let header = match BatchHeader::parse(&front) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let size = header.size_bytes();
        if size > BATCH_BYTES_MAX || size as u64 > limit - position {
            return Ok(Err(format!("a batch of {size} bytes, but only {} are left", limit - position)));
        }
        if header.base_offset.0 < self.report.end_offset {
            return Ok(Err(format!("offset {} after {}", header.base_offset, self.report.end_offset)));
        }
        let mut batch = vec![0; size];
        file.read_exact_at(position, &mut batch)?;
        if let Err(error) = verify_crc(&batch) {
            return Ok(Err(error.to_string()));
        }
        self.take(position, &header);
        Ok(Ok(size as u64))
    }

    fn take(&mut self, position: u64, header: &BatchHeader) {
        self.report.batches += 1;
        self.report.records += u64::try_from(header.records_count).unwrap_or(0);
        self.report.end_offset = header.next_offset().0;
        self.starts.push((position, header.base_offset.0));
        if self.with_batches {
            let codec =
                header.compression().map_or_else(|error| error.to_string(), |codec| codec.to_string());
            self.report.listed.push(format!(
                "at {position}: offsets {} to {}, {} records, {} bytes, {codec}, epoch {}, producer {} ({}) from {}, max time {}",
                header.base_offset,
                header.last_offset(),
                header.records_count,
                header.size_bytes(),
                header.leader_epoch,
                header.producer_id,
                header.producer_epoch,
                header.base_sequence,
                header.max_timestamp_ms,
            ));
        }
    }

    /// Every entry stands for a batch that is there, where it says.
    fn check_index(&mut self, entries: Option<&[IndexEntry]>) {
        let Some(entries) = entries else {
            self.report.index = "not valid; it will be built anew".to_owned();
            return;
        };
        self.report.index = format!("{} entries", entries.len());
        for entry in entries {
            let offset = self.report.base_offset + i64::from(entry.relative_offset);
            let position = u64::from(entry.position);
            let is_there = self.starts.binary_search(&(position, offset)).is_ok();
            if !is_there && self.report.problems.is_empty() {
                let file = &self.report.file;
                let problem = format!(
                    "{file}: the index names offset {offset} at byte {position}, where no such batch is"
                );
                self.report.problems.push(problem);
            }
        }
    }
}
