//! What the run cost the broker: CPU seconds and memory, from its metrics or from `/proc`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use super::load::Load;
use crate::files;

/// CPU and memory of a process at one moment.
#[derive(Clone, Copy, Debug)]
struct Usage {
    cpu_s: f64,
    rss_bytes: f64,
}

/// The broker's usage before the run; `None` where it cannot be read.
#[derive(Debug)]
pub(crate) struct ServerCost<'a> {
    load: &'a Load,
    before: Option<Usage>,
    client_cpu_s: f64,
}

/// What the run cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) server_cpu_s: Option<f64>,
    pub(crate) server_rss_mb: Option<f64>,
    pub(crate) client_cpu_s: f64,
}

impl<'a> ServerCost<'a> {
    pub(crate) fn begin(load: &'a Load) -> ServerCost<'a> {
        ServerCost { load, before: usage(load), client_cpu_s: own_cpu_s() }
    }

    pub(crate) fn end(self) -> Cost {
        let after = usage(self.load);
        Cost {
            server_cpu_s: after.zip(self.before).map(|(after, before)| after.cpu_s - before.cpu_s),
            server_rss_mb: after.map(|after| after.rss_bytes / 1e6),
            client_cpu_s: own_cpu_s() - self.client_cpu_s,
        }
    }
}

fn usage(load: &Load) -> Option<Usage> {
    match load.server_pid {
        Some(pid) => from_proc(pid),
        None => from_metrics(&load.admin),
    }
}

/// User and system time of this process.
fn own_cpu_s() -> f64 {
    from_proc(std::process::id()).map_or(0.0, |usage| usage.cpu_s)
}

fn from_proc(pid: u32) -> Option<Usage> {
    let stat = files::read_text(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
    // The second field is the program's name in parentheses and may hold anything; user and system time are 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let pages: f64 = fields.get(21)?.parse().ok()?;
    Some(Usage {
        cpu_s: ticks / rustix::param::clock_ticks_per_second() as f64,
        rss_bytes: pages * rustix::param::page_size() as f64,
    })
}

fn from_metrics(address: &str) -> Option<Usage> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(Usage {
        cpu_s: metric(&text, "process_cpu_seconds_total")?,
        rss_bytes: metric(&text, "process_resident_memory_bytes")?,
    })
}

fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_by_their_whole_name() {
        let text = "# TYPE process_cpu_seconds counter\nprocess_cpu_seconds_total 1.25\nprocess_x 3\n";
        assert_eq!(metric(text, "process_cpu_seconds_total"), Some(1.25));
        assert_eq!(metric(text, "process_resident_memory_bytes"), None);
    }

    #[test]
    fn this_process_has_used_memory() {
        let usage = from_proc(std::process::id()).expect("/proc is there");
        assert!(usage.rss_bytes > 100_000.0);
    }
}
