//! Group commit: a few threads that flush dirty partitions, each one partition at a time.
//!
//! While one flush of a partition is under way its appends gather, and the next flush takes them all. Flushes of several
//! partitions run side by side, so that the device can merge them.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::owner::Partition;

/// The threads and their queue.
#[derive(Debug)]
pub struct Flusher {
    queue: Arc<FlushQueue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Dirty partitions, first come, first flushed.
#[derive(Debug, Default)]
pub(crate) struct FlushQueue {
    state: Mutex<QueueState>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    dirty: VecDeque<Arc<Partition>>,
    stopped: bool,
}

impl FlushQueue {
    pub(super) fn push(&self, partition: Arc<Partition>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).dirty.push_back(partition);
        self.filled.notify_one();
    }

    /// The next dirty partition, if there is one now.
    pub(super) fn pop_now(&self) -> Option<Arc<Partition>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).dirty.pop_front()
    }

    /// The next dirty partition; `None` when stopped and drained.
    fn pop(&self) -> Option<Arc<Partition>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(partition) = state.dirty.pop_front() {
                return Some(partition);
            }
            if state.stopped {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Flusher {
    /// Starts `threads` flusher threads.
    ///
    /// # Errors
    /// The system would not start a thread.
    pub fn start(threads: usize) -> io::Result<Flusher> {
        let queue = Arc::new(FlushQueue::default());
        let flusher = Flusher { queue: Arc::clone(&queue), threads: Mutex::default() };
        for index in 0..threads {
            let queue = Arc::clone(&queue);
            let work = move || {
                while let Some(partition) = queue.pop() {
                    partition.flush();
                }
            };
            let thread = std::thread::Builder::new().name(format!("flush-{index}")).spawn(work)?;
            flusher.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(flusher)
    }

    pub(super) fn queue(&self) -> Arc<FlushQueue> {
        Arc::clone(&self.queue)
    }

    /// Flushes what is queued and ends the threads. Blocks for as long as the disk takes.
    pub fn stop(&self) {
        self.queue.state.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.queue.filled.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a flusher thread had panicked");
            }
        }
    }
}
