//! The durable side of Raft: log, vote, committed index and snapshots, generic over the state machine.
//!
//! A skeleton: this crate holds its place in the floor plan and exports nothing. A single broker keeps its
//! metadata in a checksummed journal (`broker/server`, `metadata/`); the cluster work fills this room with openraft's
//! storage traits over the segment writer, and nothing pretends to be Raft before that.
//!
//! What it must not know: topics, partitions, or any other content of the entries it stores.
