//! `highwater bench latency`: from the moment a record is due to the moment a consumer holds it.
//!
//! Producer and consumer share one thread, one runtime and one monotonic clock; each record carries its due time.

use std::time::{Duration, Instant};

use highwater_client::{Consumer, ConsumerConfig, Position, Producer, Record};

use super::clients::{Measured, now};
use super::load::{BenchTopic, Load, Values, runtime};
use super::pacer::Pacer;
use super::report::Report;
use super::server::ServerCost;
use crate::args::Global;
use crate::exit::{CliError, CliResult};

/// Options of `bench latency`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    load: Load,
    /// Records per second, each due at its own time.
    #[arg(short, long, default_value_t = 5_000, value_name = "R", value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
}

pub(crate) fn run(args: &Args, global: &Global) -> CliResult<Report> {
    if args.load.clients > 1 {
        return Err(
            CliError::usage("bench latency has one producer and one consumer").hint("leave --clients out")
        );
    }
    let runtime = runtime()?;
    runtime.block_on(async {
        let client = global.connect().await?;
        let topic = BenchTopic::prepare(&client, &args.load).await?;
        let producer = client.producer(args.load.producer_config()).await?;
        let mut consumer = client.consumer(ConsumerConfig::default());
        consumer.assign_all(&topic.name, Position::End).await?;
        let run = Run::new(args, &topic);
        run.steadily(args.load.warmup, &producer, &mut consumer).await?;
        let cost = ServerCost::begin(&args.load);
        let measured = run.steadily(run.time, &producer, &mut consumer).await?;
        let report = Report::new("latency", &args.load, Some(args.rate), &topic, &measured, cost.end());
        producer.close().await?;
        topic.clean_up(&client, &args.load).await?;
        Ok(report)
    })
}

struct Run<'a> {
    topic: &'a str,
    rate: f64,
    time: Duration,
    values: Values,
    /// Due times travel as nanoseconds since this moment.
    epoch: Instant,
}

impl<'a> Run<'a> {
    fn new(args: &Args, topic: &'a BenchTopic) -> Run<'a> {
        let rate = args.rate as f64;
        let time = args.load.duration.unwrap_or_else(|| {
            args.load.records.map_or(Duration::from_secs(10), |n| Duration::from_secs_f64(n as f64 / rate))
        });
        Run { topic: &topic.name, rate, time, values: Values::new(args.load.record_size), epoch: now() }
    }

    /// Sends at the rate for `time` while receiving, until all that was sent is back.
    async fn steadily(
        &self,
        time: Duration,
        producer: &Producer,
        consumer: &mut Consumer,
    ) -> CliResult<Measured> {
        let count = (time.as_secs_f64() * self.rate) as u64;
        let mut measured = Measured::new();
        measured.began = Some(now());
        let (sent, received) =
            tokio::join!(self.send(count, producer), self.receive(count, consumer, &mut measured));
        sent?;
        received?;
        measured.ended = Some(now());
        Ok(measured)
    }

    async fn send(&self, count: u64, producer: &Producer) -> CliResult {
        let mut pacer = Pacer::start(self.rate)?;
        let mut value = self.values.get(0).to_vec();
        for _ in 0..count {
            let due = pacer.next().await?;
            let since =
                u64::try_from(due.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX);
            value[..8].copy_from_slice(&since.to_le_bytes());
            drop(producer.send(Record::new(self.topic).value(&value)).await?);
        }
        producer.flush().await.map_err(CliError::from)
    }

    async fn receive(&self, count: u64, consumer: &mut Consumer, measured: &mut Measured) -> CliResult {
        while measured.records < count {
            let records = consumer.poll(Duration::from_secs(30)).await?;
            let arrived = now();
            if records.is_empty() {
                let lost = count - measured.records;
                return Err(CliError::failed(format!("nothing came for 30 s; {lost} records are missing")));
            }
            for record in records.iter() {
                let value = record?.value.unwrap_or_default();
                let due = value.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                measured.latency(arrived.saturating_duration_since(self.epoch + Duration::from_nanos(due)));
                measured.records += 1;
                measured.bytes += value.len() as u64;
            }
        }
        Ok(())
    }
}
