//! `highwater-failover [--kills N] [--classes a,b] [--partitions P] [--pace-ms MS] [--pause-ms MS] [--figures]
//! [--data-dir DIR] [--highwater FILE] [--set LINE] [--trace]`: three brokers under load, of which one is killed or stopped, N
//! times for each class; with `--figures` what else a cluster is held to, first.
//!
//! Prints how long writes stood still. Exit code 1 when a client saw an error or an acknowledged record is not there once;
//! never because of a time.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use highwater_client::{Client, ClientConfig, NewTopic};
use highwater_tests::failover::{Brokers, Class, Load, Plan, Round, Rounds, figures, table, timeline};
use highwater_tests::highwater_binary;

const TOPIC: &str = "failover";
const IDLE: Duration = Duration::from_secs(30);
/// What a fresh topic still has to do, and a broker to forget.
const SETTLE: Duration = Duration::from_secs(5);

/// What the command line says.
struct Wishes {
    rounds: u64,
    classes: Vec<Class>,
    partitions: i32,
    pace: Duration,
    pause: Duration,
    figures: bool,
    trace: bool,
    folder: Option<PathBuf>,
    binary: PathBuf,
    settings: String,
}

impl Wishes {
    fn read(arguments: &[String]) -> Result<Wishes> {
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1).map(String::as_str)
        };
        let number = |name: &str, default: u64| match value(name) {
            Some(text) => text.parse::<u64>().with_context(|| format!("{name} {text} is no number")),
            None => Ok(default),
        };
        let has = |name: &str| arguments.iter().any(|argument| argument == name);
        Ok(Wishes {
            rounds: number("--kills", 10)?,
            classes: classes(value("--classes"))?,
            partitions: i32::try_from(number("--partitions", 6)?)?,
            pace: Duration::from_millis(number("--pace-ms", 5)?.max(1)),
            pause: Duration::from_millis(number("--pause-ms", 4000)?),
            figures: has("--figures"),
            trace: has("--trace"),
            folder: value("--data-dir").map(PathBuf::from),
            binary: value("--highwater").map_or_else(highwater_binary, |path| Ok(PathBuf::from(path)))?,
            settings: value("--set").map_or_else(String::new, |line| format!("{line}\n")),
        })
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wishes = Wishes::read(&arguments)?;
    let scratch = tempfile::Builder::new().prefix("highwater-failover-").tempdir()?;
    let folder = wishes.folder.as_deref().unwrap_or(scratch.path());
    run(&wishes, folder).await
}

async fn run(wishes: &Wishes, folder: &Path) -> Result<ExitCode> {
    if wishes.trace {
        log_clients(folder)?;
    }
    let filter = if wishes.trace { "info,highwater_server=debug" } else { "warn" };
    let mut brokers = Brokers::start(&wishes.binary, folder, 3, filter, &wishes.settings)?;
    let client = Client::connect(ClientConfig::new(brokers.grpc())).await?;
    if wishes.figures {
        print!("{}", figures::create_to_write(&client).await?);
        print!("{}{}", figures::commits(&client, 1).await?, figures::commits(&client, 16).await?);
    }
    let topic = NewTopic::new(TOPIC).partitions(wishes.partitions).replication_factor(3);
    client.admin().create_topic(topic.config("min.insync.replicas", "2")).await?;
    if wishes.figures {
        tokio::time::sleep(SETTLE).await;
        print!("{} partitions: {}", wishes.partitions, figures::idle(&brokers, IDLE).await?);
    }
    if wishes.rounds == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let load = Load::start(&client, TOPIC, wishes.partitions, wishes.pace).await?;
    let plan = Plan { topic: TOPIC.to_owned(), pause: wishes.pause };
    let rounds = Rounds { brokers: &mut brokers, client: &client, load: &load, plan, turn: 0 };
    let done = all_rounds(rounds, wishes).await?;
    println!("{}", table(&done));
    let errors = load.errors();
    let (acknowledged, partitions) = (load.finish(&client).await?, wishes.partitions);
    println!(
        "{acknowledged} records acknowledged to {partitions} partitions, each there once; {errors} errors"
    );
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn all_rounds(mut rounds: Rounds<'_>, wishes: &Wishes) -> Result<Vec<Round>> {
    rounds.wait_until_whole().await?;
    let mut done = Vec::new();
    for _ in 0..wishes.rounds {
        for class in &wishes.classes {
            let round = rounds.run(*class).await?;
            if wishes.trace {
                println!("{}", timeline(rounds.brokers, &round));
            }
            done.push(round);
        }
    }
    Ok(done)
}

/// The clients' words go to a file beside the brokers'.
#[expect(clippy::disallowed_methods, reason = "the bench writes real files")]
fn log_clients(folder: &Path) -> Result<()> {
    let file = std::fs::File::create(Brokers::client_log(folder))?;
    let logs = tracing_subscriber::fmt().with_env_filter("highwater_client=debug").with_ansi(false);
    logs.with_writer(std::sync::Mutex::new(file)).init();
    Ok(())
}

fn classes(wanted: Option<&str>) -> Result<Vec<Class>> {
    let Some(wanted) = wanted else { return Ok(Class::ALL.to_vec()) };
    let named = |name: &str| {
        let class = Class::ALL.into_iter().find(|class| class.name() == name);
        class.with_context(|| format!("{name} is none of {:?}", Class::ALL.map(Class::name)))
    };
    wanted.split(',').map(named).collect()
}
