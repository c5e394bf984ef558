//! Properties of the batch format over arbitrary records and arbitrary damage.

#[path = "support/drafts.rs"]
mod support;

use bytes::{Bytes, BytesMut};
use highwater_proto::record::{
    BatchError, BatchHeader, Compression, DecodeLimits, HEADER_BYTES, Record, Retained, STAMP_BYTES,
    ValidationRules, batches, decode_records, renumber, restamp_append_time, retain_records, stamp,
    validate_produced, varint, verify_crc,
};
use highwater_proto::{LeaderEpoch, Offset, ProducerId};
use proptest::prelude::*;
use proptest::sample::Index;
use support::{Draft, NOW_MS, any_time, build, codec, drafts, producer, reseal};

fn config() -> ProptestConfig {
    ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() }
}

fn expected(drafts: &[Draft], base: Offset) -> Vec<Record> {
    drafts
        .iter()
        .zip(0..)
        .map(|(draft, index)| Record {
            offset: base.advance(index),
            timestamp_ms: draft.timestamp_ms,
            key: draft.key.clone().map(Bytes::from),
            value: draft.value.clone().map(Bytes::from),
            headers: draft.headers.clone(),
        })
        .collect()
}

fn decode(batch: &Bytes, limits: &DecodeLimits) -> Result<Vec<Record>, BatchError> {
    decode_records(batch, limits)?.collect()
}

/// Small, so that a mutated size field cannot make a test slow.
fn small_limits() -> DecodeLimits {
    DecodeLimits { max_decompressed_bytes: 1 << 20, ..DecodeLimits::default() }
}

fn small_rules() -> ValidationRules {
    ValidationRules { max_decompressed_bytes: 1 << 20, ..any_time() }
}

/// Everything that reads bytes; none may panic, and what is accepted must be readable.
fn read_every_way(bytes: &Bytes) -> Result<(), TestCaseError> {
    let _ = BatchHeader::parse(bytes);
    let _ = verify_crc(bytes);
    let validated = validate_produced(bytes, &small_rules());
    let decoded = decode(bytes, &small_limits());
    if let Ok(header) = validated {
        let records =
            decoded.as_ref().map_err(|e| TestCaseError::fail(format!("accepted, unreadable: {e}")))?;
        prop_assert_eq!(records.len(), header.records_count as usize);
        prop_assert_eq!(records.iter().map(|r| r.timestamp_ms).max(), Some(header.max_timestamp_ms));
    }
    let split: usize = batches(bytes.clone()).take(100).flatten().map(|batch| batch.len()).sum();
    prop_assert!(split <= bytes.len());
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn records_come_back_as_they_went_in(drafts in drafts(), codec in codec(), producer in producer()) {
        let batch = build(codec, &drafts, producer);
        let header = validate_produced(&batch, &any_time()).expect("a built batch is sound");
        prop_assert_eq!(header.size_bytes(), batch.len());
        prop_assert_eq!(header.producer_id, producer.map_or(ProducerId::NONE, |(id, ..)| id));
        prop_assert_eq!(header.max_timestamp_ms, drafts.iter().map(|d| d.timestamp_ms).max().expect("not empty"));
        prop_assert_eq!(decode(&batch, &DecodeLimits::default()), Ok(expected(&drafts, Offset::ZERO)));
    }

    #[test]
    fn any_flipped_bit_under_the_checksum_is_noticed(
        drafts in drafts(), codec in codec(), producer in producer(), at in any::<Index>(), bit in 0..8_u32,
    ) {
        let mut batch = build(codec, &drafts, producer).to_vec();
        // Base offset (0-7) and leader epoch (12-15) are outside the checksum by design.
        let covered: Vec<usize> = (8..12).chain(16..batch.len()).collect();
        batch[covered[at.index(covered.len())]] ^= 1 << bit;
        prop_assert!(validate_produced(&batch, &any_time()).is_err());
        prop_assert!(decode(&Bytes::from(batch), &DecodeLimits::default()).is_err());
    }

    #[test]
    fn any_truncation_is_noticed(drafts in drafts(), codec in codec(), at in any::<Index>()) {
        let batch = build(codec, &drafts, None);
        let cut = batch.slice(..at.index(batch.len()));
        prop_assert!(validate_produced(&cut, &any_time()).is_err());
        prop_assert!(decode(&cut, &DecodeLimits::default()).is_err());
        // Sealed as if it were whole, the records inside are still too few.
        if cut.len() >= HEADER_BYTES {
            let mut sealed = cut.to_vec();
            reseal(&mut sealed);
            prop_assert!(validate_produced(&sealed, &any_time()).is_err());
            prop_assert!(decode(&Bytes::from(sealed), &DecodeLimits::default()).is_err());
        }
    }

    #[test]
    fn extra_bytes_are_noticed(
        drafts in drafts(), codec in codec(), extra in proptest::collection::vec(any::<u8>(), 1..20),
    ) {
        let mut batch = build(codec, &drafts, None).to_vec();
        batch.extend_from_slice(&extra);
        let trailing = matches!(validate_produced(&batch, &any_time()), Err(BatchError::TrailingBytes { .. }));
        prop_assert!(trailing);
        reseal(&mut batch);
        prop_assert!(validate_produced(&batch, &any_time()).is_err());
        prop_assert!(decode(&Bytes::from(batch), &DecodeLimits::default()).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), magic in any::<bool>()) {
        let mut bytes = bytes;
        if magic && bytes.len() >= HEADER_BYTES {
            bytes[16] = 2;
            bytes[21] = 0;
            bytes[22] &= 0x1f;
            reseal(&mut bytes);
        }
        read_every_way(&Bytes::from(bytes))?;
    }

    #[test]
    fn damage_behind_a_good_checksum_never_panics(
        drafts in drafts(), codec in codec(), producer in producer(),
        damage in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..6),
    ) {
        let mut batch = build(codec, &drafts, producer).to_vec();
        for (at, byte) in damage {
            let at = STAMP_BYTES + at.index(batch.len() - STAMP_BYTES);
            batch[at] = byte;
        }
        reseal(&mut batch);
        read_every_way(&Bytes::from(batch))?;
    }

    #[test]
    fn hostile_counts_are_refused(drafts in drafts(), codec in codec(), count in any::<i32>(), delta in any::<i32>()) {
        let mut batch = build(codec, &drafts, None).to_vec();
        let honest = drafts.len() as i32;
        prop_assume!(count != honest);
        for last_offset_delta in [delta, count.wrapping_sub(1)] {
            batch[23..27].copy_from_slice(&last_offset_delta.to_be_bytes());
            batch[57..61].copy_from_slice(&count.to_be_bytes());
            reseal(&mut batch);
            prop_assert!(validate_produced(&batch, &any_time()).is_err());
            read_every_way(&Bytes::copy_from_slice(&batch))?;
        }
    }

    #[test]
    fn a_false_maximum_of_time_is_refused(drafts in drafts(), codec in codec(), claimed_ms in any::<i64>()) {
        let mut batch = build(codec, &drafts, None).to_vec();
        let actual_ms = drafts.iter().map(|d| d.timestamp_ms).max().expect("not empty");
        prop_assume!(claimed_ms != actual_ms);
        batch[35..43].copy_from_slice(&claimed_ms.to_be_bytes());
        reseal(&mut batch);
        prop_assert_eq!(
            validate_produced(&batch, &any_time()),
            Err(BatchError::MaxTimestamp { claimed_ms, actual_ms })
        );
    }

    #[test]
    fn a_stamp_leaves_the_checksum_valid(
        drafts in drafts(), codec in codec(), base in 0..1_i64 << 62, epoch in 0..i32::MAX,
    ) {
        let batch = build(codec, &drafts, None);
        let front = stamp(&BatchHeader::parse(&batch).expect("header"), Offset(base), LeaderEpoch(epoch));
        let mut stored = BytesMut::from(&front[..]);
        stored.extend_from_slice(&batch[STAMP_BYTES..]);
        let stored = stored.freeze();
        prop_assert_eq!(verify_crc(&stored), Ok(()));
        prop_assert_eq!(BatchHeader::parse(&stored).expect("header").leader_epoch, LeaderEpoch(epoch));
        prop_assert_eq!(decode(&stored, &DecodeLimits::default()), Ok(expected(&drafts, Offset(base))));
    }

    #[test]
    fn append_time_leaves_the_checksum_valid_and_the_body_as_it_was(
        drafts in drafts(), codec in codec(), base in 0..1_i64 << 62, now_ms in 0..1_i64 << 62,
    ) {
        let batch = build(codec, &drafts, None);
        let mut stored = BytesMut::from(&restamp_append_time(&batch, Offset(base), LeaderEpoch(4), now_ms)[..]);
        stored.extend_from_slice(&batch[HEADER_BYTES..]);
        let mut expected = expected(&drafts, Offset(base));
        expected.iter_mut().for_each(|record| record.timestamp_ms = now_ms);
        prop_assert_eq!(decode(&stored.freeze(), &DecodeLimits::default()), Ok(expected));
    }

    #[test]
    fn a_renumbered_batch_is_the_one_its_new_producer_would_have_built(
        drafts in drafts(), codec in codec(), old in producer(), id in 0..i64::MAX, sequence in 0..=i32::MAX,
    ) {
        let new = (ProducerId(id), 7, sequence);
        let batch = build(codec, &drafts, old);
        let mut renumbered = BytesMut::from(&renumber(&batch, new)[..]);
        renumbered.extend_from_slice(&batch[HEADER_BYTES..]);
        prop_assert_eq!(renumbered.freeze(), build(codec, &drafts, Some(new)));
    }

    #[test]
    fn compaction_keeps_what_it_is_told_to_at_the_offsets_it_had(
        drafts in drafts(), codec in codec(), producer in producer(), base in 0..1_i64 << 40,
        kept in proptest::collection::vec(any::<bool>(), 30), horizon_ms in proptest::option::of(0..1_i64 << 45),
    ) {
        let limits = DecodeLimits::default();
        let batch = build(codec, &drafts, producer);
        let mut stored = BytesMut::from(&stamp(&BatchHeader::parse(&batch).expect("header"), Offset(base), LeaderEpoch(2))[..]);
        stored.extend_from_slice(&batch[STAMP_BYTES..]);
        let stored = stored.freeze();
        let keep = |record: &Record| kept[(record.offset.0 - base) as usize];
        let before = BatchHeader::parse(&stored).expect("header");
        let expected: Vec<Record> = expected(&drafts, Offset(base)).into_iter().filter(keep).collect();
        let left = match retain_records(&stored, &limits, horizon_ms, keep).expect("sound") {
            Retained::Unchanged => {
                prop_assert_eq!((expected.len(), horizon_ms), (drafts.len(), None));
                stored.clone()
            }
            Retained::Rewritten(left) => left,
        };
        prop_assert_eq!(decode(&left, &limits), Ok(expected.clone()));
        let after = BatchHeader::parse(&left).expect("header");
        prop_assert_eq!(after.delete_horizon_ms(), horizon_ms);
        prop_assert_eq!(after.records_count as usize, expected.len());
        let latest = expected.iter().map(|r| r.timestamp_ms).max().unwrap_or(before.max_timestamp_ms);
        prop_assert_eq!(after.max_timestamp_ms, latest);
        let same = |h: &BatchHeader| {
            (h.base_offset, h.last_offset(), h.leader_epoch, h.producer_id, h.producer_epoch, h.last_sequence())
        };
        prop_assert_eq!(same(&after), same(&before));
        // A second pass over the same records finds nothing to do, whatever horizon it brings.
        let again = retain_records(&left, &limits, horizon_ms.map(|_| 5), |_| true);
        prop_assert_eq!(again, Ok(Retained::Unchanged));
    }

    #[test]
    fn sequences_of_consecutive_batches_meet_across_the_wrap(
        drafts in drafts(), before_wrap in 0..60_i32, id in 0..i64::MAX,
    ) {
        let base = i32::MAX - before_wrap;
        let batch = build(Compression::None, &drafts, Some((ProducerId(id), 0, base)));
        let header = validate_produced(&batch, &any_time()).expect("sound");
        let mut sequence = base;
        for _ in 1..drafts.len() {
            sequence = if sequence == i32::MAX { 0 } else { sequence + 1 };
        }
        prop_assert_eq!(header.last_sequence(), sequence);
    }

    #[test]
    fn a_run_of_batches_splits_where_they_were_joined(
        parts in proptest::collection::vec((drafts(), codec()), 1..4), cut in any::<Index>(),
    ) {
        let parts: Vec<Bytes> = parts.iter().map(|(drafts, codec)| build(*codec, drafts, None)).collect();
        let run = Bytes::from(parts.concat());
        prop_assert_eq!(batches(run.clone()).collect::<Result<Vec<_>, _>>(), Ok(parts.clone()));
        let cut = cut.index(run.len());
        let mut whole = batches(run.slice(..cut));
        let found: Vec<Bytes> = whole.by_ref().collect::<Result<_, _>>().expect("a cut is no error");
        prop_assert_eq!(&found[..], &parts[..found.len()]);
        let returned: usize = found.iter().map(Bytes::len).sum();
        prop_assert_eq!(whole.remainder().len(), cut - returned);
        prop_assert!(found.len() == parts.len() || returned + parts[found.len()].len() > cut);
    }

    #[test]
    fn varints_have_the_size_they_are_said_to_have(value in any::<i64>(), shift in 0..64_u32) {
        let value = value >> shift;
        let mut bytes = Vec::new();
        varint::push(value, &mut bytes);
        prop_assert_eq!(bytes.len(), varint::size_bytes(value));
        prop_assert_eq!(varint::unzigzag_64(varint::zigzag_64(value)), value);
        let narrow = value as i32;
        prop_assert_eq!(varint::unzigzag_32(varint::zigzag_32(narrow)), narrow);
        prop_assert_eq!(u64::from(varint::zigzag_32(narrow)), varint::zigzag_64(i64::from(narrow)));
    }

    #[test]
    fn a_timestamp_out_of_bounds_is_refused_and_one_within_is_taken(
        offsets in proptest::collection::vec(-2000..2000_i64, 1..20), codec in codec(),
    ) {
        let drafts: Vec<Draft> = offsets
            .iter()
            .map(|o| Draft { timestamp_ms: NOW_MS + o, key: None, value: None, headers: Vec::new() })
            .collect();
        let rules = ValidationRules {
            timestamp_before_max_ms: 1000, timestamp_after_max_ms: 1500, ..ValidationRules::new(NOW_MS)
        };
        let within = offsets.iter().all(|o| (-1000..=1500).contains(o));
        let result = validate_produced(&build(codec, &drafts, None), &rules);
        let named = matches!(result, Err(BatchError::TimestampOutOfBounds { .. }));
        prop_assert_eq!((result.is_ok(), named), (within, !within));
    }
}
