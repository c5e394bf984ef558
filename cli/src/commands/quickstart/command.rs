//! The command: its options and what it does with them.

use std::path::PathBuf;

use highwater_client::{Client, ClientConfig};
use highwater_server::{Broker, BrokerConfig};
use serde::Serialize;

use super::story::Story;
use super::text::Corpus;
use crate::args::Global;
use crate::commands::broker::now;
use crate::exit::{CliError, CliResult};
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

pub(crate) async fn run(args: Args, global: &Global) -> CliResult {
    let narrator = Narrator { format: global.output };
    if global.output == Format::Text {
        write_out(
            "\nHighwater: a broker in a temporary folder, real text in, read back, replayed, every byte checked.\n\n",
        )?;
    }
    let corpus = Corpus::find(&args.files, args.max_bytes)?;
    let folder = tempfile::Builder::new().prefix("highwater-quickstart-").tempdir();
    let folder = folder.map_err(|error| CliError::failed(format!("no temporary folder: {error}")))?;

    let started = now();
    let broker = Broker::start(BrokerConfig::ephemeral(folder.path())).await;
    let broker = broker.map_err(|error| CliError::failed(error.to_string()))?;
    let start_ms = started.elapsed().as_secs_f64() * 1e3;
    narrator.say("broker", &format!("up in {start_ms:.0} ms on {}", broker.grpc_addr()))?;

    let client = Client::connect(ClientConfig::new([broker.grpc_addr().to_string()])).await?;
    let story = Story { client, corpus: &corpus, partitions: args.partitions, narrator };
    let told = story.tell(start_ms).await;
    let stopped = broker.stop().await.map_err(|error| CliError::failed(error.to_string()));
    let outcome = told?;
    stopped?;
    match global.output {
        Format::Json => write_out(&(json(&outcome)? + "\n")),
        Format::Text => write_out(
            "\nAll of it verified. Now yours: `highwater dev` in one terminal, and in another\n\
             \n    highwater topic create hello\n    echo world | highwater produce hello\n    highwater consume hello --from-beginning\n\n",
        ),
    }
}
