//! One thread that zeroes retired segments, so that they can be written over.
//!
//! An fsync after writing over blocks that exist is several times cheaper than one that must journal new ones. Nobody
//! waits for this thread: without a zeroed segment a writer takes its space the ordinary way. It leaves the segments
//! being written alone: zeros put ahead of a writer in its own file would be flushed by the writer's own fsync.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use highwater_log::LogDir;

/// The thread.
#[derive(Debug)]
pub struct Preparer {
    signal: Arc<Signal>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Signal {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

/// What the thread should do next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Wanted {
    #[default]
    Nothing,
    LookIntoPool,
    Stop,
}

impl Signal {
    fn set(&self, wanted: Wanted) {
        let mut current = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != Wanted::Stop {
            *current = wanted;
        }
        drop(current);
        self.changed.notify_one();
    }

    /// Waits until the pool is to be looked into; false when it is time to end.
    fn wait(&self) -> bool {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match *wanted {
                Wanted::Nothing => wanted = self.changed.wait(wanted).unwrap_or_else(PoisonError::into_inner),
                Wanted::LookIntoPool => {
                    *wanted = Wanted::Nothing;
                    return true;
                }
                Wanted::Stop => return false,
            }
        }
    }
}

impl Preparer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system would not start a thread.
    pub fn start(directory: &Arc<LogDir>) -> io::Result<Preparer> {
        let signal = Arc::new(Signal::default());
        let (watched, directory) = (Arc::clone(&signal), Arc::clone(directory));
        let work = move || {
            while watched.wait() {
                match directory.prepare_pool() {
                    Ok(true) => watched.set(Wanted::LookIntoPool),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%error, "a retired segment could not be zeroed for reuse"),
                }
            }
        };
        let thread = std::thread::Builder::new().name("preparer".to_owned()).spawn(work)?;
        Ok(Preparer { signal, thread: Mutex::new(Some(thread)) })
    }

    /// Segments may have been retired: look into the pool.
    pub fn look_into_pool(&self) {
        self.signal.set(Wanted::LookIntoPool);
    }

    /// Ends the thread; waits for the piece of work it is at.
    pub fn stop(&self) {
        self.signal.set(Wanted::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the preparer thread had panicked");
        }
    }
}
