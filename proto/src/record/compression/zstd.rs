//! zstd, RFC 8878: one frame, with a window of at most 8 MiB (which is also what the RFC asks every reader to support;
//! levels up to 19 stay within it).

use std::cell::RefCell;
use std::io;

use ::zstd::stream::read::Decoder;
use ::zstd::zstd_safe::{CCtx, CParameter};

use super::decompressor::{Chunk, trailing};

/// Level 3 is the library's default, and Kafka's.
const LEVEL: i32 = 3;
/// Largest window a frame may ask for, as a power of two.
const WINDOW_LOG_MAX: u32 = 23;

thread_local! {
    /// Setting up a context costs more than compressing a small batch.
    static CONTEXT: RefCell<CCtx<'static>> = RefCell::new(context());
}

fn context() -> CCtx<'static> {
    let mut context = CCtx::create();
    context
        .set_parameter(CParameter::CompressionLevel(LEVEL))
        .and_then(|_| context.set_parameter(CParameter::ContentSizeFlag(true)))
        .expect("level and content size are parameters of every zstd");
    context
}

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + ::zstd::zstd_safe::compress_bound(input.len()), 0);
    let written = CONTEXT
        .with_borrow_mut(|context| context.compress2(&mut out[start..], input))
        .expect("a buffer of the bound's size is large enough");
    out.truncate(start + written);
}

pub(super) struct Reader<'a> {
    decoder: Decoder<'a, &'a [u8]>,
    chunk: Chunk,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8]) -> io::Result<Reader<'a>> {
        let mut decoder = Decoder::with_buffer(body)?.single_frame();
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        Ok(Reader { decoder, chunk: Chunk::new() })
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
