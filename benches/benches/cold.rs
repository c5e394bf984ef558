//! What is cold: reading data that is on the device only, and opening a partition after a crash, by how much data it has.
//! Opening should take no longer with more data, unless the last life left nothing that says how far it had flushed.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use highwater_benches::cold_log::{ColdLog, LeftBehind};

const READ_BYTES: u64 = 128 << 20;
const OPENED_BYTES: [u64; 3] = [16 << 20, 128 << 20, 1 << 30];

fn read(criterion: &mut Criterion) {
    let log = ColdLog::new(READ_BYTES);
    let mut group = criterion.benchmark_group("read from the device");
    group.throughput(Throughput::Bytes(log.size_bytes()));
    for max_bytes in [64 << 10, 1 << 20] {
        group.bench_function(BenchmarkId::from_parameter(max_bytes), |b| {
            b.iter_custom(|count| log.read_from_device(max_bytes, count));
        });
    }
    group.finish();
}

fn open(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open after a crash");
    for bytes in OPENED_BYTES {
        let log = ColdLog::new(bytes);
        let mib = format!("{} MiB", bytes >> 20);
        for (left, name) in [(LeftBehind::Marker, "with a marker"), (LeftBehind::Nothing, "without any")] {
            if left == LeftBehind::Nothing && bytes > READ_BYTES {
                continue;
            }
            group.bench_function(BenchmarkId::new(name, &mib), |b| {
                b.iter_custom(|count| log.open_after_crash(left, count));
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = cold;
    config = Criterion::default().sample_size(10).warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = read, open
}
criterion_main!(cold);
