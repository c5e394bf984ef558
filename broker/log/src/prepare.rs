//! Space ahead of the writer: the active segment's next stretch is written with zeros and synced in the background.
//!
//! A sync after appending into such a stretch need not journal new extents. The writer never waits for it, beyond one
//! piece that is being written: if it catches up, it takes its space the ordinary way and the stretch is given up. That
//! is safe because pieces are written under a lock that giving up takes too, so no zero lands on an append.

use std::sync::{Arc, Mutex, PoisonError};

use highwater_env::DiskFile;
use highwater_proto::Offset;

use crate::append::SEGMENT_BYTES_LIMIT;
use crate::error::{IoFault, fault};
use crate::log::{Health, PartitionLog};
use crate::pool::write_zeros;

/// Younger segments stay as small as they are.
const DATA_BYTES_MIN: u64 = 1 << 20;
/// At most this much is prepared at once.
const STRETCH_BYTES_MAX: u64 = 16 << 20;
/// The writer waits for no more than one of these.
const PIECE_BYTES: u64 = 256 << 10;
const PAGE_BYTES: u64 = 4096;

/// Whether the writer has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stretch {
    Wanted,
    GivenUp,
}

/// A stretch being prepared, shared between the background thread and the writer.
pub(crate) type SharedStretch = Arc<Mutex<Stretch>>;

/// What to prepare. Run [`PrepareTicket::run`] in a background thread, without holding the log's lock.
#[derive(Debug)]
#[must_use]
pub struct PrepareTicket {
    file: Arc<dyn DiskFile>,
    path: std::path::PathBuf,
    base: Offset,
    from: u64,
    to: u64,
    stretch: SharedStretch,
}

/// A stretch that was prepared, or given up; bring it back with `complete_prepare`.
#[derive(Debug)]
#[must_use]
pub struct Prepared {
    base: Offset,
    to: u64,
    stretch: SharedStretch,
    result: Result<(), IoFault>,
}

impl PrepareTicket {
    /// Writes and syncs zeros, until done or given up.
    pub fn run(self) -> Prepared {
        let result = self.fill().map_err(fault("prepare space in", &self.path));
        Prepared { base: self.base, to: self.to, stretch: self.stretch, result }
    }

    fn fill(&self) -> std::io::Result<()> {
        let mut at = self.from;
        while at < self.to {
            let stretch = self.stretch.lock().unwrap_or_else(PoisonError::into_inner);
            if *stretch == Stretch::GivenUp {
                return Ok(());
            }
            if at == self.from {
                self.file.allocate(self.from, self.to - self.from)?;
            }
            let end = (at + PIECE_BYTES).min(self.to);
            write_zeros(&*self.file, at, end)?;
            at = end;
        }
        self.file.sync_data()
    }
}

impl PartitionLog {
    /// Whether the writer is about to run out of prepared space.
    pub fn needs_preparation(&self) -> bool {
        self.health == Health::Good
            && self.active.as_ref().is_some_and(|active| {
                let stretch = stretch_bytes(active.data_bytes);
                active.stretch.is_none()
                    && active.data_bytes >= DATA_BYTES_MIN
                    && active.allocated_bytes < self.config.segment_bytes_max.min(SEGMENT_BYTES_LIMIT)
                    && active.allocated_bytes - active.data_bytes < stretch / 2
            })
    }

    /// Takes out what is to be prepared; `None` if nothing is needed.
    pub fn begin_prepare(&mut self) -> Option<PrepareTicket> {
        if !self.needs_preparation() {
            return None;
        }
        let cap = self.config.segment_bytes_max.min(SEGMENT_BYTES_LIMIT).next_multiple_of(PAGE_BYTES);
        let active = self.active.as_mut()?;
        let from = active.allocated_bytes;
        let to = (from + stretch_bytes(active.data_bytes)).min(cap);
        if from >= to {
            return None;
        }
        let stretch = Arc::new(Mutex::new(Stretch::Wanted));
        active.stretch = Some(Arc::clone(&stretch));
        let (file, path) = (Arc::clone(&active.file), active.reader.log_path.clone());
        Some(PrepareTicket { file, path, base: active.base(), from, to, stretch })
    }

    /// Takes a stretch back; the writer may use it from now on.
    ///
    /// # Errors
    /// The space could not be prepared. The log goes on without.
    pub fn complete_prepare(&mut self, prepared: Prepared) -> Result<(), IoFault> {
        let Some(active) = self.active.as_mut().filter(|active| active.base() == prepared.base) else {
            return Ok(());
        };
        let same = active.stretch.as_ref().is_some_and(|stretch| Arc::ptr_eq(stretch, &prepared.stretch));
        if !same {
            return Ok(());
        }
        active.stretch = None;
        prepared.result?;
        active.allocated_bytes = active.allocated_bytes.max(prepared.to);
        Ok(())
    }
}

fn stretch_bytes(data_bytes: u64) -> u64 {
    data_bytes.clamp(DATA_BYTES_MIN, STRETCH_BYTES_MAX).next_multiple_of(PAGE_BYTES)
}

/// Stops a stretch from being prepared any further. Waits for one piece at most.
pub(crate) fn give_up(stretch: &SharedStretch) {
    *stretch.lock().unwrap_or_else(PoisonError::into_inner) = Stretch::GivenUp;
}
