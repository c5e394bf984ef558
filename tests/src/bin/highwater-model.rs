//! `highwater-model [smoke|ci|nightly|walks] [name=value ...]`: visits every state of the replication model within the bounds, or
//! walks through it at random. Names are the bounds' (`values`, `leader_epochs`, ...), `durability`, `seconds`, `threads`,
//! `seed`, and `states`: so many unique ones at least. Exit code 1, and the steps that lead there, if an invariant does not
//! hold, or if there were fewer.
#![expect(clippy::disallowed_methods, reason = "a tool of the test bench measures its own time")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use highwater_core::settings::Durability;
use highwater_tests::model::{Bounds, Depth, explore, walk_for};

fn main() -> ExitCode {
    // First of all, since other bounds follow from it.
    let in_memory = std::env::args().any(|argument| argument == "durability=replicated");
    let durability = if in_memory { Durability::Replicated } else { Durability::Fsync };
    let mut bounds = Bounds::of(Depth::Ci, durability);
    let (mut seconds, mut threads, mut seed, mut walks, mut least) = (60, 2, 0, false, 0);
    for argument in std::env::args().skip(1) {
        let (name, value) = argument.split_once('=').unwrap_or((&argument, ""));
        let number: u8 = value.parse().unwrap_or(0);
        match name {
            "smoke" => bounds = Bounds::of(Depth::Smoke, durability),
            "ci" => bounds = Bounds::of(Depth::Ci, durability),
            "walks" => {
                bounds = Bounds::of(Depth::Walks, durability);
                walks = true;
            }
            "seed" => seed = value.parse().unwrap_or(0),
            "nightly" => bounds = Bounds::of(Depth::Nightly, durability),
            "values" => bounds.values = number,
            "leader_epochs" => bounds.leader_epochs = number.into(),
            "partition_epochs" => bounds.partition_epochs = number.into(),
            "crashes" => bounds.crashes = number,
            "wipes" => bounds.wipes = number,
            "messages" => bounds.messages = number.into(),
            "metadata_lag" => bounds.metadata_lag = number.into(),
            "min_in_sync" => bounds.min_in_sync = number.into(),
            "durability" if ["fsync", "replicated"].contains(&value) => {}
            "seconds" => seconds = value.parse().unwrap_or(60),
            "states" => least = value.parse().unwrap_or(usize::MAX),
            "threads" => threads = number.into(),
            other => {
                println!("{other:?} is none of the bounds: {bounds:?}");
                return ExitCode::FAILURE;
            }
        }
    }
    let began = Instant::now();
    let time = Duration::from_secs(seconds);
    let explored = if walks { walk_for(bounds, seed, time) } else { explore(bounds, time, threads) };
    println!(
        "{bounds:?}\n{} unique states, {} steps, depth {}, {} in {:.1} s",
        explored.unique_states,
        explored.steps,
        explored.depth,
        if explored.complete { "all of them" } else { "not all" },
        began.elapsed().as_secs_f64()
    );
    for property in &explored.unreached {
        println!("never reached: {property}");
    }
    for (property, steps) in &explored.counterexamples {
        println!("BROKEN: {property}\n  {steps}");
    }
    if explored.unique_states < least {
        println!("fewer than {least} states were visited");
        return ExitCode::FAILURE;
    }
    if explored.counterexamples.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
