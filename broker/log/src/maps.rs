//! Bounds on what all partitions of a directory keep in memory for reading: maps and indexes of segments.
//!
//! A second-chance queue: a segment that was read since it was last looked at goes to the back, any other gives up
//! what it holds. Readers keep their own clones, so letting go is always safe.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError, Weak};

use crate::segment::SegmentReader;

/// What a segment may hold for its readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Map,
    Index,
}

/// Segments that hold something, oldest first, with its weight.
#[derive(Debug)]
pub(crate) struct HolderQueue {
    held: Held,
    weight_max: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    holders: VecDeque<(Weak<SegmentReader>, usize)>,
    weight: usize,
}

impl HolderQueue {
    pub(crate) fn new(held: Held, weight_max: usize) -> HolderQueue {
        HolderQueue { held, weight_max, queue: Mutex::default() }
    }

    /// Takes note that a segment now holds something of this weight, and lets others let go if it is too much.
    pub(crate) fn admit(&self, holder: Weak<SegmentReader>, weight: usize) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.weight += weight;
        // Every holder is looked at no more than twice per call, so this ends even if all are in use.
        let mut looks = queue.holders.len() * 2;
        while queue.weight > self.weight_max && looks > 0 {
            looks -= 1;
            let Some((weak, weight)) = queue.holders.pop_front() else { break };
            let released = weak.upgrade().is_none_or(|segment| segment.release(self.held));
            if released {
                queue.weight -= weight;
            } else {
                queue.holders.push_back((weak, weight));
            }
        }
        queue.holders.push_back((holder, weight));
    }
}
