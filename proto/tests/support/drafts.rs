//! What the record tests share: arbitrary records, batches made of them, and a way to forge a batch whose checksum
//! still holds, so that mutations reach the code behind it.

#![expect(dead_code, reason = "each test binary uses the part it needs")]

use bytes::Bytes;
use highwater_proto::ProducerId;
use highwater_proto::record::{
    BatchBuilder, Compression, HEADER_BYTES, Header, TransactionRule, ValidationRules, crc32c,
};
use proptest::prelude::*;

/// Time of every test.
pub(crate) const NOW_MS: i64 = 1_790_000_000_000;

/// A record before it has an offset.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<Header>,
}

/// Rules that take every timestamp.
pub(crate) fn any_time() -> ValidationRules {
    ValidationRules {
        timestamp_after_max_ms: i64::MAX,
        transactions: TransactionRule::Allow,
        ..ValidationRules::new(NOW_MS)
    }
}

/// Any codec.
pub(crate) fn codec() -> impl Strategy<Value = Compression> {
    proptest::sample::select(&Compression::ALL[..])
}

fn blob(max_bytes: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..max_bytes),
        // Compressible: without these the builder would send everything uncompressed.
        (any::<u8>(), 0..max_bytes * 4).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

fn timestamp_ms() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => NOW_MS - 10_000..NOW_MS + 10_000,
        1 => Just(-1_i64),
        1 => -(1_i64 << 61)..1_i64 << 61,
    ]
}

fn header() -> impl Strategy<Value = Header> {
    (blob(12), proptest::option::of(blob(40)))
        .prop_map(|(key, value)| Header { key: Bytes::from(key), value: value.map(Bytes::from) })
}

/// Any record: null or empty keys and values, headers, negative and distant timestamps.
pub(crate) fn draft() -> impl Strategy<Value = Draft> {
    (
        timestamp_ms(),
        proptest::option::of(blob(20)),
        proptest::option::weighted(0.9, blob(200)),
        proptest::collection::vec(header(), 0..4),
    )
        .prop_map(|(timestamp_ms, key, value, headers)| Draft { timestamp_ms, key, value, headers })
}

/// A few records, in no order of time.
pub(crate) fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    proptest::collection::vec(draft(), 1..30)
}

/// Who wrote it.
pub(crate) fn producer() -> impl Strategy<Value = Option<(ProducerId, i16, i32)>> {
    proptest::option::of((0..i64::MAX, 0..i16::MAX, 0..=i32::MAX))
        .prop_map(|fields| fields.map(|(id, epoch, sequence)| (ProducerId(id), epoch, sequence)))
}

/// A batch of these records.
pub(crate) fn build(codec: Compression, drafts: &[Draft], producer: Option<(ProducerId, i16, i32)>) -> Bytes {
    let mut builder = BatchBuilder::new(codec, 1 << 20);
    for draft in drafts {
        builder
            .try_append(draft.timestamp_ms, draft.key.as_deref(), draft.value.as_deref(), &draft.headers)
            .expect("small records fit");
    }
    builder.finish(producer)
}

/// Sets length and checksum of a tampered batch to what its bytes are.
pub(crate) fn reseal(batch: &mut [u8]) {
    assert!(batch.len() >= HEADER_BYTES);
    let length = i32::try_from(batch.len() - 12).expect("a test's batch is small");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// A sealed batch with this body, written by hand and not by the builder.
pub(crate) fn forge(codec: Compression, records_count: i32, timestamp_ms: i64, body: &[u8]) -> Vec<u8> {
    let mut batch = vec![0; HEADER_BYTES];
    batch[16] = 2;
    batch[22] = codec.bits();
    batch[23..27].copy_from_slice(&(records_count - 1).to_be_bytes());
    batch[27..35].copy_from_slice(&timestamp_ms.to_be_bytes());
    batch[35..43].copy_from_slice(&timestamp_ms.to_be_bytes());
    batch[43..57].fill(0xff);
    batch[57..61].copy_from_slice(&records_count.to_be_bytes());
    batch.extend_from_slice(body);
    reseal(&mut batch);
    batch
}
