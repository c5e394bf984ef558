//! `highwater-museum [BUG ...] [--write FILE]`: puts every known bug back, one at a time, and hunts for it. Exit code 1 if one
//! is not caught, or if something is caught where there is none. Build without optimising for release: panics are caught.
#![expect(clippy::disallowed_methods, reason = "a tool of the test bench, not of the broker")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::fmt::Write;
use std::process::ExitCode;

use highwater_proto::museum::Bug;
use highwater_tests::museum::hunt;

const HEAD: &str = "# The bug museum

Bugs that logs of this kind have had, put back one at a time in a build made for it. Each must be noticed by random walks
through the model, by simulated clusters or by a scenario of its own. One line of the code stands for each; what is not built
with the feature `museum` has none of them. Written by

```
cargo run -p highwater-tests --features museum --bin highwater-museum -- --write docs/museum.md
```

| bug | breaks | what goes wrong | caught by | what was said | seconds |
|---|---|---|---|---|---|
";

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|_| ()));
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let file = arguments.iter().position(|argument| argument == "--write").map(|at| {
        let file = arguments.get(at + 1).cloned().unwrap_or_default();
        arguments.drain(at..(at + 2).min(arguments.len()));
        file
    });
    let wanted = |bug: &Bug| arguments.is_empty() || arguments.contains(&format!("{bug:?}"));
    let (mut table, mut missed) = (HEAD.to_owned(), 0);
    if arguments.is_empty()
        && let Some(catch) = hunt(None)
    {
        println!("noticed where no bug is: {catch:?}");
        missed += 1;
    }
    for bug in Bug::ALL.iter().copied().filter(wanted) {
        let row = match hunt(Some(bug)) {
            Some(catch) => {
                let said: String = catch.said.replace(['|', '\n'], " ").chars().take(110).collect();
                format!("{} | {said} | {:.1}", catch.by, catch.seconds)
            }
            None => {
                missed += 1;
                "**nothing** | |".to_owned()
            }
        };
        println!("{bug:?} | {row}");
        let _ = writeln!(table, "| {bug:?} | {} | {} | {row} |", bug.rule(), bug.text());
    }
    if let Some(file) = file
        && let Err(error) = std::fs::write(&file, table)
    {
        println!("{file}: {error}");
        return ExitCode::FAILURE;
    }
    println!("{missed} missed");
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
