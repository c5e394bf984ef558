//! The gRPC listener: Produce and Fetch as pipelined streams, everything else as unary calls, health and reflection.
//!
//! The HTTP/2 frame size is what decides throughput on fast links, so it is raised from 16 KiB; windows are sized for
//! links with some delay.

mod admin_api;
mod cluster_api;
mod fetch_body;
mod fetch_stream;
mod log_api;
mod produce_stream;
mod serve;

pub(crate) use serve::{advertised, serve};
