//! `highwater consume TOPIC`: records and nothing else to standard output.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use highwater_client::{
    Client, Consumer, ConsumerConfig, ConsumerRecord, Offset, OffsetReset, Position, TopicDescription,
};
use serde::Serialize;

use crate::args::Global;
use crate::connect;
use crate::exit::{CliError, CliResult, Exit};
use crate::when;

/// What one record is printed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum RecordFormat {
    /// The value and a line feed.
    Value,
    /// The key and a line feed.
    Key,
    /// Key, separator, value and a line feed.
    KeyValue,
    /// One JSON object per line: topic, partition, offset, timestamp, key, value, headers.
    Json,
}

/// Options of `consume`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("start").multiple(false))]
pub(crate) struct Args {
    /// The topic.
    topic: String,
    /// Start at the first record there is. Without any start, only new records are shown.
    #[arg(long, group = "start")]
    from_beginning: bool,
    /// Start at this offset; -N starts N records before the end.
    #[arg(long, group = "start", value_name = "OFFSET", allow_hyphen_values = true)]
    offset: Option<i64>,
    /// Start at the first record at or after this time: 2026-01-31T12:00:00Z, or -2h, -15m.
    #[arg(long, group = "start", value_name = "TIME", value_parser = when::parse, allow_hyphen_values = true)]
    from_time: Option<i64>,
    /// Only this partition. May be repeated.
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Vec<i32>,
    /// Stop after this many records.
    #[arg(short = 'n', long, value_name = "N")]
    max_messages: Option<u64>,
    /// Stop at the end as it is now.
    #[arg(long)]
    until_end: bool,
    /// What a record is printed as.
    #[arg(long, default_value = "value", value_name = "FORMAT")]
    format: RecordFormat,
    /// What stands between key and value.
    #[arg(long, default_value = "\t", value_name = "TEXT")]
    key_separator: String,
    /// Where to go on when the start is not, or no longer, in the log: fail, earliest or latest.
    #[arg(long, default_value = "fail", value_name = "POLICY", value_parser = offset_reset)]
    on_out_of_range: OffsetReset,
}

fn offset_reset(text: &str) -> Result<OffsetReset, String> {
    match text {
        "fail" => Ok(OffsetReset::Fail),
        "earliest" => Ok(OffsetReset::Earliest),
        "latest" => Ok(OffsetReset::Latest),
        _ => Err("use fail, earliest or latest".to_owned()),
    }
}

pub(crate) async fn run(args: Args, global: &Global) -> CliResult {
    let client = global.connect().await?;
    let topic = connect::topic(&client, &args.topic).await?;
    let partitions = chosen_partitions(&args, &topic)?;
    let mut reading = Reading::start(&client, &args, partitions).await?;
    let mut out = BufWriter::with_capacity(256 << 10, io::stdout());
    let ended = tokio::select! {
        ended = reading.print(&mut out) => ended,
        _ = tokio::signal::ctrl_c() => Err(Ended::Error(CliError::interrupted())),
    };
    let flushed = out.flush().map_err(Ended::from);
    match ended.and(flushed) {
        // A reader that closed the pipe has seen what it wanted.
        Ok(()) | Err(Ended::PipeClosed) => Ok(()),
        Err(Ended::Error(error)) => Err(error),
    }
}

fn chosen_partitions(args: &Args, topic: &TopicDescription) -> CliResult<Vec<i32>> {
    let all: Vec<i32> = topic.partitions.iter().map(|p| p.partition.0).collect();
    if args.partition.is_empty() {
        return Ok(all);
    }
    if let Some(unknown) = args.partition.iter().find(|p| !all.contains(p)) {
        let message = format!("{} has no partition {unknown}", args.topic);
        return Err(CliError::new(Exit::NotFound, message).hint(format!("it has 0 to {}", all.len() - 1)));
    }
    Ok(args.partition.clone())
}

/// The offset of `position` in each of `partitions`.
async fn offsets(
    client: &Client,
    args: &Args,
    partitions: &[i32],
    position: Position,
) -> CliResult<Vec<(i32, Offset)>> {
    let offsets = client.admin().list_offsets(&args.topic, position).await?;
    let offset_of = |partition: &i32| {
        let index = usize::try_from(*partition).unwrap_or(usize::MAX);
        (*partition, offsets.get(index).copied().unwrap_or_default())
    };
    Ok(partitions.iter().map(offset_of).collect())
}

/// Why printing ended early.
enum Ended {
    PipeClosed,
    Error(CliError),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Ended {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Ended::PipeClosed,
            _ => Ended::Error(CliError::failed(format!("cannot write to standard output: {error}"))),
        }
    }
}

impl From<CliError> for Ended {
    fn from(error: CliError) -> Ended {
        Ended::Error(error)
    }
}

/// One run of the command.
struct Reading<'a> {
    args: &'a Args,
    consumer: Consumer,
    /// With `--until-end`: where each partition that is not done yet ends.
    ends: Option<HashMap<i32, Offset>>,
    left: u64,
}

impl<'a> Reading<'a> {
    async fn start(client: &Client, args: &'a Args, partitions: Vec<i32>) -> CliResult<Reading<'a>> {
        let config = ConsumerConfig { offset_reset: args.on_out_of_range, ..ConsumerConfig::default() };
        let mut consumer = client.consumer(config);
        let ends = offsets(client, args, &partitions, Position::End).await?;
        let starts = match (args.offset, args.from_time) {
            (Some(back), _) if back < 0 => {
                let first = offsets(client, args, &partitions, Position::Beginning).await?;
                let back = |((partition, end), (_, first)): (&(i32, Offset), &(i32, Offset))| {
                    (*partition, end.advance(back).max(*first))
                };
                ends.iter().zip(&first).map(back).collect()
            }
            (Some(offset), _) => partitions.iter().map(|p| (*p, Offset(offset))).collect(),
            (None, Some(time)) => offsets(client, args, &partitions, Position::Timestamp(time)).await?,
            (None, None) if args.from_beginning => {
                offsets(client, args, &partitions, Position::Beginning).await?
            }
            (None, None) => ends.clone(),
        };
        consumer.assign_offsets(&args.topic, &starts).await?;
        let is_ahead = |((_, start), (_, end)): &(&(i32, Offset), &(i32, Offset))| start < end;
        let left = starts.iter().zip(&ends).filter(is_ahead).map(|(_, (partition, end))| (*partition, *end));
        let ends = args.until_end.then(|| left.collect());
        Ok(Reading { args, consumer, ends, left: args.max_messages.unwrap_or(u64::MAX) })
    }

    async fn print(&mut self, out: &mut impl Write) -> Result<(), Ended> {
        while self.left > 0 && !self.is_at_end() {
            // What has arrived is printed before anything is flushed; only a wait is worth a flush.
            let mut records = self.consumer.poll(Duration::ZERO).await.map_err(CliError::from)?;
            if records.is_empty() {
                out.flush()?;
                records = self.consumer.poll(Duration::from_millis(500)).await.map_err(CliError::from)?;
            }
            for record in records.iter() {
                let record = record.map_err(CliError::from)?;
                let end = self.ends.as_ref().and_then(|ends| ends.get(&record.partition.0));
                if end.is_some_and(|end| record.offset >= *end) {
                    continue;
                }
                self.write(out, &record)?;
                self.left -= 1;
                if self.left == 0 {
                    break;
                }
            }
            if let Some(ends) = &mut self.ends {
                for batch in records.batches() {
                    let next = batch.next_offset();
                    if ends.get(&batch.partition().0).is_some_and(|end| next >= *end) {
                        ends.remove(&batch.partition().0);
                    }
                }
            }
        }
        Ok(())
    }

    fn is_at_end(&self) -> bool {
        self.ends.as_ref().is_some_and(HashMap::is_empty)
    }

    fn write(&self, out: &mut impl Write, record: &ConsumerRecord) -> io::Result<()> {
        let key = record.key.as_deref().unwrap_or_default();
        let value = record.value.as_deref().unwrap_or_default();
        match self.args.format {
            RecordFormat::Value => out.write_all(value)?,
            RecordFormat::Key => out.write_all(key)?,
            RecordFormat::KeyValue => {
                out.write_all(key)?;
                out.write_all(self.args.key_separator.as_bytes())?;
                out.write_all(value)?;
            }
            RecordFormat::Json => serde_json::to_writer(&mut *out, &JsonRecord::new(record))?,
        }
        out.write_all(b"\n")
    }
}

/// A record as JSON. Bytes that are not UTF-8 stand in base64 under a key of their own.
#[derive(Serialize)]
struct JsonRecord<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    timestamp: String,
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    headers: Vec<JsonHeader<'a>>,
}

#[derive(Serialize)]
struct JsonHeader<'a> {
    key: String,
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

impl<'a> JsonRecord<'a> {
    fn new(record: &'a ConsumerRecord) -> JsonRecord<'a> {
        let (key, key_base64) = text_or_base64(record.key.as_deref());
        let (value, value_base64) = text_or_base64(record.value.as_deref());
        let header = |header: &'a highwater_client::Header| {
            let (value, value_base64) = text_or_base64(header.value.as_deref());
            JsonHeader { key: String::from_utf8_lossy(&header.key).into_owned(), value, value_base64 }
        };
        JsonRecord {
            topic: &record.topic,
            partition: record.partition.0,
            offset: record.offset.0,
            timestamp_ms: record.timestamp_ms,
            timestamp: when::format(record.timestamp_ms),
            key,
            key_base64,
            value,
            value_base64,
            headers: record.headers.iter().map(header).collect(),
        }
    }
}

fn text_or_base64(bytes: Option<&[u8]>) -> (Option<&str>, Option<String>) {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => (None, None),
        Some((Ok(text), _)) => (Some(text), None),
        Some((Err(_), bytes)) => (None, Some(base64(bytes))),
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let is_padding = i > chunk.len();
            let digit = ALPHABET[(bits >> (18 - 6 * i)) as usize & 63];
            text.push(if is_padding { '=' } else { char::from(digit) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }
}
