//! LZ4: one standard frame (not the legacy one), blocks of at most 4 MiB. Written with independent blocks, which is
//! all that Kafka's Java client reads; read with linked ones too.

use std::io::{self, BufRead, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::decompressor::trailing;

/// First bytes of a frame.
const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Bit of the frame's flag byte (the fifth): a checksum of the content follows the end mark.
const FLAG_CONTENT_CHECKSUM: u8 = 0x04;

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) {
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(input).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail");
}

pub(super) struct Reader<'a> {
    decoder: FrameDecoder<&'a [u8]>,
    ended: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8]) -> io::Result<Reader<'a>> {
        if !body.starts_with(&MAGIC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not begin as an LZ4 frame"));
        }
        // The decoder takes a frame that stops between two blocks for a whole one, so its end is looked for here.
        let checksum_bytes =
            if body.get(4).is_some_and(|flags| flags & FLAG_CONTENT_CHECKSUM != 0) { 4 } else { 0 };
        let (front, _) = body.split_at(body.len() - checksum_bytes.min(body.len()));
        if !front.ends_with(&[0; 4]) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the LZ4 frame has no end mark"));
        }
        Ok(Reader { decoder: FrameDecoder::new(body), ended: false })
    }

    #[inline]
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        if self.ended {
            return Ok(&[]);
        }
        // Asked twice for the borrow checker's sake: the second time the bytes are at hand.
        if self.decoder.fill_buf()?.is_empty() {
            self.ended = true;
            let left_bytes = self.decoder.get_ref().len();
            return if left_bytes == 0 { Ok(&[]) } else { Err(trailing(left_bytes)) };
        }
        self.decoder.fill_buf()
    }

    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        self.decoder.consume(count);
    }
}
