//! LZ4: one standard frame (not the legacy one), blocks of at most 4 MiB. Written with independent blocks, which is
//! all that Kafka's Java client reads; read with linked ones too.

use std::io::{self, BufRead, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::decompressor::trailing;

/// First bytes of a frame.
const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Bits of the frame's flag byte, which follows the magic: the descriptor names a dictionary, ...
const FLAG_DICTIONARY: u8 = 0x01;
/// ... a checksum of the content follows the end mark, ...
const FLAG_CONTENT_CHECKSUM: u8 = 0x04;
/// ... the descriptor says how large the content is, ...
const FLAG_CONTENT_SIZE: u8 = 0x08;
/// ... a checksum follows each block.
const FLAG_BLOCK_CHECKSUM: u8 = 0x10;
/// Bit of a block's size: its bytes are not compressed.
const BLOCK_IS_PLAIN: u32 = 1 << 31;

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
        if !is_whole(body) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the LZ4 frame is cut"));
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

/// Whether the frame at the start of `body` goes on to its end mark, and to the checksum that may follow it. The decoder
/// takes a frame that stops between two blocks for a whole one, and the last bytes of a block may look like an end mark:
/// only walking from block to block tells. Layout: magic, flags, block descriptor, optional content size (8) and
/// dictionary id (4), header checksum (1); blocks of size (4), bytes, optional checksum (4); a size of 0 is the end mark.
fn is_whole(body: &[u8]) -> bool {
    let Some(&flags) = body.get(MAGIC.len()) else { return false };
    let present = |flag, bytes| if flags & flag == 0 { 0 } else { bytes };
    let descriptor_bytes = 3 + present(FLAG_CONTENT_SIZE, 8) + present(FLAG_DICTIONARY, 4);
    let mut rest = body.get(MAGIC.len() + descriptor_bytes..);
    while let Some((size, behind)) = rest.and_then(<[u8]>::split_first_chunk) {
        let size = u32::from_le_bytes(*size);
        if size == 0 {
            return behind.len() >= present(FLAG_CONTENT_CHECKSUM, 4);
        }
        let block_bytes = (size & !BLOCK_IS_PLAIN) as usize + present(FLAG_BLOCK_CHECKSUM, 4);
        rest = behind.get(block_bytes..);
    }
    false
}
