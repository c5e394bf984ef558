//! Time to encode, check and decode a 64 KiB batch of 1 KiB records, per codec. Throughput is in bytes before compression.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use highwater_benches::sample;
use highwater_proto::record::compression::compress;
use highwater_proto::record::{
    BatchHeader, Compression, DecodeLimits, crc32c, decode_records, restamp_append_time, stamp,
    validate_produced,
};
use highwater_proto::{LeaderEpoch, Offset};

fn batches(criterion: &mut Criterion) {
    let records = sample::records();
    let plain = sample::batch(&records, Compression::None);
    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Bytes(plain.len() as u64));
    for codec in Compression::ALL {
        let batch = sample::batch(&records, codec);
        let rules = sample::rules();
        group.bench_function(format!("encode/{codec}"), |b| {
            b.iter(|| sample::batch(black_box(&records), codec));
        });
        group.bench_function(format!("validate/{codec}"), |b| {
            b.iter(|| validate_produced(black_box(&batch), &rules));
        });
        group.bench_function(format!("decode/{codec}"), |b| {
            b.iter(|| {
                decode_records(black_box(&batch), &DecodeLimits::default())
                    .expect("the sample is sound")
                    .for_each(|record| drop(black_box(record)));
            });
        });
        group.bench_function(format!("compress/{codec}"), |b| {
            let mut out = Vec::new();
            b.iter(|| {
                out.clear();
                compress(codec, black_box(&plain[61..]), &mut out);
            });
        });
    }
    group.bench_function("checksum", |b| b.iter(|| crc32c(black_box(&plain))));
    group.finish();
}

fn headers(criterion: &mut Criterion) {
    let batch = sample::batch(&sample::records(), Compression::None);
    let header = BatchHeader::parse(&batch).expect("the sample is sound");
    let mut group = criterion.benchmark_group("header");
    group.bench_function("parse", |b| b.iter(|| BatchHeader::parse(black_box(&batch))));
    group.bench_function("stamp", |b| b.iter(|| stamp(black_box(&header), Offset(7), LeaderEpoch(3))));
    group.bench_function("restamp_append_time", |b| {
        b.iter(|| restamp_append_time(black_box(&batch), Offset(7), LeaderEpoch(3), sample::NOW_MS));
    });
    group.finish();
}

criterion_group!(record, batches, headers);
criterion_main!(record);
