//! What can be set: per topic, and per directory.

use highwater_proto::BrokerId;
use highwater_proto::record::TimestampType;

/// How old records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanupPolicy {
    /// Whole segments, by age and size.
    Delete,
    /// Records with a newer one of the same key.
    Compact,
    /// Both.
    CompactAndDelete,
}

impl CleanupPolicy {
    /// Whether segments go by age and size.
    pub fn deletes(self) -> bool {
        self != CleanupPolicy::Compact
    }

    /// Whether superseded records go.
    pub fn compacts(self) -> bool {
        self != CleanupPolicy::Delete
    }
}

/// The settings of one partition; a topic's own or the broker's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// A segment is full when the next batch would take it past this many bytes (`segment.bytes`).
    pub segment_bytes_max: u64,
    /// A segment is rolled when its first batch was appended this many milliseconds ago (`segment.ms`).
    pub segment_age_max_ms: i64,
    /// Bytes between two entries of the index (`index.interval.bytes`).
    pub index_interval_bytes: u32,
    /// The log keeps at most about this many bytes (`retention.bytes`); `None` for no limit.
    pub retention_bytes_max: Option<u64>,
    /// Records older than this many milliseconds go (`retention.ms`); `None` for never.
    pub retention_age_max_ms: Option<i64>,
    /// How old records go (`cleanup.policy`).
    pub cleanup: CleanupPolicy,
    /// Who gives records their time (`message.timestamp.type`).
    pub timestamp_type: TimestampType,
    /// A producer unheard of for this many milliseconds is forgotten (`producer.id.expiration.ms`).
    pub producer_expiry_ms: i64,
    /// Tombstones stay at least this many milliseconds after they were first cleaned (`delete.retention.ms`).
    pub delete_retention_ms: i64,
    /// Records younger than this many milliseconds are not compacted (`min.compaction.lag.ms`).
    pub compaction_lag_min_ms: i64,
    /// Compaction waits until this share of the log, in percent, has not been cleaned (`min.cleanable.dirty.ratio`).
    pub cleanable_percent_min: u8,
}

impl Default for LogConfig {
    fn default() -> Self {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        LogConfig {
            segment_bytes_max: 1 << 30,
            segment_age_max_ms: 7 * DAY_MS,
            index_interval_bytes: 4096,
            retention_bytes_max: None,
            retention_age_max_ms: Some(7 * DAY_MS),
            cleanup: CleanupPolicy::Delete,
            timestamp_type: TimestampType::CreateTime,
            producer_expiry_ms: DAY_MS,
            delete_retention_ms: DAY_MS,
            compaction_lag_min_ms: 0,
            cleanable_percent_min: 50,
        }
    }
}

/// The settings of a data directory.
#[derive(Clone, Debug)]
pub struct LogDirConfig {
    /// The cluster this broker belongs to; a directory of another one is refused.
    pub cluster_id: String,
    /// This broker; a directory of another one is refused.
    pub broker_id: BrokerId,
    /// At most about this many segments are mapped at once; those being read right now come on top.
    pub maps_max: usize,
    /// At most about this many bytes of sealed segments' indexes stay in memory.
    pub index_cache_bytes_max: usize,
    /// At most this many of the files that are written stay open, and those with unsynced bytes on top.
    pub open_files_max: usize,
    /// At most this many retired segments wait in the pool.
    pub pool_segments_max: usize,
    /// At most this many bytes wait in the pool.
    pub pool_bytes_max: u64,
}

impl LogDirConfig {
    /// The defaults for a broker of a cluster.
    pub fn new(cluster_id: impl Into<String>, broker_id: BrokerId) -> LogDirConfig {
        LogDirConfig {
            cluster_id: cluster_id.into(),
            broker_id,
            maps_max: 4096,
            index_cache_bytes_max: 256 << 20,
            open_files_max: 1024,
            pool_segments_max: 256,
            pool_bytes_max: 1 << 30,
        }
    }
}
