//! Bounds on what all partitions of a directory hold together: maps and indexes of segments, and open files.
//!
//! A second-chance queue: a holder that was used since it was last looked at goes to the back, any other gives up what
//! it holds. Users keep their own clones, so letting go is always safe.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError, Weak};

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Map,
    Index,
    Handle,
}

/// Holds something that it can do without.
pub(crate) trait Holder: std::fmt::Debug + Send + Sync {
    /// Lets go of it unless it was used since the last time, or must be kept. Says whether it did.
    fn release(&self, held: Held) -> bool;
}

/// Who holds something, oldest first, with its weight.
#[derive(Debug)]
pub(crate) struct HolderQueue {
    held: Held,
    weight_max: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    holders: VecDeque<(Weak<dyn Holder>, usize)>,
    weight: usize,
}

impl HolderQueue {
    pub(crate) fn new(held: Held, weight_max: usize) -> HolderQueue {
        HolderQueue { held, weight_max, queue: Mutex::default() }
    }

    /// Takes note that somebody now holds something of this weight, and lets others let go if it is too much.
    pub(crate) fn admit(&self, holder: Weak<dyn Holder>, weight: usize) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.weight += weight;
        self.make_room(&mut queue, self.weight_max);
        queue.holders.push_back((holder, weight));
    }

    /// Lets everybody let go who can.
    pub(crate) fn let_go(&self) {
        self.make_room(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner), 0);
    }

    fn make_room(&self, queue: &mut Queue, weight_max: usize) {
        // Every holder is looked at no more than twice per call, so this ends even if all are in use.
        let mut looks = queue.holders.len() * 2;
        while queue.weight > weight_max && looks > 0 {
            looks -= 1;
            let Some((weak, weight)) = queue.holders.pop_front() else { break };
            let released = weak.upgrade().is_none_or(|holder| holder.release(self.held));
            if released {
                queue.weight -= weight;
            } else {
                queue.holders.push_back((weak, weight));
            }
        }
    }
}
