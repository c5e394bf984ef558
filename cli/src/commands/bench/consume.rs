//! `highwater bench consume`.

use std::collections::HashMap;
use std::time::Duration;

use highwater_client::{Client, ConsumerConfig, Offset, Position, Record, Verification};

use super::clients::{self, Measured, now};
use super::load::{BenchTopic, Load, Values, own_client, runtime};
use super::report::Report;
use super::server::ServerCost;
use crate::args::Global;
use crate::exit::{CliError, CliResult};

/// Options of `bench consume`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    load: Load,
    /// Take every record apart, as an application would, and not batches as they come.
    #[arg(long)]
    per_record: bool,
    /// Do not check the batches' checksums.
    #[arg(long)]
    no_verify: bool,
    /// Cap of one fetch answer.
    #[arg(long, default_value_t = ConsumerConfig::default().fetch_max_bytes, value_name = "BYTES")]
    fetch_max_bytes: usize,
    /// Bytes asked for ahead.
    #[arg(long, default_value_t = ConsumerConfig::default().prefetch_bytes, value_name = "BYTES")]
    prefetch_bytes: usize,
}

pub(crate) fn run(args: &Args, global: &Global) -> CliResult<Report> {
    let control = runtime()?;
    let client = control.block_on(global.connect())?;
    let topic = control.block_on(BenchTopic::prepare(&client, &args.load))?;
    if args.load.topic.is_none() {
        control.block_on(fill(&client, &topic, &args.load))?;
    }
    let ends = control.block_on(client.admin().list_offsets(&topic.name, Position::End))?;
    let cost = ServerCost::begin(&args.load);
    let measured = clients::run(args.load.clients, |number| {
        runtime()?.block_on(async {
            let client = own_client(global).await?;
            consume(&client, args, &topic, share(args, &ends, number)).await
        })
    })?;
    let report = Report::new("consume", &args.load, None, &topic, &measured, cost.end());
    control.block_on(topic.clean_up(&client, &args.load))?;
    Ok(report)
}

/// Writes what will be read; not measured.
async fn fill(client: &Client, topic: &BenchTopic, load: &Load) -> CliResult {
    let producer = client.producer(load.producer_config()).await?;
    let values = Values::new(load.record_size);
    for number in 0..load.records.unwrap_or(1_000_000) {
        drop(producer.send(Record::new(&topic.name).value(values.get(number))).await?);
    }
    producer.close().await.map_err(CliError::from)
}

/// The partitions of client `number`, with their ends. With more clients than partitions, several read the same.
fn share(args: &Args, ends: &[Offset], number: u32) -> HashMap<i32, Offset> {
    let clients = args.load.clients as usize;
    let number = number as usize;
    let is_mine =
        |index: usize| index % clients == number || (ends.len() < clients && index == number % ends.len());
    (0..).zip(ends).filter(|(index, _)| is_mine(*index as usize)).map(|(index, end)| (index, *end)).collect()
}

async fn consume(
    client: &Client,
    args: &Args,
    topic: &BenchTopic,
    mut ends: HashMap<i32, Offset>,
) -> CliResult<Measured> {
    let config = ConsumerConfig {
        verification: if args.no_verify { Verification::Skip } else { Verification::Checksum },
        fetch_max_bytes: args.fetch_max_bytes,
        prefetch_bytes: args.prefetch_bytes,
        ..ConsumerConfig::default()
    };
    let mut consumer = client.consumer(config);
    let starts = client.admin().list_offsets(&topic.name, Position::Beginning).await?;
    let starts: Vec<(i32, Offset)> = (0..).zip(starts).filter(|(p, _)| ends.contains_key(p)).collect();
    consumer.assign_offsets(&topic.name, &starts).await?;
    let is_ahead =
        |partition: &i32, end: &mut Offset| starts.iter().any(|(p, start)| p == partition && start < end);
    ends.retain(is_ahead);
    let mut measured = Measured::new();
    measured.began = Some(now());
    while !ends.is_empty() {
        let asked = now();
        let records = consumer.poll(Duration::from_secs(30)).await?;
        if records.is_empty() {
            return Err(CliError::failed(format!(
                "nothing came for 30 s; {} partitions are not read",
                ends.len()
            )));
        }
        measured.latency(now().saturating_duration_since(asked));
        if args.per_record {
            for record in records.iter() {
                let record = record?;
                measured.records += 1;
                measured.bytes += record.value.map_or(0, |value| value.len() as u64);
            }
        } else {
            measured.records += records.records_count() as u64;
            measured.bytes += records.size_bytes() as u64;
        }
        for batch in records.batches() {
            let partition = batch.partition().0;
            if ends.get(&partition).is_some_and(|end| batch.next_offset() >= *end) {
                ends.remove(&partition);
            }
        }
    }
    measured.ended = Some(now());
    Ok(measured)
}
