//! What a node needs to know to start.

use std::path::PathBuf;
use std::time::Duration;

use openraft::{Config, ConfigError, SnapshotPolicy};

/// Settings of one node. All nodes of a cluster should have the same durations and limits.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// This node's id; never used again by another node, or by this one with another directory.
    pub id: u64,
    /// The cluster's name; nodes of other clusters are not answered, and their directories not opened.
    pub cluster_name: String,
    /// Where log, vote and snapshots are; created if missing, and this node's alone.
    pub directory: PathBuf,
    /// How often a leader is heard of.
    pub heartbeat: Duration,
    /// A follower that has heard of no leader for [`RaftConfig::election_max`] asks for votes after a random time more, from
    /// here ...
    pub election_min: Duration,
    /// ... to here.
    pub election_max: Duration,
    /// How long a leader that is asked to change the voters waits to hear of those that are to be left, before it refuses.
    pub majority_patience: Duration,
    /// A snapshot is taken when this many entries were applied since the last one.
    pub snapshot_entries: u64,
    /// A snapshot is also taken when the entries in memory reach this many bytes.
    pub log_bytes_max: usize,
    /// Entries kept behind a snapshot, for followers that are a little behind.
    pub entries_kept: u64,
    /// The largest payload that can be proposed, in bytes.
    pub payload_bytes_max: usize,
    /// The largest snapshot that is taken from a peer, in bytes.
    pub snapshot_bytes_max: u64,
    /// The size of the log's segment files, in bytes, allocated ahead.
    pub segment_bytes: u64,
    /// The longest that one piece of a snapshot may take to be sent and, the last one, installed.
    pub snapshot_timeout: Duration,
}

impl RaftConfig {
    /// The defaults: a leader that falls silent is replaced after 0.9 to 1.2 s.
    pub fn new(id: u64, cluster_name: impl Into<String>, directory: impl Into<PathBuf>) -> RaftConfig {
        RaftConfig {
            id,
            cluster_name: cluster_name.into(),
            directory: directory.into(),
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(600),
            majority_patience: Duration::from_secs(2),
            snapshot_entries: 10_000,
            log_bytes_max: 64 << 20,
            entries_kept: 1_000,
            payload_bytes_max: 4 << 20,
            snapshot_bytes_max: 1 << 30,
            segment_bytes: 4 << 20,
            snapshot_timeout: Duration::from_secs(30),
        }
    }

    /// No request or response is larger than this, in bytes: what a transport must let through.
    pub fn request_bytes_max(&self) -> usize {
        // A read of the log stops at 1 MiB or after one entry; heads, ids and addresses take the rest.
        self.payload_bytes_max.max(1 << 20) + (1 << 20)
    }

    /// A leader counts as one for so long after a majority last answered it.
    pub(crate) fn lease(&self) -> Duration {
        self.election_max * 2
    }

    /// A connection on which a heartbeat takes longer than this is given up, if openraft waits so long.
    pub(crate) fn heartbeat_timeout(&self) -> Duration {
        self.election_max / 2
    }

    /// How long entries may take to be durable on the other side.
    pub(crate) fn append_timeout(&self) -> Duration {
        self.election_max * 2
    }

    /// The same in openraft's words.
    pub(crate) fn openraft(&self) -> Result<Config, ConfigError> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            cluster_name: self.cluster_name.clone(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election_min),
            election_timeout_max: millis(self.election_max),
            install_snapshot_timeout: millis(self.snapshot_timeout),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_entries),
            max_in_snapshot_log_to_keep: self.entries_kept,
            // A follower this far behind gets a snapshot, which then brings it within reach of the log.
            replication_lag_threshold: self.snapshot_entries.saturating_mul(2),
            enable_pre_vote: Some(true),
            // A leader that restarts is a follower until it is elected again: it may have lost its followers.
            enable_leader_restore: Some(false),
            allow_log_reversion: Some(false),
            // A leader without a quorum stops its heartbeats from time to time, so that those it still reaches can elect.
            quorum_loss_probe_interval: Some(millis(self.election_max).saturating_mul(3)),
            ..Config::default()
        };
        config.validate()
    }
}
