//! An open file of the simulated disk: every call counts, may fail as injected, and works only in its own life.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::disk::{Node, NodeId, State, lock, not_found};
use super::fault::{CallKind, FaultKind};
use crate::DiskFile;

/// A file that is open.
#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) id: NodeId,
    pub(super) life: u64,
}

impl SimFile {
    /// Counts the call; the fault, if one is due, is left to the caller.
    fn start(&self, call: CallKind) -> io::Result<(MutexGuard<'_, State>, Option<FaultKind>)> {
        let mut state = lock(&self.state);
        if self.life != state.life {
            return Err(io::Error::other("this handle is from before the crash"));
        }
        let fault = state.faults.enter(call);
        Ok((state, fault))
    }

    fn enter(&self, call: CallKind) -> io::Result<MutexGuard<'_, State>> {
        let (state, fault) = self.start(call)?;
        fault.map_or(Ok(state), |fault| Err(fault.error()))
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.enter(CallKind::Len)?.file(self.id)?.len())
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.enter(CallKind::Read)?.file(self.id)?.read_at(position, buffer))
    }

    fn write_at(&self, position: u64, slices: &[IoSlice<'_>]) -> io::Result<()> {
        let (mut state, fault) = self.start(CallKind::Write)?;
        let bytes: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        let mut limit = bytes;
        let mut result = Ok(());
        if let Some(kind) = fault {
            limit = if kind == FaultKind::Short { state.random.below(bytes.max(1)) } else { 0 };
            result = Err(kind.error());
        }
        if limit > 0 {
            state.check_space(self.id, position + limit)?;
            state.file(self.id)?.write_at(position, slices, limit);
        }
        result
    }

    fn allocate(&self, position: u64, len: u64) -> io::Result<()> {
        let mut state = self.enter(CallKind::Allocate)?;
        state.check_space(self.id, position + len)?;
        state.file(self.id)?.grow(position + len);
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.enter(CallKind::Truncate)?;
        state.check_space(self.id, len)?;
        state.file(self.id)?.truncate(len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut guard, fault) = self.start(CallKind::SyncData)?;
        let state = &mut *guard;
        let Some(Node::File(file)) = state.nodes.get_mut(&self.id) else { return Err(not_found()) };
        match fault {
            None => file.sync(),
            Some(kind) => {
                file.fail_sync(&state.random);
                return Err(kind.error());
            }
        }
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn map(&self, len: u64) -> io::Result<Bytes> {
        let mut state = self.enter(CallKind::Map)?;
        let file = state.file(self.id)?;
        if len > file.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(file.map(len))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if state.life == self.life {
            state.open_files -= 1;
        }
    }
}
