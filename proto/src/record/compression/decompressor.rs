//! A body, decompressed chunk by chunk under limits.

use std::io;

use super::{Compression, gzip, lz4, snappy, zstd};
use crate::record::error::BatchError;

/// Up to this size the ratio is nobody's business: a small body that compresses well is no bomb.
pub const RATIO_FLOOR_BYTES: usize = 1 << 20;

/// How far a body may grow.
#[derive(Clone, Copy, Debug)]
pub struct DecompressLimits {
    /// Bytes it may decompress to.
    pub max_bytes: usize,
    /// How many times larger than compressed it may get, once it is larger than [`RATIO_FLOOR_BYTES`].
    pub max_ratio: usize,
}

impl DecompressLimits {
    /// The limit in bytes for a body of this compressed size.
    fn cap_bytes(self, compressed_bytes: usize) -> usize {
        self.max_bytes.min(compressed_bytes.saturating_mul(self.max_ratio).max(RATIO_FLOOR_BYTES))
    }
}

enum Codec<'a> {
    Plain(&'a [u8]),
    Gzip(gzip::Reader<'a>),
    Snappy(snappy::Reader<'a>),
    Lz4(lz4::Reader<'a>),
    Zstd(zstd::Reader<'a>),
}

/// Hands out the decompressed bytes of a body in chunks.
///
/// Memory: one chunk. That is 32 KiB for gzip, up to 256 KiB for zstd (which also keeps its window, 8 MiB at most), a block for LZ4
/// (4 MiB at most, three times that when blocks are linked) and for snappy (a block has no bound of its own there, so
/// the limits of the body and 32 times its compressed size hold).
pub struct Decompressor<'a> {
    codec: Codec<'a>,
    compression: Compression,
    compressed_bytes: usize,
    /// Bytes consumed.
    consumed: usize,
    /// Bytes that may be handed out in all.
    cap_bytes: usize,
    limits: DecompressLimits,
}

impl<'a> Decompressor<'a> {
    /// Starts on a body.
    ///
    /// # Errors
    /// [`BatchError::Decompress`] when it does not begin as the codec's bodies do.
    pub fn new(
        compression: Compression,
        body: &'a [u8],
        limits: DecompressLimits,
    ) -> Result<Decompressor<'a>, BatchError> {
        let cap_bytes = limits.cap_bytes(body.len());
        let codec = match compression {
            Compression::None => Ok(Codec::Plain(body)),
            Compression::Gzip => Ok(Codec::Gzip(gzip::Reader::new(body))),
            Compression::Snappy => Ok(Codec::Snappy(snappy::Reader::new(body, cap_bytes))),
            Compression::Lz4 => lz4::Reader::new(body).map(Codec::Lz4),
            Compression::Zstd => Ok(Codec::Zstd(zstd::Reader::new(body))),
        };
        let codec = codec.map_err(|error| failed(compression, &error))?;
        Ok(Decompressor { codec, compression, compressed_bytes: body.len(), consumed: 0, cap_bytes, limits })
    }

    /// The bytes at hand, decompressing more if there are none. Empty at the end, when the body was consumed whole.
    ///
    /// # Errors
    /// When the body is malformed, or is larger than its limits.
    #[inline]
    pub fn fill(&mut self) -> Result<&[u8], BatchError> {
        let filled = match &mut self.codec {
            Codec::Plain(rest) => Ok(*rest),
            Codec::Gzip(reader) => reader.fill(),
            Codec::Snappy(reader) => reader.fill(),
            Codec::Lz4(reader) => reader.fill(),
            Codec::Zstd(reader) => reader.fill(),
        };
        match filled {
            Ok(chunk) if self.consumed + chunk.len() <= self.cap_bytes => Ok(chunk),
            Ok(_) => Err(too_large(self.limits, self.compressed_bytes)),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                Err(too_large(self.limits, self.compressed_bytes))
            }
            Err(error) => Err(failed(self.compression, &error)),
        }
    }

    /// Takes `count` of the bytes at hand.
    ///
    /// # Panics
    /// When there are fewer.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        self.consumed += count;
        match &mut self.codec {
            Codec::Plain(rest) => *rest = &rest[count..],
            Codec::Gzip(reader) => reader.consume(count),
            Codec::Snappy(reader) => reader.consume(count),
            Codec::Lz4(reader) => reader.consume(count),
            Codec::Zstd(reader) => reader.consume(count),
        }
    }
}

/// Decompresses a whole body into one buffer.
///
/// # Errors
/// As [`Decompressor`].
pub fn decompress(codec: Compression, body: &[u8], limits: DecompressLimits) -> Result<Vec<u8>, BatchError> {
    let mut stream = Decompressor::new(codec, body, limits)?;
    // A guess at the size from bytes that are really there; growth follows what really comes out.
    let mut out = Vec::with_capacity(body.len().saturating_mul(4).min(stream.cap_bytes));
    loop {
        let chunk = stream.fill()?;
        if chunk.is_empty() {
            return Ok(out);
        }
        out.extend_from_slice(chunk);
        let passed = chunk.len();
        stream.consume(passed);
    }
}

fn too_large(limits: DecompressLimits, compressed_bytes: usize) -> BatchError {
    if limits.cap_bytes(compressed_bytes) < limits.max_bytes {
        BatchError::Ratio { compressed_bytes, max_ratio: limits.max_ratio }
    } else {
        BatchError::DecompressedTooLarge { max_bytes: limits.max_bytes }
    }
}

fn failed(codec: Compression, error: &io::Error) -> BatchError {
    BatchError::Decompress { codec, reason: error.to_string() }
}

/// Decompressed bytes that were read but not consumed; what the codecs without a buffer of their own use.
pub(super) struct Chunk {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

/// Size of a chunk of gzip.
const CHUNK_BYTES: usize = 32 << 10;

impl Chunk {
    pub(super) fn new() -> Chunk {
        Chunk { bytes: vec![0; CHUNK_BYTES], start: 0, end: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn refill(&mut self, reader: &mut impl io::Read) -> io::Result<()> {
        (self.start, self.end) = (0, 0);
        while self.end < self.bytes.len() {
            match reader.read(&mut self.bytes[self.end..])? {
                0 => break,
                count => self.end += count,
            }
        }
        Ok(())
    }

    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        assert!(self.start <= self.end, "no more is consumed than was handed out");
    }
}

/// The error of bytes behind a frame that should have been the body's last.
pub(super) fn trailing(left_bytes: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{left_bytes} bytes follow the compressed frame"))
}
