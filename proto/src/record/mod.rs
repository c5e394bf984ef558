//! RecordBatch v2: the unit of data everywhere, from the producer's memory to the consumer's.
//!
//! The layout is Kafka's, magic 2 (KIP-98, KIP-82): a header of 61 bytes ([`BatchHeader`]), then records ([`Record`]),
//! which one codec may have compressed together ([`compression`]). A producer writes a batch once ([`BatchBuilder`]), the
//! leader checks it ([`validate_produced`]), puts its own base offset and epoch in front ([`stamp`]) and nobody encodes
//! it again.
//!
//! Not here: files, sockets, clocks, what an offset means to a log.
//!
//! Invariant: no byte sequence makes these functions panic, allocate by a count they were merely told, or decompress
//! past the limits they were given.

mod builder;
mod checksum;
pub mod compression;
mod cursor;
mod error;
mod header;
mod layout;
#[cfg(test)]
mod layout_tests;
mod records;
mod retain;
mod scan;
mod split;
mod stamp;
mod validate;
pub mod varint;

pub use builder::{AppendError, BatchBuilder, MAX_RECORDS_BYTES};
pub use checksum::{crc32c, verify_crc};
pub use compression::{Compression, UnknownCompression};
pub use error::{BatchError, RecordFault};
pub use header::{
    BatchAttributes, BatchHeader, HEADER_BYTES, MAGIC, NO_SEQUENCE, NO_TIMESTAMP, TimestampType,
};
pub use records::{ChecksumCheck, DecodeLimits, Header, Record, RecordIter, decode_records};
pub use retain::{Retained, retain_records};
pub use split::{Batches, batches};
pub use stamp::{STAMP_BYTES, renumber, restamp_append_time, stamp};
pub use validate::{TransactionRule, ValidationRules, validate_produced};
