//! One handler file per API: a decoded request in, a response out.

pub(super) mod alter_configs;
pub(super) mod alter_partition_reassignments;
pub(super) mod api_versions;
pub(super) mod create_partitions;
pub(super) mod create_topics;
pub(super) mod delete_records;
pub(super) mod delete_topics;
pub(super) mod describe_cluster;
pub(super) mod describe_configs;
pub(super) mod describe_log_dirs;
pub(super) mod describe_producers;
pub(super) mod describe_topic_partitions;
pub(super) mod elect_leaders;
pub(super) mod fetch;
mod fetch_encoding;
pub(super) mod find_coordinator;
pub(super) mod incremental_alter_configs;
pub(super) mod init_producer_id;
pub(super) mod list_offsets;
pub(super) mod list_partition_reassignments;
pub(super) mod metadata;
pub(super) mod offset_for_leader_epoch;
pub(super) mod problem;
pub(super) mod produce;
mod replica_choice;

#[cfg(test)]
mod tests;
