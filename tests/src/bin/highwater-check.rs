//! `highwater-check history.jsonl [report.json]`: judges a recorded history. Exit code 0 if it passed, 1 if something was found, 2 if the
//! run is invalid, 3 if it cannot be read.
#![expect(clippy::disallowed_methods, reason = "a tool of the test bench, not of the broker")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::path::Path;
use std::process::ExitCode;

use highwater_tests::checker::{Verdict, check};
use highwater_tests::history::History;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (history, report) = match arguments.as_slice() {
        [history] => (history, None),
        [history, report] => (history, Some(report)),
        _ => {
            println!("usage: highwater-check history.jsonl [report.json]");
            return ExitCode::from(3);
        }
    };
    match judge(Path::new(history), report.map(Path::new)) {
        Ok(Verdict::Passed) => ExitCode::SUCCESS,
        Ok(Verdict::Failed) => ExitCode::from(1),
        Ok(Verdict::Invalid) => ExitCode::from(2),
        Err(error) => {
            println!("{}: {error:#}", history);
            ExitCode::from(3)
        }
    }
}

fn judge(history: &Path, report_path: Option<&Path>) -> anyhow::Result<Verdict> {
    let report = check(History::open(history)?)?;
    print!("{}", report.summary());
    if let Some(path) = report_path {
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(report.verdict)
}
