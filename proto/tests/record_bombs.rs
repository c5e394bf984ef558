//! Bodies that grow without end: refused by name, with memory that stays small. Alone in its binary, because it counts
//! every allocation of the process (zstd allocates in C, unseen here; its window limit is checked in `record_codecs`).

#[path = "support/drafts.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use highwater_proto::record::compression::compress;
use highwater_proto::record::{BatchError, Compression, ValidationRules, validate_produced};
use support::{NOW_MS, forge};

/// Counts what is allocated; the peak of one thread's work is what the tests look at, one test at a time.
struct Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK_BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; the counters are beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE_BYTES.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK_BYTES.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that was allocated at a time while `work` ran, beyond what was there before.
fn peak_bytes_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE_BYTES.load(Ordering::SeqCst);
    PEAK_BYTES.store(before, Ordering::SeqCst);
    let result = work();
    (result, PEAK_BYTES.load(Ordering::SeqCst).saturating_sub(before))
}

const BOMB_BYTES: usize = 48 << 20;

/// One record whose value is 48 MiB of zeros.
fn bomb(codec: Compression) -> Vec<u8> {
    let mut body = Vec::with_capacity(BOMB_BYTES + 20);
    let varint = |value: usize, out: &mut Vec<u8>| highwater_proto::record::varint::push(value as i64, out);
    varint(BOMB_BYTES + 9, &mut body);
    body.extend_from_slice(&[0, 0, 0, 1]);
    varint(BOMB_BYTES, &mut body);
    body.resize(body.len() + BOMB_BYTES, 0);
    body.push(0);
    let mut compressed = Vec::new();
    compress(codec, &body, &mut compressed);
    forge(codec, 1, NOW_MS, &compressed)
}

fn rules(max_decompressed_bytes: usize, max_ratio: usize) -> ValidationRules {
    ValidationRules {
        max_batch_bytes: 64 << 20,
        max_decompressed_bytes,
        max_ratio,
        ..ValidationRules::new(NOW_MS)
    }
}

/// One test, because they share the allocator's counters.
#[test]
fn bombs_are_refused_by_name_and_memory_stays_small() {
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let bomb = bomb(codec);
        let (verdict, peak_bytes) = peak_bytes_of(|| validate_produced(&bomb, &rules(8 << 20, usize::MAX)));
        assert_eq!(verdict, Err(BatchError::DecompressedTooLarge { max_bytes: 8 << 20 }), "{codec}");
        assert!(peak_bytes < 512 << 10, "{codec}: {peak_bytes} bytes");

        // Taken when the limits allow it, and still streamed: 48 MiB pass through a few hundred KiB.
        let (verdict, peak_bytes) = peak_bytes_of(|| validate_produced(&bomb, &rules(64 << 20, usize::MAX)));
        assert!(verdict.is_ok(), "{codec}: {verdict:?}");
        assert!(peak_bytes < 512 << 10, "{codec}: {peak_bytes} bytes");

        let (verdict, _) = peak_bytes_of(|| validate_produced(&bomb, &rules(64 << 20, 15)));
        let compressed_bytes = bomb.len() - 61;
        assert_eq!(verdict, Err(BatchError::Ratio { compressed_bytes, max_ratio: 15 }), "{codec}");
    }
    counts_alone_allocate_nothing();
    a_snappy_block_that_claims_gigabytes_allocates_nothing();
}

fn counts_alone_allocate_nothing() {
    for codec in Compression::ALL {
        let mut compressed = Vec::new();
        compress(codec, &[0x10, 0, 0, 0, 1, 1, 0xfe, 0x7f, 0], &mut compressed);
        let batch = forge(codec, i32::MAX, NOW_MS, &compressed);
        let (verdict, peak_bytes) = peak_bytes_of(|| validate_produced(&batch, &rules(8 << 20, 100)));
        assert!(verdict.is_err(), "{codec}");
        assert!(peak_bytes < 512 << 10, "{codec}: {peak_bytes} bytes");
    }
}

fn a_snappy_block_that_claims_gigabytes_allocates_nothing() {
    // The length of a raw block is a varint in front: 0xfffffffe here.
    let body = [0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    let batch = forge(Compression::Snappy, 1, NOW_MS, &body);
    let (verdict, peak_bytes) = peak_bytes_of(|| validate_produced(&batch, &rules(usize::MAX, usize::MAX)));
    assert!(matches!(verdict, Err(BatchError::Decompress { codec: Compression::Snappy, .. })), "{verdict:?}");
    assert!(peak_bytes < 64 << 10, "{peak_bytes} bytes");
}
