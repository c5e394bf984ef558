//! A run from the first broker's start to the verdict, inside the clients' namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use highwater_client::NewTopic;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Options;
use super::admin::TOPIC;
use super::cluster::{Cluster, SETTLE_MAX};
use super::host;
use super::load::{PARTITIONS, PRODUCERS, Recording, produce};
use super::nemesis::{Deeds, Nemesis};
use super::readers::{ask, drain, follow, jump};
use super::report::{Findings, STUCK_US, SoakReport};
use super::schedule::Schedule;
use crate::checker::{Verdict, check};
use crate::history::{Header, History, Limits, Phase, Topic};

const BROKERS: usize = 3;
const FOLLOWERS: usize = 2;
/// A run with fewer says too little: 300,000 in eight minutes.
const ACKNOWLEDGED_MIN_PER_MINUTE: u64 = 37_500;
/// After the last heal the load goes on for so long.
const CALM: Duration = Duration::from_secs(12);
/// A request that nobody answers is given up by the library before this.
const STOP_PATIENCE: Duration = Duration::from_secs(180);

/// Runs inside the clients' namespace and writes the report.
///
/// # Errors
/// The bed or the cluster could not be made; nothing is known about the product then.
pub fn run_inside(options: &Options) -> Result<Verdict> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build()?;
    runtime.block_on(run(options))
}

async fn run(options: &Options) -> Result<Verdict> {
    let history = options.scratch.join("history.jsonl");
    let recording = Arc::new(Recording::new(&history, header(options))?);
    // Room for everything that is sent: nothing is deleted, since everything is read back at the end.
    let disk_bytes = (512 + 24 * options.minutes * options.rate.div_ceil(1600)) << 20;
    let mut cluster = Cluster::start(options, Arc::clone(&recording), BROKERS, disk_bytes).await?;
    create_topic(&mut cluster).await?;
    let (stopping, stop) = watch::channel(false);
    let mut load = spawn_load(options, &recording, &stop);
    eprintln!("load and faults for {} minutes, seed {}", options.minutes, options.seed);
    let mut deeds = disturb(&mut cluster, options).await;
    recording.recorder.phase(recording.now(), Phase::Healed);
    if let Err(error) = cluster.hold(CALM).await {
        deeds.problems.push(format!("{error:#}"));
    }
    let wrote_until_us = recording.now_us();
    let _ = stopping.send(true);
    let all = async { while load.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_PATIENCE, all).await.is_err() {
        deeds.problems.push(format!("a client call did not end within {STOP_PATIENCE:?}"));
    }
    load.shutdown().await;
    recording.recorder.phase(recording.now(), Phase::FinalDrain);
    eprintln!("reading {} records back", recording.acknowledged_count());
    match drain(&recording).await {
        Ok(()) => recording.recorder.phase(recording.now(), Phase::Drained),
        Err(error) => deeds.problems.push(format!("the final drain: {error:#}")),
    }
    end_brokers(&mut cluster, options, &mut deeds).await;
    let ends = std::mem::take(&mut cluster.ends);
    drop(cluster);
    let questions = recording.questions.load(std::sync::atomic::Ordering::Relaxed);
    let errors = recording.errors();
    let recording = Arc::into_inner(recording).context("nobody records any more")?;
    let acknowledged = recording.finish()?;
    let checked = check(History::open(&history)?)?;
    let findings = Findings { checked, deeds, ends, errors, questions, acknowledged, wrote_until_us };
    conclude(options, findings, &history)
}

fn header(options: &Options) -> Header {
    let names = options.classes.iter().map(|class| class.name().to_owned());
    Header {
        commit: options.commit.clone(),
        seed: options.seed,
        replay: options.replay(),
        faults_asked: names.collect::<BTreeSet<String>>(),
        topics: BTreeMap::from([(TOPIC.to_owned(), Topic { partitions: PARTITIONS })]),
        limits: Limits {
            ok_ops_min: ACKNOWLEDGED_MIN_PER_MINUTE * options.minutes,
            minority_stall_us: Some(STUCK_US),
            // A machine that builds something else meanwhile answers late.
            answer_slack_us: 15_000_000,
            ..Limits::default()
        },
        ..Header::default()
    }
}

async fn create_topic(cluster: &mut Cluster) -> Result<()> {
    let topic = NewTopic::new(TOPIC)
        .partitions(PARTITIONS)
        .replication_factor(3)
        .config("min.insync.replicas", "2")
        .config("segment.bytes", "4194304");
    cluster.caller.call("create topic", |admin| async move { admin.create_topic(topic).await }).await?;
    cluster.settle(SETTLE_MAX).await.map(|_| ())
}

fn spawn_load(options: &Options, recording: &Arc<Recording>, stop: &watch::Receiver<bool>) -> JoinSet<()> {
    let mut load = JoinSet::new();
    for _ in 0..PRODUCERS {
        load.spawn(produce(Arc::clone(recording), options.rate / u64::from(PRODUCERS), stop.clone()));
    }
    for _ in 0..FOLLOWERS {
        load.spawn(follow(Arc::clone(recording), stop.clone()));
    }
    load.spawn(jump(Arc::clone(recording), options.seed, stop.clone()));
    load.spawn(ask(Arc::clone(recording), stop.clone()));
    load
}

async fn disturb(cluster: &mut Cluster, options: &Options) -> Deeds {
    let mut nemesis = Nemesis::new(cluster);
    let schedule = Schedule::new(options.seed, &options.classes);
    nemesis.strike(schedule, Duration::from_secs(options.minutes * 60)).await;
    nemesis.deeds
}

/// Stops every broker in order, and has its disk verified by the product's own tool.
async fn end_brokers(cluster: &mut Cluster, options: &Options, deeds: &mut Deeds) {
    let slots: Vec<usize> = cluster.members.keys().copied().collect();
    for slot in &slots {
        if let Err(error) = cluster.stop_in_order(*slot).await {
            deeds.problems.push(format!("at the end: {error:#}"));
        }
    }
    let binary = options.highwater.display().to_string();
    for member in cluster.members.values() {
        let data = member.disk.data().display().to_string();
        if let Err(error) = host::run(&binary, &["dump", &data]) {
            deeds.problems.push(format!("the disk of host {} at the end: {error:#}", member.slot + 1));
        }
    }
}

/// Writes the report; keeps the history if something is to be found in it.
fn conclude(options: &Options, findings: Findings, history: &Path) -> Result<Verdict> {
    let report = SoakReport::new(options, findings);
    std::fs::create_dir_all(&options.report)?;
    std::fs::write(options.report.join("report.json"), serde_json::to_vec_pretty(&report)?)?;
    std::fs::write(options.report.join("report.md"), report.markdown())?;
    eprintln!("{}", report.markdown());
    if report.verdict == Verdict::Failed || options.keep_history {
        std::fs::copy(history, options.report.join("history.jsonl"))?;
    }
    Ok(report.verdict)
}
