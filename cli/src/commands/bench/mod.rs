//! `highwater bench`: how fast, how even, at what cost.
//!
//! Every client runs on a thread and a runtime of its own, as clients on other machines would. With a rate, the load
//! is open-loop: each record has the time at which it is due, and its latency counts from there, whether or not the
//! one before it was held up (no coordinated omission).

mod clients;
mod consume;
mod latency;
mod load;
mod pacer;
mod produce;
mod report;
mod server;

use crate::args::Global;
use crate::exit::CliResult;
use crate::progress;

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Bench {
    /// Records in, until acknowledged.
    Produce(produce::Args),
    /// Records out, from the beginning of a topic.
    Consume(consume::Args),
    /// From producer to consumer at a steady rate, both in this process, by one clock.
    Latency(latency::Args),
}

pub(crate) fn run(bench: Bench, global: &Global) -> CliResult {
    let progress = progress::busy("measuring");
    // It draws on standard error and ends before the report goes to standard output.
    let report = match bench {
        Bench::Produce(args) => produce::run(&args, global),
        Bench::Consume(args) => consume::run(&args, global),
        Bench::Latency(args) => latency::run(&args, global),
    };
    progress.finish_and_clear();
    report?.print(global.output)
}
