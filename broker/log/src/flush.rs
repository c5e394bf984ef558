//! Flushing: a group of appends is made durable at once, outside the partition's lock.
//!
//! `begin_flush` takes what is unsynced out of the log as a ticket, [`FlushTicket::sync`] waits for the device without
//! any lock, `complete_flush` hands out the proof. One flush per partition at a time: appends that come meanwhile are
//! covered by the next one. A failed sync stops the log for good (rule M-22): the kernel may have dropped the bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_env::DiskFile;
use highwater_proto::Offset;
use highwater_proto::museum::{self, Bug};

use crate::attest::{Attester, SlotWrite};
use crate::counters;
use crate::epochs::EPOCHS_FILE;
use crate::error::{IoFault, fault};
use crate::handles::LazyFile;
use crate::log::{Health, Marker, PartitionLog, Shared};
use crate::state::Ending;

/// Something known to be on the device. Only this crate makes one, and only after a sync; acknowledgements ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[must_use]
pub struct Durable<T>(T);

impl<T: Copy> Durable<T> {
    pub(crate) fn new(value: T) -> Durable<T> {
        Durable(value)
    }

    /// What is durable.
    pub fn get(self) -> T {
        self.0
    }
}

/// Why nothing more is acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum FlushError {
    /// The sync failed. The log is poisoned until it is opened again.
    #[error("what was appended may be lost: {0}")]
    Sync(#[from] IoFault),
    /// Something had to be opened, and too many files are open. Nothing is lost: flush again later.
    #[error("not flushed yet: {0}")]
    TooManyOpenFiles(IoFault),
    /// An earlier one failed.
    #[error("the log was stopped by an earlier failure: {reason}")]
    Poisoned {
        /// What failed.
        reason: String,
    },
}

/// What one flush has to do. Run [`FlushTicket::sync`] without holding the log's lock.
#[derive(Debug)]
#[must_use]
pub struct FlushTicket {
    shared: Arc<Shared>,
    directory: PathBuf,
    files: Vec<Arc<dyn DiskFile>>,
    /// To be written before the files are synced.
    attestation: Option<(Arc<dyn DiskFile>, SlotWrite)>,
    state: Option<Arc<LazyFile>>,
    epochs: Option<Vec<u8>>,
    sync_directory: bool,
    sync_parent: bool,
    marker: Marker,
    generation: u64,
}

/// A flush that ran; bring it back with `complete_flush`.
#[derive(Debug)]
#[must_use]
pub struct SyncedFlush {
    marker: Marker,
    generation: u64,
    result: Result<(), IoFault>,
    /// The leader epochs could not be written; they can be learnt from the data.
    epochs_result: Result<(), IoFault>,
    /// Given back where nothing was lost and all of it is still to be done.
    unfinished: Option<Unfinished>,
}

/// What a flush that could not open a file leaves to the next one.
#[derive(Debug)]
struct Unfinished {
    files: Vec<Arc<dyn DiskFile>>,
    directory: bool,
    parent: bool,
    state: bool,
}

impl FlushTicket {
    /// Waits until everything is on the device, or has failed.
    pub fn sync(mut self) -> SyncedFlush {
        let epochs_result = match &self.epochs {
            Some(epochs) => self.shared.replace_file(&self.directory.join(EPOCHS_FILE), epochs),
            None => Ok(()),
        };
        let result = self.run();
        let result = if museum::active(Bug::FailedSyncForgotten) { Ok(()) } else { result };
        let (marker, generation) = (self.marker, self.generation);
        let unfinished = matches!(&result, Err(error) if error.is_out_of_handles()).then(|| Unfinished {
            directory: self.sync_directory || self.epochs.is_some(),
            parent: self.sync_parent,
            state: self.state.is_some(),
            files: self.files,
        });
        SyncedFlush { marker, generation, result, epochs_result, unfinished }
    }

    /// The offset this flush makes durable.
    pub fn end(&self) -> Offset {
        self.marker.end
    }

    fn run(&mut self) -> Result<(), IoFault> {
        if museum::active(Bug::FlushWithoutSync) {
            return Ok(());
        }
        if let Some((file, write)) = self.attestation.take() {
            write.run(&*file).map_err(fault("write a file of", &self.directory))?;
        }
        while let Some(file) = self.files.last() {
            file.sync_data().map_err(fault("sync a file of", &self.directory))?;
            // Let go: where too many files are open, the directory may need its descriptor.
            self.files.pop();
        }
        if let Some(state) = &self.state {
            let file = state.get().map_err(fault("open the state file of", &self.directory))?;
            file.sync_data().map_err(fault("sync the state file of", &self.directory))?;
        }
        // A new segment's name must be there before its data counts (rule M-21).
        if self.sync_directory || self.epochs.is_some() {
            sync_dir(&self.shared, &self.directory).map_err(fault("sync", &self.directory))?;
        }
        if self.sync_parent {
            let parent = &self.shared.partitions;
            sync_dir(&self.shared, parent).map_err(fault("sync", parent))?;
        }
        Ok(())
    }
}

/// A directory is opened to be synced.
fn sync_dir(shared: &Shared, directory: &Path) -> std::io::Result<()> {
    shared.with_handle(|| shared.disk.sync_dir(directory))
}

impl PartitionLog {
    /// Whether anything waits for a flush and none is under way.
    pub fn needs_flush(&self) -> bool {
        let unflushed = &self.unflushed;
        self.health == Health::Good
            && !unflushed.in_flight
            && (self.active.as_ref().is_some_and(|active| active.file().is_unsynced())
                || !unflushed.files.is_empty()
                || unflushed.directory
                || unflushed.parent
                || unflushed.epochs
                || unflushed.state
                || self.flushed_end < self.log_end)
    }

    /// Takes out what is to be synced. `None` if there is nothing, a flush is under way already, or the log is stopped.
    pub fn begin_flush(&mut self) -> Option<FlushTicket> {
        if !self.needs_flush() {
            return None;
        }
        let marker = self.end_marker();
        let unflushed = &mut self.unflushed;
        let mut files = std::mem::take(&mut unflushed.files);
        let mut attestation = None;
        if let Some(active) = &mut self.active
            && let Some(file) = active.file().take_unsynced()
        {
            let write = active.attester.as_mut().map(Attester::begin_flush);
            attestation = write.map(|write| (Arc::clone(&file), write));
            files.push(file);
        }
        unflushed.in_flight = true;
        let names_doubtful = std::mem::take(&mut unflushed.names_doubtful);
        Some(FlushTicket {
            shared: Arc::clone(&self.shared),
            directory: self.directory.clone(),
            files,
            attestation,
            state: if std::mem::take(&mut unflushed.state) { self.state_file.file.clone() } else { None },
            epochs: std::mem::take(&mut unflushed.epochs).then(|| self.epochs.encode()),
            sync_directory: std::mem::take(&mut unflushed.directory) || names_doubtful,
            sync_parent: std::mem::take(&mut unflushed.parent) || names_doubtful,
            marker,
            generation: self.generation,
        })
    }

    /// Takes a flush back and says how far the log is durable now.
    pub fn complete_flush(&mut self, flush: SyncedFlush) -> Result<Durable<Offset>, FlushError> {
        self.unflushed.in_flight = false;
        if let Some(active) = self.active.as_mut().filter(|active| active.base() == flush.marker.segment_base)
            && let Some(attester) = &mut active.attester
        {
            if flush.result.is_ok() { attester.complete_flush() } else { attester.abandon_flush() }
        }
        if let Some(unfinished) = flush.unfinished {
            let unflushed = &mut self.unflushed;
            unflushed.files.extend(unfinished.files);
            unflushed.directory |= unfinished.directory;
            unflushed.parent |= unfinished.parent;
            unflushed.state |= unfinished.state;
            unflushed.epochs |= flush.epochs_result.is_err();
        }
        if let Err(error) = flush.result {
            if error.is_out_of_handles() {
                return Err(FlushError::TooManyOpenFiles(error));
            }
            self.poison(&error);
            return Err(FlushError::Sync(error));
        }
        if let Health::Poisoned { reason } = &self.health {
            return Err(FlushError::Poisoned { reason: reason.clone() });
        }
        if let Err(error) = flush.epochs_result {
            // Recovery learns them from the batches; until they are written no checkpoint may keep it from looking.
            tracing::warn!(partition = %self.topic_partition, %error, "the leader epochs were not written");
            self.unflushed.epochs = true;
        }
        // After a truncation the marker may speak of bytes that are gone.
        if flush.generation == self.generation && flush.marker.end >= self.flushed_end {
            self.flushed_end = flush.marker.end;
            self.state_file.marker = Some(flush.marker);
            if let Err(error) = self.write_state(Ending::Open) {
                // The data is durable all the same; recovery will look at more of it than it had to.
                tracing::warn!(partition = %self.topic_partition, %error, "the flushed end was not recorded");
            }
        }
        Ok(Durable::new(self.flushed_end))
    }

    /// Flushes everything and waits for it, in the caller's thread.
    pub fn flush(&mut self) -> Result<Durable<Offset>, FlushError> {
        if let Health::Poisoned { reason } = &self.health {
            return Err(FlushError::Poisoned { reason: reason.clone() });
        }
        match self.begin_flush() {
            Some(ticket) => self.complete_flush(ticket.sync()),
            None => Ok(Durable::new(self.flushed_end)),
        }
    }

    /// Stops the log: bytes beyond the flushed end may never reach the device, whatever reads show.
    pub(crate) fn poison(&mut self, error: &IoFault) {
        counters::add(&self.shared.counters.sync_failures, 1);
        tracing::error!(partition = %self.topic_partition, %error, "a sync failed: the partition is stopped");
        self.health = Health::Poisoned { reason: error.to_string() };
        // The next life must not trust the page cache. If this write fails too, it cannot know.
        let _ = self.write_state(Ending::SyncFailed);
    }
}
