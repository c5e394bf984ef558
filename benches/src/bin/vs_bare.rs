//! The log beside the least a program can do with the same file, in turns, in one process.
//!
//! ```text
//! vs_bare append [--rounds 9] [--mib 128] [--dir DIR]   64 KiB batches: sum, header, append | sum, pwrite into a recycled file
//! vs_bare read   [--rounds 9] [--mib 64]  [--dir DIR]   1 MiB slices: plan and read         | a walk over the map's headers
//! ```
//! Nothing is flushed while the time runs; between rounds both files are, and retired segments are made ready again, as
//! the broker does in the background. Both sides are one thread that waits for nothing, so its CPU time is measured: what
//! others do on the machine meanwhile does not count. Prints medians over the rounds and the ratio of the speeds as JSON.

#![expect(clippy::print_stdout, reason = "the result goes there")]

use std::hint::black_box;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use highwater_benches::flags::Flags;
use highwater_benches::sample;
use highwater_benches::scratch_log::ScratchLog;
use highwater_env::Disk;
use highwater_env::os::OsDisk;
use highwater_proto::Offset;
use highwater_proto::record::{BatchHeader, Compression, crc32c, verify_crc};
use rustix::time::{ClockId, clock_gettime};

const SEGMENT_BYTES: u64 = 64 << 20;
const READ_BYTES: usize = 1 << 20;

fn main() {
    let mode = std::env::args().nth(1).unwrap_or_default();
    let flags = Flags::from_args(1);
    let folder: PathBuf = flags.get("dir", std::env::temp_dir());
    let rounds: usize = flags.get("rounds", 9);
    match mode.as_str() {
        "append" => append(&folder, rounds, flags.get::<u64>("mib", 128) << 20),
        "read" => read(&folder, rounds, flags.get::<u64>("mib", 64) << 20),
        _ => panic!("usage: vs_bare append|read --rounds N --mib N --dir DIR"),
    }
}

fn median(mut rounds: Vec<Duration>) -> f64 {
    rounds.sort_unstable();
    rounds[rounds.len() / 2].as_secs_f64()
}

/// The CPU time of this thread that `work` took.
fn timed(work: impl FnOnce()) -> Duration {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
    };
    let began = now();
    work();
    now() - began
}

fn append(folder: &Path, rounds: usize, bytes: u64) {
    let batch = sample::batch(&sample::records(), Compression::None);
    let count = bytes / batch.len() as u64;
    let mut scratch = ScratchLog::in_folder(folder, SEGMENT_BYTES);
    let bare = OsDisk.create(&scratch.folder().join("bare")).expect("the folder can be written");
    let (mut with_log, mut without) = (Vec::new(), Vec::new());
    // The first rounds give both sides files whose blocks and pages exist.
    for round in 0..rounds + 2 {
        let log = timed(|| {
            for _ in 0..count {
                verify_crc(black_box(&batch)).expect("a sample batch is sound");
                scratch.append(&batch);
            }
        });
        scratch.recycle();
        let least = timed(|| {
            for number in 0..count {
                black_box(crc32c(black_box(&batch[21..])));
                bare.write_at(number * batch.len() as u64, &[IoSlice::new(&batch)]).expect("there is space");
            }
        });
        bare.sync_data().expect("the disk takes it");
        if round >= 2 {
            with_log.push(log);
            without.push(least);
        }
    }
    let recycled = scratch.segments_recycled();
    assert!(recycled > 0, "the log wrote into fresh files only: that is another comparison");
    let mb_s = |seconds: f64| (count * batch.len() as u64) as f64 / 1e6 / seconds;
    let (log, least) = (median(with_log), median(without));
    println!(
        "{{\"log_mb_s\": {:.0}, \"bare_mb_s\": {:.0}, \"ratio\": {:.3}, \"rounds\": {rounds}, \
         \"mib_per_round\": {}, \"segments_recycled\": {recycled}}}",
        mb_s(log),
        mb_s(least),
        least / log,
        bytes >> 20,
    );
}

/// What the reader does with the bytes it was handed.
#[derive(Clone, Copy)]
enum Consume {
    /// Nothing: the cost of handing them out.
    Nothing,
    /// Goes over them once, as whoever checks their sum does.
    Sum,
}

impl Consume {
    fn take(self, bytes: &[u8]) {
        match self {
            Consume::Nothing => drop(black_box(bytes.len())),
            Consume::Sum => drop(black_box(crc32c(bytes))),
        }
    }
}

fn read(folder: &Path, rounds: usize, bytes: u64) {
    let batch = sample::batch(&sample::records(), Compression::None);
    let mut scratch = ScratchLog::in_folder(folder, bytes + SEGMENT_BYTES);
    let count = bytes / batch.len() as u64;
    for _ in 0..count {
        scratch.append(&batch);
    }
    scratch.flush();
    let end = count as usize * batch.len();
    let first = scratch.log.directory().join(format!("{:020}.log", 0));
    let file = OsDisk.open(&first).expect("the log begins with segment 0");
    let map = file.map(end as u64).expect("the segment can be mapped");
    let mut measured = Vec::new();
    for consume in [Consume::Sum, Consume::Nothing] {
        let (mut with_log, mut without, mut reads) = (Vec::new(), Vec::new(), 0);
        for round in 0..rounds + 1 {
            let log = timed(|| reads = read_log(&scratch, consume));
            let least = timed(|| assert_eq!(walk_map(&map, consume), reads, "both read the same slices"));
            if round > 0 {
                with_log.push(log);
                without.push(least);
            }
        }
        measured.push((median(with_log) * 1e9 / reads as f64, median(without) * 1e9 / reads as f64));
    }
    let [(log, least), (log_alone, least_alone)] = measured[..] else { unreachable!("two ways to consume") };
    println!(
        "{{\"log_ns\": {log:.0}, \"bare_ns\": {least:.0}, \"ratio\": {:.3}, \"handed_out_log_ns\": {log_alone:.0}, \
         \"headers_bare_ns\": {least_alone:.0}, \"rounds\": {rounds}, \"bytes_per_read\": {READ_BYTES}}}",
        least / log,
    );
}

/// Reads the whole log in slices of at most a megabyte; how many there were.
fn read_log(scratch: &ScratchLog, consume: Consume) -> usize {
    let (mut at, mut reads) = (Offset::ZERO, 0);
    while at < scratch.log.log_end() {
        let slice = scratch.read_from(at, READ_BYTES);
        consume.take(&slice.bytes);
        at = slice.next;
        reads += 1;
    }
    reads
}

/// The same slices by going from header to header in the map.
fn walk_map(map: &Bytes, consume: Consume) -> usize {
    let (mut start, mut reads) = (0, 0);
    while start < map.len() {
        let mut end = start;
        while end < map.len() {
            let size = BatchHeader::parse(&map[end..]).expect("a stored batch is sound").size_bytes();
            if end + size > start + READ_BYTES {
                break;
            }
            end += size;
        }
        consume.take(&map.slice(start..end));
        start = end;
        reads += 1;
    }
    reads
}
