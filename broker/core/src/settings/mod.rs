//! Topic settings: Kafka's names, defaults and bounds, and one of our own (`durability`).
//!
//! Settings are text on the wire and in the metadata; here they are checked once and become numbers. A value that is
//! out of bounds is an error that names the key and what would be right. Not here: the broker's own configuration.

mod accepted;
mod keys;
mod topic;

pub use accepted::{ACCEPTED, accepted_key};
pub use keys::{Bounds, KEYS, Key, closest_key, key};
pub use topic::{CleanupPolicy, Durability, SettingError, TimestampKind, Toggle, TopicSettings};
