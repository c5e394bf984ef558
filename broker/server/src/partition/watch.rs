//! How a fetch session learns that one of its partitions has news: a queue of slots, each in it at most once.
//!
//! The order of two steps makes this safe: a partition moves its high watermark first and marks slots second; a session
//! takes a slot first and reads the high watermark second. So a move that the session did not see has marked the slot
//! again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// A session's end: takes slots that have news.
#[derive(Debug, Default)]
pub struct Watcher {
    queue: Mutex<Queue>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    slots: VecDeque<usize>,
    /// By slot: is it in `slots`?
    queued: Vec<bool>,
}

/// A partition's end: marks one slot of one session.
#[derive(Clone, Debug)]
pub struct Watch {
    watcher: Arc<Watcher>,
    slot: usize,
}

impl Watcher {
    /// A handle that marks `slot`.
    pub fn watch(self: &Arc<Watcher>, slot: usize) -> Watch {
        Watch { watcher: Arc::clone(self), slot }
    }

    /// Marks a slot, waking the session if it waits. Marks of a slot already queued change nothing.
    pub fn mark(&self, slot: usize) {
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.queued.len() <= slot {
                queue.queued.resize(slot + 1, false);
            }
            if std::mem::replace(&mut queue.queued[slot], true) {
                return;
            }
            queue.slots.push_back(slot);
        }
        self.notify.notify_one();
    }

    /// Wakes whoever waits, though no slot was marked.
    pub fn wake(&self) {
        self.notify.notify_one();
    }

    /// Takes the slot that has waited longest.
    pub fn take(&self) -> Option<usize> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = queue.slots.pop_front()?;
        queue.queued[slot] = false;
        Some(slot)
    }

    /// How many slots are marked.
    pub fn marked(&self) -> usize {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).slots.len()
    }

    /// Waits until a slot was marked since the last wait. May return early; never misses a mark.
    pub async fn marked_again(&self) {
        self.notify.notified().await;
    }
}

impl Watch {
    /// There is news for this slot.
    pub fn mark(&self) {
        self.watcher.mark(self.slot);
    }

    /// Whether this handle marks that slot of that session.
    pub fn is(&self, watcher: &Arc<Watcher>, slot: usize) -> bool {
        self.slot == slot && Arc::ptr_eq(&self.watcher, watcher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slot_is_queued_once_and_a_mark_is_never_missed() {
        let watcher = Arc::new(Watcher::default());
        watcher.mark(3);
        watcher.watch(1).mark();
        watcher.mark(3);
        watcher.marked_again().await;
        assert_eq!((watcher.take(), watcher.take(), watcher.take()), (Some(3), Some(1), None));
        watcher.mark(3);
        assert_eq!(watcher.take(), Some(3));
    }
}
