//! Batches written by other encoders, byte for byte: read by our decoder, and written again by our builder.
//!
//! `tests/interop/record.sh` makes these files anew with kafka-python and with Kafka's Java client, and runs this test
//! over the fresh ones (`HIGHWATER_GOLDEN_DIR`).

#![expect(clippy::disallowed_methods, reason = "a test reads its golden files itself")]

#[path = "support/cases.rs"]
mod cases;

use std::path::PathBuf;

use bytes::Bytes;
use cases::{Case, cases, golden_dir};
use highwater_proto::record::{
    BatchHeader, Compression, DecodeLimits, HEADER_BYTES, Record, STAMP_BYTES, TransactionRule,
    ValidationRules, decode_records, validate_produced,
};
use highwater_proto::{LeaderEpoch, ProducerId};

/// After every timestamp of the cases.
const NOW_MS: i64 = 1_800_000_000_000;

fn dir() -> PathBuf {
    std::env::var_os("HIGHWATER_GOLDEN_DIR").map_or_else(golden_dir, PathBuf::from)
}

fn golden(case: &Case, codec: Compression, encoder: &str) -> Bytes {
    let path = dir().join(format!("{}.{codec}.{encoder}.bin", case.name));
    Bytes::from(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn for_each_golden(mut check: impl FnMut(&Case, Compression, &str, Bytes)) {
    for case in &cases() {
        for &codec in &case.codecs {
            for encoder in ["python", "java"] {
                check(case, codec, encoder, golden(case, codec, encoder));
            }
        }
    }
}

#[test]
fn foreign_batches_are_accepted_and_hold_the_records_they_were_given() {
    let rules = ValidationRules { transactions: TransactionRule::Allow, ..ValidationRules::new(NOW_MS) };
    for_each_golden(|case, codec, encoder, batch| {
        let what = format!("{} {codec} {encoder}", case.name);
        let header = validate_produced(&batch, &rules).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(header.compression(), Ok(codec), "{what}");
        assert_eq!(header.is_transactional(), case.transactional, "{what}");
        let producer = (header.producer_id, header.producer_epoch, header.base_sequence);
        assert_eq!(producer, case.producer.unwrap_or((ProducerId::NONE, -1, -1)), "{what}");
        let records: Vec<Record> = decode_records(&batch, &DecodeLimits::default())
            .and_then(Iterator::collect)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(records, case.records, "{what}");
    });
}

#[test]
fn our_builder_writes_the_same_bytes_as_the_other_encoders() {
    let mut compared = 0;
    for_each_golden(|case, codec, encoder, batch| {
        if codec != Compression::None || case.transactional {
            return;
        }
        let ours = case.build(codec);
        // kafka-python leaves the leader epoch at 0, Java at -1 as we do. It belongs to the leader, outside the checksum.
        let epoch = BatchHeader::parse(&batch).expect("a header").leader_epoch;
        assert_eq!(epoch, if encoder == "java" { LeaderEpoch::UNKNOWN } else { LeaderEpoch(0) });
        assert_eq!(ours[..12], batch[..12], "{} {encoder}", case.name);
        assert_eq!(ours[STAMP_BYTES..], batch[STAMP_BYTES..], "{} {encoder}", case.name);
        compared += 1;
    });
    assert!(compared >= 12, "only {compared} batches were compared");
}

#[test]
fn a_batch_of_one_record_has_these_bytes() {
    let one = &cases()[0];
    assert_eq!(one.name, "one");
    #[rustfmt::skip]
    let expected: &[u8] = &[
        0, 0, 0, 0, 0, 0, 0, 0,                             // base offset
        0, 0, 0, 64,                                        // batch length
        0xff, 0xff, 0xff, 0xff,                             // leader epoch
        2,                                                  // magic
        0x67, 0xfb, 0xbe, 0x25,                             // CRC-32C
        0, 0,                                               // attributes
        0, 0, 0, 0,                                         // last offset delta
        0x00, 0x00, 0x01, 0xa0, 0xc4, 0x50, 0x6c, 0x00,     // base timestamp
        0x00, 0x00, 0x01, 0xa0, 0xc4, 0x50, 0x6c, 0x00,     // max timestamp
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,     // producer id
        0xff, 0xff,                                         // producer epoch
        0xff, 0xff, 0xff, 0xff,                             // base sequence
        0, 0, 0, 1,                                         // records count
        28, 0, 0, 0, 6, b'k', b'e', b'y', 10, b'v', b'a', b'l', b'u', b'e', 0,
    ];
    assert_eq!(expected.len(), HEADER_BYTES + 15);
    assert_eq!(one.build(Compression::None), expected);
}
