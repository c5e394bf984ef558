//! Retired segments, zeroed in the background and written over by whoever needs one next.
//!
//! Writing over blocks that exist makes a sync several times cheaper than writing into fresh ones. The price is that a
//! file's old bytes must never pass for new data. A rule about offsets would not do: a record's value may hold whole
//! batches of any offset, and a write may end in the middle of an old one. So a file is handed out only after it was
//! filled with zeros and synced, and zeroed only when nobody can read it any more. Files that an earlier life left in
//! the pool are deleted: what a crash did to them is not known.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use highwater_env::{Disk, DiskFile};

use crate::error::{IoFault, fault};

/// Smaller files are not worth keeping: less than a segment of the least size allowed.
const FILE_BYTES_MIN: u64 = 2048;
const PIECE_BYTES: usize = 1 << 20;

/// A zeroed file with its length.
pub(crate) type Space = (Arc<dyn DiskFile>, u64);

/// The pool of one data directory.
#[derive(Debug)]
pub(crate) struct Pool {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    files_max: usize,
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next_name: u64,
    files: Vec<Pooled>,
}

#[derive(Debug)]
struct Pooled {
    path: PathBuf,
    bytes: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// To be zeroed once nothing else holds the pin.
    Retired(Arc<()>),
    /// In the hands of a background thread.
    BeingZeroed,
    Ready,
}

impl Pool {
    pub(crate) fn new(disk: Arc<dyn Disk>, directory: PathBuf, files_max: usize, bytes_max: u64) -> Pool {
        let state = Mutex::default();
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
        let pooled = self.directory.join(format!("{}.zero", state.next_name));
        state.next_name += 1;
        self.disk.rename(path, &pooled).map_err(fault("rename", path))?;
        state.files.push(Pooled { path: pooled, bytes, stage: Stage::Retired(pin) });
        Ok(true)
    }

    /// Gives out a zeroed file of `bytes_min` to `bytes_max` bytes under a new name, opened; `None` if there is none.
    pub(crate) fn take(&self, name: &Path, bytes_min: u64, bytes_max: u64) -> Result<Option<Space>, IoFault> {
        let mut state = self.lock();
        let fits = |file: &Pooled| {
            matches!(file.stage, Stage::Ready) && (bytes_min..=bytes_max).contains(&file.bytes)
        };
        let Some(at) = state.files.iter().position(fits) else { return Ok(None) };
        let pooled = &state.files[at];
        let file = self.disk.open(&pooled.path).map_err(fault("open", &pooled.path))?;
        self.disk.rename(&pooled.path, name).map_err(fault("rename", &pooled.path))?;
        let bytes = state.files.remove(at).bytes;
        Ok(Some((file, bytes)))
    }

    /// Zeroes one retired file that nobody reads any more. Says whether there was one.
    pub(crate) fn prepare_one(&self) -> Result<bool, IoFault> {
        let mut state = self.lock();
        let free = |file: &Pooled| matches!(&file.stage, Stage::Retired(pin) if Arc::strong_count(pin) == 1);
        let Some(file) = state.files.iter_mut().find(|file| free(file)) else { return Ok(false) };
        file.stage = Stage::BeingZeroed;
        let (path, bytes) = (file.path.clone(), file.bytes);
        drop(state);
        let zeroed = zero(&*self.disk, &path, bytes);
        let mut state = self.lock();
        let at = state.files.iter().position(|file| file.path == path);
        let at = at.expect("a file being zeroed stays in the list");
        if let Err(error) = zeroed {
            state.files.remove(at);
            // Nobody may ever take it for zeroed; if it cannot be removed, the next life does.
            let _ = self.disk.remove_file(&path);
            return Err(error);
        }
        state.files[at].stage = Stage::Ready;
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn zero(disk: &dyn Disk, path: &Path, bytes: u64) -> Result<(), IoFault> {
    let file = disk.open(path).map_err(fault("open", path))?;
    write_zeros(&*file, 0, bytes).map_err(fault("write", path))?;
    file.sync_data().map_err(fault("sync", path))
}

/// Fills a range with zeros, by writing them.
fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> std::io::Result<()> {
    static ZEROS: [u8; PIECE_BYTES] = [0; PIECE_BYTES];
    let mut at = from;
    while at < to {
        let count = (to - at).min(PIECE_BYTES as u64) as usize;
        file.write_at(at, &[IoSlice::new(&ZEROS[..count])])?;
        at += count as u64;
    }
    Ok(())
}
