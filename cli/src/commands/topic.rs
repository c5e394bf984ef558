//! `highwater topic create|list|describe|alter|delete`.

use highwater_client::{NewTopic, PartitionDescription, ReplicaDescription, TopicDescription};
use serde::Serialize;

use crate::args::Global;
use crate::connect;
use crate::exit::{CliError, CliResult};
use crate::output::{bytes, count, print, table};

/// What to do with topics.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Topic {
    /// Creates a topic.
    Create(Create),
    /// Lists topics with their sizes.
    List,
    /// Shows a topic's partitions and settings.
    Describe(Describe),
    /// Changes settings, or raises the number of partitions.
    Alter(Alter),
    /// Deletes a topic and its records.
    Delete(Delete),
}

/// Options of `topic create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'.
    name: String,
    /// How many; the broker's default when not given.
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Replicas of each partition; the broker's default when not given.
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
    replication_factor: Option<i32>,
    /// A setting, such as retention.ms=86400000 or durability=replicated. May be repeated.
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = setting)]
    config: Vec<(String, String)>,
    /// Succeed when the topic is there already.
    #[arg(long)]
    if_not_exists: bool,
}

/// Options of `topic describe`.
#[derive(Debug, clap::Args)]
pub(crate) struct Describe {
    /// The topic.
    name: String,
}

/// Options of `topic alter`.
#[derive(Debug, clap::Args)]
pub(crate) struct Alter {
    /// The topic.
    name: String,
    /// Give a setting a value. May be repeated.
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    /// Put a setting back to its default. May be repeated.
    #[arg(short, long, value_name = "NAME")]
    unset: Vec<String>,
    /// The new total. It can only grow, and keys may then hash to other partitions.
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
}

/// Options of `topic delete`.
#[derive(Debug, clap::Args)]
pub(crate) struct Delete {
    /// The topic.
    name: String,
    /// Succeed when there is no such topic.
    #[arg(long)]
    if_exists: bool,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or("write it as name=value, such as retention.ms=86400000")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

pub(crate) async fn run(topic: Topic, global: &Global) -> CliResult {
    match topic {
        Topic::Create(args) => create(args, global).await,
        Topic::List => list(global).await,
        Topic::Describe(args) => describe(&args.name, global).await,
        Topic::Alter(args) => alter(args, global).await,
        Topic::Delete(args) => delete(args, global).await,
    }
}

#[derive(Serialize)]
struct Created {
    name: String,
    id: String,
    partitions: i32,
    replication_factor: i32,
    created: bool,
}

async fn create(args: Create, global: &Global) -> CliResult {
    let client = global.connect().await?;
    let topic = NewTopic {
        name: args.name.clone(),
        partitions: args.partitions,
        replication_factor: args.replication_factor,
        configs: args.config,
    };
    let created = match client.admin().create_topic(topic).await {
        Ok(topic) => Created {
            id: topic.id.to_string(),
            partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            name: topic.name,
            created: true,
        },
        Err(error)
            if args.if_not_exists
                && error.code() == Some(highwater_client::ErrorCode::TopicAlreadyExists) =>
        {
            let topic = connect::topic(&client, &args.name).await?;
            Created {
                id: topic.id.to_string(),
                partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
                replication_factor: topic
                    .partitions
                    .first()
                    .map_or(0, |p| i32::try_from(p.replicas.len()).unwrap_or(i32::MAX)),
                name: topic.name,
                created: false,
            }
        }
        Err(error) => return Err(error.into()),
    };
    print(global.output, &created, |topic| {
        let verb = if topic.created { "created" } else { "exists already:" };
        let replicas = if topic.replication_factor == 1 { "replica" } else { "replicas" };
        format!(
            "{verb} {} with {} partitions of {} {replicas}, id {}\n",
            topic.name, topic.partitions, topic.replication_factor, topic.id
        )
    })
}

#[derive(Serialize)]
struct Listing {
    topics: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    id: String,
    partitions: usize,
    records: i64,
    size_bytes: i64,
}

async fn list(global: &Global) -> CliResult {
    let client = global.connect().await?;
    let topics = client.admin().describe_topics().await?.iter().map(listed).collect();
    print(global.output, &Listing { topics }, |listing| {
        if listing.topics.is_empty() {
            return "no topics yet; `highwater topic create NAME` makes one\n".to_owned();
        }
        let row = |t: &Listed| {
            let records = count(t.records.unsigned_abs());
            vec![t.name.clone(), t.partitions.to_string(), records, bytes(t.size_bytes.unsigned_abs())]
        };
        table(
            &["TOPIC", "PARTITIONS", "RECORDS", "SIZE"],
            &listing.topics.iter().map(row).collect::<Vec<_>>(),
        )
    })
}

fn listed(topic: &TopicDescription) -> Listed {
    Listed {
        name: topic.name.clone(),
        id: topic.id.to_string(),
        partitions: topic.partitions.len(),
        records: topic.partitions.iter().map(records).sum(),
        size_bytes: topic.partitions.iter().map(|p| p.size_bytes).sum(),
    }
}

fn records(partition: &PartitionDescription) -> i64 {
    (partition.high_watermark.0 - partition.log_start_offset.0).max(0)
}

#[derive(Serialize)]
struct Described {
    name: String,
    id: String,
    partitions: Vec<DescribedPartition>,
    configs: Vec<Config>,
}

#[derive(Serialize)]
struct DescribedPartition {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    partition_epoch: i32,
    replicas: Vec<i32>,
    in_sync_replicas: Vec<i32>,
    /// The same under the field's short name.
    isr: Vec<i32>,
    elr: Vec<i32>,
    replica_states: Vec<ReplicaState>,
    adding: Vec<i32>,
    removing: Vec<i32>,
    log_start_offset: i64,
    high_watermark: i64,
    log_end_offset: i64,
    size_bytes: i64,
    offline_reason: Option<String>,
}

#[derive(Serialize)]
struct ReplicaState {
    broker: i32,
    in_sync: bool,
    log_end_offset: Option<i64>,
    flushed_end_offset: Option<i64>,
    lag_records: Option<i64>,
}

#[derive(Serialize)]
struct Config {
    name: String,
    value: String,
    source: String,
    documentation: String,
}

async fn describe(name: &str, global: &Global) -> CliResult {
    let client = global.connect().await?;
    let topic = described(connect::topic(&client, name).await?);
    print(global.output, &topic, describe_text)
}

fn ids(brokers: &[highwater_client::BrokerId]) -> Vec<i32> {
    brokers.iter().map(|broker| broker.0).collect()
}

fn replica_state(replica: &ReplicaDescription) -> ReplicaState {
    ReplicaState {
        broker: replica.broker.0,
        in_sync: replica.in_sync,
        log_end_offset: replica.log_end_offset.map(|offset| offset.0),
        flushed_end_offset: replica.flushed_end_offset.map(|offset| offset.0),
        lag_records: replica.lag_records,
    }
}

fn described(topic: TopicDescription) -> Described {
    let partition = |p: PartitionDescription| DescribedPartition {
        partition: p.partition.0,
        leader: p.leader.map(|leader| leader.0),
        leader_epoch: p.leader_epoch.0,
        partition_epoch: p.partition_epoch,
        replicas: ids(&p.replicas),
        in_sync_replicas: ids(&p.in_sync_replicas),
        isr: ids(&p.in_sync_replicas),
        elr: ids(&p.eligible_leader_replicas),
        replica_states: p.replica_states.iter().map(replica_state).collect(),
        adding: ids(&p.adding_replicas),
        removing: ids(&p.removing_replicas),
        log_start_offset: p.log_start_offset.0,
        high_watermark: p.high_watermark.0,
        log_end_offset: p.log_end_offset.0,
        size_bytes: p.size_bytes,
        offline_reason: (!p.offline_reason.is_empty()).then_some(p.offline_reason),
    };
    let config = |c: highwater_client::ConfigValue| Config {
        name: c.name,
        value: c.value,
        source: c.source,
        documentation: c.documentation,
    };
    Described {
        name: topic.name,
        id: topic.id.to_string(),
        partitions: topic.partitions.into_iter().map(partition).collect(),
        configs: topic.configs.into_iter().map(config).collect(),
    }
}

fn joined(ids: &[i32]) -> String {
    if ids.is_empty() {
        return "-".to_owned();
    }
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// How far each follower is behind, as broker:records.
fn lag(partition: &DescribedPartition) -> String {
    let followers =
        partition.replica_states.iter().filter(|replica| Some(replica.broker) != partition.leader);
    let one = |replica: &ReplicaState| {
        let lag = replica.lag_records.map_or_else(|| "?".to_owned(), |lag| lag.to_string());
        format!("{}:{lag}", replica.broker)
    };
    let all: Vec<String> = followers.map(one).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(" ") }
}

fn state(partition: &DescribedPartition) -> &'static str {
    if partition.leader.is_none() {
        "no leader"
    } else if !partition.adding.is_empty() || !partition.removing.is_empty() {
        "moving"
    } else if partition.isr.len() < partition.replicas.len() {
        "under-replicated"
    } else {
        "online"
    }
}

fn describe_text(topic: &Described) -> String {
    let row = |p: &DescribedPartition| {
        vec![
            p.partition.to_string(),
            p.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
            p.leader_epoch.to_string(),
            joined(&p.replicas),
            joined(&p.isr),
            joined(&p.elr),
            lag(p),
            p.log_start_offset.to_string(),
            p.high_watermark.to_string(),
            bytes(p.size_bytes.unsigned_abs()),
            p.offline_reason.clone().unwrap_or_else(|| state(p).to_owned()),
        ]
    };
    let header =
        ["PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "ELR", "LAG", "START", "END", "SIZE", "STATE"];
    let rows: Vec<_> = topic.partitions.iter().map(row).collect();
    let configs: Vec<_> =
        topic.configs.iter().map(|c| vec![c.name.clone(), c.value.clone(), c.source.clone()]).collect();
    format!(
        "{}  (id {})\n\n{}\n{}",
        topic.name,
        topic.id,
        table(&header, &rows),
        table(&["SETTING", "VALUE", "SET BY"], &configs)
    )
}

#[derive(Serialize)]
struct Altered {
    name: String,
    set: Vec<String>,
    unset: Vec<String>,
    partitions: Option<i32>,
}

async fn alter(args: Alter, global: &Global) -> CliResult {
    if args.set.is_empty() && args.unset.is_empty() && args.partitions.is_none() {
        return Err(CliError::usage("nothing to change")
            .hint("give --set NAME=VALUE, --unset NAME or --partitions N"));
    }
    let client = global.connect().await?;
    connect::topic(&client, &args.name).await?;
    if !args.set.is_empty() || !args.unset.is_empty() {
        client.admin().alter_topic(&args.name, &args.set, &args.unset).await?;
    }
    if let Some(partitions) = args.partitions {
        client.admin().add_partitions(&args.name, partitions).await?;
    }
    let set = args.set.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let altered = Altered { name: args.name, set, unset: args.unset, partitions: args.partitions };
    print(global.output, &altered, |altered| {
        let mut changes = altered.set.clone();
        changes.extend(altered.unset.iter().map(|name| format!("{name} back to its default")));
        changes.extend(altered.partitions.map(|count| format!("{count} partitions")));
        format!("altered {}: {}\n", altered.name, changes.join(", "))
    })
}

#[derive(Serialize)]
struct Deleted {
    name: String,
    deleted: bool,
}

async fn delete(args: Delete, global: &Global) -> CliResult {
    let client = global.connect().await?;
    let deleted = match client.admin().delete_topic(&args.name).await {
        Ok(()) => true,
        Err(error) if error.is_not_found() && args.if_exists => false,
        Err(error) if error.is_not_found() => return Err(connect::no_such_topic(&client, &args.name).await),
        Err(error) => return Err(error.into()),
    };
    print(global.output, &Deleted { name: args.name, deleted }, |d| {
        if d.deleted { format!("deleted {}\n", d.name) } else { format!("there was no {}\n", d.name) }
    })
}
