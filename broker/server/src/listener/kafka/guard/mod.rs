//! What stands before the codec: a request's body is walked, without an allocation, and refused if it lies.
//!
//! The codec trusts the counts it reads and reserves memory for them, so one forged number would end the process. Here
//! every count, length and tag is held against the bytes that are really there, along a table of the requests' shapes.
//! Not here: what the fields mean, or whether strings are UTF-8, which the codec says itself.
//! Invariant: what passes is decoded by the codec, or refused by it, with memory in proportion to its own length.

#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, expect(dead_code, reason = "only the tests use all of it"))]
mod codec;
mod error;
#[cfg(fuzzing)]
mod fuzz;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, expect(dead_code, reason = "only the tests use all of it"))]
mod generate;
mod requests;
mod schema;
mod walk;

#[cfg(test)]
mod tests;

#[cfg(fuzzing)]
pub use fuzz::kafka_request;
#[cfg(test)]
pub(in crate::listener::kafka) use generate::{Numbers, telling_body};
pub(in crate::listener::kafka) use walk::check;
