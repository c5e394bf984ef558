//! Those who read: consumers that follow, one that jumps about, questions for offsets and metadata, and the final drain.
//!
//! A poll's high watermark is not recorded: the consumer asks ahead, so an answer may be older than the call that hands it
//! out. Offsets that are listed are asked for when they are asked for, and those are held to recency.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use highwater_client::{Client, Consumer, ConsumerConfig, Offset, Position, Records};
use highwater_env::sim::SimRandom;

use super::admin::TOPIC;
use super::load::{PARTITIONS, Recording, Stop, connect};
use crate::history::{BadRead, Key, Kind, ListSpec, Origin, Outcome, PollMode, Read, Value};

const POLL: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_millis(300);
/// Between two questions of one asker.
const ASK_AGAIN: Duration = Duration::from_millis(150);
/// A consumer that jumps stays this long.
const VISIT: Duration = Duration::from_millis(1500);
/// And comes again after this.
const VISIT_AGAIN: Duration = Duration::from_secs(3);
/// The drain gets further within this time, or it is stuck.
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);

/// The next offset to read, by partition.
type Positions = Vec<i64>;

fn partition_index(partition: i32) -> usize {
    usize::try_from(partition).expect("a partition")
}

/// Reads everything from the beginning on, for as long as the run lasts.
pub(super) async fn follow(recording: Arc<Recording>, stop: Stop) {
    let mut positions: Positions = vec![0; partition_index(PARTITIONS)];
    while !*stop.borrow() {
        let proc = recording.next_proc();
        let client = connect(&recording, &format!("soak-consumer-{proc}")).await;
        let mut consumer = client.consumer(ConsumerConfig::default());
        let from: Vec<(i32, Offset)> = (0..).zip(positions.iter().map(|at| Offset(*at))).collect();
        if let Err(error) = consumer.assign_offsets(TOPIC, &from).await {
            recording.error("assign", error.to_string());
            tokio::time::sleep(RETRY).await;
            continue;
        }
        for (partition, at) in &from {
            note_assign(&recording, proc, *partition, Some(at.0));
        }
        while !*stop.borrow() {
            if !poll(&recording, proc, &mut consumer, &mut positions).await {
                break;
            }
        }
    }
}

/// Visits places of the log that were written long ago.
pub(super) async fn jump(recording: Arc<Recording>, seed: u64, mut stop: Stop) {
    let random = SimRandom::new(seed ^ 0x7e4d);
    let proc = recording.next_proc();
    let client = connect(&recording, "soak-visitor").await;
    while !*stop.borrow() {
        let partition = i32::try_from(random.below(PARTITIONS.cast_unsigned().into())).expect("a partition");
        if let Err(error) = visit(&recording, proc, &client, partition, random.next()).await {
            recording.error("visit", format!("{error:#}"));
        }
        let _ = tokio::time::timeout(VISIT_AGAIN, stop.changed()).await;
    }
}

async fn visit(
    recording: &Arc<Recording>,
    proc: u32,
    client: &Client,
    partition: i32,
    chance: u64,
) -> Result<()> {
    let ends = list(recording, client, proc, Position::End).await?;
    let end = ends.get(partition_index(partition)).map_or(0, |end| end.0);
    let from = i64::try_from(chance % u64::try_from(end.max(1))?)?;
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign_offsets(TOPIC, &[(partition, Offset(from))]).await?;
    note_assign(recording, proc, partition, Some(from));
    let mut positions = vec![0; partition_index(PARTITIONS)];
    let began = Instant::now();
    while began.elapsed() < VISIT && poll(recording, proc, &mut consumer, &mut positions).await {
        if positions[partition_index(partition)] > from + 2000 {
            break;
        }
    }
    Ok(())
}

/// Asks for the first and the last offsets, and for metadata.
pub(super) async fn ask(recording: Arc<Recording>, mut stop: Stop) {
    let proc = recording.next_proc();
    let client = connect(&recording, "soak-asker").await;
    let mut round: u64 = 0;
    while !*stop.borrow() {
        round += 1;
        let position = if round.is_multiple_of(10) { Position::Beginning } else { Position::End };
        if let Err(error) = list(&recording, &client, proc, position).await {
            recording.error("list offsets", format!("{error:#}"));
        }
        if round.is_multiple_of(5) {
            match client.admin().describe_topic(TOPIC).await {
                Ok(topic) if topic.partitions.len() == partition_index(PARTITIONS) => {
                    recording.questions.fetch_add(1, Ordering::Relaxed);
                }
                Ok(topic) => {
                    recording.error("describe", format!("{} partitions", topic.partitions.len()));
                }
                Err(error) => recording.error("describe", error.to_string()),
            }
        }
        let _ = tokio::time::timeout(ASK_AGAIN, stop.changed()).await;
    }
}

/// Lists offsets of all partitions, one operation of the history for each.
async fn list(
    recording: &Arc<Recording>,
    client: &Client,
    proc: u32,
    position: Position,
) -> Result<Vec<Offset>> {
    let spec = if position == Position::End { ListSpec::Latest } else { ListSpec::Earliest };
    let begin = |partition| {
        let kind =
            Kind::ListOffsets { key: Key::new(TOPIC, partition), spec, offset: None, timestamp_ms: None };
        recording.recorder.begin(proc, recording.now(), Some(client.config().request_timeout), kind)
    };
    let calls: Vec<_> = (0..PARTITIONS).map(begin).collect();
    let answer = client.admin().list_offsets(TOPIC, position).await;
    let now = recording.now();
    for (partition, call) in calls.into_iter().enumerate() {
        match &answer {
            Ok(offsets) => recording.recorder.end(call, now, Outcome::Ok, None, |kind| {
                if let Kind::ListOffsets { offset, .. } = kind {
                    *offset = offsets.get(partition).map(|offset| offset.0);
                }
            }),
            Err(error) => {
                recording.recorder.end(call, now, Outcome::Info, Some(error.to_string()), |_| ());
            }
        }
    }
    Ok(answer?)
}

fn note_assign(recording: &Recording, proc: u32, partition: i32, from: Option<i64>) {
    let kind = Kind::Assign { key: Key::new(TOPIC, partition), from };
    let call = recording.recorder.begin(proc, recording.now(), None, kind);
    recording.recorder.end(call, recording.now(), Outcome::Ok, None, |_| ());
}

/// Polls once, and records what came. False if this consumer is of no more use.
async fn poll(recording: &Recording, proc: u32, consumer: &mut Consumer, positions: &mut Positions) -> bool {
    let kind = Kind::Poll {
        mode: PollMode::Leader,
        reads: BTreeMap::new(),
        bad: BTreeMap::new(),
        ends: BTreeMap::new(),
    };
    let call = recording.recorder.begin(proc, recording.now(), Some(POLL), kind);
    match consumer.poll(POLL).await {
        Ok(records) => {
            let (read, unread) = take(&records, positions);
            let broken = unread.is_some();
            if let Some(error) = unread {
                recording.error("record", error);
            }
            recording.recorder.end(call, recording.now(), Outcome::Ok, None, |kind| {
                if let Kind::Poll { reads, bad, .. } = kind {
                    (*reads, *bad) = read;
                }
            });
            !broken
        }
        Err(error) => {
            recording.error("poll", error.to_string());
            let text = Some(error.to_string());
            recording.recorder.end(call, recording.now(), Outcome::Info, text, |_| ());
            tokio::time::sleep(RETRY).await;
            error.is_retriable()
        }
    }
}

type Taken = (BTreeMap<Key, Vec<Read>>, BTreeMap<Key, Vec<BadRead>>);

/// Takes the records apart; also the first one that could not be decoded.
fn take(records: &Records, positions: &mut Positions) -> (Taken, Option<String>) {
    let (mut reads, mut bad): Taken = Default::default();
    for record in records.iter() {
        let record = match record {
            Ok(record) => record,
            Err(error) => return ((reads, bad), Some(error.to_string())),
        };
        let key = Key::new(TOPIC, record.partition.0);
        positions[partition_index(record.partition.0)] = record.offset.0 + 1;
        let (value, record_key) =
            (record.value.as_deref().unwrap_or_default(), record.key.as_deref().unwrap_or_default());
        match Value::decode(value, Origin::of(&key), record_key) {
            Ok(value) => {
                let read = Read { offset: record.offset, timestamp_ms: record.timestamp_ms, value };
                reads.entry(key).or_default().push(read);
            }
            Err(problem) => {
                let problem = problem.to_string();
                bad.entry(key).or_default().push(BadRead { offset: record.offset.0, problem });
            }
        }
    }
    ((reads, bad), None)
}

/// Reads everything from the beginning to the present end, as a consumer that has never read before.
pub(super) async fn drain(recording: &Arc<Recording>) -> Result<()> {
    let proc = recording.next_proc();
    let client = connect(recording, "soak-drain").await;
    let ends = list(recording, &client, proc, Position::End).await?;
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign_all(TOPIC, Position::Beginning).await?;
    for partition in 0..PARTITIONS {
        note_assign(recording, proc, partition, None);
    }
    let mut positions = vec![0; partition_index(PARTITIONS)];
    let (mut progress, mut sum) = (Instant::now(), 0);
    loop {
        let missing = positions.iter().zip(&ends).any(|(at, end)| *at < end.0);
        if !missing {
            return Ok(());
        }
        if !poll(recording, proc, &mut consumer, &mut positions).await {
            bail!("the drain's consumer cannot go on at {positions:?}");
        }
        let now = positions.iter().sum::<i64>();
        if now > sum {
            (progress, sum) = (Instant::now(), now);
        }
        if progress.elapsed() > DRAIN_PATIENCE {
            return Err(anyhow::anyhow!("at {positions:?} of {ends:?}"))
                .context(format!("the drain got no further within {DRAIN_PATIENCE:?}"));
        }
    }
}
