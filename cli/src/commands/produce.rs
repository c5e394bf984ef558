//! `highwater produce TOPIC`: lines in, acknowledgements counted, a summary at the end.

use std::collections::{BTreeMap, VecDeque};
use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use highwater_client::{Acks, Compression, Delivery, ProduceError, Producer, ProducerConfig, Record};
use serde::Serialize;
use tokio::sync::mpsc;

use super::stalled::{self, AbortOnDrop, Progress};
use crate::args::Global;
use crate::connect;
use crate::exit::{CliError, CliResult, Exit};
use crate::files::{self, Input};
use crate::output::{self, Format, bytes, count};
use crate::progress;

/// Lines are handed to the sender in pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;
/// Deliveries looked at in one go, so that their memory stays bounded.
const DELIVERIES_MAX: usize = 100_000;

/// Options of `produce`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic.
    topic: String,
    /// Read lines from this file instead of standard input.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What stands before the first of these in a line is the record's key.
    #[arg(short, long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(short, long, default_value = "none", value_parser = compression)]
    compression: Compression,
    /// What must have happened before a record counts: 0 nothing, 1 written by the leader, all durable.
    #[arg(short, long, default_value = "all", value_parser = acks)]
    acks: Acks,
    /// Send everything to this partition.
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// How long a batch that is not full may wait for more.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    linger_ms: u64,
    /// A batch is sent once it holds this many bytes.
    #[arg(long, default_value_t = 256 << 10, value_name = "BYTES")]
    batch_bytes: usize,
    /// A record not acknowledged after this long has failed.
    #[arg(long, default_value_t = 120_000, value_name = "MS")]
    delivery_timeout_ms: u64,
}

pub(crate) fn compression(text: &str) -> Result<Compression, String> {
    text.parse().map_err(|_| "use none, gzip, snappy, lz4 or zstd".to_owned())
}

pub(crate) fn acks(text: &str) -> Result<Acks, String> {
    match text {
        "0" => Ok(Acks::None),
        "1" => Ok(Acks::Leader),
        "all" | "-1" => Ok(Acks::All),
        _ => Err("use 0, 1 or all".to_owned()),
    }
}

/// What was sent and where it went; printed to standard error.
#[derive(Debug, Default, Serialize)]
struct Summary {
    topic: String,
    records: u64,
    bytes: u64,
    seconds: f64,
    records_per_s: f64,
    mb_s: f64,
    failed: u64,
    partitions: Vec<PartitionSummary>,
}

#[derive(Debug, Serialize)]
struct PartitionSummary {
    partition: i32,
    records: u64,
    first_offset: Option<i64>,
    last_offset: Option<i64>,
}

pub(crate) async fn run(args: Args, global: &Global) -> CliResult {
    let input = files::input(args.file.as_deref())?;
    let client = global.connect().await?;
    let progress = Arc::new(Progress::default());
    let watching = stalled::watch(client.clone(), args.topic.clone(), Arc::clone(&progress));
    let watching = AbortOnDrop(tokio::spawn(watching));
    let getting_ready = progress.one_more();
    connect::topic(&client, &args.topic).await?;
    let batch_bytes = args.batch_bytes;
    let config = ProducerConfig {
        acks: args.acks,
        compression: args.compression,
        linger: Duration::from_millis(args.linger_ms),
        batch_bytes,
        max_request_bytes: ProducerConfig::default().max_request_bytes.max(batch_bytes),
        delivery_timeout: Duration::from_millis(args.delivery_timeout_ms),
        ..ProducerConfig::default()
    };
    let producer = client.producer(config).await?;
    drop(getting_ready);
    let mut sending = Sending::new(args, producer, &progress);
    let sent = tokio::select! {
        sent = sending.send_all(read_lines(input)) => sent,
        _ = tokio::signal::ctrl_c() => Err(CliError::interrupted()),
    };
    // Whatever ended the sending, what was sent is waited for and told.
    let unacknowledged = sending.finish().await;
    drop(watching);
    sending.report(global.output)?;
    unacknowledged.map_or(sent, Err)
}

/// Reads whole lines on a thread of their own, since standard input blocks; bounded, so that a slow broker slows it.
fn read_lines(mut input: Input) -> mpsc::Receiver<std::io::Result<Vec<u8>>> {
    let (pieces, receiver) = mpsc::channel(4);
    std::thread::spawn(move || {
        loop {
            let piece = read_piece(&mut input);
            let is_last = !matches!(&piece, Ok(piece) if !piece.is_empty());
            if pieces.blocking_send(piece).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

/// Whole lines: one, and those behind it that are there without waiting, so that a person who types sees each go.
/// Empty at the end.
fn read_piece(input: &mut Input) -> std::io::Result<Vec<u8>> {
    let mut piece = Vec::new();
    while input.read_until(b'\n', &mut piece)? > 0 {
        if piece.len() >= PIECE_BYTES || !input.buffer().contains(&b'\n') {
            break;
        }
    }
    Ok(piece)
}

/// One run of the command.
struct Sending {
    args: Args,
    producer: Producer,
    started: Instant,
    summary: Summary,
    progress: Arc<Progress>,
    partitions: BTreeMap<i32, PartitionSummary>,
    deliveries: VecDeque<Delivery>,
    first_error: Option<ProduceError>,
}

impl Sending {
    fn new(args: Args, producer: Producer, progress: &Arc<Progress>) -> Sending {
        Sending {
            summary: Summary { topic: args.topic.clone(), ..Summary::default() },
            args,
            producer,
            started: started(),
            progress: Arc::clone(progress),
            partitions: BTreeMap::new(),
            deliveries: VecDeque::new(),
            first_error: None,
        }
    }

    async fn send_all(&mut self, mut pieces: mpsc::Receiver<std::io::Result<Vec<u8>>>) -> CliResult {
        let progress = progress::bar(None, "sending");
        while let Some(piece) = pieces.recv().await {
            let piece = piece.map_err(|error| CliError::failed(format!("cannot read the input: {error}")))?;
            if piece.is_empty() {
                break;
            }
            for line in piece.split_inclusive(|byte| *byte == b'\n') {
                self.send(line.strip_suffix(b"\n").unwrap_or(line)).await?;
            }
            progress.set_position(self.summary.records);
            self.settle_finished();
        }
        progress.finish_and_clear();
        Ok(())
    }

    async fn send(&mut self, line: &[u8]) -> CliResult {
        let (key, value) = split(line, self.args.key_separator.as_deref());
        let mut record = Record::new(&self.args.topic).value(value);
        record.key = key;
        if let Some(partition) = self.args.partition {
            record = record.partition(partition);
        }
        let delivery = self.producer.send(record).await?;
        self.summary.records += 1;
        self.progress.sent.fetch_add(1, Ordering::Relaxed);
        self.summary.bytes += line.len() as u64;
        self.deliveries.push_back(delivery);
        if self.deliveries.len() >= DELIVERIES_MAX {
            self.settle_front().await;
        }
        Ok(())
    }

    /// Takes note of what is acknowledged already, without waiting.
    fn settle_finished(&mut self) {
        while let Some(result) = self.deliveries.front().and_then(Delivery::peek) {
            self.deliveries.pop_front();
            self.take(result);
        }
    }

    async fn settle_front(&mut self) {
        if let Some(delivery) = self.deliveries.pop_front() {
            let result = delivery.await;
            self.take(result);
        }
        self.settle_finished();
    }

    fn take(&mut self, result: Result<highwater_client::RecordMetadata, ProduceError>) {
        self.progress.settled.fetch_add(1, Ordering::Relaxed);
        let metadata = match result {
            Ok(metadata) => metadata,
            Err(error) => {
                self.summary.failed += 1;
                self.first_error.get_or_insert(error);
                return;
            }
        };
        let offset = metadata.offset.map(|offset| offset.0);
        let number = metadata.partition.0;
        let partition = self.partitions.entry(number).or_insert(PartitionSummary {
            partition: number,
            records: 0,
            first_offset: offset,
            last_offset: offset,
        });
        partition.records += 1;
        partition.first_offset = partition.first_offset.min(offset);
        partition.last_offset = partition.last_offset.max(offset);
    }

    /// Waits for the rest; the error is why not every record was acknowledged.
    async fn finish(&mut self) -> Option<CliError> {
        // The failures of single records are counted one by one below.
        let _ = self.producer.flush().await;
        while !self.deliveries.is_empty() {
            self.settle_front().await;
        }
        // What was settled above is not told again; what only the end can tell is.
        if let Err(error @ ProduceError::NotTaken { .. }) = self.producer.clone().close().await {
            self.first_error.get_or_insert(error);
        }
        let error = self.first_error.clone()?;
        let failed = self.summary.failed;
        let exit = CliError::from(error.clone()).exit;
        let exit = if exit == Exit::Usage { Exit::Failed } else { exit };
        Some(CliError::new(exit, format!("{failed} of {} records failed: {error}", self.summary.records)))
    }

    fn report(&mut self, format: Format) -> CliResult {
        let summary = &mut self.summary;
        summary.seconds = self.started.elapsed().as_secs_f64();
        summary.records_per_s = summary.records as f64 / summary.seconds.max(1e-9);
        summary.mb_s = summary.bytes as f64 / 1e6 / summary.seconds.max(1e-9);
        summary.partitions = std::mem::take(&mut self.partitions).into_values().collect();
        match format {
            Format::Json => output::note(&output::json(summary)?),
            Format::Text => output::note(summary_text(summary).trim_end()),
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a summary for a person, not a broker's clock")]
fn started() -> Instant {
    Instant::now()
}

/// Key and value of a line; without a separator in it, all is value.
fn split<'a>(line: &'a [u8], separator: Option<&str>) -> (Option<&'a [u8]>, &'a [u8]) {
    let separator = separator.filter(|separator| !separator.is_empty()).map(str::as_bytes);
    let at = separator.and_then(|separator| line.windows(separator.len()).position(|part| part == separator));
    match (at, separator) {
        (Some(at), Some(separator)) => (Some(&line[..at]), &line[at + separator.len()..]),
        _ => (None, line),
    }
}

fn summary_text(summary: &Summary) -> String {
    let mut text = format!(
        "{} records, {} in {:.2} s: {} records/s, {:.1} MB/s\n",
        count(summary.records),
        bytes(summary.bytes),
        summary.seconds,
        count(summary.records_per_s as u64),
        summary.mb_s
    );
    for partition in &summary.partitions {
        let offsets = match (partition.first_offset, partition.last_offset) {
            (Some(first), Some(last)) => format!("offsets {first} to {last}"),
            _ => "offsets not known with acks=0".to_owned(),
        };
        text.push_str(&format!("  {}-{}: {offsets}\n", summary.topic, partition.partition));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_splits_at_the_first_separator() {
        assert_eq!(split(b"k:v:w", Some(":")), (Some(&b"k"[..]), &b"v:w"[..]));
        assert_eq!(split(b"k=>v", Some("=>")), (Some(&b"k"[..]), &b"v"[..]));
        assert_eq!(split(b"no key", Some(":")), (None, &b"no key"[..]));
        assert_eq!(split(b"a:b", None), (None, &b"a:b"[..]));
        assert_eq!(split(b":v", Some(":")), (Some(&b""[..]), &b"v"[..]));
    }

    #[test]
    fn pieces_are_whole_lines_and_the_last_may_lack_its_end() {
        let text: Box<dyn std::io::Read + Send> = Box::new(&b"one\ntwo\nthree"[..]);
        let mut input = Input::with_capacity(16, text);
        assert_eq!(read_piece(&mut input).expect("readable"), b"one\ntwo\n");
        assert_eq!(read_piece(&mut input).expect("readable"), b"three");
        assert!(read_piece(&mut input).expect("readable").is_empty());
    }
}
