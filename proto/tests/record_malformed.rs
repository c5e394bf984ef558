//! One broken rule at a time, each refused by its own name, compressed or not.

#[path = "support/drafts.rs"]
mod support;

use bytes::Bytes;
use highwater_proto::record::compression::compress;
use highwater_proto::record::{
    BatchBuilder, BatchError, Compression, DecodeLimits, RecordFault, TimestampType, TransactionRule,
    ValidationRules, decode_records, validate_produced,
};
use highwater_proto::{ErrorCode, ProducerId};
use support::{NOW_MS, forge, reseal};

/// A record's bytes: attributes 0, the given deltas, key "k", value "v", then whatever `tail` is (headers count...).
fn record(delta_ms: u8, offset_delta: u8, tail: &[u8]) -> Vec<u8> {
    let mut body = vec![0, delta_ms * 2, offset_delta * 2, 2, b'k', 2, b'v'];
    body.extend_from_slice(tail);
    body.insert(0, (body.len() * 2) as u8);
    body
}

/// The same body uncompressed and with every codec.
fn forms(records_count: i32, body: &[u8]) -> Vec<Vec<u8>> {
    Compression::ALL
        .into_iter()
        .map(|codec| {
            let mut compressed = Vec::new();
            compress(codec, body, &mut compressed);
            forge(codec, records_count, NOW_MS, &compressed)
        })
        .collect()
}

fn check(batch: &[u8]) -> Result<(), BatchError> {
    validate_produced(batch, &ValidationRules::new(NOW_MS)).map(|_| ())
}

/// Both the broker and the consumer find the fault, whatever the codec.
fn assert_record_fault(body: &[u8], records_count: i32, record_index: i32, fault: RecordFault) {
    for batch in forms(records_count, body) {
        assert_eq!(check(&batch), Err(BatchError::Record { record_index, fault }), "codec {}", batch[22]);
        let outcome: Result<Vec<_>, _> =
            decode_records(&Bytes::from(batch), &DecodeLimits::default()).expect("header is sound").collect();
        assert_eq!(outcome, Err(BatchError::Record { record_index, fault }));
    }
}

#[test]
fn the_hand_written_record_is_sound() {
    let body = [record(0, 0, &[0]), record(0, 1, &[4, 2, b'h', 2, b'x', 2, b'n', 1])].concat();
    for batch in forms(2, &body) {
        check(&batch).expect("sound");
    }
}

#[test]
fn faults_inside_a_record_are_named() {
    let good = record(0, 0, &[0]);
    let second = |bytes: Vec<u8>| [good.clone(), bytes].concat();
    assert_record_fault(&second(record(0, 1, &[0, 9])), 2, 1, RecordFault::NotConsumed { left_bytes: 1 });
    assert_record_fault(&second(record(0, 1, &[])), 2, 1, RecordFault::Truncated);
    assert_record_fault(&good, 2, 1, RecordFault::Truncated);
    assert_record_fault(&second(vec![1]), 2, 1, RecordFault::Length { length: -1 });
    assert_record_fault(&second(vec![0x80; 6]), 2, 1, RecordFault::VarintTooLong);
    assert_record_fault(&record(0, 0, &[1]), 1, 0, RecordFault::HeadersCount { headers_count: -1 });
    assert_record_fault(
        &record(0, 0, &[4, 2, b'h', 1]),
        1,
        0,
        RecordFault::HeadersCount { headers_count: 2 },
    );
    let huge = [0xfe, 0xff, 0xff, 0xff, 0x0f];
    assert_record_fault(&record(0, 0, &huge), 1, 0, RecordFault::HeadersCount { headers_count: i32::MAX });
    assert_record_fault(&record(0, 0, &[2, 1, 1]), 1, 0, RecordFault::Length { length: -1 });
    assert_record_fault(&[10, 0, 0, 0, 3, 1], 1, 0, RecordFault::Length { length: -2 });
    assert_record_fault(&[12, 0, 0, 0, 100, 1, 0], 1, 0, RecordFault::Truncated);
    assert_record_fault(&record(0, 1, &[0]), 1, 0, RecordFault::OffsetDelta { offset_delta: 1 });
    assert_record_fault(&second(record(0, 0, &[0])), 2, 1, RecordFault::OffsetDelta { offset_delta: 0 });
}

#[test]
fn reserved_record_attributes_are_refused_on_produce() {
    let mut body = record(0, 0, &[0]);
    body[1] = 0x40;
    for batch in forms(1, &body) {
        let fault = RecordFault::Attributes { attributes: 0x40 };
        assert_eq!(check(&batch), Err(BatchError::Record { record_index: 0, fault }));
    }
}

#[test]
fn a_timestamp_that_overflows_is_refused() {
    let mut batch = forge(Compression::None, 1, NOW_MS, &record(1, 0, &[0]));
    batch[27..35].copy_from_slice(&i64::MAX.to_be_bytes());
    reseal(&mut batch);
    let fault = RecordFault::Timestamp { delta_ms: 1 };
    assert_eq!(check(&batch), Err(BatchError::Record { record_index: 0, fault }));
}

#[test]
fn bytes_after_the_last_record_are_refused() {
    let body = [record(0, 0, &[0]), record(0, 1, &[0])].concat();
    for batch in forms(1, &body) {
        assert_eq!(check(&batch), Err(BatchError::BodyNotConsumed { records_count: 1 }));
        let records: Vec<_> =
            decode_records(&Bytes::from(batch), &DecodeLimits::default()).expect("header is sound").collect();
        assert!(records[0].is_ok());
        assert_eq!(records[1..], [Err(BatchError::BodyNotConsumed { records_count: 1 })]);
    }
}

#[test]
fn faults_of_the_header_are_named() {
    let with = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut batch = forge(Compression::None, 1, NOW_MS, &record(0, 0, &[0]));
        edit(&mut batch);
        reseal(&mut batch);
        check(&batch)
    };
    assert_eq!(with(&|_| ()), Ok(()));
    assert_eq!(with(&|b| b[16] = 1), Err(BatchError::Magic { magic: 1 }));
    assert_eq!(with(&|b| b[22] = 7), Err(BatchError::Compression { bits: 7 }));
    assert_eq!(with(&|b| b[22] = 0x08), Err(BatchError::TimestampType));
    assert_eq!(with(&|b| b[22] = 0x20), Err(BatchError::Control));
    assert_eq!(with(&|b| b[22] = 0x40), Err(BatchError::Attributes { attributes: 0x40 }));
    assert_eq!(with(&|b| b[22] = 0x80), Err(BatchError::Attributes { attributes: 0x80 }));
    assert_eq!(with(&|b| b[21] = 0x01), Err(BatchError::Attributes { attributes: 0x100 }));
    assert_eq!(with(&|b| b[22] = 0x10), Err(BatchError::Transactional));
    let counts =
        |records_count, last_offset_delta| Err(BatchError::Counts { records_count, last_offset_delta });
    assert_eq!(with(&|b| b[60] = 2), counts(2, 0));
    assert_eq!(with(&|b| b[26] = 1), counts(1, 1));
    assert_eq!(with(&|b| b[23..27].fill(0xff)), counts(1, -1));
    let empty = |b: &mut Vec<u8>| {
        b.truncate(61);
        b[57..61].fill(0);
    };
    assert_eq!(with(&empty), counts(0, 0));
    let producer = |producer_id, producer_epoch, base_sequence| {
        with(&|b: &mut Vec<u8>| {
            b[43..51].copy_from_slice(&i64::to_be_bytes(producer_id));
            b[51..53].copy_from_slice(&i16::to_be_bytes(producer_epoch));
            b[53..57].copy_from_slice(&i32::to_be_bytes(base_sequence));
        })
    };
    assert_eq!(producer(5, 0, 0), Ok(()));
    for (producer_id, producer_epoch, base_sequence) in [(5, 0, -1), (5, -1, 0), (-2, 0, 0)] {
        let error = BatchError::Producer { producer_id, producer_epoch, base_sequence };
        assert_eq!(producer(producer_id, producer_epoch, base_sequence), Err(error));
    }
}

#[test]
fn a_transactional_batch_needs_leave_and_a_producer() {
    let rules = ValidationRules { transactions: TransactionRule::Allow, ..ValidationRules::new(NOW_MS) };
    let mut batch = forge(Compression::None, 1, NOW_MS, &record(0, 0, &[0]));
    batch[22] = 0x10;
    reseal(&mut batch);
    assert!(matches!(validate_produced(&batch, &rules), Err(BatchError::Producer { producer_id: -1, .. })));
    batch[43..57].fill(0);
    reseal(&mut batch);
    assert!(validate_produced(&batch, &rules).is_ok());
    assert_eq!(check(&batch), Err(BatchError::Transactional));
}

#[test]
fn a_compacted_topic_needs_keys_and_says_which_record_has_none() {
    let rules = ValidationRules { key_required: true, ..ValidationRules::new(NOW_MS) };
    for codec in Compression::ALL {
        let mut builder = BatchBuilder::new(codec, 1 << 20);
        for i in 0..40 {
            let key = (i != 7).then_some(&b"key"[..]);
            builder.try_append(NOW_MS, key, Some(&[0; 50]), &[]).expect("fits");
        }
        let batch = builder.finish(None);
        let missing = BatchError::Record { record_index: 7, fault: RecordFault::KeyMissing };
        assert_eq!(validate_produced(&batch, &rules), Err(missing));
        assert_eq!(check(&batch), Ok(()));
    }
}

#[test]
fn append_time_topics_overwrite_timestamps_and_so_do_not_check_them() {
    let rules =
        ValidationRules { timestamp_type: TimestampType::LogAppendTime, ..ValidationRules::new(NOW_MS) };
    let mut builder = BatchBuilder::new(Compression::None, 1000);
    builder.try_append(i64::MAX, None, Some(b"far future"), &[]).expect("fits");
    let batch = builder.finish(None);
    assert!(validate_produced(&batch, &rules).is_ok());
    let error = check(&batch).expect_err("a year beyond all years");
    assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
}

#[test]
fn a_batch_over_the_topics_limit_is_refused_with_both_sizes() {
    let batch = forge(Compression::None, 1, NOW_MS, &record(0, 0, &[0]));
    let mut rules = ValidationRules::new(NOW_MS);
    rules.max_batch_bytes = batch.len();
    assert!(validate_produced(&batch, &rules).is_ok());
    rules.max_batch_bytes -= 1;
    let error = BatchError::TooLarge { batch_bytes: batch.len(), max_bytes: batch.len() - 1 };
    assert_eq!(validate_produced(&batch, &rules), Err(error.clone()));
    assert_eq!(error.code(), ErrorCode::MessageTooLarge);
}

#[test]
fn a_full_builder_refuses_the_next_record_and_stays_as_it_was() {
    let mut builder = BatchBuilder::new(Compression::None, 200);
    builder.try_append(NOW_MS, None, Some(&[7; 500]), &[]).expect("the first record always fits");
    let size_bytes = builder.size_bytes();
    assert!(builder.try_append(NOW_MS, None, None, &[]).is_err());
    assert_eq!((builder.len(), builder.size_bytes()), (1, size_bytes));
    let mut builder = BatchBuilder::new(Compression::None, 200);
    while builder.try_append(NOW_MS, Some(b"k"), Some(&[1; 20]), &[]).is_ok() {}
    assert!(builder.size_bytes() <= 200 && builder.size_bytes() > 160);
    assert_eq!(builder.finish(Some((ProducerId(1), 0, 0))).len(), 61 + 4 * 28);
}
