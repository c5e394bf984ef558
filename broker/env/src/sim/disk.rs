//! The simulated file system: names, files, crashes, and the counting of every call.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fault::{CallKind, Fault, FaultKind, Faults};
use super::file::SimFile;
use super::node::FileNode;
use super::time::SimRandom;
use crate::{DirEntry, DirectoryLock, Disk, DiskFile, EntryKind, LockError};

pub(super) type NodeId = u64;
const ROOT: NodeId = 0;
const PAGE_BYTES: u64 = 4096;
/// No simulated file grows larger, unless [`SimDisk::with_file_bytes_max`] says so.
const FILE_BYTES_MAX: usize = 16 << 20;

/// A disk in memory; clones of the `Arc` are the same disk.
#[derive(Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) random: SimRandom,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    next_node: NodeId,
    /// Changes of names that no directory sync has made durable, oldest first.
    pending: Vec<NameChange>,
    pub(super) faults: Faults,
    file_bytes_max: usize,
    capacity_bytes: u64,
    /// Counts crashes; handles from before one no longer work.
    pub(super) life: u64,
    locks: BTreeMap<PathBuf, (u64, String)>,
    next_lock: u64,
    resident: bool,
    /// Handles of this life.
    pub(super) open_files: usize,
    open_files_max: usize,
}

#[derive(Debug)]
pub(super) enum Node {
    File(FileNode),
    Directory { entries: BTreeMap<String, NodeId>, durable: BTreeMap<String, NodeId> },
}

/// One atomic change: each name of each directory gets a new meaning, or none.
#[derive(Clone, Debug)]
struct NameChange {
    names: Vec<(NodeId, String, Option<NodeId>)>,
}

impl SimDisk {
    /// An empty disk without limit. The seed decides what crashes leave.
    pub fn new(seed: u64) -> Arc<SimDisk> {
        SimDisk::with_file_bytes_max(seed, FILE_BYTES_MAX)
    }

    /// An empty disk whose files may reach this many bytes each.
    pub fn with_file_bytes_max(seed: u64, file_bytes_max: usize) -> Arc<SimDisk> {
        let root = Node::Directory { entries: BTreeMap::new(), durable: BTreeMap::new() };
        Arc::new(SimDisk {
            state: Arc::new(Mutex::new(State {
                random: SimRandom::new(seed),
                nodes: BTreeMap::from([(ROOT, root)]),
                next_node: ROOT + 1,
                pending: Vec::new(),
                faults: Faults::default(),
                file_bytes_max,
                capacity_bytes: u64::MAX,
                life: 0,
                locks: BTreeMap::new(),
                next_lock: 0,
                resident: true,
                open_files: 0,
                open_files_max: usize::MAX,
            })),
        })
    }

    /// Cuts the power and turns it on again: unsynced bytes and names survive by chance, open handles are dead.
    pub fn crash(&self) {
        self.lock().crash().expect("memory for the new life");
    }

    /// What a power cut at this moment would leave, as a disk of its own. This one goes on undisturbed.
    pub fn crash_image(&self, seed: u64) -> Arc<SimDisk> {
        let state = self.lock();
        let copy = |(id, node): (&NodeId, &Node)| {
            let node = match node {
                Node::File(file) => Node::File(file.copy().expect("memory for the copy")),
                Node::Directory { entries, durable } => {
                    Node::Directory { entries: entries.clone(), durable: durable.clone() }
                }
            };
            (*id, node)
        };
        let mut image = State {
            random: SimRandom::new(seed),
            nodes: state.nodes.iter().map(copy).collect(),
            next_node: state.next_node,
            pending: state.pending.clone(),
            faults: Faults::default(),
            file_bytes_max: state.file_bytes_max,
            capacity_bytes: state.capacity_bytes,
            life: state.life,
            locks: BTreeMap::new(),
            next_lock: state.next_lock,
            resident: state.resident,
            open_files: 0,
            open_files_max: state.open_files_max,
        };
        drop(state);
        image.crash().expect("memory for the new life");
        Arc::new(SimDisk { state: Arc::new(Mutex::new(image)) })
    }

    /// Ends the process but not the machine: open handles are dead and locks are free, all bytes stay.
    pub fn kill_process(&self) {
        let mut state = self.lock();
        state.end_life();
    }

    /// Limits the disk to this many bytes, in whole pages per file.
    pub fn set_capacity_bytes(&self, bytes: u64) {
        self.lock().capacity_bytes = bytes;
    }

    /// Lets no more than this many files be open at once; a directory is open while it is listed or synced.
    pub fn set_open_files_max(&self, files: usize) {
        self.lock().open_files_max = files;
    }

    /// How many files are open.
    pub fn open_files(&self) -> usize {
        self.lock().open_files
    }

    /// Bytes in use, in whole pages per file.
    pub fn used_bytes(&self) -> u64 {
        self.lock().used_bytes()
    }

    /// Lets a later call fail.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.add(fault);
    }

    /// Takes back the failures that have not happened yet.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// How many injected failures have not happened yet.
    pub fn faults_pending(&self) -> usize {
        self.lock().faults.pending()
    }

    /// How many calls were made so far.
    pub fn calls(&self) -> u64 {
        self.lock().faults.calls
    }

    /// How many injected failures happened so far.
    pub fn faults_fired(&self) -> u64 {
        self.lock().faults.fired
    }

    /// Whether maps claim to be in memory.
    pub fn set_resident(&self, resident: Resident) {
        self.lock().resident = resident == Resident::Yes;
    }

    /// Flips the bits of `mask` in one byte of a file, in memory and on the device: bit rot.
    pub fn rot(&self, path: &Path, position: u64, mask: u8) -> io::Result<()> {
        let mut state = self.lock();
        let id = state.find(path)?;
        state.file(id)?.flip(position, mask);
        Ok(())
    }

    /// All files with their bytes as readers see them, by path: what two equal disks have in common.
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.lock();
        let mut files = BTreeMap::new();
        let mut open = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, id)) = open.pop() {
            match &state.nodes[&id] {
                Node::File(file) => {
                    files.insert(path, file.contents().to_vec());
                }
                Node::Directory { entries, .. } => {
                    open.extend(entries.iter().map(|(name, id)| (path.join(name), *id)));
                }
            }
        }
        files
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn enter(&self, call: CallKind) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        match state.faults.enter(call) {
            Some(fault) => Err(fault.error()),
            None => Ok(state),
        }
    }

    /// A call that opens something, if one more may be open.
    fn enter_open(&self, call: CallKind) -> io::Result<MutexGuard<'_, State>> {
        let state = self.enter(call)?;
        if state.open_files >= state.open_files_max {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        Ok(state)
    }

    fn handle(&self, state: &mut State, id: NodeId) -> Arc<dyn DiskFile> {
        state.open_files += 1;
        Arc::new(SimFile { state: Arc::clone(&self.state), id, life: state.life })
    }
}

/// Whether simulated maps claim to be in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resident {
    /// All of them.
    Yes,
    /// None of them.
    No,
}

/// A panic of one test thread must not hide the others' results, so poisoning is ignored.
pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl State {
    /// Handles are dead and locks are free.
    fn end_life(&mut self) {
        self.life += 1;
        self.open_files = 0;
        self.locks.clear();
    }

    fn used_bytes(&self) -> u64 {
        let used = |node: &Node| match node {
            Node::File(file) if file.linked => file.len().next_multiple_of(PAGE_BYTES),
            _ => 0,
        };
        self.nodes.values().map(used).sum()
    }

    /// Fails if the file cannot be made this long.
    pub(super) fn check_space(&mut self, id: NodeId, len: u64) -> io::Result<()> {
        let used = self.used_bytes();
        let capacity = self.capacity_bytes;
        let file = self.file(id)?;
        let more = len.max(file.len()).next_multiple_of(PAGE_BYTES) - file.len().next_multiple_of(PAGE_BYTES);
        if len > file.capacity() || (more > 0 && used + more > capacity) {
            return Err(FaultKind::Full.error());
        }
        Ok(())
    }

    pub(super) fn file(&mut self, id: NodeId) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&id) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Directory { .. }) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(not_found()),
        }
    }

    fn entries(&self, id: NodeId) -> io::Result<&BTreeMap<String, NodeId>> {
        match self.nodes.get(&id) {
            Some(Node::Directory { entries, .. }) => Ok(entries),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(not_found()),
        }
    }

    fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut id = ROOT;
        for component in path.components() {
            if let Component::Normal(name) = component {
                id = *self.entries(id)?.get(text(name)?).ok_or_else(not_found)?;
            }
        }
        Ok(id)
    }

    /// The directory that holds a path's last name, and that name.
    fn parent(&self, path: &Path) -> io::Result<(NodeId, String)> {
        let name = text(path.file_name().ok_or_else(not_found)?)?.to_owned();
        let parent = self.find(path.parent().unwrap_or(Path::new("/")))?;
        self.entries(parent)?;
        Ok((parent, name))
    }

    fn add(&mut self, node: Node) -> NodeId {
        let id = self.next_node;
        self.next_node += 1;
        self.nodes.insert(id, node);
        id
    }

    fn change(&mut self, names: Vec<(NodeId, String, Option<NodeId>)>) {
        for (directory, name, target) in &names {
            if let Some(Node::Directory { entries, .. }) = self.nodes.get_mut(directory) {
                set_name(entries, name, *target);
            }
        }
        self.pending.push(NameChange { names });
    }

    /// Makes a change survive power cuts.
    fn persist(&mut self, change: &NameChange) {
        for (directory, name, target) in &change.names {
            if let Some(Node::Directory { durable, .. }) = self.nodes.get_mut(directory) {
                set_name(durable, name, *target);
            }
        }
    }

    fn unlink(&mut self, id: NodeId) {
        if let Some(Node::File(file)) = self.nodes.get_mut(&id) {
            file.linked = false;
        }
    }

    fn crash(&mut self) -> io::Result<()> {
        self.end_life();
        self.faults.clear();
        // Each directory keeps its oldest changes up to a point of its own.
        let pending = std::mem::take(&mut self.pending);
        let mut cut: BTreeMap<NodeId, usize> = BTreeMap::new();
        for change in &pending {
            for (directory, ..) in &change.names {
                if !cut.contains_key(directory) {
                    cut.insert(*directory, self.random.below(pending.len() as u64 + 1) as usize);
                }
            }
        }
        for (index, change) in pending.iter().enumerate() {
            // A change of two directories goes with the last one it names, where the new name is.
            if change.names.last().is_some_and(|(directory, ..)| index < cut[directory]) {
                self.persist(change);
            }
        }
        let mut reachable = vec![ROOT];
        let mut nodes = BTreeMap::new();
        while let Some(id) = reachable.pop() {
            let Some(mut node) = self.nodes.remove(&id) else { continue };
            match &mut node {
                Node::File(file) => {
                    file.linked = true;
                    file.crash(&self.random)?;
                }
                Node::Directory { entries, durable } => {
                    entries.clone_from(durable);
                    reachable.extend(entries.values());
                }
            }
            nodes.insert(id, node);
        }
        self.nodes = nodes;
        Ok(())
    }
}

fn set_name(names: &mut BTreeMap<String, NodeId>, name: &str, target: Option<NodeId>) {
    match target {
        Some(id) => names.insert(name.to_owned(), id),
        None => names.remove(name),
    };
}

fn text(name: &OsStr) -> io::Result<&str> {
    name.to_str().ok_or_else(|| io::ErrorKind::InvalidFilename.into())
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.enter_open(CallKind::Create)?;
        let (parent, name) = state.parent(path)?;
        if state.entries(parent)?.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = FileNode::new(state.file_bytes_max)?;
        let id = state.add(Node::File(file));
        state.change(vec![(parent, name, Some(id))]);
        Ok(self.handle(&mut state, id))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.enter_open(CallKind::Open)?;
        let id = state.find(path)?;
        state.file(id)?;
        Ok(self.handle(&mut state, id))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.enter(CallKind::Exists)?.find(path).is_ok())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.enter(CallKind::Rename)?;
        let id = state.find(from)?;
        let (from_parent, from_name) = state.parent(from)?;
        let (to_parent, to_name) = state.parent(to)?;
        if let Some(replaced) = state.entries(to_parent)?.get(&to_name).copied() {
            if replaced == id {
                return Ok(());
            }
            if state.entries(replaced).is_ok_and(|entries| !entries.is_empty()) {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            state.unlink(replaced);
        }
        state.change(vec![(from_parent, from_name, None), (to_parent, to_name, Some(id))]);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.enter(CallKind::RemoveFile)?;
        let id = state.find(path)?;
        state.file(id)?;
        let (parent, name) = state.parent(path)?;
        state.unlink(id);
        state.change(vec![(parent, name, None)]);
        Ok(())
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.enter(CallKind::CreateDir)?;
        let mut id = ROOT;
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let name = text(name)?;
            id = match state.entries(id)?.get(name) {
                Some(existing) => *existing,
                None => {
                    let new =
                        state.add(Node::Directory { entries: BTreeMap::new(), durable: BTreeMap::new() });
                    state.change(vec![(id, name.to_owned(), Some(new))]);
                    new
                }
            };
        }
        state.entries(id).map(|_| ())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.enter(CallKind::RemoveDir)?;
        let id = state.find(path)?;
        state.entries(id)?;
        let (parent, name) = state.parent(path)?;
        let mut below = vec![id];
        while let Some(id) = below.pop() {
            state.unlink(id);
            if let Some(Node::Directory { entries, .. }) = state.nodes.get(&id) {
                below.extend(entries.values());
            }
        }
        state.change(vec![(parent, name, None)]);
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.enter_open(CallKind::List)?;
        let entries = state.entries(state.find(path)?)?;
        let kind = |id: &NodeId| match state.nodes[id] {
            Node::File(_) => EntryKind::File,
            Node::Directory { .. } => EntryKind::Directory,
        };
        Ok(entries.iter().map(|(name, id)| DirEntry { name: name.clone(), kind: kind(id) }).collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.enter_open(CallKind::SyncDir)?;
        let id = state.find(path)?;
        state.entries(id)?;
        let touches = |change: &NameChange| change.names.iter().any(|(directory, ..)| *directory == id);
        let (synced, kept) = std::mem::take(&mut state.pending).into_iter().partition(touches);
        state.pending = kept;
        let synced: Vec<NameChange> = synced;
        for change in &synced {
            state.persist(change);
        }
        Ok(())
    }

    fn lock_directory(&self, path: &Path, holder: &str) -> Result<DirectoryLock, LockError> {
        let mut state = self.enter(CallKind::Lock)?;
        state.find(path)?;
        if let Some((_, holder)) = state.locks.get(path) {
            return Err(LockError::Held { holder: holder.clone() });
        }
        let id = state.next_lock;
        state.next_lock += 1;
        state.locks.insert(path.to_owned(), (id, holder.to_owned()));
        Ok(DirectoryLock::new(SimLock { state: Arc::clone(&self.state), path: path.to_owned(), id }))
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let state = self.enter(CallKind::FreeBytes)?;
        Ok(state.capacity_bytes.saturating_sub(state.used_bytes()))
    }

    fn open_files_max(&self) -> usize {
        self.lock().open_files_max
    }

    fn is_resident(&self, _bytes: &[u8]) -> io::Result<bool> {
        Ok(self.lock().resident)
    }

    fn populate(&self, _bytes: &[u8]) -> io::Result<()> {
        self.enter(CallKind::Populate).map(|_| ())
    }
}

/// Frees the lock when dropped, unless a crash did so before.
struct SimLock {
    state: Arc<Mutex<State>>,
    path: PathBuf,
    id: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if state.locks.get(&self.path).is_some_and(|(id, _)| *id == self.id) {
            state.locks.remove(&self.path);
        }
    }
}
