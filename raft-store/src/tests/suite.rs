//! openraft's own storage suite, over a real directory and over the simulated disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use highwater_env::Disk;
use highwater_env::os::OsDisk;
use highwater_env::sim::SimDisk;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use super::model::Nothing;
use crate::log::{IoThread, LogStore};
use crate::machine::Machine;
use crate::start;
use crate::types::TypeConfig;
use crate::{RaftConfig, StartError};

/// Every store is in a directory of its own.
struct Builder<'a> {
    disk: Arc<dyn Disk>,
    root: &'a Path,
    next: AtomicU64,
}

impl Builder<'_> {
    fn open(&self) -> Result<(IoThread, LogStore, Machine), StartError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut config = RaftConfig::new(0, "suite", self.root.join(number.to_string()));
        // Small segments, so that the suite crosses from one to the next.
        config.segment_bytes = 1024;
        let opened = start::open(&config, Arc::clone(&self.disk))?;
        let machine = Machine::new(Box::new(Nothing), opened.snapshots);
        let (store, thread) = LogStore::start(opened.log).expect("a thread");
        Ok((thread, store, machine))
    }
}

impl StoreBuilder<TypeConfig, LogStore, Machine, IoThread> for Builder<'_> {
    async fn build(&self) -> Result<(IoThread, LogStore, Machine), StorageError<TypeConfig>> {
        Ok(self.open().expect("an empty directory is opened"))
    }
}

#[tokio::test]
async fn the_storage_suite_passes_in_a_real_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let builder = Builder { disk: Arc::new(OsDisk), root: directory.path(), next: AtomicU64::new(0) };
    Suite::test_all(builder).await.expect("the suite passes");
}

#[tokio::test]
async fn the_storage_suite_passes_on_the_simulated_disk() {
    let root = PathBuf::from("/raft");
    let builder = Builder { disk: SimDisk::new(1), root: &root, next: AtomicU64::new(0) };
    Suite::test_all(builder).await.expect("the suite passes");
}
