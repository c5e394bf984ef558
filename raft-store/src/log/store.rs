//! The log as openraft sees it: entries in memory, and a queue to the thread that makes them durable.
//!
//! Every entry that is not purged is in memory, so it can be read as soon as it was handed over, and replication never
//! waits for the disk. Snapshots bound how much that is.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::entry::RaftEntry;
use openraft::storage::IOFlushed;
use openraft::{EntryPayload, LogState, OptionalSend, RaftLogReader};

use super::record::Body;
use super::recovery::Recovered;
use super::thread::{Command, IoThread, Queue};
use crate::types::{Entry, LogId, TypeConfig, Vote};

/// Replication reads about this many bytes of payload at a time.
const READ_BYTES_MAX: usize = 1 << 20;

/// The log; clones are the same log.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    tail: Arc<Mutex<Tail>>,
    queue: Queue,
}

#[derive(Debug)]
struct Tail {
    /// Without gaps, up to `last`.
    entries: VecDeque<Entry>,
    /// Bytes of payload in `entries`.
    bytes: usize,
    last: Option<LogId>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
}

fn payload_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(payload) => payload.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

impl LogStore {
    /// Starts the thread over what was found.
    pub(crate) fn start(recovered: Recovered) -> io::Result<(LogStore, IoThread)> {
        let Recovered { journal, entries, last, purged, vote, committed } = recovered;
        let (thread, queue) = IoThread::start(journal)?;
        let bytes = entries.iter().map(payload_bytes).sum();
        let tail = Tail { entries, bytes, last, purged, vote, committed };
        Ok((LogStore { tail: Arc::new(Mutex::new(tail)), queue }, thread))
    }

    /// Bytes of payload in memory.
    pub(crate) fn bytes_in_memory(&self) -> usize {
        self.tail().bytes
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    fn first_index(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.index())
    }

    /// The entries of `start..end` that are here.
    fn range(&self, start: u64, end: u64) -> impl Iterator<Item = &Entry> {
        let first = self.first_index().unwrap_or(end);
        let skip = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
        let take = usize::try_from(end.saturating_sub(start.max(first))).unwrap_or(usize::MAX);
        self.entries.iter().skip(skip).take(take)
    }

    fn push(&mut self, entries: Vec<Entry>) -> io::Result<()> {
        for entry in entries {
            let id = entry.log_id();
            if self.last.is_some_and(|last| last.index + 1 != id.index) {
                let what = format!("entry {id} would leave a gap after {:?}", self.last);
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            self.last = Some(id);
            self.bytes += payload_bytes(&entry);
            self.entries.push_back(entry);
        }
        Ok(())
    }

    fn truncate_after(&mut self, after: Option<LogId>) {
        while let Some(entry) = self.entries.back()
            && after.is_none_or(|after| entry.index() > after.index)
        {
            self.bytes -= payload_bytes(entry);
            self.entries.pop_back();
        }
        self.last = after;
    }

    fn purge(&mut self, upto: LogId) {
        while let Some(entry) = self.entries.front()
            && entry.index() <= upto.index
        {
            self.bytes -= payload_bytes(entry);
            self.entries.pop_front();
        }
        self.purged = Some(upto);
        if self.last.is_none_or(|last| last.index < upto.index) {
            self.last = Some(upto);
        }
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        Ok(self.tail().range(start, end).cloned().collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.tail().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += payload_bytes(entry) + 1;
            first || bytes <= READ_BYTES_MAX
        };
        Ok(self.tail().range(start, end).take_while(fits).cloned().collect())
    }
}

impl openraft::storage::RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let tail = self.tail();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = *vote;
        self.queue.wait(|done| Command::Vote(vote, done)).await?;
        self.tail().vote = Some(vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.tail().committed = committed;
        self.queue.send(Command::Committed(committed)).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.tail().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let bodies = entries.iter().map(Body::entry).collect();
        self.tail().push(entries)?;
        self.queue.send(Command::Append(bodies, callback)).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let after = {
            let mut tail = self.tail();
            if tail.last.is_none_or(|last| last_log_id.is_some_and(|after| after.index >= last.index)) {
                return Ok(());
            }
            let after = last_log_id.or(tail.purged);
            tail.truncate_after(after);
            after
        };
        self.queue.wait(|done| Command::Truncate(after, done)).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.tail().purge(log_id);
        self.queue.send(Command::Purge(log_id)).await
    }
}
