//! What else a cluster is held to: the time from a topic's creation to its first write, commits of metadata, and what brokers
//! cost that have many partitions and nothing to do.

#![expect(
    clippy::disallowed_methods,
    reason = "the bench takes real time, and reads what the system says of processes"
)]

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use highwater_client::{Client, NewTopic, ProducerConfig, Record};

use super::brokers::Brokers;

/// Jiffies in a second, which Linux has fixed for its interfaces.
const TICKS_PER_S: f64 = 100.0;
const TOPICS: usize = 30;
const CHANGES_FOR: Duration = Duration::from_secs(5);

/// From the call that creates a topic of three replicas to the acknowledgement of its first record, in milliseconds.
///
/// # Errors
/// A topic is not made, or not written to.
pub async fn create_to_write(client: &Client) -> Result<String> {
    let producer = client.producer(ProducerConfig::default()).await?;
    let mut waits = Vec::new();
    for number in 0..TOPICS {
        let name = format!("made-{number}");
        let began = Instant::now();
        let topic = NewTopic::new(&name).partitions(3).replication_factor(3);
        client.admin().create_topic(topic.config("min.insync.replicas", "2")).await?;
        producer.send(Record::new(&name).partition(0).value(b"first")).await?.await?;
        waits.push(began.elapsed());
    }
    producer.close().await?;
    waits.sort_unstable();
    let (median, longest) = (waits[waits.len() / 2], waits.last().copied().unwrap_or_default());
    Ok(format!(
        "topic create to first acknowledged write: p50 {median:.1?}, max {longest:.1?} ({TOPICS} topics)\n"
    ))
}

/// Changes of a topic's settings by so many callers at once, and the entries that they made in Raft's log.
///
/// # Errors
/// A change fails.
pub async fn commits(client: &Client, callers: usize) -> Result<String> {
    let stop = Arc::new(AtomicBool::new(false));
    let changes = Arc::new(AtomicU64::new(0));
    for caller in 0..callers {
        let topic = NewTopic::new(format!("changed-{callers}-{caller}")).partitions(1).replication_factor(3);
        client.admin().create_topic(topic).await?;
    }
    let before = client.admin().cluster_status().await?.metadata_applied;
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let (client, stop, changes) = (client.clone(), Arc::clone(&stop), Arc::clone(&changes));
        tasks.spawn(async move {
            let topic = format!("changed-{callers}-{caller}");
            for value in 1_000_000.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let edit = [("retention.ms".to_owned(), format!("{value}"))];
                client.admin().alter_topic(&topic, &edit, &[]).await?;
                changes.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, highwater_client::AdminError>(())
        });
    }
    tokio::time::sleep(CHANGES_FOR).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let seconds = began.elapsed().as_secs_f64();
    let entries = client.admin().cluster_status().await?.metadata_applied - before;
    let changes = changes.load(Ordering::Relaxed);
    Ok(format!(
        "metadata, {callers} callers: {:.0} changes/s in {:.0} commits/s\n",
        changes as f64 / seconds,
        entries as f64 / seconds
    ))
}

/// CPU and memory of each broker while nobody asks anything of it.
///
/// # Errors
/// A process is gone.
pub async fn idle(brokers: &Brokers, time: Duration) -> Result<String> {
    let mut text = String::new();
    let mut before = Vec::new();
    for id in brokers.ids() {
        before.push((id, cpu_ticks(brokers, id)?));
    }
    let began = Instant::now();
    tokio::time::sleep(time).await;
    let seconds = began.elapsed().as_secs_f64();
    for (id, ticks) in before {
        let share = (cpu_ticks(brokers, id)? - ticks) / TICKS_PER_S / seconds * 100.0;
        let resident = resident_kib(brokers, id)? / 1024;
        let _ = writeln!(
            text,
            "broker {id} idle for {seconds:.0} s: {share:.1} % of a core, {resident} MiB resident"
        );
    }
    Ok(text)
}

/// User and system time of a broker's process.
fn cpu_ticks(brokers: &Brokers, id: i32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid(brokers, id)?))?;
    // The name may hold spaces; it ends with the last bracket.
    let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks =
        |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).context("a time");
    Ok(ticks(11)? + ticks(12)?)
}

fn resident_kib(brokers: &Brokers, id: i32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid(brokers, id)?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("resident memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn pid(brokers: &Brokers, id: i32) -> Result<u32> {
    brokers.pid(id).with_context(|| format!("broker {id} does not run"))
}
