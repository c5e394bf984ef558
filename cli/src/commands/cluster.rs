//! `highwater cluster status|brokers|decommission|voters`, and `highwater elect`.

use std::time::{Duration, Instant};

use highwater_client::{
    BrokerChange, BrokerId, BrokerState, BrokerStatus, ClusterStatus, Election, NodeRole, PartitionIndex,
};
use serde::Serialize;

use super::reasons::{self, Waiting};
use crate::args::Global;
use crate::connect;
use crate::exit::{CliError, CliResult, Exit};
use crate::output::{Format, json, note, print, table};

/// What to do with the cluster.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Cluster {
    /// Shows in one look whether all is well.
    Status,
    /// Lists the brokers with their addresses.
    Brokers,
    /// Moves every replica off a broker, so that it can go.
    Decommission(Decommission),
    /// Says who votes on the cluster's metadata.
    #[command(subcommand)]
    Voters(Voters),
}

/// Options of `cluster decommission`.
#[derive(Debug, clap::Args)]
pub(crate) struct Decommission {
    /// The broker's number.
    broker: i32,
    /// Let it have replicas again.
    #[arg(long, conflicts_with = "remove")]
    cancel: bool,
    /// Remove it for good, once it holds nothing and has stopped. Its number is never used again.
    #[arg(long)]
    remove: bool,
    /// Wait until it holds nothing.
    #[arg(long, conflicts_with_all = ["cancel", "remove"])]
    wait: bool,
}

/// What to do about votes.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Voters {
    /// Lets a broker vote.
    Add {
        /// The broker's number.
        broker: i32,
    },
    /// Takes a broker's vote; it follows the metadata like others.
    Remove {
        /// The broker's number.
        broker: i32,
    },
}

/// Options of `elect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Elect {
    /// Only this topic.
    #[arg(short, long)]
    topic: Option<String>,
    /// Only this partition of it.
    #[arg(short, long, requires = "topic", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Have any replica lead that is there, although acknowledged records may be lost. Needs --topic.
    #[arg(long, requires = "topic")]
    unclean: bool,
}

/// How often something that takes a while is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// When nothing has moved for so long, it is said why.
const REASON_AFTER: Duration = Duration::from_secs(3);
/// Partitions that are named in one go.
const REASONS_MAX: usize = 10;

pub(crate) async fn run(cluster: Cluster, global: &Global) -> CliResult {
    match cluster {
        Cluster::Status => status(global).await,
        Cluster::Brokers => brokers(global).await,
        Cluster::Decommission(args) => decommission(args, global).await,
        Cluster::Voters(Voters::Add { broker }) => {
            change(broker, BrokerChange::AddVoter, "votes from now on", global).await
        }
        Cluster::Voters(Voters::Remove { broker }) => {
            change(broker, BrokerChange::RemoveVoter, "no longer votes", global).await
        }
    }
}

#[derive(Serialize)]
struct Status {
    name: String,
    id: String,
    controller: Option<i32>,
    healthy: bool,
    metadata_applied: u64,
    topics: u32,
    partitions: u32,
    leaderless: u32,
    under_replicated: u32,
    under_min_in_sync: u32,
    brokers: Vec<Broker>,
}

#[derive(Serialize)]
struct Broker {
    id: i32,
    epoch: i64,
    state: &'static str,
    draining: bool,
    role: Option<&'static str>,
    rack: Option<String>,
    leaders: u32,
    replicas: u32,
    metadata_behind: Option<u64>,
    grpc: String,
    kafka: Vec<String>,
    admin: String,
    peer: String,
}

fn described(status: ClusterStatus) -> Status {
    let applied = status.metadata_applied;
    let brokers: Vec<Broker> = status.brokers.into_iter().map(|b| broker(b, applied)).collect();
    let is_well = |broker: &Broker| broker.state == "active";
    Status {
        healthy: status.controller.is_some()
            && status.leaderless == 0
            && status.under_replicated == 0
            && brokers.iter().all(is_well),
        name: status.name,
        id: status.id,
        controller: status.controller.map(|id| id.0),
        metadata_applied: applied,
        topics: status.topics,
        partitions: status.partitions,
        leaderless: status.leaderless,
        under_replicated: status.under_replicated,
        under_min_in_sync: status.under_min_in_sync,
        brokers,
    }
}

fn broker(broker: BrokerStatus, applied: u64) -> Broker {
    Broker {
        id: broker.id.0,
        epoch: broker.epoch,
        state: match broker.state {
            BrokerState::Active => "active",
            BrokerState::Fenced => "fenced",
            BrokerState::Stopping => "stopping",
            BrokerState::Unregistered => "unregistered",
        },
        draining: broker.draining,
        role: match broker.role {
            NodeRole::Voter => Some("voter"),
            NodeRole::Learner => Some("learner"),
            NodeRole::None => None,
        },
        rack: (!broker.rack.is_empty()).then_some(broker.rack),
        leaders: broker.leaders,
        replicas: broker.replicas,
        metadata_behind: broker.metadata_matched.map(|matched| applied.saturating_sub(matched)),
        grpc: broker.grpc,
        kafka: broker.kafka,
        admin: broker.admin,
        peer: broker.peer,
    }
}

fn or_dash(text: Option<String>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
}

async fn status(global: &Global) -> CliResult {
    let status = described(global.connect().await?.admin().cluster_status().await?);
    print(global.output, &status, |status| {
        let row = |b: &Broker| {
            vec![
                b.id.to_string(),
                if b.draining { format!("{}, draining", b.state) } else { b.state.to_owned() },
                or_dash(b.role.map(|role| {
                    if Some(b.id) == status.controller {
                        format!("{role}, controller")
                    } else {
                        role.to_owned()
                    }
                })),
                b.leaders.to_string(),
                b.replicas.to_string(),
                or_dash(b.metadata_behind.map(|behind| behind.to_string())),
            ]
        };
        let header = ["BROKER", "STATE", "ROLE", "LEADS", "REPLICAS", "METADATA BEHIND"];
        let rows: Vec<_> = status.brokers.iter().map(row).collect();
        format!(
            "{}  (id {})  {}\n\n{}\n{} topics, {} partitions: {} without a leader, {} under-replicated, {} below min.insync.replicas\n",
            status.name,
            status.id,
            health(status),
            table(&header, &rows),
            status.topics,
            status.partitions,
            status.leaderless,
            status.under_replicated,
            status.under_min_in_sync,
        )
    })
}

fn health(status: &Status) -> &'static str {
    match status {
        Status { controller: None, .. } => {
            "NO CONTROLLER: fewer than half of the voters are there, or they are electing"
        }
        Status { leaderless: 1.., .. } => "PARTITIONS WITHOUT A LEADER",
        Status { healthy: false, .. } => "degraded",
        _ => "healthy",
    }
}

#[derive(Serialize)]
struct Brokers {
    brokers: Vec<Broker>,
}

async fn brokers(global: &Global) -> CliResult {
    let status = described(global.connect().await?.admin().cluster_status().await?);
    print(global.output, &Brokers { brokers: status.brokers }, |listing| {
        let row = |b: &Broker| {
            vec![
                b.id.to_string(),
                b.state.to_owned(),
                b.epoch.to_string(),
                or_dash(b.rack.clone()),
                or_dash(Some(b.grpc.clone())),
                or_dash(Some(b.kafka.join(","))),
                or_dash(Some(b.admin.clone())),
                or_dash(Some(b.peer.clone())),
            ]
        };
        let header = ["BROKER", "STATE", "EPOCH", "RACK", "GRPC", "KAFKA", "ADMIN", "PEER"];
        table(&header, &listing.brokers.iter().map(row).collect::<Vec<_>>())
    })
}

#[derive(Serialize)]
struct Changed {
    broker: i32,
    /// Partitions that it still holds.
    partitions: u32,
    /// Why it still holds them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<Waiting>,
    #[serde(skip)]
    text: String,
}

async fn decommission(args: Decommission, global: &Global) -> CliResult {
    if args.cancel {
        return change(args.broker, BrokerChange::CancelDrain, "may have replicas again", global).await;
    }
    if args.remove {
        return change(args.broker, BrokerChange::Remove, "is removed", global).await;
    }
    let client = global.connect().await?;
    must_exist(&client, args.broker).await?;
    let broker = BrokerId(args.broker);
    let asked = client.admin().change_broker(broker, BrokerChange::Drain).await;
    let mut left = asked.map_err(|error| {
        CliError::from(error).hint("start another broker with cluster.join, and ask again")
    })?;
    let mut reported = Reported::default();
    while args.wait && left > 0 {
        tokio::time::sleep(LOOK_AGAIN).await;
        let status = client.admin().cluster_status().await?;
        let now = status.brokers.iter().find(|b| b.id.0 == args.broker).map_or(0, |b| b.replicas);
        if now < left {
            note(&format!("{now} partitions left on broker {}", args.broker));
            reported.at = started();
        } else if now > 0 && reported.at.elapsed() >= REASON_AFTER {
            reported.tell(reasons::still_held(&client, broker).await?, global.output)?;
        }
        left = now;
    }
    let waiting = if left > 0 { reasons::still_held(&client, broker).await? } else { Vec::new() };
    let text = if left == 0 {
        format!("holds nothing; stop it, then `highwater cluster decommission {} --remove`", args.broker)
    } else {
        format!("is draining, {left} partitions to move; `highwater cluster status` shows how far it is")
    };
    say(Changed { broker: args.broker, partitions: left, waiting, text }, global)
}

/// What was last said about a wait, and when.
struct Reported {
    at: Instant,
    said: Vec<Waiting>,
}

impl Default for Reported {
    fn default() -> Reported {
        Reported { at: started(), said: Vec::new() }
    }
}

impl Reported {
    /// Says what is waited for, on standard error, unless that was just said.
    fn tell(&mut self, waiting: Vec<Waiting>, format: Format) -> CliResult {
        self.at = started();
        if waiting.is_empty() || waiting == self.said {
            return Ok(());
        }
        match format {
            Format::Json => note(&json(&serde_json::json!({ "waiting": waiting }))?),
            Format::Text => {
                for one in waiting.iter().take(REASONS_MAX) {
                    note(&format!("waiting: {one}"));
                }
                if waiting.len() > REASONS_MAX {
                    note(&format!("waiting: and for {} more partitions", waiting.len() - REASONS_MAX));
                }
            }
        }
        self.said = waiting;
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a command's patience, not a broker's clock")]
fn started() -> Instant {
    Instant::now()
}

async fn must_exist(client: &highwater_client::Client, broker: i32) -> CliResult {
    let status = client.admin().cluster_status().await?;
    if status.brokers.iter().any(|known| known.id.0 == broker) {
        return Ok(());
    }
    let known: Vec<String> = status.brokers.iter().map(|known| known.id.to_string()).collect();
    Err(CliError::new(Exit::NotFound, format!("there is no broker {broker}"))
        .hint(format!("the cluster has {}", known.join(", "))))
}

async fn change(id: i32, change: BrokerChange, done: &str, global: &Global) -> CliResult {
    let client = global.connect().await?;
    must_exist(&client, id).await?;
    let partitions = client.admin().change_broker(BrokerId(id), change).await?;
    say(Changed { broker: id, partitions, waiting: Vec::new(), text: done.to_owned() }, global)
}

fn say(changed: Changed, global: &Global) -> CliResult {
    print(global.output, &changed, |changed| format!("broker {} {}\n", changed.broker, changed.text))
}

#[derive(Serialize)]
struct Elected {
    elected: Vec<ElectedPartition>,
}

#[derive(Serialize)]
struct ElectedPartition {
    topic: String,
    partition: i32,
    leader: Option<i32>,
    error: Option<String>,
}

/// Gives partitions back to their preferred leaders, or lets any replica lead.
pub(crate) async fn elect(args: Elect, global: &Global) -> CliResult {
    let client = global.connect().await?;
    let named = match &args.topic {
        None => Vec::new(),
        Some(topic) => {
            let all = connect::topic(&client, topic).await?.partitions;
            let wanted =
                all.iter().map(|p| p.partition).filter(|p| args.partition.is_none_or(|one| one == p.0));
            let named: Vec<(String, PartitionIndex)> = wanted.map(|p| (topic.clone(), p)).collect();
            if named.is_empty() {
                let one = args.partition.unwrap_or_default();
                return Err(CliError::new(
                    Exit::NotFound,
                    format!("there is no partition {one} of '{topic}'"),
                ));
            }
            named
        }
    };
    let election = if args.unclean { Election::Unclean } else { Election::Preferred };
    let mut elected = Vec::new();
    for outcome in client.admin().elect_leaders(election, &named).await? {
        let (leader, error) = match outcome.result {
            Ok(leader) => (leader.map(|id| id.0), None),
            // The right one leads: nothing to tell.
            Err(error) if error.code() == Some(highwater_client::ErrorCode::ElectionNotNeeded) => continue,
            Err(error) => (None, Some(error.to_string())),
        };
        elected.push(ElectedPartition {
            topic: outcome.topic,
            partition: outcome.partition.0,
            leader,
            error,
        });
    }
    let refused = elected.iter().filter(|one| one.error.is_some()).count();
    print(global.output, &Elected { elected }, |elected| {
        let line = |one: &ElectedPartition| match (&one.error, one.leader) {
            (Some(error), _) => format!("{error}\n"),
            (None, Some(leader)) => format!("{}-{}: broker {leader} leads\n", one.topic, one.partition),
            (None, None) => format!("{}-{}: no leader\n", one.topic, one.partition),
        };
        if elected.elected.is_empty() {
            return "nothing to elect: the right replicas lead\n".to_owned();
        }
        elected.elected.iter().map(line).collect()
    })?;
    if refused > 0 {
        return Err(CliError::failed(format!("{refused} partitions were not elected")));
    }
    Ok(())
}
