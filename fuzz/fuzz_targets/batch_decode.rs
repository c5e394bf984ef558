//! Arbitrary bytes as record batches: parsed, checked, decompressed, decoded and split.
//!
//! The first byte says how much of a disguise the rest gets, because bytes with a bad checksum end at the checksum:
//! as they are; with length and checksum made right; or as a body behind a good header, compressed first or not.
#![no_main]

use bytes::Bytes;
use highwater_proto::record::compression::compress;
use highwater_proto::record::{
    BatchHeader, Compression, DecodeLimits, HEADER_BYTES, TransactionRule, ValidationRules, batches, crc32c,
    decode_records, restamp_append_time, validate_produced, verify_crc,
};
use highwater_proto::{LeaderEpoch, Offset};
use libfuzzer_sys::fuzz_target;

const NOW_MS: i64 = 1_790_000_000_000;
/// So that a small input cannot make one run slow.
const MAX_BYTES: usize = 4 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((&mode, rest)) = input.split_first() else { return };
    let codec = Compression::ALL[usize::from(mode >> 3) % Compression::ALL.len()];
    let batch = match mode & 3 {
        0 => rest.to_vec(),
        1 => sealed(rest.to_vec()),
        2 => forged(codec, rest, rest),
        _ => {
            let mut body = Vec::new();
            compress(codec, rest.get(1..).unwrap_or_default(), &mut body);
            forged(codec, rest, &body)
        }
    };
    read(Bytes::from(batch));
});

fn sealed(mut batch: Vec<u8>) -> Vec<u8> {
    if batch.len() >= HEADER_BYTES {
        let length = (batch.len() - 12) as i32;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        let crc = crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    batch
}

fn forged(codec: Compression, seed: &[u8], body: &[u8]) -> Vec<u8> {
    let records_count = i32::from(seed.first().copied().unwrap_or(0) % 8);
    let mut batch = vec![0; HEADER_BYTES];
    batch[16] = 2;
    batch[22] = codec.bits();
    batch[23..27].copy_from_slice(&(records_count - 1).to_be_bytes());
    batch[27..35].copy_from_slice(&NOW_MS.to_be_bytes());
    batch[35..43].copy_from_slice(&NOW_MS.to_be_bytes());
    batch[43..57].fill(0xff);
    batch[57..61].copy_from_slice(&records_count.to_be_bytes());
    batch.extend_from_slice(body);
    sealed(batch)
}

fn read(batch: Bytes) {
    let rules = ValidationRules {
        max_decompressed_bytes: MAX_BYTES,
        timestamp_after_max_ms: i64::MAX,
        transactions: TransactionRule::Allow,
        ..ValidationRules::new(NOW_MS)
    };
    let limits = DecodeLimits { max_decompressed_bytes: MAX_BYTES, max_ratio: 1000, ..DecodeLimits::default() };
    let checksum = verify_crc(&batch);
    let decoded: Result<Vec<_>, _> = decode_records(&batch, &limits).and_then(Iterator::collect);
    if let Ok(header) = validate_produced(&batch, &rules) {
        assert_eq!(checksum, Ok(()), "validated with a bad checksum");
        let records = decoded.expect("what the broker took, a consumer can read");
        assert_eq!(records.len(), header.records_count as usize);
        assert_eq!(records.iter().map(|record| record.timestamp_ms).max(), Some(header.max_timestamp_ms));
        assert_eq!(records.last().map(|record| record.offset), Some(header.last_offset()));

        let mut stored = restamp_append_time(&batch, Offset(7), LeaderEpoch(1), NOW_MS).to_vec();
        stored.extend_from_slice(&batch[HEADER_BYTES..]);
        assert_eq!(verify_crc(&stored), Ok(()), "restamping broke the checksum");
    }
    if let Ok(header) = BatchHeader::parse(&batch) {
        assert_eq!(header.encode()[..], batch[..HEADER_BYTES]);
    }
    let split: usize = batches(batch.clone()).flatten().map(|part| part.len()).sum();
    assert!(split <= batch.len());
}
