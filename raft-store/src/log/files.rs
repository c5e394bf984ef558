//! Small files that appear whole or not at all, and errors that name their file.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use highwater_env::{Disk, DiskFile};

use crate::StartError;

/// What an unfinished file's name ends with.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Puts `bytes` under `name`, synced with its name. The file is `len` bytes long, zeros after `bytes`.
pub(crate) fn publish(
    disk: &dyn Disk,
    directory: &Path,
    name: &str,
    len: u64,
    bytes: &[u8],
) -> io::Result<Arc<dyn DiskFile>> {
    let file = write_temporary(disk, directory, name, len, bytes)?;
    finish(disk, directory, name)?;
    Ok(file)
}

/// The first half of [`publish`]: the bytes are durable, under a name without meaning.
pub(crate) fn write_temporary(
    disk: &dyn Disk,
    directory: &Path,
    name: &str,
    len: u64,
    bytes: &[u8],
) -> io::Result<Arc<dyn DiskFile>> {
    let path = directory.join(format!("{name}{TEMPORARY}"));
    if disk.exists(&path)? {
        disk.remove_file(&path)?;
    }
    let file = disk.create(&path)?;
    file.allocate(0, len)?;
    file.write_at(0, &[IoSlice::new(bytes)])?;
    file.sync_data()?;
    Ok(file)
}

/// The second half of [`publish`]: the file gets its name, durably.
pub(crate) fn finish(disk: &dyn Disk, directory: &Path, name: &str) -> io::Result<()> {
    disk.rename(&directory.join(format!("{name}{TEMPORARY}")), &directory.join(name))?;
    disk.sync_dir(directory)
}

/// A whole file's bytes.
pub(crate) fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.len()?).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = vec![0; len];
    file.read_exact_at(0, &mut bytes)?;
    Ok(bytes)
}

/// Names the file in an error at start.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> StartError + '_ {
    move |source| StartError::Io { path: path.to_owned(), source }
}
