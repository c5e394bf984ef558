//! What happened, counted: the server shows these as metrics.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the directory was opened, over all its partitions.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        impl Counters {
            /// Every counter by name, for a metrics page.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed)),)*]
            }
        }
    };
}

counters! {
    /// Bytes cut off as a torn tail during recovery.
    torn_bytes,
    /// Partitions found to hold damaged data below what was flushed.
    rotten_partitions,
    /// Partitions that lost data they had reported as flushed.
    unclean_partitions,
    /// Bytes that were compared with their checksums while their log was in use.
    scrubbed_bytes,
    /// Damaged ranges that such a comparison came upon; what stays damaged is counted each time.
    damage_found,
    /// Indexes that failed a check and were built anew from their segment.
    indexes_rebuilt,
    /// Segments rolled.
    segments_rolled,
    /// Segments that are written over retired ones from the pool.
    segments_recycled,
    /// Segments removed by retention, delete-records, truncation or compaction.
    segments_removed,
    /// Failed syncs, each of which stopped a partition.
    sync_failures,
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
