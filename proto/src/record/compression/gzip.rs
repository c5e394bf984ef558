//! gzip, RFC 1952: one member.

use std::io::{self, Write};

use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

use super::decompressor::{Chunk, trailing};

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    let mut encoder = GzEncoder::new(out, flate2::Compression::default());
    encoder
        .write_all(input)
        .and_then(|()| encoder.finish().map(|_| ()))
        .expect("writing to memory does not fail");
}

pub(super) struct Reader<'a> {
    decoder: GzDecoder<&'a [u8]>,
    chunk: Chunk,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8]) -> Reader<'a> {
        Reader { decoder: GzDecoder::new(body), chunk: Chunk::new() }
    }

    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_empty() {
            self.chunk.refill(&mut self.decoder)?;
            if self.chunk.is_empty() && !self.decoder.get_ref().is_empty() {
                return Err(trailing(self.decoder.get_ref().len()));
            }
        }
        Ok(self.chunk.unread())
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.chunk.consume(count);
    }
}
