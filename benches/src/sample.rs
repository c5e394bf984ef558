//! JSON-like records of 1 KiB, the same on every run, and batches of them.

use bytes::Bytes;
use highwater_proto::record::{BatchBuilder, Compression, ValidationRules};

/// Time of every record.
pub const NOW_MS: i64 = 1_790_000_000_000;
/// Size of a record's value.
pub const VALUE_BYTES: usize = 1024;
/// Size of a batch before compression.
pub const BATCH_BYTES: usize = 64 << 10;

/// A key and a value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// As many records as fit into one batch. They compress about as well as events of a web shop do (LZ4: 2.5 to 3 times).
pub fn records() -> Vec<KeyValue> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..BATCH_BYTES / (VALUE_BYTES + 40))
        .map(|i| (format!("customer-{i:08}").into_bytes(), value(&mut state)))
        .collect()
}

fn next(state: &mut u64) -> u64 {
    // xorshift64: any generator that is the same everywhere will do.
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn value(state: &mut u64) -> Vec<u8> {
    let mut text = String::with_capacity(VALUE_BYTES + 100);
    text.push_str("{\"type\":\"order\",\"items\":[");
    while text.len() < VALUE_BYTES - 2 {
        let n = next(state);
        let item = format!(
            "{{\"sku\":\"{:08x}\",\"quantity\":{},\"price\":{}.{:02},\"currency\":\"EUR\",\"warehouse\":\"fra-{}\"}},",
            n >> 32,
            n % 9 + 1,
            n % 997,
            n % 89,
            n % 3
        );
        text.push_str(&item);
    }
    text.truncate(VALUE_BYTES - 2);
    text.push_str("]}");
    text.into_bytes()
}

/// One batch of `records`.
pub fn batch(records: &[KeyValue], codec: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(codec, BATCH_BYTES + 1024);
    for (key, value) in records {
        builder.try_append(NOW_MS, Some(key), Some(value), &[]).expect("sample records fit");
    }
    builder.finish(None)
}

/// What a topic with default settings takes.
pub fn rules() -> ValidationRules {
    ValidationRules::new(NOW_MS)
}
