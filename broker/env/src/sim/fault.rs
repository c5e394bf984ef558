//! Which call fails, and how.

use std::io;

/// The kinds of calls a disk answers; each can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named after its call")]
pub enum CallKind {
    Create,
    Open,
    Exists,
    Rename,
    RemoveFile,
    CreateDir,
    RemoveDir,
    List,
    SyncDir,
    Lock,
    FreeBytes,
    Populate,
    Len,
    Read,
    Write,
    Allocate,
    Truncate,
    SyncData,
    Map,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// An I/O error. A failed sync loses track of the unsynced bytes, as Linux does.
    Io,
    /// No space.
    Full,
    /// A write stops part of the way with an I/O error; any other call fails as with [`FaultKind::Io`].
    Short,
}

impl FaultKind {
    pub(super) fn error(self) -> io::Error {
        match self {
            FaultKind::Io | FaultKind::Short => io::Error::from_raw_os_error(libc::EIO),
            FaultKind::Full => io::Error::from_raw_os_error(libc::ENOSPC),
        }
    }
}

/// A failure to come.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which calls are counted; `None` counts all.
    pub call: Option<CallKind>,
    /// How many of them still come, the failing one included: 1 is the next one.
    pub nth: u64,
    /// How it fails.
    pub kind: FaultKind,
}

/// The failures to come, and what was counted so far.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) calls: u64,
    pub(super) fired: u64,
    pending: Vec<Fault>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.pending.push(fault);
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn clear(&mut self) {
        self.pending.clear();
    }

    /// Counts a call and says how it fails, if it does.
    pub(super) fn enter(&mut self, call: CallKind) -> Option<FaultKind> {
        self.calls += 1;
        let mut failed = None;
        self.pending.retain_mut(|fault| {
            if fault.call.is_some_and(|kind| kind != call) || failed.is_some() {
                return true;
            }
            fault.nth = fault.nth.saturating_sub(1);
            if fault.nth == 0 {
                failed = Some(fault.kind);
            }
            fault.nth > 0
        });
        self.fired += u64::from(failed.is_some());
        failed
    }
}
