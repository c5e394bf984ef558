//! One thread that makes space ahead of the writers: stretches of active segments, and retired segments zeroed for reuse.
//!
//! An fsync after writing over blocks that exist is several times cheaper than one that must journal new ones. Nobody
//! waits for this thread: a writer that catches up with it takes its space the ordinary way.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use highwater_log::LogDir;

use super::owner::Partition;

/// The thread and its queue.
#[derive(Debug)]
pub struct Preparer {
    queue: Arc<PrepareQueue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Partitions whose writers will soon need space, and whether retired segments wait.
#[derive(Debug, Default)]
pub(super) struct PrepareQueue {
    state: Mutex<QueueState>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    partitions: VecDeque<Arc<Partition>>,
    retired: Retired,
    stopped: bool,
}

/// Whether the pool may hold something to zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Retired {
    #[default]
    None,
    Perhaps,
}

enum Work {
    Partition(Arc<Partition>),
    Pool,
}

impl PrepareQueue {
    pub(super) fn push(&self, partition: Arc<Partition>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).partitions.push_back(partition);
        self.filled.notify_one();
    }

    /// Segments were retired: look into the pool.
    pub(super) fn look_into_pool(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).retired = Retired::Perhaps;
        self.filled.notify_one();
    }

    /// What to do next, writers first; `None` when stopped.
    fn pop(&self) -> Option<Work> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.stopped {
                return None;
            }
            if let Some(partition) = state.partitions.pop_front() {
                return Some(Work::Partition(partition));
            }
            if std::mem::take(&mut state.retired) == Retired::Perhaps {
                return Some(Work::Pool);
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Preparer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system would not start a thread.
    pub fn start(directory: &Arc<LogDir>) -> io::Result<Preparer> {
        let queue = Arc::new(PrepareQueue::default());
        let (taken, directory) = (Arc::clone(&queue), Arc::clone(directory));
        let work = move || {
            while let Some(work) = taken.pop() {
                match work {
                    Work::Partition(partition) => partition.prepare(),
                    Work::Pool => match directory.prepare_pool() {
                        // There may be more; but writers go first.
                        Ok(true) => taken.look_into_pool(),
                        Ok(false) => {}
                        Err(error) => {
                            tracing::warn!(%error, "a retired segment could not be zeroed for reuse")
                        }
                    },
                }
            }
        };
        let thread = std::thread::Builder::new().name("preparer".to_owned()).spawn(work)?;
        Ok(Preparer { queue, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn queue(&self) -> Arc<PrepareQueue> {
        Arc::clone(&self.queue)
    }

    /// Ends the thread; waits for the piece of work it is at.
    pub fn stop(&self) {
        self.queue.state.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.queue.filled.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the preparer thread had panicked");
        }
    }
}
