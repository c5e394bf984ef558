//! `highwater bench produce`.

use std::time::Instant;

use highwater_client::{Delivery, Record};
use tokio::sync::mpsc;

use super::clients::{self, Measured, now};
use super::load::{BenchTopic, Load, Values, own_client, runtime};
use super::pacer::Pacer;
use super::report::Report;
use super::server::ServerCost;
use crate::args::Global;
use crate::exit::{CliError, CliResult};

/// Without a rate, every this many-th record's latency is taken: awaiting each would cost more than sending it.
const SAMPLE: u64 = 64;

/// Options of `bench produce`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    load: Load,
    /// Records per second over all clients, each due at its own time; as fast as possible when not given.
    #[arg(short, long, value_name = "R", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
}

pub(crate) fn run(args: &Args, global: &Global) -> CliResult<Report> {
    let control = runtime()?;
    let client = control.block_on(global.connect())?;
    let topic = control.block_on(BenchTopic::prepare(&client, &args.load))?;
    let cost = ServerCost::begin(&args.load);
    let measured = clients::run(args.load.clients, |_| {
        runtime()?.block_on(async {
            let mut run = Run::new(args, &topic, own_client(global).await?);
            run.produce().await?;
            Ok(run.measured)
        })
    })?;
    let report = Report::new("produce", &args.load, args.rate, &topic, &measured, cost.end());
    control.block_on(topic.clean_up(&client, &args.load))?;
    Ok(report)
}

struct Run<'a> {
    load: &'a Load,
    topic: &'a BenchTopic,
    client: highwater_client::Client,
    /// Records per second of this client.
    rate: Option<f64>,
    measured: Measured,
}

/// How far a run goes.
#[derive(Clone, Copy)]
enum Until {
    Records(u64),
    Time(Instant),
}

impl Until {
    /// `at` is the time as of this record; without one, only records count.
    fn is_reached(self, sent: u64, at: Option<Instant>) -> bool {
        match self {
            Until::Records(records) => sent >= records,
            Until::Time(end) => at.is_some_and(|at| at >= end),
        }
    }
}

impl<'a> Run<'a> {
    fn new(args: &'a Args, topic: &'a BenchTopic, client: highwater_client::Client) -> Run<'a> {
        let rate = args.rate.map(|rate| rate as f64 / f64::from(args.load.clients));
        Run { load: &args.load, topic, client, rate, measured: Measured::new() }
    }

    async fn produce(&mut self) -> CliResult {
        let producer = self.client.producer(self.load.producer_config()).await?;
        let values = Values::new(self.load.record_size);
        let warm = now() + self.load.warmup;
        self.send(&producer, &values, Until::Time(warm), true).await?;
        producer.flush().await.map_err(|error| CliError::failed(format!("the warm-up failed: {error}")))?;
        let until = match (self.load.duration, self.load.records) {
            (Some(duration), _) => Until::Time(now() + duration),
            (None, records) => Until::Records(records.unwrap_or(1_000_000) / u64::from(self.load.clients)),
        };
        self.measured = Measured { warmup_bytes: self.measured.bytes, ..Measured::new() };
        self.measured.began = Some(now());
        self.send(&producer, &values, until, false).await?;
        if let Err(error) = producer.close().await {
            self.measured.errors += 1;
            self.measured.first_error.get_or_insert(error.to_string());
        }
        self.measured.ended = Some(now());
        Ok(())
    }

    /// Sends, while a second task on the same thread waits for acknowledgements in order.
    async fn send(
        &mut self,
        producer: &highwater_client::Producer,
        values: &Values,
        until: Until,
        is_warmup: bool,
    ) -> CliResult {
        let (sampled, deliveries) = mpsc::unbounded_channel();
        let waiting = tokio::spawn(wait(deliveries));
        let mut sent = 0;
        let mut pacer = match self.rate {
            Some(rate) => Some(Pacer::start(rate)?),
            None => None,
        };
        loop {
            let due = match &mut pacer {
                Some(pacer) => Some(pacer.next().await?),
                // Time is asked for once in a while only: it is not free at two million records a second.
                None => (sent % SAMPLE == 0).then(now),
            };
            if until.is_reached(sent, due) {
                break;
            }
            let record = Record::new(&self.topic.name).value(values.get(sent));
            let delivery = producer.send(record).await?;
            match due {
                // The receiver lives until this sender is dropped.
                Some(due) if !is_warmup => drop(sampled.send((due, delivery))),
                _ => drop(delivery),
            }
            sent += 1;
        }
        drop(sampled);
        let seen = waiting.await.map_err(|error| CliError::failed(error.to_string()))?;
        self.measured.add(&seen);
        self.measured.records = sent;
        self.measured.bytes = sent * u64::from(self.load.record_size);
        Ok(())
    }
}

async fn wait(mut deliveries: mpsc::UnboundedReceiver<(Instant, Delivery)>) -> Measured {
    let mut measured = Measured::new();
    while let Some((due, delivery)) = deliveries.recv().await {
        match delivery.await {
            Ok(_) => measured.latency(now().saturating_duration_since(due)),
            Err(error) => {
                measured.errors += 1;
                measured.first_error.get_or_insert(error.to_string());
            }
        }
    }
    measured
}
