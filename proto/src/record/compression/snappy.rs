//! Snappy. Kafka's bodies are framed as xerial's snappy-java frames its streams, which is what is written here:
//!
//! ```text
//! 0   8 bytes  82 "SNAPPY" 00
//! 8   i32      version 1, big-endian
//! 12  i32      compatible version 1
//! 16           blocks: i32 compressed size, big-endian; one raw snappy block (32 KiB of input each)
//! ```
//! Some clients send one raw block without the frame; both are read.

use std::io;

use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
/// Magic, version, compatible version.
const FRAME_HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// Input bytes of one block; the Java library's default.
const BLOCK_BYTES: usize = 32 << 10;
/// No block can expand further: the densest element is 3 bytes for 64.
const MAX_EXPANSION: usize = 32;

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&FRAME_HEADER);
    let mut encoder = Encoder::new();
    for block in input.chunks(BLOCK_BYTES) {
        let start = out.len();
        out.resize(start + 4 + max_compress_len(block.len()), 0);
        let written = encoder
            .compress(block, &mut out[start + 4..])
            .expect("a buffer of the bound's size is large enough");
        out[start..start + 4].copy_from_slice(&(written as u32).to_be_bytes());
        out.truncate(start + 4 + written);
    }
}

pub(super) struct Reader<'a> {
    /// Compressed bytes not yet read.
    rest: &'a [u8],
    framed: bool,
    block: Vec<u8>,
    start: usize,
    end: usize,
    /// Decompressed bytes that may still come.
    budget_bytes: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8], cap_bytes: usize) -> Reader<'a> {
        let framed = body.starts_with(&MAGIC) && body.len() >= FRAME_HEADER.len();
        let rest = if framed { &body[FRAME_HEADER.len()..] } else { body };
        Reader { rest, framed, block: Vec::new(), start: 0, end: 0, budget_bytes: cap_bytes }
    }

    #[inline]
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        while self.start == self.end && !self.rest.is_empty() {
            self.next_block()?;
        }
        Ok(&self.block[self.start..self.end])
    }

    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        assert!(self.start <= self.end, "no more is consumed than was handed out");
    }

    fn next_block(&mut self) -> io::Result<()> {
        let compressed = self.take_compressed()?;
        let length = decompress_len(compressed)?;
        if length > compressed.len().saturating_mul(MAX_EXPANSION) {
            return Err(invalid("a snappy block claims more than it can hold"));
        }
        if length > self.budget_bytes {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        if self.block.len() < length {
            self.block.resize(length, 0);
        }
        self.start = 0;
        self.end = Decoder::new().decompress(compressed, &mut self.block[..length])?;
        self.budget_bytes -= self.end;
        Ok(())
    }

    fn take_compressed(&mut self) -> io::Result<&'a [u8]> {
        if !self.framed {
            return Ok(std::mem::take(&mut self.rest));
        }
        let cut = || invalid("a snappy block is cut");
        let (size, rest) = self.rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let size = usize::try_from(u32::from_be_bytes(*size)).map_err(|_| cut())?;
        let (compressed, rest) = rest.split_at_checked(size).ok_or_else(cut)?;
        self.rest = rest;
        Ok(compressed)
    }
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
