//! What the log costs over the bare system calls: appending beside a loop that checks and writes, and reading beside
//! a walk over a map. Measured on the disk of the temporary folder.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use highwater_benches::steady_log::{BareFile, Flush, HotLog, SEGMENT_BYTES, SteadyLog, batch};
use highwater_proto::Offset;

/// Bytes of a batch and of its records' values.
const SHAPES: [(usize, usize); 5] =
    [(100, 16), (4 << 10, 100), (64 << 10, 16), (64 << 10, 1024), (1 << 20, 1 << 19)];

fn append(criterion: &mut Criterion) {
    let mut log = SteadyLog::new();
    let mut bare = BareFile::new();
    assert!(log.recycled_count() > 0, "the log has reached its steady state");
    for flush in [Flush::Never, Flush::Each] {
        let name = if flush == Flush::Never { "append" } else { "append and flush" };
        let mut group = criterion.benchmark_group(name);
        for (batch_bytes, value_bytes) in SHAPES {
            let batch = batch(batch_bytes, value_bytes);
            let shape = format!("{batch_bytes} B of {value_bytes} B");
            group.throughput(Throughput::Bytes(batch.len() as u64));
            group.bench_function(BenchmarkId::new("bare", &shape), |b| {
                b.iter_custom(|count| bare.append(&batch, count, flush));
            });
            group.bench_function(BenchmarkId::new("log", &shape), |b| {
                b.iter_custom(|count| log.append(&batch, count, flush));
            });
        }
        group.finish();
    }
}

fn read(criterion: &mut Criterion) {
    let log = HotLog::new();
    let mut group = criterion.benchmark_group("read from memory");
    group.throughput(Throughput::Bytes(SEGMENT_BYTES));
    for max_bytes in [64 << 10, 1 << 20] {
        group.bench_function(BenchmarkId::new("bare", max_bytes), |b| {
            b.iter(|| log.walk(black_box(max_bytes)))
        });
        group.bench_function(BenchmarkId::new("log", max_bytes), |b| {
            b.iter(|| log.read(black_box(max_bytes)))
        });
    }
    group.finish();
    let mut offset = 0;
    criterion.bench_function("find an offset", |b| {
        b.iter(|| {
            offset = (offset + 7919) % log.end().0;
            log.seek(black_box(Offset(offset)))
        });
    });
}

criterion_group! {
    name = log;
    config = Criterion::default().sample_size(10).warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = append, read
}
criterion_main!(log);
