//! The last act: records flow, their partition's leader is killed (`kill -9`), and it is shown that each of them came through
//! once and in order, and how long the flow stood still.

use std::time::{Duration, Instant};

use highwater_client::{
    Client, ConsumerConfig, NewTopic, Offset, Position, Producer, ProducerConfig, Record,
};
use serde::Serialize;
use tokio::sync::watch;

use super::command::Narrator;
use crate::commands::broker::now;
use crate::exit::{CliError, CliResult, Exit};
use crate::local::LocalCluster;
use crate::output::count;

const TOPIC: &str = "failover";
/// How long records flow before the kill, and after.
const BEFORE: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_secs(2);
/// From one record to the next.
const PACE: Duration = Duration::from_millis(1);
/// How long the replicas may take until all are in sync again.
const WHOLE_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What was seen, for programs.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct FailOver {
    pub(crate) killed: i32,
    pub(crate) new_leader: i32,
    pub(crate) records: i64,
    pub(crate) lost: i64,
    pub(crate) repeated: i64,
    /// The longest time without an acknowledgement.
    pub(crate) pause_ms: f64,
    pub(crate) whole_again_ms: f64,
}

/// What the writer saw.
struct Written {
    records: i64,
    pause: Duration,
}

pub(super) async fn tell(
    client: &Client,
    cluster: &mut LocalCluster,
    narrator: Narrator,
) -> CliResult<FailOver> {
    let brokers = cluster.brokers().count();
    let factor = i32::try_from(brokers).unwrap_or(i32::MAX);
    let admin = client.admin();
    admin.create_topic(NewTopic::new(TOPIC).partitions(1).replication_factor(factor)).await?;
    let leader = leader(client).await?;
    let producer = client.producer(ProducerConfig::default()).await?;
    let (stop, stopped) = watch::channel(false);
    let writer = tokio::spawn(write(producer, stopped));
    let (end, ends) = watch::channel(i64::MAX);
    let reader = tokio::spawn(read(client.clone(), ends));
    tokio::time::sleep(BEFORE).await;
    let pid = cluster.brokers().find(|(id, _)| *id == leader).map_or(0, |(_, ready)| ready.pid);
    narrator.say(
        "kill",
        &format!("broker {leader} leads {TOPIC}-0, and is killed in mid-stream: kill -9 {pid}"),
    )?;
    cluster.kill(leader).await?;
    tokio::time::sleep(AFTER).await;
    stop.send_replace(true);
    let ended = |error: tokio::task::JoinError| CliError::failed(error.to_string());
    let written = writer.await.map_err(ended)??;
    end.send_replace(written.records);
    let (lost, repeated) = reader.await.map_err(ended)??;
    let mut seen = FailOver {
        killed: leader,
        new_leader: self::leader(client).await?,
        records: written.records,
        lost,
        repeated,
        pause_ms: written.pause.as_secs_f64() * 1e3,
        whole_again_ms: 0.0,
    };
    narrator.say(
        "",
        &format!("broker {} leads now; the longest wait was {:.0} ms", seen.new_leader, seen.pause_ms),
    )?;
    if lost + repeated > 0 {
        let what = format!("{lost} acknowledged records were lost, {repeated} came twice or out of order");
        return Err(CliError::new(Exit::Damaged, what));
    }
    let records = count(seen.records.unsigned_abs());
    narrator.say(
        "",
        &format!("{records} records written and read meanwhile, no error  ✓ none lost, none twice, in order"),
    )?;
    let back = now();
    cluster.start_again(leader).await?;
    wait_until_whole(client, brokers).await?;
    seen.whole_again_ms = back.elapsed().as_secs_f64() * 1e3;
    narrator.say(
        "return",
        &format!(
            "broker {leader} is back and in sync after {:.0} ms  ✓ {brokers} of {brokers} replicas",
            seen.whole_again_ms
        ),
    )?;
    Ok(seen)
}

async fn leader(client: &Client) -> CliResult<i32> {
    let topic = client.admin().describe_topic(TOPIC).await?;
    let leader = topic.partitions.first().and_then(|partition| partition.leader);
    leader.map(|id| id.0).ok_or_else(|| CliError::failed(format!("{TOPIC}-0 has no leader")))
}

/// Writes 0, 1, 2, ... at a steady pace, and takes the time from each acknowledgement to the next.
async fn write(producer: Producer, stopped: watch::Receiver<bool>) -> CliResult<Written> {
    let (acknowledged, mut acknowledgements) =
        tokio::sync::mpsc::unbounded_channel::<highwater_client::Delivery>();
    let watch = tokio::spawn(async move {
        let mut pause = Duration::ZERO;
        let mut last: Option<Instant> = None;
        while let Some(delivery) = acknowledgements.recv().await {
            delivery.await?;
            let at = now();
            pause = pause.max(last.map_or(Duration::ZERO, |last| at - last));
            last = Some(at);
        }
        Ok::<_, highwater_client::ProduceError>(pause)
    });
    let mut records: i64 = 0;
    let mut pace = tokio::time::interval(PACE);
    while !*stopped.borrow() {
        pace.tick().await;
        let value = records.to_be_bytes();
        let delivery = producer.send(Record::new(TOPIC).partition(0).value(&value)).await?;
        records += 1;
        if acknowledged.send(delivery).is_err() {
            break; // it failed, and says why below
        }
    }
    drop(acknowledged);
    let pause = watch.await.map_err(|error| CliError::failed(error.to_string()))??;
    producer.close().await?;
    Ok(Written { records, pause })
}

/// Reads along until everything is there; counts what is missing, and what came twice or out of order.
async fn read(client: Client, ends: watch::Receiver<i64>) -> CliResult<(i64, i64)> {
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign(TOPIC, 0, Position::Beginning).await?;
    let (mut next, mut lost, mut repeated) = (0_i64, 0, 0);
    let mut position = Offset(0);
    while next < *ends.borrow() {
        let records = consumer.poll(Duration::from_millis(200)).await?;
        for record in records.iter() {
            let record = record?;
            let number = record
                .value
                .as_deref()
                .and_then(|value| value.try_into().ok())
                .map_or(-1, i64::from_be_bytes);
            if number < next || record.offset < position {
                repeated += 1;
                continue;
            }
            lost += number - next;
            next = number + 1;
            position = record.offset.advance(1);
        }
        // What was acknowledged can be read; if nothing more comes and the end is reached, the rest is lost.
        let end = *ends.borrow();
        if records.is_empty() && end != i64::MAX {
            let readable = client.admin().list_offsets(TOPIC, Position::End).await?;
            if readable.first().is_some_and(|readable| position >= *readable) {
                return Ok((lost + end - next, repeated));
            }
        }
    }
    Ok((lost, repeated))
}

async fn wait_until_whole(client: &Client, brokers: usize) -> CliResult {
    let began = now();
    loop {
        let topics = client.admin().describe_topics().await?;
        let mut partitions = topics.iter().flat_map(|topic| &topic.partitions);
        if partitions.all(|partition| partition.in_sync_replicas.len() == brokers) {
            return Ok(());
        }
        if began.elapsed() > WHOLE_WITHIN {
            return Err(CliError::failed("the broker that came back is not in sync after a minute"));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
