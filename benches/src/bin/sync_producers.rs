//! Producers that send one record and wait for its acknowledgement before the next, as a request handler does.
//!
//! ```text
//! sync_producers --addr HOST:PORT --topic T --producers 64 --seconds 5 [--partitions 1] [--record-size 1024] [--shared 1]
//! ```
//! Each producer is one of its own, with its own connection and identity; with `--shared 1` all tasks use a single
//! one, which is what the library advises. `acks=all`, so that under the default durability each acknowledgement is an
//! fsync, and the rate of many beside that of one shows the group commit.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(clippy::print_stdout, reason = "the result goes there")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use highwater_benches::flags::Flags;
use highwater_client::{Client, ClientConfig, Producer, ProducerConfig, Record};

type Failure = Box<dyn Error + Send + Sync>;

/// What every task does.
struct Task {
    topic: String,
    partitions: i32,
    value: Vec<u8>,
    end: Instant,
}

impl Task {
    /// Sends to one partition until the end; the latency of each record in microseconds.
    async fn run(&self, producer: &Producer, number: i32) -> Result<Vec<u32>, Failure> {
        let mut latencies = Vec::new();
        loop {
            let began = Instant::now();
            if began >= self.end {
                return Ok(latencies);
            }
            let record = Record::new(&self.topic).value(&self.value).partition(number % self.partitions);
            producer.send(record).await?.await?;
            latencies.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let flags = Flags::from_args(0);
    let count: i32 = flags.get("producers", 1);
    let is_shared = flags.get("shared", 0) != 0;
    let client = Client::connect(ClientConfig::new([flags.text("addr")])).await?;
    let topic = flags.text("topic").to_owned();
    let first = client.producer(ProducerConfig::default()).await?;
    let mut producers = vec![first.clone()];
    for _ in 1..count {
        producers.push(if is_shared {
            first.clone()
        } else {
            client.producer(ProducerConfig::default()).await?
        });
    }
    // Everyone is connected before the first record counts.
    for (number, producer) in (0..).zip(&producers) {
        let record = Record::new(&topic).value(b"connected").partition(number % flags.get("partitions", 1));
        producer.send(record).await?.await?;
    }
    let began = Instant::now();
    let task = Arc::new(Task {
        topic,
        partitions: flags.get("partitions", 1),
        value: vec![b'x'; flags.get("record-size", 1024)],
        end: began + Duration::from_secs_f64(flags.get("seconds", 5.0)),
    });
    let tasks: Vec<_> = (0..)
        .zip(producers)
        .map(|(number, producer)| {
            let task = Arc::clone(&task);
            tokio::spawn(async move { task.run(&producer, number).await })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    report(count, &mut latencies, began.elapsed());
    Ok(())
}

fn report(producers: i32, latencies: &mut [u32], elapsed: Duration) {
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "{{\"producers\": {producers}, \"records\": {}, \"seconds\": {:.3}, \"records_s\": {:.0}, \"p50_us\": {}, \"p99_us\": {}}}",
        latencies.len(),
        elapsed.as_secs_f64(),
        latencies.len() as f64 / elapsed.as_secs_f64(),
        at(0.5),
        at(0.99)
    );
}
