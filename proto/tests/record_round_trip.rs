//! Whole batches through the public interface: what a producer builds, a broker accepts and a consumer reads.

use bytes::{Bytes, BytesMut};
use highwater_proto::record::{
    BatchBuilder, BatchError, BatchHeader, Compression, DecodeLimits, HEADER_BYTES, Header, Record,
    STAMP_BYTES, TimestampType, ValidationRules, batches, decode_records, restamp_append_time, stamp,
    validate_produced, verify_crc,
};
use highwater_proto::{LeaderEpoch, Offset, ProducerId};

const NOW_MS: i64 = 1_790_000_000_000;

fn sample(compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(compression, 1 << 20);
    let headers = [Header::new("trace", "abc"), Header { key: Bytes::from_static(b"empty"), value: None }];
    for i in 0..500_i64 {
        let key = format!("customer-{}", i % 7);
        let value = format!("{{\"order\":{i},\"state\":\"paid\",\"amount\":{}}}", i * 37 % 1000);
        let headers = if i % 3 == 0 { &headers[..] } else { &[] };
        let delta = builder
            .try_append(NOW_MS - i % 11, Some(key.as_bytes()), Some(value.as_bytes()), headers)
            .expect("fits");
        assert_eq!(i64::from(delta), i);
    }
    builder.try_append(NOW_MS, None, None, &[]).expect("fits");
    builder.finish(Some((ProducerId(9), 3, 100)))
}

fn records(batch: &Bytes) -> Vec<Record> {
    decode_records(batch, &DecodeLimits::default())
        .expect("decodes")
        .collect::<Result<_, _>>()
        .expect("sound records")
}

#[test]
fn a_built_batch_is_accepted_and_read_back_with_every_codec() {
    let plain = records(&sample(Compression::None));
    assert_eq!(plain.len(), 501);
    assert_eq!(plain[500].key, None);
    assert_eq!(plain[500].value, None);
    assert_eq!(plain[3].headers[1].value, None);
    for codec in Compression::ALL {
        let batch = sample(codec);
        let header = validate_produced(&batch, &ValidationRules::new(NOW_MS)).expect("sound");
        assert_eq!(header.compression(), Ok(codec));
        assert_eq!((header.records_count, header.last_offset_delta), (501, 500));
        assert_eq!((header.base_sequence, header.last_sequence()), (100, 600));
        assert_eq!(header.max_timestamp_ms, NOW_MS);
        assert_eq!(records(&batch), plain, "{codec}");
    }
}

#[test]
fn uncompressed_keys_and_values_are_slices_of_the_batch() {
    let batch = sample(Compression::None);
    let range = batch.as_ptr_range();
    for record in records(&batch) {
        assert!(record.value.is_none_or(|value| range.contains(&value.as_ptr())), "copied");
    }
}

#[test]
fn a_stamped_batch_keeps_its_checksum_and_moves_its_offsets() {
    let batch = sample(Compression::Lz4);
    let header = BatchHeader::parse(&batch).expect("header");
    let mut stored = BytesMut::from(&stamp(&header, Offset(1000), LeaderEpoch(7))[..]);
    stored.extend_from_slice(&batch[STAMP_BYTES..]);
    let stored = stored.freeze();
    verify_crc(&stored).expect("base offset and epoch are outside the checksum");
    let header = BatchHeader::parse(&stored).expect("header");
    assert_eq!((header.base_offset, header.leader_epoch), (Offset(1000), LeaderEpoch(7)));
    assert_eq!((header.last_offset(), header.next_offset()), (Offset(1500), Offset(1501)));
    assert_eq!(records(&stored)[500].offset, Offset(1500));
}

#[test]
fn a_batch_restamped_with_append_time_has_a_valid_checksum_and_one_time() {
    for codec in Compression::ALL {
        let batch = sample(codec);
        let front = restamp_append_time(&batch, Offset(5), LeaderEpoch(1), NOW_MS + 77);
        let mut stored = BytesMut::from(&front[..]);
        stored.extend_from_slice(&batch[HEADER_BYTES..]);
        let stored = stored.freeze();
        verify_crc(&stored).expect("the checksum was made anew");
        let header = BatchHeader::parse(&stored).expect("header");
        assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
        assert!(records(&stored).iter().all(|record| record.timestamp_ms == NOW_MS + 77));

        let mut damaged = BytesMut::from(&front[..]);
        damaged.extend_from_slice(&batch[HEADER_BYTES..]);
        damaged[HEADER_BYTES + 20] ^= 1;
        assert!(matches!(verify_crc(&damaged), Err(BatchError::Checksum { .. })), "damage is not signed off");
    }
}

#[test]
fn a_run_of_batches_splits_into_whole_ones_and_a_cut_last_one_ends_it() {
    let one = sample(Compression::Zstd);
    let mut run = BytesMut::new();
    for _ in 0..3 {
        run.extend_from_slice(&one);
    }
    run.truncate(run.len() - 1);
    let run = run.freeze();
    let whole: Vec<Bytes> = batches(run.clone()).collect::<Result<_, _>>().expect("sound");
    assert_eq!(whole, [one.clone(), one.clone()]);
    assert!(batches(run.slice(one.len() * 2..)).next().is_none());
    assert!(batches(Bytes::from(vec![0; 100])).next().expect("one error").is_err());
}
