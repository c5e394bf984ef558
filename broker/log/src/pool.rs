//! Retired segments, written over as they are by whoever needs one next.
//!
//! Writing over blocks that exist, and over pages that are in memory, costs a third less than writing into fresh ones,
//! and a sync of them needs no journal commit. A file is handed out only when nobody can read it any more, neither through
//! a map nor from a socket. Its old bytes stay: what keeps them from passing for data is in [`crate::attest`], and
//! begins with the id that a file gets here for its next life. Files that an earlier process left in the pool are deleted.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use highwater_env::{Disk, DiskFile};

use crate::attest::{self, PAGE_BYTES, SegmentId};
use crate::error::{IoFault, fault};

/// Smaller files are not worth keeping: less than a segment of the least size allowed.
const FILE_BYTES_MIN: u64 = 2048;

/// A file for a segment to be written over.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) file: Arc<dyn DiskFile>,
    /// For the life that begins.
    pub(crate) id: SegmentId,
    /// Where its attesting page begins, and data must end.
    pub(crate) page_at: u64,
}

/// The pool of one data directory.
#[derive(Debug)]
pub(crate) struct Pool {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    files_max: usize,
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next_name: u64,
    /// Where ids come from.
    seed: u64,
    files: Vec<Pooled>,
}

#[derive(Debug)]
struct Pooled {
    path: PathBuf,
    bytes: u64,
    /// Free once nothing else holds the pin.
    pin: Arc<()>,
}

impl Pool {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        (files_max, bytes_max): (usize, u64),
        seed: u64,
    ) -> Pool {
        let state = Mutex::new(State { next_name: 0, seed, files: Vec::new() });
        Pool { disk, directory, files_max, bytes_max, state }
    }

    /// Creates the directory if need be, and deletes what an earlier life left in it.
    pub(crate) fn clear(&self) -> Result<(), IoFault> {
        let directory = &self.directory;
        self.disk.create_dir_all(directory).map_err(fault("create", directory))?;
        for entry in self.disk.list(directory).map_err(fault("list", directory))? {
            let path = directory.join(entry.name);
            self.disk.remove_file(&path).map_err(fault("remove", &path))?;
        }
        Ok(())
    }

    /// Takes in a segment's file under its present name. Says whether it did; if not, the file is still where it was.
    pub(crate) fn retire(&self, path: &Path, bytes: u64, pin: Arc<()>) -> Result<bool, IoFault> {
        let mut state = self.lock();
        let held: u64 = state.files.iter().map(|file| file.bytes).sum();
        if bytes < FILE_BYTES_MIN || state.files.len() >= self.files_max || held + bytes > self.bytes_max {
            return Ok(false);
        }
        let pooled = self.directory.join(format!("{}.old", state.next_name));
        state.next_name += 1;
        self.disk.rename(path, &pooled).map_err(fault("rename", path))?;
        state.files.push(Pooled { path: pooled, bytes, pin });
        Ok(true)
    }

    /// Gives out a file for a segment of up to `data_bytes`, under the name that `name` makes of its id; `None` if there
    /// is none of about that size. Its attesting page is empty; nothing is synced.
    pub(crate) fn take(
        &self,
        data_bytes: u64,
        name: impl Fn(SegmentId) -> PathBuf,
    ) -> Result<Option<Space>, IoFault> {
        let mut state = self.lock();
        let fits = |file: &Pooled| {
            let sizes = data_bytes / 2..=data_bytes + data_bytes / 4 + 2 * PAGE_BYTES;
            sizes.contains(&file.bytes) && Arc::strong_count(&file.pin) == 1
        };
        // The youngest one: more of its pages are in memory.
        let Some(at) = state.files.iter().rposition(fits) else { return Ok(None) };
        state.seed = attest::mix(state.seed);
        let id = SegmentId(state.seed);
        let pooled = &state.files[at];
        let path = &pooled.path;
        let file = self.disk.open(path).map_err(fault("open", path))?;
        let end = pooled
            .bytes
            .next_multiple_of(PAGE_BYTES)
            .max(data_bytes.next_multiple_of(PAGE_BYTES) + PAGE_BYTES);
        if pooled.bytes < end {
            file.allocate(pooled.bytes, end - pooled.bytes).map_err(fault("reserve space in", path))?;
        }
        let page_at = end - PAGE_BYTES;
        let page = [0; PAGE_BYTES as usize];
        file.write_at(page_at, &[IoSlice::new(&page)]).map_err(fault("write", path))?;
        self.disk.rename(path, &name(id)).map_err(fault("rename", path))?;
        state.files.remove(at);
        Ok(Some(Space { file, id, page_at }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
