//! `highwater-sim [--seeds A..B | --seed N] [--history FILE] [--twice]`: runs simulated clusters, a minute of theirs for each seed.
//! Exit code 1 and the command that replays it for each seed that finds something.
#![expect(clippy::disallowed_methods, reason = "a tool of the test bench measures its own time")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use highwater_tests::sim::{Finished, Plan, run};

thread_local! {
    static SEED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let seeds: Range<u64> = match (value("--seed"), value("--seeds").and_then(|text| text.split_once(".."))) {
        (Some(seed), _) => number(seed)..number(seed) + 1,
        (None, Some((from, end))) => number(from)..number(end),
        (None, None) => 0..100,
    };
    // An optimised build ends at the first panic: it must say which seed that was.
    std::panic::set_hook(Box::new(|panic| println!("seed {}: {panic}", SEED.get())));
    let twice = arguments.iter().any(|argument| argument == "--twice");
    let plan = Plan::of;
    let faults: Mutex<BTreeMap<String, u64>> = Mutex::default();
    let threads = value("--threads").map_or(2, |text| number(text).max(1));
    let began = Instant::now();
    let (next, events, broken, acknowledged) =
        (AtomicU64::new(seeds.start), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end {
            break;
        }
        SEED.set(seed);
        let finished = run(&plan(seed));
        events.fetch_add(finished.events, Ordering::Relaxed);
        acknowledged.fetch_add(finished.report.records_acknowledged, Ordering::Relaxed);
        if let Ok(mut faults) = faults.lock() {
            for (class, count) in &finished.report.faults {
                *faults.entry(class.clone()).or_default() += count.installed;
            }
        }
        let same = !twice || run(&plan(seed)).trace == finished.trace;
        if !finished.is_sound() || !same {
            broken.fetch_add(1, Ordering::Relaxed);
            println!("{}{}", finished.complaint(), if same { "" } else { "  the second run differed\n" });
        } else if seeds.end - seeds.start == 1 {
            println!("{}{:#?}", finished.report.summary(), finished.plan);
        }
        if let Some(path) = value("--history")
            && let Err(error) = write(&finished, path)
        {
            println!("{path}: {error}");
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let (events, broken) = (events.into_inner(), broken.into_inner());
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} seeds, {broken} broken, {events} events, {} records acknowledged, {seconds:.1} s",
        seeds.end.saturating_sub(seeds.start),
        acknowledged.into_inner()
    );
    let faults = faults.into_inner().unwrap_or_default();
    let counts: Vec<String> = faults.iter().map(|(class, count)| format!("{count} {class}")).collect();
    println!("faults installed: {}", counts.join(", "));
    // What was never installed was never survived.
    let never = faults.iter().find(|(_, count)| **count == 0);
    if let Some((class, _)) = never.filter(|_| seeds.end - seeds.start >= 100) {
        println!("invalid: no {class} was ever installed");
        return ExitCode::FAILURE;
    }
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn write(finished: &Finished, path: &str) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    writeln!(file, "{}", serde_json::to_string(&finished.header)?)?;
    for op in &finished.ops {
        writeln!(file, "{}", serde_json::to_string(op)?)?;
    }
    file.flush()
}
