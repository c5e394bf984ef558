//! Threads that act as clients, and what each of them measured.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::exit::{CliError, CliResult};

/// What one client, or all together, saw.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// Sent before counting began; the broker's CPU was spent on them too.
    pub(crate) warmup_bytes: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    /// Nanoseconds.
    pub(crate) latencies: Histogram<u64>,
    /// First counted record due, last one done.
    pub(crate) began: Option<Instant>,
    pub(crate) ended: Option<Instant>,
}

impl Measured {
    pub(crate) fn new() -> Measured {
        // 100 ns to 100 s, three digits.
        let latencies = Histogram::new_with_bounds(100, 100_000_000_000, 3).expect("the bounds are in order");
        Measured {
            records: 0,
            bytes: 0,
            warmup_bytes: 0,
            errors: 0,
            first_error: None,
            latencies,
            began: None,
            ended: None,
        }
    }

    /// Notes a latency; saturates at the histogram's end.
    pub(crate) fn latency(&mut self, latency: Duration) {
        self.latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn add(&mut self, other: &Measured) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.warmup_bytes += other.warmup_bytes;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or_else(|| other.first_error.clone());
        self.latencies.add(&other.latencies).expect("all histograms have the same bounds");
        self.began = [self.began, other.began].into_iter().flatten().min();
        self.ended = self.ended.max(other.ended);
    }

    /// From the first counted record to the last one done.
    pub(crate) fn elapsed(&self) -> Duration {
        match (self.began, self.ended) {
            (Some(began), Some(ended)) => ended.saturating_duration_since(began),
            _ => Duration::ZERO,
        }
    }
}

/// Runs `client` on a thread each, and adds up what they measured.
pub(crate) fn run(clients: u32, client: impl Fn(u32) -> CliResult<Measured> + Sync) -> CliResult<Measured> {
    let client = &client;
    let results: Vec<CliResult<Measured>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|number| scope.spawn(move || client(number))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, CliResult<Measured>>| {
            thread.join().unwrap_or_else(|_| Err(CliError::failed("a client thread panicked")))
        };
        threads.into_iter().map(join).collect()
    });
    let mut all = Measured::new();
    for result in results {
        all.add(&result?);
    }
    Ok(all)
}

/// The benchmark's clock.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
