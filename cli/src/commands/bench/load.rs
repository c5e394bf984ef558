//! Options that the benchmarks share, the topic they use, and the bytes they send.

use std::time::Duration;

use highwater_client::{Acks, Client, Compression, NewTopic, ProducerConfig};

use crate::args::Global;
use crate::commands::produce::{acks, compression};
use crate::connect;
use crate::exit::{CliError, CliResult};
use crate::when;

/// Options of every benchmark.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Load {
    /// Use this topic. Without it a fresh one is made, and deleted at the end.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,
    /// Keep the fresh topic.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Partitions of the fresh topic.
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    pub(crate) partitions: i32,
    /// A setting of the fresh topic, such as durability=replicated. May be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) config: Vec<(String, String)>,
    /// How many records in all, the warm-up not counted.
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) records: Option<u64>,
    /// Or how long: 10s, 2m.
    #[arg(long, value_name = "TIME", value_parser = when::duration, conflicts_with = "records")]
    pub(crate) duration: Option<Duration>,
    /// Bytes of each record's value.
    #[arg(short = 's', long, default_value_t = 1024, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(16..=16 << 20))]
    pub(crate) record_size: u32,
    /// How many clients, each on a thread and connections of its own.
    #[arg(long, default_value_t = 1, value_name = "C", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) clients: u32,
    /// none, gzip, snappy, lz4 or zstd.
    #[arg(short, long, default_value = "none", value_parser = compression)]
    pub(crate) compression: Compression,
    /// 0, 1 or all.
    #[arg(short, long, default_value = "all", value_parser = acks)]
    pub(crate) acks: Acks,
    /// Run this long before counting: 1s, 500ms.
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = when::duration)]
    pub(crate) warmup: Duration,
    /// A producer's batch is sent once it holds this many bytes.
    #[arg(long, default_value_t = ProducerConfig::default().batch_bytes, value_name = "BYTES")]
    pub(crate) batch_bytes: usize,
    /// How long a producer's batch that is not full may wait for more.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub(crate) linger_ms: u64,
    /// Bytes of records that a producer may have unacknowledged.
    #[arg(long, default_value_t = ProducerConfig::default().buffer_memory, value_name = "BYTES")]
    pub(crate) buffer_memory: usize,
    /// The broker's admin address, where its CPU and memory are read.
    #[arg(long, default_value = "127.0.0.1:9644", value_name = "HOST:PORT")]
    pub(crate) admin: String,
    /// Read the broker's CPU and memory from /proc/PID instead.
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Option<u32>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or("write it as name=value, such as durability=replicated")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

impl Load {
    pub(crate) fn producer_config(&self) -> ProducerConfig {
        let defaults = ProducerConfig::default();
        let record_bytes = self.record_size as usize + 1_024;
        ProducerConfig {
            acks: self.acks,
            compression: self.compression,
            batch_bytes: self.batch_bytes,
            linger: Duration::from_millis(self.linger_ms),
            max_request_bytes: defaults.max_request_bytes.max(self.batch_bytes).max(record_bytes),
            buffer_memory: self.buffer_memory.max(4 * record_bytes),
            ..defaults
        }
    }
}

/// The topic under test.
#[derive(Debug)]
pub(crate) struct BenchTopic {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    is_fresh: bool,
}

impl BenchTopic {
    pub(crate) async fn prepare(client: &Client, load: &Load) -> CliResult<BenchTopic> {
        if let Some(name) = &load.topic {
            let topic = connect::topic(client, name).await?;
            let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            return Ok(BenchTopic { name: name.clone(), partitions, is_fresh: false });
        }
        let name = format!("bench-{}-{}", std::process::id(), jiff::Timestamp::now().as_millisecond());
        let topic =
            NewTopic { configs: load.config.clone(), ..NewTopic::new(&name).partitions(load.partitions) };
        client.admin().create_topic(topic).await?;
        Ok(BenchTopic { name, partitions: load.partitions, is_fresh: true })
    }

    pub(crate) async fn clean_up(&self, client: &Client, load: &Load) -> CliResult {
        if self.is_fresh && !load.keep {
            client.admin().delete_topic(&self.name).await?;
        }
        Ok(())
    }
}

/// A runtime for one client: everything on one thread, so that no hand-over wakes another core.
pub(crate) fn runtime() -> CliResult<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(31)
        .build()
        .map_err(|error| CliError::failed(format!("cannot start: {error}")))
}

/// A client of its own for the calling thread.
pub(crate) async fn own_client(global: &Global) -> CliResult<Client> {
    global.connect().await
}

/// Values of random bytes, which no codec makes smaller; a few, so that they stay in the cache as fresh data would.
#[derive(Debug)]
pub(crate) struct Values {
    values: Vec<Vec<u8>>,
}

impl Values {
    pub(crate) fn new(size: u32) -> Values {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let value = |_| {
            let mut value: Vec<u8> = std::iter::repeat_with(|| random().to_le_bytes())
                .take(size.div_ceil(8) as usize)
                .flatten()
                .collect();
            value.truncate(size as usize);
            value
        };
        Values { values: (0..16).map(value).collect() }
    }

    pub(crate) fn get(&self, number: u64) -> &[u8] {
        &self.values[(number % 16) as usize]
    }
}
