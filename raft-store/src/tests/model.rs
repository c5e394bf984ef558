//! What the log should hold, in the plainest way, and how to ask a real one.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use highwater_env::Disk;
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;

use crate::StartError;
use crate::StateMachine;
use crate::log::{self, IoThread, LogStore, Recovered};
use crate::types::{Entry, LogId, Payload, TypeConfig, Vote, log_id};

pub(super) const DIRECTORY: &str = "/raft";
pub(super) const SEGMENT_BYTES: u64 = 4096;

/// A state machine without state.
pub(super) struct Nothing;

impl StateMachine for Nothing {
    fn apply(&mut self, _index: u64, _payload: &[u8]) -> Vec<u8> {
        Vec::new()
    }

    fn applied_up_to(&mut self, _index: u64) {}

    fn snapshot(&self) -> Box<dyn FnOnce() -> Vec<u8> + Send> {
        Box::new(Vec::new)
    }

    fn restore(&mut self, _snapshot: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn digest(&self) -> u32 {
        0
    }
}

/// The smallest steps: each is there after a crash or is not.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Vote(Vote),
    Entry(Entry),
    Truncate(Option<LogId>),
    Purge(LogId),
}

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    pub(super) vote: Option<Vote>,
    pub(super) entries: Vec<Entry>,
    pub(super) last: Option<LogId>,
    pub(super) purged: Option<LogId>,
}

impl State {
    pub(super) fn follow(&mut self, step: &Step) {
        match step {
            Step::Vote(vote) => self.vote = Some(*vote),
            Step::Entry(entry) => {
                self.entries.push(entry.clone());
                self.last = Some(entry.log_id());
            }
            Step::Truncate(after) => {
                self.entries.retain(|entry| after.is_some_and(|after| entry.index() <= after.index));
                self.last = *after;
            }
            Step::Purge(upto) => {
                self.entries.retain(|entry| entry.index() > upto.index);
                self.purged = Some(*upto);
                self.last = self.last.max(Some(*upto));
            }
        }
    }

    pub(super) fn of(recovered: &Recovered) -> State {
        State {
            vote: recovered.vote,
            entries: recovered.entries.iter().cloned().collect(),
            last: recovered.last,
            purged: recovered.purged,
        }
    }

    pub(super) fn term(&self) -> u64 {
        self.vote.map_or(0, |vote| vote.leader_id.term)
    }

    /// The entry that would come next, of `bytes` bytes.
    pub(super) fn next_entry(&self, bytes: usize) -> Entry {
        let index = self.last.map_or(0, |last| last.index + 1);
        let term = self.last.map_or(0, |last| last.leader_id.term).max(self.term());
        let fill = (index as u8) ^ (term as u8);
        let payload = EntryPayload::Normal(Payload(Bytes::from(vec![fill; bytes])));
        Entry::new(log_id(term, index), payload)
    }
}

/// Opens the files alone.
pub(super) fn recover(disk: &Arc<dyn Disk>) -> Result<Recovered, StartError> {
    let directory = Path::new(DIRECTORY);
    disk.create_dir_all(directory).map_err(log::files::at(directory))?;
    let root = Path::new("/");
    disk.sync_dir(root).map_err(log::files::at(root))?;
    let lock = disk.lock_directory(directory, "a test").map_err(|error| match error {
        highwater_env::LockError::Held { holder } => {
            StartError::Locked { directory: directory.to_owned(), holder }
        }
        highwater_env::LockError::Io(source) => StartError::Io { path: directory.to_owned(), source },
    })?;
    log::open(Arc::clone(disk), directory, SEGMENT_BYTES, lock)
}

/// Opens the files and starts the thread.
pub(super) fn start(disk: &Arc<dyn Disk>) -> Result<(LogStore, IoThread, State), StartError> {
    let recovered = recover(disk)?;
    let state = State::of(&recovered);
    let (store, thread) = LogStore::start(recovered).expect("a thread");
    Ok((store, thread, state))
}

/// Hands entries over; the receiver hears when they are durable.
pub(super) async fn append(store: &mut LogStore, entries: Vec<Entry>) -> Receiver {
    let (sender, receiver) = TypeConfig::oneshot();
    // After a failure the queue is gone with the thread; the receiver hears of that.
    let _ = store.append(entries, IOFlushed::<TypeConfig>::signal(sender)).await;
    receiver
}

type Receiver = openraft::alias::OneshotReceiverOf<TypeConfig, std::io::Result<()>>;
