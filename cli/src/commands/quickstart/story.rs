//! What the quickstart does: write, read back, replay from an offset, replay from a time; compare each byte.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use highwater_client::{
    Client, Consumer, ConsumerConfig, ConsumerRecord, Delivery, NewTopic, Offset, Position, ProducerConfig,
    Record, partition_for_key,
};
use tokio::sync::mpsc;

use super::command::{Narrator, Outcome};
use super::text::Corpus;
use crate::commands::broker::now;
use crate::exit::{CliError, CliResult, Exit};
use crate::output::{bytes, count, latency};
use crate::when;

const TOPIC: &str = "quickstart";

pub(super) struct Story<'a> {
    pub(super) client: Client,
    pub(super) corpus: &'a Corpus,
    pub(super) partitions: i32,
    pub(super) narrator: Narrator,
}

/// A record as it must come back.
struct Expected<'a> {
    key: &'a [u8],
    value: &'a [u8],
    timestamp_ms: i64,
}

/// All records by partition; a record's index is its offset.
type Ledger<'a> = Vec<Vec<Expected<'a>>>;

impl Story<'_> {
    pub(super) async fn tell(&self, start_ms: f64) -> CliResult<Outcome> {
        let mut outcome = Outcome {
            source: self.corpus.source.clone(),
            files: self.corpus.files.len(),
            start_ms,
            ..Outcome::default()
        };
        let topic = NewTopic::new(TOPIC).partitions(self.partitions);
        self.client.admin().create_topic(topic).await?;
        let ledger = self.write(&mut outcome).await?;
        self.read_back(&ledger, &mut outcome).await?;
        self.replay_from_offset(&ledger, &mut outcome).await?;
        self.replay_from_time(&ledger, &mut outcome).await?;
        outcome.verified = true;
        Ok(outcome)
    }

    async fn write(&self, outcome: &mut Outcome) -> CliResult<Ledger<'_>> {
        let producer = self.client.producer(ProducerConfig::default()).await?;
        producer.prepare(TOPIC).await?;
        let mut ledger: Ledger<'_> = (0..self.partitions).map(|_| Vec::new()).collect();
        let mut deliveries = Vec::new();
        let (sampled, samples) = mpsc::unbounded_channel();
        let timing = tokio::spawn(time_acknowledgements(samples));
        let began = now();
        let mut timestamp_ms = 0;
        for file in &self.corpus.files {
            let key = file.name.as_bytes();
            let partition = partition_for_key(key, self.partitions);
            for line in file.lines() {
                // Never backwards, so that "from this time on" has one answer even if the clock is set meanwhile.
                timestamp_ms = jiff::Timestamp::now().as_millisecond().max(timestamp_ms);
                let record = Record::new(TOPIC).key(key).value(line).timestamp_ms(timestamp_ms);
                let sent = now();
                let delivery = producer.send(record).await?;
                if outcome.records.is_multiple_of(64) {
                    // The receiver lives until this sender is dropped.
                    let _ = sampled.send((sent, delivery.clone()));
                }
                deliveries.push(delivery);
                outcome.records += 1;
                outcome.bytes += line.len();
                ledger[partition as usize].push(Expected { key, value: line, timestamp_ms });
            }
        }
        let mut next = vec![0; ledger.len()];
        drop(sampled);
        for delivery in deliveries {
            let metadata = delivery.await?;
            let expected = &mut next[metadata.partition.0 as usize];
            if metadata.offset != Some(Offset(*expected)) {
                return Err(mismatch(format!(
                    "offset {:?} was acknowledged, expected {expected}",
                    metadata.offset
                )));
            }
            *expected += 1;
        }
        let seconds = began.elapsed().as_secs_f64();
        producer.close().await?;
        let latencies = timing.await.map_err(|error| CliError::failed(error.to_string()))?;
        outcome.write_mb_s = outcome.bytes as f64 / 1e6 / seconds;
        outcome.write_records_s = outcome.records as f64 / seconds;
        outcome.ack_p50_us = latencies.value_at_quantile(0.5) as f64;
        outcome.ack_p99_us = latencies.value_at_quantile(0.99) as f64;
        self.say_written(outcome, seconds)?;
        Ok(ledger)
    }

    fn say_written(&self, outcome: &Outcome, seconds: f64) -> CliResult {
        let (records, size) = (count(outcome.records as u64), bytes(outcome.bytes as u64));
        self.narrator
            .say("text", &format!("{}: {} files, {records} lines, {size}", outcome.source, outcome.files))?;
        let rates =
            format!("{:.0} MB/s, {} records/s", outcome.write_mb_s, count(outcome.write_records_s as u64));
        self.narrator.say(
            "write",
            &format!("{records} records in {seconds:.2} s: {rates}, each fsynced before its acknowledgement"),
        )?;
        let (p50, p99) = (latency(outcome.ack_p50_us), latency(outcome.ack_p99_us));
        self.narrator.say("", &format!("acknowledged after p50 {p50}, p99 {p99} at full load"))
    }

    async fn read_back(&self, ledger: &Ledger<'_>, outcome: &mut Outcome) -> CliResult {
        let mut consumer = self.client.consumer(ConsumerConfig::default());
        consumer.assign_all(TOPIC, Position::Beginning).await?;
        let began = now();
        let starts = vec![0; ledger.len()];
        let read = self.compare(&mut consumer, ledger, starts).await?;
        let seconds = began.elapsed().as_secs_f64();
        outcome.read_mb_s = outcome.bytes as f64 / 1e6 / seconds;
        outcome.read_records_s = read as f64 / seconds;
        let rates =
            format!("{:.0} MB/s, {} records/s", outcome.read_mb_s, count(outcome.read_records_s as u64));
        self.narrator.say(
            "read",
            &format!("{} records in {seconds:.2} s: {rates}  ✓ every byte equal", count(read as u64)),
        )
    }

    async fn replay_from_offset(&self, ledger: &Ledger<'_>, outcome: &mut Outcome) -> CliResult {
        let (partition, records) =
            ledger.iter().enumerate().max_by_key(|(_, records)| records.len()).expect("there is a partition");
        let offset = records.len() / 2;
        let mut consumer = self.client.consumer(ConsumerConfig::default());
        let number = i32::try_from(partition).unwrap_or(i32::MAX);
        consumer.assign(TOPIC, number, Position::Offset(Offset(offset as i64))).await?;
        let mut starts: Vec<usize> = ledger.iter().map(Vec::len).collect();
        starts[partition] = offset;
        outcome.replayed_from_offset = self.compare(&mut consumer, ledger, starts).await?;
        let replayed = count(outcome.replayed_from_offset as u64);
        let from = format!("from offset {} of partition {partition}", count(offset as u64));
        self.narrator.say("replay", &format!("{from}: {replayed} records  ✓ every byte equal"))
    }

    async fn replay_from_time(&self, ledger: &Ledger<'_>, outcome: &mut Outcome) -> CliResult {
        let mut times: Vec<i64> = ledger.iter().flatten().map(|record| record.timestamp_ms).collect();
        times.sort_unstable();
        let time = times.get(times.len() / 2).copied().unwrap_or(0);
        let mut consumer = self.client.consumer(ConsumerConfig::default());
        consumer.assign_all(TOPIC, Position::Timestamp(time)).await?;
        let is_before = |record: &Expected<'_>| record.timestamp_ms < time;
        let starts = ledger.iter().map(|records| records.partition_point(is_before)).collect();
        outcome.replayed_from_time = self.compare(&mut consumer, ledger, starts).await?;
        let replayed = count(outcome.replayed_from_time as u64);
        let from = format!("from {} in every partition", when::format(time));
        self.narrator.say("replay", &format!("{from}: {replayed} records  ✓ every byte equal"))
    }

    /// Reads from `starts` to the end of every partition and holds each record against the ledger.
    async fn compare(
        &self,
        consumer: &mut Consumer,
        ledger: &Ledger<'_>,
        starts: Vec<usize>,
    ) -> CliResult<usize> {
        let expected: usize = ledger.iter().zip(&starts).map(|(records, start)| records.len() - start).sum();
        let mut next = starts;
        let mut read = 0;
        while read < expected {
            let records = consumer.poll(Duration::from_secs(10)).await?;
            if records.is_empty() {
                return Err(mismatch(format!("{} records did not come back", expected - read)));
            }
            for record in records.iter() {
                let record = record?;
                let next = &mut next[record.partition.0 as usize];
                check(&record, &ledger[record.partition.0 as usize], *next)?;
                *next += 1;
                read += 1;
            }
        }
        Ok(read)
    }
}

/// Microseconds from `send` to acknowledgement, of a sample.
async fn time_acknowledgements(mut samples: mpsc::UnboundedReceiver<(Instant, Delivery)>) -> Histogram<u64> {
    let mut latencies = Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are in order");
    while let Some((sent, delivery)) = samples.recv().await {
        if delivery.await.is_ok() {
            latencies.saturating_record(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
    }
    latencies
}

fn check(record: &ConsumerRecord, expected: &[Expected<'_>], next: usize) -> CliResult {
    let place = format!("partition {} offset {}", record.partition, record.offset);
    if record.offset.0 != next as i64 {
        return Err(mismatch(format!("{place} came where offset {next} was due")));
    }
    let Some(expected) = expected.get(next) else {
        return Err(mismatch(format!("{place} was never written")));
    };
    let is_equal = record.key.as_deref() == Some(expected.key)
        && record.value.as_deref() == Some(expected.value)
        && record.timestamp_ms == expected.timestamp_ms;
    if is_equal { Ok(()) } else { Err(mismatch(format!("{place} differs from what was written"))) }
}

fn mismatch(what: String) -> CliError {
    CliError::new(Exit::Damaged, what)
}
