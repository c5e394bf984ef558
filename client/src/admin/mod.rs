//! Topics, settings, offsets: the control plane as a library.

mod calls;
mod types;

pub use calls::Admin;
pub use types::{
    ClusterDescription, ConfigValue, CreatedTopic, NewTopic, PartitionDescription, TopicDescription,
};
