//! Replication between two brokers: one stream for all partitions that one of them leads and the other follows.
//!
//! The follower opens the stream and says for each partition where it stands ([`Tail`]); the leader answers whether the
//! logs agree, sends what comes, unasked, within a window, and tells high watermarks ([`Feed`]). What the follower has
//! flushed comes back on the same stream. Both ends are values that are told messages and asked for messages, without a
//! socket or a clock, so that simulations drive the same code. What a message does to a log is the partition's business
//! (`partition/replica`). Bytes of messages: [`message`].

mod feed;
mod following;
mod leading;
pub mod message;
mod tail;

pub use feed::{Feed, Outgoing, is_sound};
pub(crate) use following::Following;
pub(crate) use leading::{Find, lead};
pub use message::{FollowerMessage, LeaderMessage, Refusal};
pub use tail::Tail;

#[cfg(test)]
mod tests;
