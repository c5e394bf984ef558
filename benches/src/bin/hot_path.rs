//! Runs one named hot path a number of times: `hot_path batch_encode 1000`. `callgrind.sh` counts its instructions.
//!
//! To add a path: a function that prepares its input and returns the step to repeat, and a line in [`PATHS`].

use std::hint::black_box;

use highwater_benches::sample;
use highwater_benches::scratch_log::ScratchLog;
use highwater_proto::record::{
    BatchHeader, ChecksumCheck, Compression, DecodeLimits, decode_records, restamp_append_time,
    validate_produced,
};
use highwater_proto::{LeaderEpoch, Offset};

/// What is run again and again.
type Step = Box<dyn FnMut()>;

/// A name, and what prepares the step.
type Path = (&'static str, fn() -> Step);

/// Every hot path by name.
const PATHS: &[Path] = &[
    ("batch_encode", batch_encode),
    ("batch_header_parse", batch_header_parse),
    ("batch_validate", || batch_validate(Compression::None)),
    ("batch_validate_lz4", || batch_validate(Compression::Lz4)),
    ("batch_validate_zstd", || batch_validate(Compression::Zstd)),
    ("batch_restamp", batch_restamp),
    ("log_append", log_append),
    ("log_read", log_read),
    ("record_iter", record_iter),
];

#[expect(clippy::print_stdout, reason = "listing the paths is what `list` is for")]
fn main() {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    if name == "list" {
        PATHS.iter().for_each(|(name, _)| println!("{name}"));
        return;
    }
    let count =
        args.next().and_then(|text| text.parse::<u64>().ok()).expect("usage: hot_path NAME COUNT | list");
    let (_, prepare) = PATHS.iter().find(|(path, _)| *path == name).expect("`hot_path list` names the paths");
    let mut step = prepare();
    for _ in 0..count {
        step();
    }
}

fn batch_encode() -> Step {
    let records = sample::records();
    Box::new(move || {
        black_box(sample::batch(black_box(&records), Compression::None));
    })
}

fn batch_header_parse() -> Step {
    let batch = sample::batch(&sample::records(), Compression::None);
    Box::new(move || {
        black_box(BatchHeader::parse(black_box(&batch)).expect("the sample is sound"));
    })
}

fn batch_validate(codec: Compression) -> Step {
    let batch = sample::batch(&sample::records(), codec);
    let rules = sample::rules();
    Box::new(move || {
        black_box(validate_produced(black_box(&batch), &rules).expect("the sample is sound"));
    })
}

fn batch_restamp() -> Step {
    let batch = sample::batch(&sample::records(), Compression::None);
    Box::new(move || {
        black_box(restamp_append_time(black_box(&batch), Offset(1), LeaderEpoch(2), sample::NOW_MS));
    })
}

/// Bookkeeping of one batch and the call that writes it; what the kernel does is not counted.
fn log_append() -> Step {
    let mut log = ScratchLog::new();
    let batch = sample::batch(&sample::records(), Compression::None);
    Box::new(move || log.append(black_box(&batch)))
}

/// 1 MiB of batches, planned, found in memory, and sliced out of the map.
fn log_read() -> Step {
    let mut log = ScratchLog::new();
    let batch = sample::batch(&sample::records(), Compression::None);
    for _ in 0..64 {
        log.append(&batch);
    }
    Box::new(move || {
        black_box(log.read(black_box(1 << 20)));
    })
}

fn record_iter() -> Step {
    let batch = sample::batch(&sample::records(), Compression::None);
    let limits = DecodeLimits { checksum: ChecksumCheck::Skip, ..DecodeLimits::default() };
    Box::new(move || {
        for record in decode_records(black_box(&batch), &limits).expect("the sample is sound") {
            black_box(record.expect("the sample is sound"));
        }
    })
}
