//! A benchmark's result, for people and for programs. MB and GB are decimal, of the records' values.

use serde::Serialize;

use super::clients::Measured;
use super::load::{BenchTopic, Load};
use super::server::Cost;
use crate::exit::{CliError, CliResult};
use crate::output::{Format, bytes, count, latency, print};

/// Everything measured, and what it was measured with.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    msgs: u64,
    bytes: u64,
    seconds: f64,
    msgs_s: f64,
    mb_s: f64,
    mean_us: f64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
    p9999_us: f64,
    max_us: f64,
    latencies: u64,
    errors: u64,
    server_cpu_s_per_gb: Option<f64>,
    server_rss_mb: Option<f64>,
    client_cpu_s_per_gb: f64,
    topic: String,
    partitions: i32,
    clients: u32,
    record_size: u32,
    rate: Option<u64>,
    acks: String,
    compression: String,
    #[serde(skip)]
    first_error: Option<String>,
}

impl Report {
    pub(crate) fn new(
        bench: &'static str,
        load: &Load,
        rate: Option<u64>,
        topic: &BenchTopic,
        measured: &Measured,
        cost: Cost,
    ) -> Report {
        let seconds = measured.elapsed().as_secs_f64().max(1e-9);
        let us = |quantile| measured.latencies.value_at_quantile(quantile) as f64 / 1e3;
        let gb = (measured.bytes + measured.warmup_bytes) as f64 / 1e9;
        let per_gb = |cpu_s: f64| if gb > 0.0 { cpu_s / gb } else { 0.0 };
        Report {
            bench,
            msgs: measured.records,
            bytes: measured.bytes,
            seconds,
            msgs_s: measured.records as f64 / seconds,
            mb_s: measured.bytes as f64 / 1e6 / seconds,
            mean_us: measured.latencies.mean() / 1e3,
            p50_us: us(0.5),
            p90_us: us(0.9),
            p99_us: us(0.99),
            p999_us: us(0.999),
            p9999_us: us(0.9999),
            max_us: measured.latencies.max() as f64 / 1e3,
            latencies: measured.latencies.len(),
            errors: measured.errors,
            server_cpu_s_per_gb: cost.server_cpu_s.map(per_gb),
            server_rss_mb: cost.server_rss_mb,
            client_cpu_s_per_gb: per_gb(cost.client_cpu_s),
            topic: topic.name.clone(),
            partitions: topic.partitions,
            clients: load.clients,
            record_size: load.record_size,
            rate,
            acks: format!("{:?}", load.acks).to_lowercase(),
            compression: load.compression.to_string(),
            first_error: measured.first_error.clone(),
        }
    }

    /// Prints it; fails when a record did.
    pub(crate) fn print(&self, format: Format) -> CliResult {
        print(format, self, Report::text)?;
        match &self.first_error {
            Some(error) => {
                Err(CliError::failed(format!("{} records failed, the first: {error}", self.errors)))
            }
            None => Ok(()),
        }
    }

    fn text(&self) -> String {
        let what = if self.bench == "consume" { "fetch" } else { "latency" };
        let number = |value: Option<f64>, unit: &str| match value {
            Some(value) => format!("{value:.2} {unit}"),
            None => "not known (--admin or --server-pid)".to_owned(),
        };
        format!(
            "{} {} records of {} B, {} in {:.2} s: {} records/s, {:.1} MB/s\n\
             {what}  p50 {}  p90 {}  p99 {}  p99.9 {}  p99.99 {}  max {}\n\
             broker   {}, {}\nclient   {:.2} CPU s/GB\n",
            self.bench,
            count(self.msgs),
            self.record_size,
            bytes(self.bytes),
            self.seconds,
            count(self.msgs_s as u64),
            self.mb_s,
            latency(self.p50_us),
            latency(self.p90_us),
            latency(self.p99_us),
            latency(self.p999_us),
            latency(self.p9999_us),
            latency(self.max_us),
            number(self.server_cpu_s_per_gb, "CPU s/GB"),
            number(self.server_rss_mb, "MB resident"),
            self.client_cpu_s_per_gb,
        )
    }
}
