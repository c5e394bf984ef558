//! The command line's grammar: global options and the list of commands. Each command's own options stand beside it.

use clap::{Parser, Subcommand};

use crate::commands::{
    bench, broker, cluster, completions, consume, dev, dump, health, offsets, produce, quickstart, reassign,
    topic,
};
use crate::output::Format;

const EXIT_CODES: &str = "Exit codes:
  0    all is well
  1    it failed; the message says why
  2    the command line is wrong
  3    no such topic, partition or file
  4    no broker could be reached, or none answered in time
  5    verification found damage or a mismatch
  130  interrupted (Ctrl-C)";

/// Highwater: a partitioned commit log, durable by default.
///
/// Start with `highwater quickstart`, or `highwater dev` in one terminal and `highwater produce` and `highwater
/// consume` in others.
#[derive(Debug, Parser)]
#[command(name = "highwater", version, after_help = EXIT_CODES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// Brokers to ask first, as host:port, separated by commas.
    #[arg(
        long,
        global = true,
        env = "HIGHWATER_BOOTSTRAP",
        default_value = "127.0.0.1:9094",
        value_delimiter = ',',
        value_name = "HOST:PORT"
    )]
    pub(crate) bootstrap: Vec<String>,
    /// What results are printed as.
    #[arg(long, global = true, env = "HIGHWATER_OUTPUT", default_value = "text", value_name = "FORMAT")]
    pub(crate) output: Format,
    /// How long a call may take, retries included, in milliseconds.
    #[arg(long, global = true, default_value_t = 30_000, value_name = "MS")]
    pub(crate) timeout_ms: u64,
}

/// Every command, in the order of a first day with it.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows everything once: a broker, real text in, read back, replayed, every byte checked.
    Quickstart(quickstart::Args),
    /// Runs a broker, or with `--brokers 3` a cluster, with no set-up, for trying things out.
    Dev(dev::Args),
    /// Runs a broker from a configuration file.
    Broker(broker::Args),
    /// Creates, lists, describes, alters and deletes topics.
    #[command(subcommand)]
    Topic(topic::Topic),
    /// Sends lines from standard input or a file.
    Produce(produce::Args),
    /// Prints records: what comes in, or from an offset or a time on.
    Consume(consume::Args),
    /// Shows where a topic's partitions begin and end.
    Offsets(offsets::Args),
    /// Shows the cluster and its brokers, and lets brokers go.
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    /// Moves a topic's replicas to other brokers.
    Reassign(reassign::Args),
    /// Gives partitions back to their preferred leaders, or lets any replica lead.
    Elect(cluster::Elect),
    /// Looks into segments and indexes on disk and verifies every checksum. Needs no broker.
    Dump(dump::Args),
    /// Says whether the broker on this machine is ready; exits 0 if it is. For health checks.
    Health(health::Args),
    /// Measures: throughput, latency percentiles, the broker's CPU and memory.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Prints a completion script for a shell.
    Completions(completions::Args),
}
