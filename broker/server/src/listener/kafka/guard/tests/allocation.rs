//! A heap that remembers, per thread, how much was asked of it: for tests that bound memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The tests' heap.
struct Counting;

#[global_allocator]
static HEAP: Counting = Counting;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
    static TOTAL: Cell<usize> = const { Cell::new(0) };
}

fn note(bytes: usize) {
    // A thread that is ending may have given its counters back already.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(bytes)));
    let _ = TOTAL.try_with(|total| total.set(total.get() + bytes));
}

// SAFETY: every call goes on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as this function's own contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as this function's own contract.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: as this function's own contract.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// What this thread asked for while something ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The largest block, in bytes.
    pub(super) largest: usize,
    /// All blocks together, in bytes, whether given back or not.
    pub(super) total: usize,
}

/// Runs something and says what it asked of the heap.
pub(super) fn asked<T>(run: impl FnOnce() -> T) -> (T, Asked) {
    LARGEST.set(0);
    TOTAL.set(0);
    let outcome = run();
    (outcome, Asked { largest: LARGEST.get(), total: TOTAL.get() })
}

#[test]
fn the_heap_remembers() {
    let (_, asked) = asked(|| (Vec::<u8>::with_capacity(1000), Vec::<u8>::with_capacity(5000)));
    assert_eq!(asked, Asked { largest: 5000, total: 6000 });
}
