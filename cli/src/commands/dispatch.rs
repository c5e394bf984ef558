//! From the command that was given to the one that runs.

use super::{
    bench, broker, cluster, completions, consume, dev, dump, health, offsets, produce, quickstart, reassign,
    topic,
};
use crate::args::{Cli, Command};
use crate::exit::{CliError, CliResult};

/// Runs the command, on a runtime of its own where it needs one.
pub(crate) fn run(cli: Cli) -> CliResult {
    let global = cli.global;
    match cli.command {
        Command::Quickstart(args) => block_on(interruptible(quickstart::run(args, &global))),
        Command::Dev(args) => block_on(dev::run(args, &global)),
        Command::Broker(args) => block_on(broker::run(args, &global)),
        Command::Topic(topic) => block_on(topic::run(topic, &global)),
        Command::Cluster(command) => block_on(cluster::run(command, &global)),
        Command::Reassign(args) => block_on(reassign::run(args, &global)),
        Command::Elect(args) => block_on(cluster::elect(args, &global)),
        Command::Produce(args) => block_on(produce::run(args, &global)),
        Command::Consume(args) => block_on(consume::run(args, &global)),
        Command::Offsets(args) => block_on(offsets::run(args, &global)),
        Command::Dump(args) => dump::run(&args, &global),
        Command::Health(args) => health::run(&args, &global),
        Command::Bench(bench) => bench::run(bench, &global),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Ends early at Ctrl-C, so that temporary folders go with the command.
async fn interruptible(command: impl Future<Output = CliResult>) -> CliResult {
    tokio::select! {
        result = command => result,
        _ = tokio::signal::ctrl_c() => Err(CliError::interrupted()),
    }
}

fn block_on(command: impl Future<Output = CliResult>) -> CliResult {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::failed(format!("cannot start: {error}")))?;
    let result = runtime.block_on(command);
    // A thread may still wait for standard input; nothing is left to be done there.
    runtime.shutdown_background();
    result
}
