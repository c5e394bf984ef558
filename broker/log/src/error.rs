//! An I/O error with what was being done, and to which file.

use std::io;
use std::path::{Path, PathBuf};

/// A call to the disk that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct IoFault {
    /// What was tried, as a verb.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the disk said.
    pub source: io::Error,
}

impl IoFault {
    /// Whether too many files are open: nothing was tried, and the call can succeed once some are closed.
    pub fn is_out_of_handles(&self) -> bool {
        highwater_env::disk::is_out_of_handles(&self.source)
    }

    /// Whether the disk is full, so that the call can succeed once there is space.
    pub fn is_disk_full(&self) -> bool {
        highwater_env::disk::is_disk_full(&self.source)
    }
}

/// For `map_err`: names the action and the path. The path is copied only when there is an error to be told.
pub(crate) fn fault(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IoFault {
    move |source| IoFault { action, path: path.to_owned(), source }
}
