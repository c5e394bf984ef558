//! Opening the log: what is there, whether it can be trusted, and a clean end to write on.
//!
//! The rule: what lies behind the last whole record of the last segment is a torn tail, never acknowledged, and is wiped.
//! Anything else that is not as it should be was durable once: that is rot or a missing file, and the node does not start.
//! Proofs that a place was durable: the marker, a later record, a later segment, the committed log id.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_env::{DirectoryLock, Disk, DiskFile, EntryKind};
use openraft::entry::RaftEntry;

use super::files::{self, TEMPORARY, at};
use super::journal::{Active, Journal, Segment};
use super::marker::{self, Marker, MarkerFile};
use super::record::Record;
use super::segment::{self, Header, RECORDS_AT};
use super::vote::{self, VoteFile};
use crate::StartError;
use crate::types::{Entry, LogId, Vote};

/// What was found.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) journal: Journal,
    /// The entries that are not purged, without gaps.
    pub(crate) entries: VecDeque<Entry>,
    pub(crate) last: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<LogId>,
}

/// Opens the log in a directory that exists, or begins one in an empty directory.
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    directory: &Path,
    segment_bytes: u64,
    lock: DirectoryLock,
) -> Result<Recovered, StartError> {
    let numbers = tidy(&*disk, directory)?;
    // They are there before the first segment is.
    for name in [vote::FILE, marker::FILE] {
        let path = directory.join(name);
        if !numbers.is_empty() && !disk.exists(&path).map_err(at(&path))? {
            return Err(StartError::damaged(&path, "it is missing"));
        }
    }
    let (vote_file, vote) = VoteFile::open(&*disk, directory)?;
    let (marker_file, marker) = MarkerFile::open(&*disk, directory)?;
    let mut replay = Replay::default();
    let mut segments = VecDeque::new();
    let active = if numbers.is_empty() {
        if vote.is_some() || marker.segment > 0 {
            return Err(StartError::damaged(directory, "all segments of the log are missing"));
        }
        begin(&*disk, directory, segment_bytes, &mut segments)?
    } else {
        let run = last_run(&numbers);
        if run.last().is_some_and(|last| marker.segment > *last) {
            return Err(StartError::damaged(directory, "the last segment of the log is missing"));
        }
        let active = read(&*disk, directory, run, &marker, &mut replay, &mut segments)?;
        replay.check(directory)?;
        for old in numbers.iter().filter(|number| !run.contains(number)) {
            // Left over from a purge that a crash interrupted: what follows the gap is complete without it.
            let path = directory.join(segment::name(*old));
            disk.remove_file(&path).map_err(at(&path))?;
        }
        active
    };
    disk.sync_dir(directory).map_err(at(directory))?;
    let Replay { entries, last, purged, .. } = replay;
    let journal = Journal {
        disk,
        directory: directory.to_owned(),
        segment_bytes,
        segments,
        active,
        last,
        purged,
        vote: vote_file,
        marker_file,
        marker,
        _lock: lock,
    };
    Ok(Recovered { journal, entries, last, purged, vote, committed: marker.committed })
}

/// Removes unfinished files; gives the numbers of the segments, in order.
fn tidy(disk: &dyn Disk, directory: &Path) -> Result<Vec<u64>, StartError> {
    let mut numbers = Vec::new();
    for entry in disk.list(directory).map_err(at(directory))? {
        if entry.kind != EntryKind::File {
            continue;
        }
        if entry.name.ends_with(TEMPORARY) {
            let path = directory.join(&entry.name);
            disk.remove_file(&path).map_err(at(&path))?;
        }
        numbers.extend(segment::number(&entry.name));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The longest run of numbers without a gap that ends with the last one.
fn last_run(numbers: &[u64]) -> &[u64] {
    let gap = numbers.windows(2).rposition(|pair| pair[0] + 1 != pair[1]);
    &numbers[gap.map_or(0, |at| at + 1)..]
}

fn begin(
    disk: &dyn Disk,
    directory: &Path,
    len: u64,
    segments: &mut VecDeque<Segment>,
) -> Result<Active, StartError> {
    let header = Header { number: 1, previous_end: 0, last: None, purged: None };
    let file = segment::create(disk, directory, &header, len).map_err(at(directory))?;
    segments.push_back(Segment { number: 1, highest: None });
    Ok(Active { file, number: 1, end: RECORDS_AT, durable: RECORDS_AT, len })
}

/// Reads the segments of `run` into `replay` and leaves the last one ready to be written.
fn read(
    disk: &dyn Disk,
    directory: &Path,
    run: &[u64],
    marker: &Marker,
    replay: &mut Replay,
    segments: &mut VecDeque<Segment>,
) -> Result<Active, StartError> {
    let mut before: Option<(PathBuf, u64)> = None;
    for number in run {
        let path = directory.join(segment::name(*number));
        let file = disk.open(&path).map_err(at(&path))?;
        let bytes = files::read_all(&*file).map_err(at(&path))?;
        let header = Header::decode(&bytes).map_err(|error| StartError::damaged(&path, error))?;
        if header.number != *number {
            return Err(StartError::damaged(&path, format!("it is segment {}", header.number)));
        }
        match &before {
            None => replay.begin(&header),
            Some((path, end)) if *end != header.previous_end => {
                let what = format!("records end at {end} instead of {}", header.previous_end);
                return Err(StartError::damaged(path, what));
            }
            Some(_) => replay.agree(&header, &path)?,
        }
        let (records, end) = segment::records(&bytes, *number);
        let mut highest = None;
        for record in records {
            let record = record.decode().map_err(|error| StartError::damaged(&path, error))?;
            if let Record::Entry(entry) = &record {
                highest = highest.max(Some(entry.index()));
            }
            replay.follow(record).map_err(|what| StartError::damaged(&path, what))?;
        }
        segments.push_back(Segment { number: *number, highest });
        if Some(number) == run.last() {
            return settle(file, &path, &bytes, *number, end, marker);
        }
        before = Some((path, end));
    }
    unreachable!("a run of segments is not empty")
}

/// Judges what lies behind the last whole record, wipes it, and makes the rest durable.
fn settle(
    file: Arc<dyn DiskFile>,
    path: &Path,
    bytes: &[u8],
    number: u64,
    end: u64,
    marker: &Marker,
) -> Result<Active, StartError> {
    let marked = if marker.segment == number { marker.end } else { RECORDS_AT };
    let remains = segment::remains(bytes, end);
    if marked > end || remains.is_some_and(|range| segment::proves_rot(bytes, number, end, range)) {
        let what = format!("the record at {end} is not whole, but it was once");
        return Err(StartError::damaged(path, what));
    }
    if let Some((from, to)) = remains {
        let zeros = vec![0; (to - from) as usize];
        file.write_at(from, &[IoSlice::new(&zeros)]).map_err(at(path))?;
    }
    // After a failed sync, bytes can be read that are not on the device and that no later sync would bring there. So
    // what is not known to be durable is written once more.
    let doubtful = &bytes[marked as usize..end as usize];
    file.write_at(marked, &[IoSlice::new(doubtful)]).map_err(at(path))?;
    file.sync_data().map_err(at(path))?;
    Ok(Active { file, number, end, durable: end, len: bytes.len() as u64 })
}

/// The log as the records read so far leave it.
#[derive(Debug, Default)]
struct Replay {
    /// The last log id before the first segment that was read.
    before: Option<LogId>,
    entries: VecDeque<Entry>,
    last: Option<LogId>,
    purged: Option<LogId>,
}

impl Replay {
    fn begin(&mut self, header: &Header) {
        self.before = header.last;
        self.last = header.last;
        self.purged = header.purged;
    }

    fn agree(&self, header: &Header, path: &Path) -> Result<(), StartError> {
        if header.last == self.last && header.purged == self.purged {
            return Ok(());
        }
        let what = format!("it continues after {:?}, but the log ends with {:?}", header.last, self.last);
        Err(StartError::damaged(path, what))
    }

    fn follow(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Entry(entry) => {
                let id = entry.log_id();
                if self.last.is_some_and(|last| last.index + 1 != id.index) {
                    return Err(format!("entry {id} follows {:?}", self.last));
                }
                self.last = Some(id);
                self.entries.push_back(entry);
            }
            Record::Truncation(after) => {
                let keep = |entry: &Entry| after.is_some_and(|after| entry.index() <= after.index);
                while self.entries.back().is_some_and(|entry| !keep(entry)) {
                    self.entries.pop_back();
                }
                self.last = after;
            }
            Record::Purge(upto) => {
                while self.entries.front().is_some_and(|entry| entry.index() <= upto.index) {
                    self.entries.pop_front();
                }
                self.purged = Some(upto);
                if self.last.is_none_or(|last| last.index < upto.index) {
                    self.last = Some(upto);
                }
            }
        }
        Ok(())
    }

    /// Between what is purged and the last entry there is no gap.
    fn check(&self, directory: &Path) -> Result<(), StartError> {
        let held = self.entries.len() as u64;
        let first = self.entries.front().map(|entry| entry.index());
        let whole = match (self.purged, self.last) {
            (None, None) => held == 0,
            (Some(_), None) => false,
            // A log that was never purged starts with the first entry it was given.
            (None, Some(last)) => {
                self.before.is_none() && first.is_some_and(|first| first + held == last.index + 1)
            }
            (Some(purged), Some(last)) => purged.index + held == last.index,
        };
        if whole {
            return Ok(());
        }
        let what = format!(
            "entries are missing: purged up to {:?}, {held} entries from {first:?}, the last one {:?}",
            self.purged, self.last
        );
        Err(StartError::damaged(directory, what))
    }
}
