//! The short cut never says anything that the careful path would not.

use bytes::Bytes;
use proptest::prelude::*;

use super::builder::BatchBuilder;
use super::compression::Compression;
use super::header::{BatchHeader, HEADER_BYTES};
use super::records::{DecodeLimits, decode_records};
use super::scan::both_scans;

/// A batch of two records, where `at` and `byte` spoil one byte behind the header; not sealed again.
fn spoiled(
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    delta_ms: i64,
    at: usize,
    byte: u8,
) -> (BatchHeader, Bytes) {
    let mut builder = BatchBuilder::new(Compression::None, 1 << 20);
    builder.try_append(1_000, Some(b"first"), Some(b"record"), &[]).expect("fits");
    builder.try_append(1_000 + delta_ms, key.as_deref(), value.as_deref(), &[]).expect("fits");
    let mut batch = builder.finish(None).to_vec();
    let header = BatchHeader::parse(&batch).expect("built");
    let behind_header = batch.len() - HEADER_BYTES;
    batch[HEADER_BYTES + at % behind_header] = byte;
    (header, Bytes::from(batch))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_record_laid_out_by_the_short_cut_is_what_the_careful_path_reads(
        key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..70)),
        value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200)),
        delta_ms in prop_oneof![-70..70_i64, any::<i32>().prop_map(i64::from)],
        at in 0..40_usize,
        byte in prop_oneof![0..8_u8, any::<u8>()],
    ) {
        let (header, batch) = spoiled(key, value, delta_ms, at, byte);
        let limits = DecodeLimits { checksum: super::ChecksumCheck::Skip, ..DecodeLimits::default() };
        let mut quick = decode_records(&batch, &limits).expect("the header is whole");
        for _ in 0..2 {
            let mut careful = quick.clone();
            let Some(record) = quick.read_ordinary() else { break };
            prop_assert_eq!(careful.read_carefully(), Ok(record));
            prop_assert_eq!(quick.position(), careful.position());
        }
        let (quick, careful) = both_scans(&batch[HEADER_BYTES..], &header);
        prop_assert_eq!(quick, careful);
    }
}
