//! The gRPC messages and services, generated from `proto/highwater/v1/*.proto` at build time.

#[expect(
    missing_docs,
    clippy::allow_attributes_without_reason,
    clippy::allow_attributes,
    reason = "generated code; its words are in the .proto files"
)]
mod generated {
    tonic::include_proto!("highwater.v1");
}

pub use generated::*;

/// The encoded `FileDescriptorSet`, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
