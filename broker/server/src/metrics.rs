//! What the broker counts, as Prometheus metrics. One registry per broker, so that several can live in one process.

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Counts, gauges and histograms of one broker.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Batches appended.
    pub batches_appended: Counter,
    /// Bytes of batches appended.
    pub bytes_appended: Counter,
    /// What followers do.
    pub replication: ReplicationMetrics,
    /// Batches that were there already (idempotent retries).
    pub batches_deduplicated: Counter,
    /// Batches refused, for whatever reason.
    pub batches_refused: Counter,
    /// Bytes of batches handed out.
    pub bytes_fetched: Counter,
    /// Fetch answers sent.
    pub fetches_answered: Counter,
    /// Requests that came by the Kafka protocol.
    pub kafka_requests: Counter,
    /// Kafka connections open now.
    pub kafka_connections_open: Gauge,
    /// Kafka connections closed at once, since there were too many.
    pub kafka_connections_refused: Counter,
    /// Group flushes completed.
    pub flushes_completed: Counter,
    /// Group flushes that failed.
    pub flushes_failed: Counter,
    /// Seconds one group flush took.
    pub flush_seconds: Histogram,
    /// Seconds from a batch's arrival to its acknowledgement.
    pub produce_seconds: Histogram,
    /// Produce requests that ran out of time.
    pub produces_timed_out: Counter,
    /// Streams open now.
    pub streams_open: Gauge,
    /// Partitions open now.
    pub partitions_open: Gauge,
    /// Partitions that refuse writes or reads until somebody acts.
    pub partitions_offline: Gauge,
    /// Segments deleted by retention.
    pub segments_retired: Counter,
    /// Segments compacted.
    pub segments_compacted: Counter,
    cpu_seconds: Counter<f64, AtomicU64>,
    resident_bytes: Gauge<i64, AtomicI64>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

/// What followers do.
#[derive(Debug)]
pub struct ReplicationMetrics {
    /// Bytes of batches copied from leaders.
    pub bytes_copied: Counter,
    /// Times that a follower cut its log below what it knew to be committed: an unclean election went before.
    pub truncations_below_high_watermark: Counter,
    /// Damaged logs that were copied from their leaders again.
    pub logs_repaired: Counter,
}

impl ReplicationMetrics {
    fn new(counter: &mut dyn FnMut(&str, &str) -> Counter) -> ReplicationMetrics {
        ReplicationMetrics {
            bytes_copied: counter("replication_bytes_copied", "Bytes of batches copied from leaders"),
            truncations_below_high_watermark: counter(
                "replication_truncations_below_high_watermark",
                "Times that a follower cut its log below what it knew to be committed",
            ),
            logs_repaired: counter(
                "replication_logs_repaired",
                "Damaged logs that were copied from their leaders again",
            ),
        }
    }
}

/// What the system says of the process.
fn process_metrics(root: &mut Registry) -> (Counter<f64, AtomicU64>, Gauge<i64, AtomicI64>) {
    let process = root.sub_registry_with_prefix("process");
    let cpu_seconds = Counter::default();
    process.register("cpu_seconds", "User and system CPU time spent", cpu_seconds.clone());
    let resident_bytes = Gauge::default();
    process.register("resident_memory_bytes", "Resident memory", resident_bytes.clone());
    (cpu_seconds, resident_bytes)
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Metrics {
        let mut root = Registry::default();
        let registry = root.sub_registry_with_prefix("highwater");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let batches_appended = counter("batches_appended", "Batches appended");
        let bytes_appended = counter("bytes_appended", "Bytes of batches appended");
        let replication = ReplicationMetrics::new(&mut counter);
        let batches_deduplicated = counter("batches_deduplicated", "Retried batches that were there already");
        let batches_refused = counter("batches_refused", "Batches refused");
        let bytes_fetched = counter("bytes_fetched", "Bytes of batches handed out");
        let fetches_answered = counter("fetches_answered", "Fetch answers sent");
        let kafka_requests = counter("kafka_requests", "Requests that came by the Kafka protocol");
        let kafka_connections_refused = counter(
            "kafka_connections_refused",
            "Kafka connections closed at once, since there were too many",
        );
        let flushes_completed = counter("flushes_completed", "Group flushes completed");
        let flushes_failed = counter("flushes_failed", "Group flushes that failed");
        let produces_timed_out = counter("produces_timed_out", "Produce requests that ran out of time");
        let segments_retired = counter("segments_retired", "Segments deleted by retention");
        let segments_compacted = counter("segments_compacted", "Segments compacted");
        let mut gauge = |name: &str, help: &str| {
            let gauge: Gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let kafka_connections_open = gauge("kafka_connections_open", "Kafka connections open now");
        let streams_open = gauge("streams_open", "Produce and fetch streams open now");
        let partitions_open = gauge("partitions_open", "Partitions open now");
        let partitions_offline = gauge("partitions_offline", "Partitions that refuse reads or writes");
        let mut histogram = |name: &str, help: &str| {
            let histogram = Histogram::new(exponential_buckets(0.000_05, 2.0, 18));
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
            histogram
        };
        let flush_seconds = histogram("flush", "One group flush");
        let produce_seconds = histogram("produce", "From a batch's arrival to its acknowledgement");
        let (cpu_seconds, resident_bytes) = process_metrics(&mut root);
        Metrics {
            registry: root,
            batches_appended,
            bytes_appended,
            replication,
            batches_deduplicated,
            batches_refused,
            bytes_fetched,
            fetches_answered,
            kafka_requests,
            kafka_connections_open,
            kafka_connections_refused,
            flushes_completed,
            flushes_failed,
            flush_seconds,
            produce_seconds,
            produces_timed_out,
            streams_open,
            partitions_open,
            partitions_offline,
            segments_retired,
            segments_compacted,
            cpu_seconds,
            resident_bytes,
        }
    }

    /// The text that Prometheus reads (OpenMetrics), with the process's own figures first brought up to date.
    /// `log` has what the logs count themselves, by name.
    #[must_use]
    pub fn render(&self, log: &[(&'static str, u64)]) -> String {
        let usage = process::usage();
        self.cpu_seconds.inner().store(usage.cpu_seconds.to_bits(), Ordering::Relaxed);
        self.resident_bytes.set(usage.resident_bytes);
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        let end = text.rfind("# EOF").unwrap_or(text.len());
        let rest = text.split_off(end);
        for (name, count) in log {
            let _ = writeln!(text, "# TYPE highwater_log_{name} counter\nhighwater_log_{name}_total {count}");
        }
        text + &rest
    }
}

/// The process's own CPU time and memory, as Linux tells them.
mod process {
    /// What `/proc/self` says.
    pub(super) struct Usage {
        pub(super) cpu_seconds: f64,
        pub(super) resident_bytes: i64,
    }

    /// Zero where `/proc` cannot be read.
    #[expect(
        clippy::disallowed_methods,
        reason = "/proc is the kernel speaking, not a disk that a test would replace"
    )]
    pub(super) fn usage() -> Usage {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The command's name may hold spaces, so count the fields behind its closing bracket.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number =
            |index: usize| fields.get(index).and_then(|field| field.parse::<i64>().ok()).unwrap_or(0);
        // Linux counts CPU time in hundredths of a second for every user program, whatever the kernel's own tick.
        let cpu_seconds = (number(11) + number(12)) as f64 / 100.0;
        Usage { cpu_seconds, resident_bytes: number(21) * page_size() }
    }

    fn page_size() -> i64 {
        i64::try_from(rustix::param::page_size()).unwrap_or(4096)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_process_and_the_log() {
        let metrics = Metrics::new();
        metrics.bytes_appended.inc_by(7);
        let page = metrics.render(&[("torn_bytes", 3)]);
        assert!(page.contains("highwater_log_torn_bytes_total 3\n") && page.ends_with("# EOF\n"), "{page}");
        assert!(page.contains("highwater_bytes_appended_total 7"), "{page}");
        assert!(page.contains("\nprocess_cpu_seconds_total "), "{page}");
        let memory =
            page.lines().find(|l| l.starts_with("process_resident_memory_bytes ")).expect("a memory line");
        let bytes: f64 = memory.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a number");
        assert!(bytes > 1e6, "{memory}");
    }
}
