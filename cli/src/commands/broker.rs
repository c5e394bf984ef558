//! `highwater broker`: a broker from a configuration, until it is told to stop.

use std::path::{Path, PathBuf};
use std::time::Instant;

use highwater_server::{Broker, BrokerConfig, Sources};
use serde::Serialize;
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
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or("write it as name=value, such as listener.grpc=127.0.0.1:9094")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

pub(crate) async fn run(args: Args, global: &Global) -> CliResult {
    let started = now();
    init_logs();
    let config = configuration(&args).map_err(|error| CliError::usage(error.to_string()))?;
    let data = DataFolder::Given(config.data_dir.clone());
    serve(config, data, global.output, started).await
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
}

/// The line that says a broker serves. Scripts wait for it and read it.
#[derive(Serialize)]
struct Ready {
    grpc: String,
    admin: String,
    data: String,
    pid: u32,
    /// The first address of the Kafka listener; `none` where there is none.
    kafka: String,
    start_ms: f64,
}

/// Starts the broker, says that it is ready, and stops it in order at SIGTERM or Ctrl-C.
pub(crate) async fn serve(
    config: BrokerConfig,
    data: DataFolder,
    format: Format,
    started: Instant,
) -> CliResult {
    let unusable = |error| CliError::failed(format!("signals cannot be handled: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(unusable)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unusable)?;
    raise_open_files_limit();
    let broker = Broker::start(config).await.map_err(|error| CliError::failed(error.to_string()))?;
    let ready = Ready {
        grpc: broker.grpc_addr().to_string(),
        admin: broker.admin_addr().to_string(),
        kafka: broker.kafka_addrs().first().map_or_else(|| "none".to_owned(), ToString::to_string),
        data: data.path().display().to_string(),
        pid: std::process::id(),
        start_ms: started.elapsed().as_secs_f64() * 1e3,
    };
    print(format, &ready, |r| {
        format!("ready grpc={} admin={} data={} pid={} kafka={}\n", r.grpc, r.admin, r.data, r.pid, r.kafka)
    })?;
    if let DataFolder::Temporary(_) = data {
        output::note("data is in a temporary folder and is removed at the end; --data-dir DIR keeps it");
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    broker.stop().await.map_err(|error| CliError::failed(error.to_string()))?;
    if let DataFolder::Temporary(folder) = data {
        folder.close().map_err(|error| CliError::failed(format!("the temporary folder stays: {error}")))?;
    }
    Ok(())
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

/// Logs go to standard error; `HIGHWATER_LOG` chooses what (such as `debug` or `highwater_server=trace`).
pub(crate) fn init_logs() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("HIGHWATER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    // A second call in one process changes nothing, and nothing is lost by that.
    let _ = logs.try_init();
}

/// When the command began, for `start_ms`.
#[expect(clippy::disallowed_methods, reason = "a figure for a person, not a broker's clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
