//! The codecs of a batch's body: none, gzip, snappy, LZ4 frame, zstd.
//!
//! Compressing is one call over all records of a batch. Decompressing is a stream with limits ([`Decompressor`]): a
//! bomb costs at most a chunk past its limit, never the memory it asks for. One compressed frame fills the body
//! exactly; what follows it is refused, since readers disagree about it.

mod codec;
mod decompressor;
mod gzip;
mod lz4;
mod snappy;
mod zstd;

pub use codec::{Compression, UnknownCompression, compress};
pub use decompressor::{DecompressLimits, Decompressor, RATIO_FLOOR_BYTES, decompress};
