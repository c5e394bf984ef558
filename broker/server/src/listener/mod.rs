//! The faces of the broker: each turns a wire into calls of the services and back, and decides nothing itself.

pub(crate) mod admin;
mod error_map;
pub(crate) mod grpc;
pub(crate) mod kafka;
