//! zstd, RFC 8878: one frame, with a window of at most 8 MiB (which is also what the RFC asks every reader to support;
//! levels up to 19 stay within it).
//!
//! Setting up a context costs as much as a small batch, so each thread keeps one of each kind. The decompressor's also
//! keeps its window (8 MiB at most; the library lets go of one that stays too large).

use std::cell::{Cell, RefCell};
use std::io;

use ::zstd::zstd_safe::{
    CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, compress_bound, get_error_name,
    get_frame_content_size,
};

use super::decompressor::trailing;

/// Level 3 is the library's default, and Kafka's.
const LEVEL: i32 = 3;
/// Largest window a frame may ask for, as a power of two.
const WINDOW_LOG_MAX: u32 = 23;
/// Chunk for a frame that does not say how large it is, or is larger than [`WHOLE_BYTES_MAX`]: one block of zstd.
const CHUNK_BYTES: usize = 128 << 10;
/// A frame up to this size is decompressed in one go, which spares the library its window.
const WHOLE_BYTES_MAX: usize = 256 << 10;

thread_local! {
    static COMPRESSOR: RefCell<CCtx<'static>> = RefCell::new(compressor());
    /// The last workspace that a reader on this thread gave back.
    static SPARE: Cell<Option<Box<Workspace>>> = const { Cell::new(None) };
}

fn compressor() -> CCtx<'static> {
    let mut context = CCtx::create();
    context
        .set_parameter(CParameter::CompressionLevel(LEVEL))
        .and_then(|_| context.set_parameter(CParameter::ContentSizeFlag(true)))
        .expect("level and content size are parameters of every zstd");
    context
}

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + compress_bound(input.len()), 0);
    let written = COMPRESSOR
        .with_borrow_mut(|context| context.compress2(&mut out[start..], input))
        .expect("a buffer of the bound's size is large enough");
    out.truncate(start + written);
}

struct Workspace {
    context: DCtx<'static>,
    chunk: Vec<u8>,
}

impl Workspace {
    /// The thread's spare one, or a new one.
    fn take() -> Box<Workspace> {
        SPARE.take().unwrap_or_else(|| {
            let mut context = DCtx::create();
            context
                .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
                .expect("the limit is within the library's bounds");
            Box::new(Workspace { context, chunk: Vec::new() })
        })
    }
}

pub(super) struct Reader<'a> {
    /// Present until the reader is dropped.
    workspace: Option<Box<Workspace>>,
    /// Compressed bytes not yet read.
    rest: &'a [u8],
    chunk_bytes: usize,
    start: usize,
    end: usize,
    ended: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8]) -> Reader<'a> {
        let claimed = get_frame_content_size(body).ok().flatten().and_then(|size| usize::try_from(size).ok());
        let chunk_bytes = claimed.filter(|size| *size <= WHOLE_BYTES_MAX).unwrap_or(CHUNK_BYTES).max(1);
        let mut workspace = Workspace::take();
        if workspace.chunk.len() < chunk_bytes {
            workspace.chunk.resize(chunk_bytes, 0);
        }
        Reader { workspace: Some(workspace), rest: body, chunk_bytes, start: 0, end: 0, ended: false }
    }

    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        while self.start == self.end && !self.ended {
            self.decompress()?;
        }
        let workspace = self.workspace.as_ref().expect("a reader has its workspace until it is dropped");
        Ok(&workspace.chunk[self.start..self.end])
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        assert!(self.start <= self.end, "no more is consumed than was handed out");
    }

    fn decompress(&mut self) -> io::Result<()> {
        let workspace = self.workspace.as_mut().expect("a reader has its workspace until it is dropped");
        let mut input = InBuffer::around(self.rest);
        let mut output = OutBuffer::around(&mut workspace.chunk[..self.chunk_bytes]);
        let wanted = workspace
            .context
            .decompress_stream(&mut output, &mut input)
            .map_err(|code| io::Error::new(io::ErrorKind::InvalidData, get_error_name(code)))?;
        (self.start, self.end) = (0, output.pos());
        self.rest = &self.rest[input.pos()..];
        self.ended = wanted == 0;
        if self.ended && !self.rest.is_empty() {
            return Err(trailing(self.rest.len()));
        }
        if !self.ended && self.end == 0 && self.rest.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the zstd frame is cut"));
        }
        Ok(())
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if let Some(mut workspace) = self.workspace.take()
            && workspace.context.reset(ResetDirective::SessionOnly).is_ok()
        {
            SPARE.set(Some(workspace));
        }
    }
}
