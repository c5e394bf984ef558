//! The writer of the log's files: appends records, syncs, begins new segments, removes old ones.
//!
//! Owned by the I/O thread. After any error the files are in an unknown state and the journal must not be used again;
//! the thread sees to that.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use highwater_env::{DirectoryLock, Disk, DiskFile};

use super::marker::{Marker, MarkerFile};
use super::record::{Body, Effect};
use super::segment::{self, Header, RECORDS_AT};
use super::vote::VoteFile;
use crate::types::{LogId, Vote};

/// A segment, and what must be purged before it may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// The highest index that was ever written to it.
    pub(super) highest: Option<u64>,
}

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) number: u64,
    /// Where the next record goes.
    pub(super) end: u64,
    /// All before this is synced.
    pub(super) durable: u64,
    /// Bytes that are allocated.
    pub(super) len: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) directory: PathBuf,
    pub(super) segment_bytes: u64,
    /// Oldest first; the last one is the active one.
    pub(super) segments: VecDeque<Segment>,
    pub(super) active: Active,
    pub(super) last: Option<LogId>,
    pub(super) purged: Option<LogId>,
    pub(super) vote: VoteFile,
    pub(super) marker_file: MarkerFile,
    pub(super) marker: Marker,
    pub(super) _lock: DirectoryLock,
}

impl Journal {
    /// Writes records to the end. They are durable after [`Journal::sync`].
    pub(super) fn append(&mut self, bodies: &[Body]) -> io::Result<()> {
        let mut buffer = Vec::new();
        for body in bodies {
            let framed = body.framed_bytes() as u64;
            if self.active.end + buffer.len() as u64 + framed > self.active.len {
                self.write(&mut buffer)?;
                self.begin_segment(framed)?;
            }
            body.frame(self.active.number, self.active.durable, &mut buffer);
            self.follow(body.effect);
        }
        self.write(&mut buffer)
    }

    fn write(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        if !buffer.is_empty() {
            self.active.file.write_at(self.active.end, &[IoSlice::new(buffer)])?;
            self.active.end += buffer.len() as u64;
            buffer.clear();
        }
        Ok(())
    }

    fn follow(&mut self, effect: Effect) {
        match effect {
            Effect::Append(id) => {
                self.last = Some(id);
                let active = self.segments.back_mut().expect("the active segment is in the list");
                active.highest = active.highest.max(Some(id.index));
            }
            Effect::Truncate(after) => self.last = after,
            Effect::Purge(upto) => {
                self.purged = Some(upto);
                if self.last.is_none_or(|last| last.index < upto.index) {
                    self.last = Some(upto);
                }
            }
        }
    }

    /// Makes all that was written durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.active.durable < self.active.end {
            self.active.file.sync_data()?;
            self.active.durable = self.active.end;
        }
        Ok(())
    }

    fn begin_segment(&mut self, least: u64) -> io::Result<()> {
        self.sync()?;
        let header = Header {
            number: self.active.number + 1,
            previous_end: self.active.end,
            last: self.last,
            purged: self.purged,
        };
        let len = self.segment_bytes.max(RECORDS_AT + least);
        let file = segment::create(&*self.disk, &self.directory, &header, len)?;
        self.active = Active { file, number: header.number, end: RECORDS_AT, durable: RECORDS_AT, len };
        self.segments.push_back(Segment { number: header.number, highest: None });
        Ok(())
    }

    /// Removes the segments that hold nothing but purged entries. The purge must be durable.
    pub(super) fn remove_purged(&mut self) -> io::Result<()> {
        let Some(purged) = self.purged else { return Ok(()) };
        while self.segments.len() > 1 {
            let oldest = self.segments[0];
            if oldest.highest.is_some_and(|highest| highest > purged.index) {
                break;
            }
            self.disk.remove_file(&self.directory.join(segment::name(oldest.number)))?;
            self.segments.pop_front();
        }
        Ok(())
    }

    /// Makes a vote durable.
    pub(super) fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.vote.save(vote)
    }

    /// Notes what is durable and committed, if that changed.
    pub(super) fn mark(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let marker = Marker { segment: self.active.number, end: self.active.durable, committed };
        if marker != self.marker {
            self.marker_file.write(&marker)?;
            self.marker = marker;
        }
        Ok(())
    }
}
