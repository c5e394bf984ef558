//! Frames that other encoders write: those that must be read, and those that must not.

use std::io::Write;

use highwater_proto::record::compression::{DecompressLimits, compress, decompress};
use highwater_proto::record::{BatchError, Compression};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

const LIMITS: DecompressLimits = DecompressLimits { max_bytes: 16 << 20, max_ratio: usize::MAX };

fn text() -> Vec<u8> {
    (0..200_000_u32).flat_map(|i| (i / 7).to_string().into_bytes()).collect()
}

#[test]
fn foreign_frames_that_are_sound_are_read() {
    let text = text();
    let raw_snappy = snap::raw::Encoder::new().compress_vec(&text).expect("compresses");
    assert_eq!(
        decompress(Compression::Snappy, &raw_snappy, LIMITS).as_ref(),
        Ok(&text),
        "snappy without a frame"
    );

    for mode in [BlockMode::Linked, BlockMode::Independent] {
        for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            let info = FrameInfo::new()
                .block_mode(mode)
                .block_size(size)
                .block_checksums(true)
                .content_checksum(true)
                .content_size(Some(text.len() as u64));
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&text).expect("memory");
            let frame = encoder.finish().expect("memory");
            assert_eq!(decompress(Compression::Lz4, &frame, LIMITS).as_ref(), Ok(&text));
        }
    }
    assert_eq!(decompress(Compression::Zstd, &zstd_frame(&text, 23), LIMITS).as_ref(), Ok(&text));
}

fn zstd_frame(input: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("level 3");
    encoder.window_log(window_log).expect("within the library's bounds");
    encoder.write_all(input).expect("memory");
    encoder.flush().expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn frames_that_cost_too_much_or_are_followed_by_more_are_refused() {
    let text = text();
    let refused = |codec, body: &[u8]| {
        let verdict = decompress(codec, body, LIMITS);
        assert!(
            matches!(verdict, Err(BatchError::Decompress { .. })),
            "{codec}: {:?}",
            verdict.map(|v| v.len())
        );
    };
    refused(Compression::Zstd, &zstd_frame(&text, 24));
    for codec in [Compression::Gzip, Compression::Lz4, Compression::Zstd] {
        let mut frame = Vec::new();
        compress(codec, &text, &mut frame);
        refused(codec, &frame[..frame.len() - 1]);
        refused(codec, &frame[..frame.len() / 2]);
        refused(codec, &[&frame[..], &frame[..]].concat());
        refused(codec, &[&frame[..], b"x"].concat());
        refused(codec, b"");
    }
    let mut framed = Vec::new();
    compress(Compression::Snappy, &text, &mut framed);
    refused(Compression::Snappy, &framed[..framed.len() - 1]);
    refused(Compression::Snappy, &[&framed[..], b"x"].concat());
    let mut legacy = vec![0x02, 0x21, 0x4c, 0x18];
    legacy.extend_from_slice(&lz4_flex::block::compress_prepend_size(&text));
    legacy.extend_from_slice(&[0; 4]);
    refused(Compression::Lz4, &legacy);
}

/// Data that ends with zeros looked like the end mark that was cut off, and the batch was taken: this decoder reads it,
/// Kafka's Java client does not.
#[test]
fn an_lz4_frame_is_cut_at_no_byte_even_where_its_data_look_like_an_end_mark() {
    for (block_checksums, content_checksum) in [(false, false), (false, true), (true, false), (true, true)] {
        // Small and zero: one compressed block. Random first: one block as it is. Large: several blocks.
        let noise: Vec<u8> = (0..40_u32).map(|i| (i * 167 % 251) as u8).chain([0; 8]).collect();
        for data in [vec![0; 27], noise, [text(), vec![0; 70_000]].concat()] {
            let info = FrameInfo::new()
                .block_size(BlockSize::Max64KB)
                .block_checksums(block_checksums)
                .content_checksum(content_checksum)
                .content_size(Some(data.len() as u64));
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&data).expect("memory");
            let frame = encoder.finish().expect("memory");
            assert_eq!(decompress(Compression::Lz4, &frame, LIMITS).as_ref(), Ok(&data));
            let cuts = (0..frame.len().min(64)).chain(frame.len().saturating_sub(64)..frame.len());
            for cut in cuts {
                let verdict = decompress(Compression::Lz4, &frame[..cut], LIMITS).map(|data| data.len());
                assert!(
                    matches!(verdict, Err(BatchError::Decompress { .. })),
                    "{cut} bytes of {}: {verdict:?}",
                    frame.len()
                );
            }
        }
    }
}
