//! The command: its options and what it does with them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use highwater_client::{Client, ClientConfig};
use serde::Serialize;

use super::failover::{self, FailOver};
use super::story::Story;
use super::text::Corpus;
use crate::args::Global;
use crate::commands::broker::now;
use crate::exit::{CliError, CliResult};
use crate::local::{LocalCluster, Plan, Wishes};
use crate::output::{Format, json, write_out};

/// Options of `quickstart`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files or folders of text to stream; else this machine's logs, else this project's own text.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Partitions of the topic.
    #[arg(short, long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=64))]
    partitions: i32,
    /// Read at most this many bytes of text.
    #[arg(long, default_value_t = 64 << 20, value_name = "BYTES")]
    max_bytes: usize,
}

/// What was done, for programs.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Outcome {
    pub(crate) source: String,
    pub(crate) files: usize,
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    pub(crate) start_ms: f64,
    pub(crate) write_mb_s: f64,
    pub(crate) write_records_s: f64,
    pub(crate) ack_p50_us: f64,
    pub(crate) ack_p99_us: f64,
    pub(crate) read_mb_s: f64,
    pub(crate) read_records_s: f64,
    pub(crate) replayed_from_offset: usize,
    pub(crate) replayed_from_time: usize,
    pub(crate) verified: bool,
    pub(crate) brokers: usize,
    pub(crate) failover: FailOver,
}

/// Says what happens, when people read along.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Narrator {
    format: Format,
}

impl Narrator {
    pub(crate) fn say(self, step: &str, what: &str) -> CliResult {
        match self.format {
            Format::Text => write_out(&format!("  {step:<8} {what}\n")),
            Format::Json => Ok(()),
        }
    }
}

const BROKERS: u16 = 3;

pub(crate) async fn run(args: Args, global: &Global) -> CliResult {
    let narrator = Narrator { format: global.output };
    if global.output == Format::Text {
        write_out(
            "\nHighwater: three brokers in a temporary folder, real text in, read back, replayed, every byte checked;\n\
             then a leader is killed in mid-stream.\n\n",
        )?;
    }
    let corpus = Corpus::find(&args.files, args.max_bytes)?;
    let folder = tempfile::Builder::new().prefix("highwater-quickstart-").tempdir();
    let folder = folder.map_err(|error| CliError::failed(format!("no temporary folder: {error}")))?;

    let started = now();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let wishes = Wishes { brokers: BROKERS, grpc: any, admin: any, kafka: Some("none".to_owned()) };
    let plan = Plan::make(&wishes, folder.path())?.quiet();
    let mut cluster = LocalCluster::start(plan).await?;
    let start_ms = started.elapsed().as_secs_f64() * 1e3;
    let addresses = cluster.grpc();
    narrator
        .say("brokers", &format!("three processes up in {start_ms:.0} ms on {}", addresses.join(", ")))?;

    let client = Client::connect(ClientConfig::new(addresses)).await?;
    let story = Story { client: client.clone(), corpus: &corpus, partitions: args.partitions, narrator };
    let mut told = story.tell(start_ms).await;
    if let Ok(outcome) = &mut told {
        outcome.brokers = usize::from(BROKERS);
        match failover::tell(&client, &mut cluster, narrator).await {
            Ok(failover) => outcome.failover = failover,
            Err(error) => told = Err(error),
        }
    }
    let stopped = cluster.stop().await;
    let outcome = told?;
    stopped?;
    match global.output {
        Format::Json => write_out(&(json(&outcome)? + "\n")),
        Format::Text => write_out(
            "\nAll of it verified. Now yours: `highwater dev --brokers 3` in one terminal, and in another\n\
             \n    highwater topic create hello\n    echo world | highwater produce hello\n    highwater consume hello --from-beginning\n    highwater cluster status\n\n",
        ),
    }
}
