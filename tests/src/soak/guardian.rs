//! Makes the bed, has the run lie in it, and takes it away again however that ended.
//!
//! Invariant: nothing of a run is left when [`soak`] returns. What a guardian that was itself killed has left is removed by
//! the next one.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::disk::unmount_all;
use super::host::{in_namespace, lacks, run};
use super::network::{Network, orphans};
use super::{INSIDE, Options};

/// Over its minutes a run may take this much longer: start, heals, drain and judgement.
const EXTRA: Duration = Duration::from_secs(15 * 60);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The part inside came to a conclusion: its exit code.
    Concluded(u8),
    /// This machine cannot do it, and why.
    Cannot(String),
    /// It did not end in time.
    OutOfTime,
    /// By a signal from outside.
    Interrupted,
}

/// Runs the whole of it.
///
/// # Errors
/// The bed could not be made, or not be taken away.
pub fn soak(mut options: Options) -> Result<Ending> {
    if let Some(reason) = lacks() {
        return Ok(Ending::Cannot(reason));
    }
    options.highwater = fs::canonicalize(&options.highwater).with_context(|| {
        format!("{} is not there; --highwater names the program", options.highwater.display())
    })?;
    fs::create_dir_all(&options.report)?;
    options.report = fs::canonicalize(&options.report)?;
    for prefix in orphans() {
        eprintln!("removing what an earlier run left: {prefix}");
        clean_up(&Network::new(&prefix), &scratch_of(&prefix));
    }
    options.prefix = format!("hws{}", std::process::id());
    options.scratch = scratch_of(&options.prefix);
    fs::create_dir_all(&options.scratch)?;
    let network = Network::new(&options.prefix);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ending = runtime.block_on(async {
        network.make().context("the network cannot be made")?;
        attend(&options, &network).await
    });
    keep_logs(&options.scratch, &options.report);
    let problems = clean_up(&network, &options.scratch);
    for problem in &problems {
        eprintln!("not cleaned up: {problem}");
    }
    ending
}

fn scratch_of(prefix: &str) -> PathBuf {
    std::env::temp_dir().join(format!("highwater-soak-{prefix}"))
}

/// Waits for the run's end, for a signal, or for the end of its time.
async fn attend(options: &Options, network: &Network) -> Result<Ending> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut child = inside(options, network)?;
    let began = Instant::now();
    let time = Duration::from_secs(options.minutes * 60) + EXTRA;
    let ending = loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Ending::Concluded(code(status)));
        }
        if began.elapsed() > time {
            eprintln!("the run did not end within {time:?}");
            break Ending::OutOfTime;
        }
        tokio::select! {
            _ = interrupt.recv() => break Ending::Interrupted,
            _ = terminate.recv() => break Ending::Interrupted,
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    };
    child.kill()?;
    child.wait()?;
    Ok(ending)
}

/// The rest of the program, in the clients' namespace. A group of its own: Ctrl-C is for the guardian.
fn inside(options: &Options, network: &Network) -> Result<Child> {
    let mut command = Command::new("nsenter");
    command.arg(in_namespace(&network.client())).arg(std::env::current_exe()?).arg(INSIDE);
    command.args(options.arguments()).stdin(Stdio::null()).process_group(0);
    command.spawn().context("the run cannot be started")
}

/// A run that panicked, or was killed, failed.
fn code(status: ExitStatus) -> u8 {
    status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn keep_logs(scratch: &Path, report: &Path) {
    let (from, to) = (scratch.join("logs"), report.join("logs"));
    let _ = fs::create_dir_all(&to);
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        if let Err(error) = fs::copy(entry.path(), to.join(entry.file_name())) {
            eprintln!("{}: {error}", entry.path().display());
        }
    }
}

/// Ends what runs, unmounts what is mounted, removes what is there.
fn clean_up(network: &Network, scratch: &Path) -> Vec<String> {
    let mut problems = network.remove();
    problems.extend(unmount_all(scratch));
    for entry in fs::read_dir(scratch).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "img") {
            let attached = run("losetup", &["-j", &path.display().to_string()]).unwrap_or_default();
            for device in attached.lines().filter_map(|line| line.split(':').next()) {
                // Most are detached with the unmount; what is left was never mounted.
                let _ = run("losetup", &["-d", device]);
            }
        }
    }
    // What is still mounted must not be deleted through its mount point.
    if problems.is_empty()
        && let Err(error) = fs::remove_dir_all(scratch)
    {
        problems.push(format!("{}: {error}", scratch.display()));
    }
    problems
}
