//! The state machine under Raft: what a caller writes, and how openraft drives it.
//!
//! Applied index, membership and data change together, under one lock, and go into a snapshot together. Nothing of them
//! is durable but the snapshots: after a restart the newest one is restored and what was committed since is applied again.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, StreamExt};
use openraft::entry::RaftEntry;
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};

use crate::snapshot::{Image, Snapshots};
use crate::types::{Entry, LogId, Reply, SnapshotMeta, StoredMembership, TypeConfig};

/// Entries that are applied before readers see them and proposers hear of them, at most.
const RUN_MAX: usize = 256;

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, Image>;

/// What every node carries out, in the same order.
pub trait StateMachine: Send + Sync + 'static {
    /// Carries out a committed payload; the reply goes to whoever proposed it. Deterministic: no clock, no randomness, no
    /// order of hashing.
    fn apply(&mut self, index: u64, payload: &[u8]) -> Vec<u8>;

    /// Called after each run of applied entries, before their proposers hear of them, and after [`StateMachine::restore`]:
    /// publish the new state to readers.
    fn applied_up_to(&mut self, index: u64);

    /// A consistent view taken now, encoded later on another thread.
    fn snapshot(&self) -> Box<dyn FnOnce() -> Vec<u8> + Send>;

    /// Replaces the whole state by a snapshot's. After an error the node stops.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String>;

    /// A hash of the state, for comparison between nodes at equal index. Equal states have equal digests, whatever way they
    /// came about.
    fn digest(&self) -> u32;
}

/// State machine, applied index and membership: one unit.
pub(crate) struct Applied {
    machine: Box<dyn StateMachine>,
    last: Option<LogId>,
    membership: StoredMembership,
}

impl Applied {
    fn apply(&mut self, entry: Entry) -> Reply {
        let id = entry.log_id();
        self.last = Some(id);
        match entry.payload {
            EntryPayload::Blank => Reply::default(),
            EntryPayload::Normal(payload) => Reply(self.machine.apply(id.index, &payload.0)),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(id), membership);
                Reply::default()
            }
        }
    }

    fn publish(&mut self) {
        if let Some(last) = &self.last {
            self.machine.applied_up_to(last.index);
        }
    }

    fn restore(&mut self, meta: &SnapshotMeta, image: &Image) -> io::Result<()> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        self.machine
            .restore(image.data())
            .map_err(|what| invalid(format!("the snapshot is refused: {what}")))?;
        let digest = self.machine.digest();
        if digest != image.digest {
            let what = format!(
                "the restored state has digest {digest:08x}, but was taken from {:08x}",
                image.digest
            );
            return Err(invalid(what));
        }
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.publish();
        Ok(())
    }
}

/// A handle to the state machine; clones are the same one.
#[derive(Clone)]
pub(crate) struct Machine {
    applied: Arc<Mutex<Applied>>,
    snapshots: Arc<Snapshots>,
}

impl Machine {
    pub(crate) fn new(machine: Box<dyn StateMachine>, snapshots: Snapshots) -> Machine {
        let applied = Applied { machine, last: None, membership: StoredMembership::default() };
        Machine { applied: Arc::new(Mutex::new(applied)), snapshots: Arc::new(snapshots) }
    }

    fn lock(&self) -> MutexGuard<'_, Applied> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The applied index and the digest at it.
    pub(crate) fn digest(&self) -> (Option<u64>, u32) {
        let applied = self.lock();
        (applied.last.map(|last| last.index), applied.machine.digest())
    }
}

/// Lets no snapshot be written any more; waits for one that is.
pub(crate) async fn close(machine: &Machine) {
    let snapshots = Arc::clone(&machine.snapshots);
    // The only error is that the runtime ends, and with it what could still write.
    let _ = tokio::task::spawn_blocking(move || snapshots.close()).await;
}

/// Does what waits for the disk elsewhere.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Image;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let applied = self.lock();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut runs = entries.ready_chunks(RUN_MAX);
        while let Some(run) = runs.next().await {
            let mut waiting: Vec<(ApplyResponder<TypeConfig>, Reply)> = Vec::new();
            {
                let mut applied = self.lock();
                for item in run {
                    let (entry, responder) = item?;
                    let reply = applied.apply(entry);
                    waiting.extend(responder.map(|responder| (responder, reply)));
                }
                applied.publish();
            }
            for (responder, reply) in waiting {
                responder.send(reply);
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let applied = self.lock();
        let meta = SnapshotMeta { last_log_id: applied.last, last_membership: applied.membership.clone() };
        let (digest, encode) = (applied.machine.digest(), applied.machine.snapshot());
        Builder { meta, digest, encode: Mutex::new(Some(encode)), snapshots: Arc::clone(&self.snapshots) }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Image) -> io::Result<()> {
        let (machine, meta) = (self.clone(), meta.clone());
        blocking(move || {
            machine.snapshots.publish(&meta, &snapshot, || machine.lock().restore(&meta, &snapshot))
        })
        .await
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let snapshots = Arc::clone(&self.snapshots);
        let found = blocking(move || snapshots.load()).await?;
        Ok(found.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

type Encode = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// A view of the state machine, to be made a snapshot.
pub(crate) struct Builder {
    meta: SnapshotMeta,
    digest: u32,
    /// In a mutex because openraft wants to share builders; only one uses it.
    encode: Mutex<Option<Encode>>,
    snapshots: Arc<Snapshots>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Image;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let encode = self.encode.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let encode = encode.ok_or_else(|| io::Error::other("this snapshot was built before"))?;
        let (meta, digest, snapshots) = (self.meta.clone(), self.digest, Arc::clone(&self.snapshots));
        blocking(move || {
            let snapshot = Image::encode(&meta, digest, &encode());
            snapshots.publish(&meta, &snapshot, || Ok(()))?;
            Ok(Snapshot { meta, snapshot })
        })
        .await
    }
}
