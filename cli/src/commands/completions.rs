//! `highwater completions SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::CliResult;
use crate::output::write_out;

/// Options of `completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell; for bash, for example: source <(highwater completions bash).
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> CliResult {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "highwater", &mut script);
    write_out(&String::from_utf8_lossy(&script))
}
