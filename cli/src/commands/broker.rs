//! `highwater broker`: a broker from a configuration, until it is told to stop.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use highwater_server::{Broker, BrokerConfig, Sources};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Global;
use crate::exit::{CliError, CliResult};
use crate::files;
use crate::output::{self, Format, print};

/// Options of `broker`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The configuration, in TOML.
    #[arg(short, long, env = "HIGHWATER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep data here; as --set data.dir=DIR.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the Kafka protocol is spoken; as --set listener.kafka=ADDR.
    #[arg(long, value_name = "ADDR")]
    kafka: Option<String>,
    /// Give a setting a value, over file and environment. May be repeated.
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// Started by another command: marks its log lines with its number, and ends when its standard input ends, so that it
    /// never outlives that command.
    #[arg(long, hide = true)]
    child: bool,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or("write it as name=value, such as listener.grpc=127.0.0.1:9094")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

pub(crate) async fn run(args: Args, global: &Global) -> CliResult {
    let started = now();
    let config = configuration(&args).map_err(|error| CliError::usage(error.to_string()))?;
    let mark = if args.child { format!("[broker {}] ", config.broker_id) } else { String::new() };
    init_logs(mark);
    let parent = if args.child { Parent::Command } else { Parent::Nobody };
    let data = DataFolder::Given(config.data_dir.clone());
    serve(config, data, global.output, started, parent).await
}

fn configuration(args: &Args) -> anyhow::Result<BrokerConfig> {
    let mut sources = Sources::new();
    if let Some(file) = &args.config {
        let text = files::read_text(file)
            .map_err(|error| anyhow::anyhow!("{}", files::unreadable(file, &error).message))?;
        sources = sources.file(&file.display().to_string(), &text)?;
    }
    sources = sources.environment(std::env::vars())?;
    if let Some(dir) = &args.data_dir {
        sources.set("data.dir", &dir.to_string_lossy(), "--data-dir")?;
    }
    if let Some(address) = &args.kafka {
        sources.set("listener.kafka", address, "--kafka")?;
    }
    for (name, value) in &args.set {
        sources.set(name, value, "--set")?;
    }
    Ok(BrokerConfig::from_sources(&sources)?)
}

/// Where a broker's data is, and whether it goes with the broker.
#[derive(Debug)]
pub(crate) enum DataFolder {
    Given(PathBuf),
    Temporary(TempDir),
}

impl DataFolder {
    pub(crate) fn path(&self) -> &Path {
        match self {
            DataFolder::Given(path) => path,
            DataFolder::Temporary(folder) => folder.path(),
        }
    }

    pub(crate) fn remove_if_temporary(self) -> CliResult {
        match self {
            DataFolder::Given(_) => Ok(()),
            DataFolder::Temporary(folder) => folder
                .close()
                .map_err(|error| CliError::failed(format!("the temporary folder stays: {error}"))),
        }
    }
}

/// Whether the broker lives only as long as the command that started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    Nobody,
    /// It holds the other end of standard input.
    Command,
}

/// The line that says a broker serves. Scripts wait for it and read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) grpc: String,
    pub(crate) admin: String,
    pub(crate) data: String,
    pub(crate) pid: u32,
    /// The first address of the Kafka listener; `none` where there is none.
    pub(crate) kafka: String,
    /// Where other brokers reach it.
    pub(crate) peer: String,
    pub(crate) start_ms: f64,
}

/// Starts the broker, says that it is ready, and stops it in order at SIGTERM or Ctrl-C.
pub(crate) async fn serve(
    config: BrokerConfig,
    data: DataFolder,
    format: Format,
    started: Instant,
    parent: Parent,
) -> CliResult {
    let mut stop = Box::pin(told_to_stop(parent)?);
    raise_open_files_limit();
    // One of several brokers waits here until most of the others are there; it can be stopped meanwhile.
    let broker = tokio::select! {
        broker = Broker::start(config) => broker.map_err(|error| CliError::failed(error.to_string()))?,
        () = &mut stop => return Ok(()),
    };
    let ready = Ready {
        grpc: broker.grpc_addr().to_string(),
        admin: broker.admin_addr().to_string(),
        kafka: broker.kafka_addrs().first().map_or_else(|| "none".to_owned(), ToString::to_string),
        peer: broker.peer_addr().to_string(),
        data: data.path().display().to_string(),
        pid: std::process::id(),
        start_ms: started.elapsed().as_secs_f64() * 1e3,
    };
    print(format, &ready, |r| {
        format!("ready grpc={} admin={} data={} pid={} kafka={}\n", r.grpc, r.admin, r.data, r.pid, r.kafka)
    })?;
    if let DataFolder::Temporary(_) = data {
        output::note(TEMPORARY);
    }
    tokio::select! {
        () = &mut stop => {}
        why = broker.failed() => {
            return Err(CliError::failed(format!("the broker cannot go on and ends: {why}")));
        }
    }
    broker.stop().await.map_err(|error| CliError::failed(error.to_string()))?;
    data.remove_if_temporary()
}

/// Said where data is in a temporary folder.
pub(crate) const TEMPORARY: &str =
    "data is in a temporary folder and is removed at the end; --data-dir DIR keeps it";

/// Ends at SIGTERM, at Ctrl-C, or with the command that started this one.
pub(crate) fn told_to_stop(parent: Parent) -> CliResult<impl Future<Output = ()>> {
    let unusable = |error| CliError::failed(format!("signals cannot be handled: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(unusable)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unusable)?;
    let (parent_ended, mut parent) = match parent {
        Parent::Nobody => (None, None),
        Parent::Command => {
            let (ended, end) = tokio::sync::oneshot::channel::<()>();
            (Some(ended), Some(end))
        }
    };
    if let Some(ended) = parent_ended {
        // A thread of its own: nothing can interrupt a read of standard input.
        std::thread::spawn(move || {
            // Whatever comes is of no interest; an error is an end, too.
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            drop(ended);
        });
    }
    Ok(async move {
        let parent_ends = async {
            match &mut parent {
                // The other side is dropped, never sent to.
                Some(end) => drop(end.await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = parent_ends => {}
        }
    })
}

/// Partitions hold files open, and the usual soft limit of 1,024 is meant for programs that use `select`. The hard
/// limit is the administrator's word and stays.
fn raise_open_files_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, ?limit, "the limit of open files stays; many partitions may not open");
    }
}

/// What is logged unless somebody says otherwise. The Raft library tells every step it takes.
const LOG_DEFAULT: &str = "info,openraft=error";

/// Logs go to standard error, `mark` before every line; `HIGHWATER_LOG` chooses what (such as `debug` or
/// `highwater_server=trace`).
pub(crate) fn init_logs(mark: String) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("HIGHWATER_LOG").unwrap_or_else(|_| EnvFilter::new(LOG_DEFAULT));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || Marked(mark.clone()))
        .with_ansi(colours)
        .log_internal_errors(false);
    // A second call in one process changes nothing, and nothing is lost by that.
    let _ = logs.try_init();
}

/// Standard error, with a mark before each event.
struct Marked(String);

impl io::Write for Marked {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let mut stderr = io::stderr().lock();
        if self.0.is_empty() {
            return stderr.write(event);
        }
        // In one piece, so that brokers that share a terminal don't write into each other's lines.
        stderr.write_all(&[self.0.as_bytes(), event].concat())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// When the command began, for `start_ms`.
#[expect(clippy::disallowed_methods, reason = "a figure for a person, not a broker's clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
