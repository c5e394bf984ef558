//! Time to append 64 KiB batches to a log on the disk of the temporary folder, with and without a flush, and to read
//! them back from memory.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use highwater_benches::sample;
use highwater_benches::scratch_log::ScratchLog;
use highwater_proto::Offset;
use highwater_proto::record::Compression;

/// The log is cut back to nothing at this size, so that a benchmark stays on a small part of the disk.
const LOG_BYTES_MAX: u64 = 192 << 20;

fn append(criterion: &mut Criterion) {
    let batch = sample::batch(&sample::records(), Compression::None);
    let mut group = criterion.benchmark_group("log");
    group.throughput(Throughput::Bytes(batch.len() as u64));
    let mut scratch = ScratchLog::new();
    group.bench_function("append", |b| {
        b.iter(|| {
            scratch.append(black_box(&batch));
            if scratch.log.size_bytes() > LOG_BYTES_MAX {
                scratch.log.truncate_to(Offset::ZERO, sample::NOW_MS).expect("the log can be emptied");
            }
        });
    });
    group.bench_function("append and flush", |b| {
        b.iter(|| {
            scratch.append(black_box(&batch));
            let _ = scratch.log.flush().expect("the disk takes it");
            if scratch.log.size_bytes() > LOG_BYTES_MAX {
                scratch.log.truncate_to(Offset::ZERO, sample::NOW_MS).expect("the log can be emptied");
            }
        });
    });
    group.finish();
}

fn read(criterion: &mut Criterion) {
    let batch = sample::batch(&sample::records(), Compression::None);
    let mut scratch = ScratchLog::new();
    for _ in 0..64 {
        scratch.append(&batch);
    }
    let mut group = criterion.benchmark_group("log");
    group.bench_function("read 1 MiB", |b| b.iter(|| scratch.read(black_box(1 << 20))));
    group.finish();
}

criterion_group!(log, append, read);
criterion_main!(log);
