//! Files that are opened when they are needed, and closed again when too many are open.
//!
//! A partition that nobody writes to has no need of a descriptor, and a broker of ten thousand partitions has not that
//! many to give. A file with bytes that no sync has covered stays open: the kernel tells a failed writeback only to
//! those who had the file open then (rule M-22). So the bound is a soft one, by as many files as wait for a flush.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use highwater_env::DiskFile;

use crate::holders::{Held, Holder};
use crate::log::Shared;

/// A file of a partition, open or not.
#[derive(Debug)]
pub(crate) struct LazyFile {
    shared: Arc<Shared>,
    path: PathBuf,
    used: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<Arc<dyn DiskFile>>,
    /// Whether bytes were written that no sync has been asked for.
    unsynced: bool,
}

impl LazyFile {
    /// A file that is there; not opened yet.
    pub(crate) fn closed(shared: &Arc<Shared>, path: PathBuf) -> Arc<LazyFile> {
        let shared = Arc::clone(shared);
        Arc::new(LazyFile { shared, path, used: AtomicBool::new(false), state: Mutex::default() })
    }

    /// Takes over a handle that the file was created with.
    pub(crate) fn put(self: &Arc<Self>, file: Arc<dyn DiskFile>) {
        self.admit(&mut self.lock(), file);
    }

    /// The file, opened if need be.
    ///
    /// # Errors
    /// It cannot be opened; then nothing is lost, and the next call may succeed.
    pub(crate) fn get(self: &Arc<Self>) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        self.open(&mut state)
    }

    /// The file, to be written: it stays open until [`LazyFile::take_unsynced`].
    pub(crate) fn get_to_write(self: &Arc<Self>) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        let file = self.open(&mut state)?;
        state.unsynced = true;
        Ok(file)
    }

    /// The file if it was written since the last call. Whoever gets it syncs it, and keeps it open by holding it.
    pub(crate) fn take_unsynced(&self) -> Option<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        if std::mem::take(&mut state.unsynced) { state.file.clone() } else { None }
    }

    /// Whether it was written since the last [`LazyFile::take_unsynced`].
    pub(crate) fn is_unsynced(&self) -> bool {
        self.lock().unsynced
    }

    fn open(self: &Arc<Self>, state: &mut State) -> io::Result<Arc<dyn DiskFile>> {
        self.used.store(true, Ordering::Relaxed);
        if let Some(file) = &state.file {
            return Ok(Arc::clone(file));
        }
        let file = self.shared.open(&self.path)?;
        self.admit(state, Arc::clone(&file));
        Ok(file)
    }

    fn admit(self: &Arc<Self>, state: &mut State, file: Arc<dyn DiskFile>) {
        self.used.store(true, Ordering::Relaxed);
        state.file = Some(file);
        let holder: Arc<dyn Holder> = Arc::<LazyFile>::clone(self);
        // Its own lock is held: making room passes over it.
        self.shared.handles.admit(Arc::downgrade(&holder), 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holder for LazyFile {
    fn release(&self, _held: Held) -> bool {
        if self.used.swap(false, Ordering::Relaxed) {
            return false;
        }
        // Whoever has the lock is using it.
        let Ok(mut state) = self.state.try_lock() else { return false };
        // A flush under way holds the file too.
        if state.unsynced || state.file.as_ref().is_some_and(|file| Arc::strong_count(file) > 1) {
            return false;
        }
        state.file = None;
        true
    }
}
