//! `highwater-soak`: three real brokers under load and faults; see `--help`.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::process::ExitCode;

use highwater_tests::checker::Verdict;
use highwater_tests::soak::{Ending, INSIDE, Options, class_names, run_inside, soak};

const INVALID: u8 = 2;
const CANNOT: u8 = 3;
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--help" | "-h") => {
            println!("{}", Options::USAGE);
            return ExitCode::SUCCESS;
        }
        Some("--list-classes") => {
            class_names().for_each(|name| println!("{name}"));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let is_inside = arguments.first().is_some_and(|first| first == INSIDE);
    if is_inside {
        arguments.remove(0);
    }
    let options = match Options::parse(&arguments) {
        Ok(options) => options,
        Err(error) => {
            println!("{error:#}\n{}", Options::USAGE);
            return ExitCode::from(INVALID);
        }
    };
    if is_inside { inside(&options) } else { outside(options) }
}

fn outside(options: Options) -> ExitCode {
    match soak(options) {
        Ok(Ending::Concluded(code)) => ExitCode::from(code),
        Ok(Ending::Cannot(reason)) => {
            println!("this machine cannot: {reason}");
            ExitCode::from(CANNOT)
        }
        Ok(Ending::OutOfTime) => ExitCode::FAILURE,
        Ok(Ending::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn inside(options: &Options) -> ExitCode {
    match run_inside(options) {
        Ok(Verdict::Passed) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::FAILURE,
        Ok(Verdict::Invalid) => ExitCode::from(INVALID),
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
