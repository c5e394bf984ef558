//! The one binary, `highwater`: the broker and every tool around it.

mod args;
mod commands;
mod connect;
mod exit;
mod files;
mod local;
mod output;
mod progress;
mod suggest;
mod when;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
