//! Why a request's body is refused before it is decoded.

use thiserror::Error;

/// What is wrong with a body. Positions are bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum GuardError {
    /// Nothing is known of this request's shape.
    #[error("requests of key {api_key} and version {version} are not served")]
    Unserved {
        /// Which API.
        api_key: i16,
        /// In which version.
        version: i16,
    },
    /// The body ends within a field.
    #[error("the body ends within '{field}', at byte {at}")]
    Truncated {
        /// The field.
        field: &'static str,
        /// Where it begins.
        at: usize,
    },
    /// More elements than there is room for.
    #[error("'{field}' says it has {count} elements, but only {room} bytes follow byte {at}")]
    Count {
        /// The field.
        field: &'static str,
        /// As it says.
        count: u32,
        /// Bytes left after the count.
        room: usize,
        /// Where the elements begin.
        at: usize,
    },
    /// More bytes than there are.
    #[error("'{field}' says it has {length} bytes, but only {room} follow byte {at}")]
    Length {
        /// The field.
        field: &'static str,
        /// As it says.
        length: u32,
        /// Bytes left after the length.
        room: usize,
        /// Where its bytes begin.
        at: usize,
    },
    /// A negative count or length that is not that of a null.
    #[error("'{field}' at byte {at} has a negative length, {length}")]
    Negative {
        /// The field.
        field: &'static str,
        /// As it says.
        length: i32,
        /// Where it begins.
        at: usize,
    },
    /// Null, where it may not be.
    #[error("'{field}' at byte {at} is null, which it may not be")]
    Null {
        /// The field.
        field: &'static str,
        /// Where it begins.
        at: usize,
    },
    /// Neither there nor absent.
    #[error("'{field}' at byte {at} must begin with 1 or, when it is absent, with -1")]
    Presence {
        /// The field.
        field: &'static str,
        /// Where it begins.
        at: usize,
    },
    /// A number of variable length that does not end, or does not fit 32 bits.
    #[error("the number of variable length in '{field}', at byte {at}, is longer than 32 bits")]
    Varint {
        /// The field.
        field: &'static str,
        /// Where it begins.
        at: usize,
    },
    /// Too many elements in all arrays together.
    #[error("the request has more than {max} elements in its arrays")]
    Objects {
        /// How many a request may have.
        max: u32,
    },
    /// Too many tagged fields.
    #[error("the request has more than {max} tagged fields")]
    Tags {
        /// How many a request may have.
        max: u32,
    },
    /// A tagged field that is longer or shorter than it says.
    #[error("the tagged field '{field}' at byte {at} is not as long as it says")]
    TagSize {
        /// The field.
        field: &'static str,
        /// Where its value begins.
        at: usize,
    },
    /// Bytes after the last field.
    #[error("{count} bytes follow the end of the request")]
    Trailing {
        /// How many.
        count: usize,
    },
}
