//! `highwater reassign`: where a topic's replicas are to be.

use std::time::Duration;

use highwater_client::{BrokerId, Client, Move, OngoingMove, PartitionIndex, TopicDescription};
use serde::Serialize;

use crate::args::Global;
use crate::connect;
use crate::exit::{CliError, CliResult, Exit};
use crate::output::{note, print, table};

/// Options of `reassign`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic.
    #[arg(short, long, required_unless_present = "status")]
    topic: Option<String>,
    /// Only this partition.
    #[arg(short, long, requires = "topic", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Its new replicas, the preferred leader first. Needs --partition.
    #[arg(
        long,
        value_delimiter = ',',
        requires = "partition",
        value_name = "ID,ID,…",
        conflicts_with = "brokers"
    )]
    replicas: Vec<i32>,
    /// Spread the topic over these brokers; each partition keeps its number of replicas.
    #[arg(long, value_delimiter = ',', value_name = "ID,ID,…")]
    brokers: Vec<i32>,
    /// Take moves under way back.
    #[arg(long, conflicts_with_all = ["replicas", "brokers", "status"])]
    cancel: bool,
    /// Show the moves under way.
    #[arg(long, conflicts_with_all = ["replicas", "brokers"])]
    status: bool,
    /// Wait until the moves are done.
    #[arg(long)]
    wait: bool,
    /// Bytes per second that a broker sends to this topic's replicas that are catching up, or `none`. Holds at once, for moves
    /// under way too, until it is lifted; with --wait it is lifted when the moves are done.
    #[arg(long, requires = "topic", value_name = "BYTES/S", value_parser = rate)]
    throttle: Option<Rate>,
}

/// A limit, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate(Option<u64>);

fn rate(text: &str) -> Result<Rate, String> {
    match text {
        "none" => Ok(Rate(None)),
        text => text
            .parse()
            .ok()
            .filter(|rate| *rate > 0)
            .map(|rate| Rate(Some(rate)))
            .ok_or_else(|| "use a whole number of bytes per second, or none".to_owned()),
    }
}

/// The topic's setting that `--throttle` changes.
const THROTTLE: &str = "replication.throttle.rate";

async fn set_throttle(client: &Client, topic: &str, rate: Rate) -> CliResult {
    let (set, unset) = match rate {
        Rate(Some(rate)) => (vec![(THROTTLE.to_owned(), rate.to_string())], Vec::new()),
        Rate(None) => (Vec::new(), vec![THROTTLE.to_owned()]),
    };
    Ok(client.admin().alter_topic(topic, &set, &unset).await?)
}

/// How often moves are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

#[derive(Serialize)]
struct Listing {
    moves: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    topic: String,
    partition: i32,
    replicas: Vec<i32>,
    adding: Vec<i32>,
    removing: Vec<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

fn numbers(ids: &[BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}

fn joined(ids: &[i32]) -> String {
    if ids.is_empty() {
        return "-".to_owned();
    }
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn text(listing: &Listing) -> String {
    if listing.moves.is_empty() {
        return "no moves under way\n".to_owned();
    }
    let row = |row: &Row| {
        vec![
            row.topic.clone(),
            row.partition.to_string(),
            joined(&row.replicas),
            joined(&row.adding),
            joined(&row.removing),
        ]
    };
    let rows: Vec<_> = listing.moves.iter().map(row).collect();
    table(&["TOPIC", "PARTITION", "REPLICAS", "ADDING", "REMOVING"], &rows)
}

pub(crate) async fn run(args: Args, global: &Global) -> CliResult {
    let client = global.connect().await?;
    if args.status {
        return status(&client, &args, global).await;
    }
    let name = args.topic.as_deref().unwrap_or_default();
    let topic = connect::topic(&client, name).await?;
    let only_throttle =
        args.throttle.is_some() && !args.cancel && args.replicas.is_empty() && args.brokers.is_empty();
    let moves = if only_throttle { Vec::new() } else { wanted(&topic, &args)? };
    if let Some(rate) = args.throttle {
        set_throttle(&client, name, rate).await?;
    }
    let mut rows = Vec::new();
    let outcomes = if only_throttle { Vec::new() } else { client.admin().reassign(&moves).await? };
    for outcome in outcomes {
        let asked = moves.iter().find(|one| one.partition == outcome.partition);
        let replicas = asked.and_then(|one| one.replicas.as_deref()).map(numbers).unwrap_or_default();
        rows.push(Row {
            topic: outcome.topic,
            partition: outcome.partition.0,
            replicas,
            adding: Vec::new(),
            removing: Vec::new(),
            error: outcome.result.err().map(|error| error.to_string()),
        });
    }
    let refused = rows.iter().filter(|row| row.error.is_some()).count();
    let began = rows.len() - refused;
    if args.wait && (began > 0 || only_throttle) {
        wait(&client, name).await?;
    }
    match args.throttle {
        Some(Rate(Some(_))) if args.wait => set_throttle(&client, name, Rate(None)).await?,
        Some(Rate(Some(rate))) => note(&format!(
            "{name}: {rate} bytes per second at most, until `highwater reassign -t {name} --throttle none`"
        )),
        Some(Rate(None)) => note(&format!("{name}: no limit")),
        None => {}
    }
    if only_throttle {
        return print(global.output, &Listing { moves: rows }, |_| String::new());
    }
    let done = match (args.cancel, args.wait) {
        (true, _) => "taken back",
        (false, true) => "moved",
        (false, false) => "moving",
    };
    print(global.output, &Listing { moves: rows }, |listing| {
        let line = |row: &Row| match &row.error {
            Some(error) => format!("{error}\n"),
            None if row.replicas.is_empty() => format!("{}-{}: {done}\n", row.topic, row.partition),
            None => format!("{}-{}: {done} to {}\n", row.topic, row.partition, joined(&row.replicas)),
        };
        listing.moves.iter().map(line).collect()
    })?;
    if refused > 0 {
        return Err(CliError::failed(format!("{refused} partitions were refused")));
    }
    Ok(())
}

fn wanted(topic: &TopicDescription, args: &Args) -> CliResult<Vec<Move>> {
    if !args.cancel && args.replicas.is_empty() && args.brokers.is_empty() {
        return Err(CliError::usage("where to?")
            .hint("give --partition P --replicas 1,2,3, or --brokers 1,2,3, or --cancel, or --status"));
    }
    let mut moves = Vec::new();
    for partition in &topic.partitions {
        let index = partition.partition;
        if args.partition.is_some_and(|one| one != index.0) {
            continue;
        }
        let factor = partition.replicas.len();
        if !args.brokers.is_empty() && args.brokers.len() < factor {
            return Err(CliError::usage(format!(
                "{}-{index} has {factor} replicas, more than the {} brokers given",
                topic.name,
                args.brokers.len()
            )));
        }
        let replicas = if args.cancel {
            None
        } else if args.brokers.is_empty() {
            Some(args.replicas.iter().copied().map(BrokerId).collect())
        } else {
            Some(spread(&args.brokers, index, factor))
        };
        moves.push(Move { topic: topic.name.clone(), partition: index, replicas });
    }
    if moves.is_empty() {
        let one = args.partition.unwrap_or_default();
        return Err(CliError::new(
            Exit::NotFound,
            format!("there is no partition {one} of '{}'", topic.name),
        ));
    }
    Ok(moves)
}

/// Leaders take turns, and so do the replicas after them.
fn spread(brokers: &[i32], partition: PartitionIndex, factor: usize) -> Vec<BrokerId> {
    let first = usize::try_from(partition.0).unwrap_or(0);
    (0..factor).map(|turn| BrokerId(brokers[(first + turn) % brokers.len()])).collect()
}

async fn status(client: &Client, args: &Args, global: &Global) -> CliResult {
    let is_wanted = |ongoing: &OngoingMove| {
        args.topic.as_ref().is_none_or(|topic| *topic == ongoing.topic)
            && args.partition.is_none_or(|partition| partition == ongoing.partition.0)
    };
    let ongoing = client.admin().list_reassignments().await?;
    let row = |ongoing: OngoingMove| Row {
        partition: ongoing.partition.0,
        replicas: numbers(&ongoing.replicas),
        adding: numbers(&ongoing.adding),
        removing: numbers(&ongoing.removing),
        topic: ongoing.topic,
        error: None,
    };
    let moves = ongoing.into_iter().filter(is_wanted).map(row).collect();
    print(global.output, &Listing { moves }, text)
}

async fn wait(client: &Client, topic: &str) -> CliResult {
    let mut before = usize::MAX;
    loop {
        let moves = client.admin().list_reassignments().await?;
        let left = moves.iter().filter(|ongoing| ongoing.topic == topic).count();
        if left == 0 {
            return Ok(());
        }
        if left < before {
            note(&format!("{left} partitions of {topic} are moving"));
            before = left;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaders_and_replicas_take_turns() {
        assert_eq!(spread(&[1, 2, 4], PartitionIndex(0), 2), [1, 2].map(BrokerId));
        assert_eq!(spread(&[1, 2, 4], PartitionIndex(2), 2), [4, 1].map(BrokerId));
    }
}
