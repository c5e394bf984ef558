//! The metadata: which topics there are, with what settings, and which producer ids are taken.
//!
//! A state machine: [`decide`] turns a request into records or an error without changing anything, [`Image::apply`]
//! carries records out, live and at start-up alike. Apply is deterministic: equal records, equal [`Image::digest`]
//! (I17). Time and fresh ids come with the request and are written into the record. Not here: where records are kept.

pub mod decide;
mod image;
mod record;

pub use image::{ApplyError, Image, Topic};
pub use record::{ConfigValue, Record, change};
