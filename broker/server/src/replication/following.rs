//! The follower's tasks: a stream to each broker that leads something this one follows, made again whenever it breaks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use highwater_env::Clock;
use highwater_proto::{BrokerId, TopicPartition};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::leading::{SILENCE_MAX, STILL_HERE_INTERVAL};
use super::message::{LeaderMessage, MESSAGE_BYTES_MAX};
use super::tail::Tail;
use crate::partition::{Partition, ReplicaError};
use crate::peer::{FrameError, FrameReader, Identity, Purpose, dial, write_parts};

/// A connection has this long to come about.
const DIAL_WAIT: Duration = Duration::from_millis(1500);
/// After a failure the next attempt is made so much later,
const DIAL_AGAIN: Duration = Duration::from_millis(20);
/// twice as late each time, up to this.
const DIAL_AGAIN_MAX: Duration = Duration::from_millis(500);
/// Partitions that were refused are looked at so often.
const WAKE_INTERVAL: Duration = Duration::from_millis(20);

/// Where a broker's peers reach it, by what is known now.
pub(crate) type Address = dyn Fn(BrokerId) -> Option<String> + Send + Sync;

/// All streams of this broker to its leaders.
pub(crate) struct Following {
    identity: Arc<Identity>,
    clock: Arc<dyn Clock>,
    address: Arc<Address>,
    streams: Mutex<HashMap<BrokerId, Arc<Stream>>>,
    stop: CancellationToken,
}

/// What is followed at one leader.
struct Stream {
    leader: BrokerId,
    wanted: Mutex<Wanted>,
    changed: Notify,
    stop: CancellationToken,
}

#[derive(Default)]
struct Wanted {
    partitions: HashMap<TopicPartition, Arc<Partition>>,
    /// While there is a connection.
    tail: Option<Arc<Mutex<Tail>>>,
}

impl Following {
    pub(crate) fn new(
        identity: Arc<Identity>,
        clock: Arc<dyn Clock>,
        address: Arc<Address>,
        stop: CancellationToken,
    ) -> Following {
        Following { identity, clock, address, streams: Mutex::default(), stop }
    }

    /// Follows a partition at this leader, and at no other.
    pub(crate) fn follow(self: &Arc<Following>, leader: BrokerId, partition: Arc<Partition>) {
        let id = partition.id();
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        for (other, stream) in streams.iter() {
            if *other != leader {
                stream.remove(id);
            }
        }
        let stream = streams.entry(leader).or_insert_with(|| {
            let stop = self.stop.child_token();
            let stream = Stream { leader, wanted: Mutex::default(), changed: Notify::new(), stop };
            let stream = Arc::new(stream);
            tokio::spawn(Arc::clone(self).keep(Arc::clone(&stream)));
            stream
        });
        stream.add(partition);
    }

    /// Follows a partition at nobody.
    pub(crate) fn forget(&self, id: TopicPartition) {
        for stream in self.streams.lock().unwrap_or_else(PoisonError::into_inner).values() {
            stream.remove(id);
        }
    }

    /// Keeps a connection to the leader while there is anything to follow there.
    async fn keep(self: Arc<Following>, stream: Arc<Stream>) {
        let mut failures = 0;
        loop {
            let changed = stream.changed.notified();
            if stream.lock().partitions.is_empty() {
                tokio::select! {
                    () = changed => continue,
                    () = stream.stop.cancelled() => return,
                }
            }
            tokio::select! {
                result = self.run(&stream, &mut failures) => {
                    let why = result.unwrap_or_else(|why| why);
                    tracing::debug!(leader = %stream.leader, why, "the stream to a leader ended");
                }
                () = stream.stop.cancelled() => return,
            }
            stream.lock().tail = None;
            let pause = DIAL_AGAIN.saturating_mul(1 << failures.min(8)).min(DIAL_AGAIN_MAX);
            failures += 1;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stream.stop.cancelled() => return,
            }
        }
    }

    /// One connection, from dialling to its end.
    async fn run(&self, stream: &Stream, failures: &mut u32) -> Result<String, String> {
        let leader = stream.leader;
        let address = (self.address)(leader).ok_or("its address is not known")?;
        let dialling = dial(&self.identity, Purpose::Replication, Some(leader), &address, DIAL_WAIT);
        let socket = dialling.await.map_err(|error| error.to_string())?;
        tracing::info!(%leader, address, "following");
        *failures = 0;
        let tail = Arc::new(Mutex::new(Tail::new(leader)));
        {
            let mut wanted = stream.lock();
            for partition in wanted.partitions.values() {
                lock(&tail).add(Arc::clone(partition));
            }
            wanted.tail = Some(Arc::clone(&tail));
        }
        let (reader, writer) = socket.into_split();
        let frames = FrameReader::new(reader, MESSAGE_BYTES_MAX);
        let ended = tokio::select! {
            ended = self.hear(frames, &tail) => ended,
            ended = self.speak(writer, &tail) => ended.map_err(FrameError::from),
            () = self.wake(&tail) => Ok(()),
        };
        ended.map(|()| "closed".to_owned()).map_err(|error| error.to_string())
    }

    async fn hear(
        &self,
        mut frames: FrameReader<OwnedReadHalf>,
        tail: &Mutex<Tail>,
    ) -> Result<(), FrameError> {
        loop {
            let frame = frames.next(SILENCE_MAX).await?;
            if frame.is_empty() {
                continue;
            }
            let message = LeaderMessage::decode(frame)
                .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?;
            let now = self.clock.monotonic();
            let heard = match &message {
                // A log may have to be cut, which waits for the disk.
                LeaderMessage::Answer { .. } => tokio::task::block_in_place(|| lock(tail).hear(message, now)),
                _ => lock(tail).hear(message, now),
            };
            if let Err((id, error)) = heard {
                report(id, &error);
            }
        }
    }

    async fn speak(&self, mut writer: OwnedWriteHalf, tail: &Mutex<Tail>) -> std::io::Result<()> {
        let watcher = Arc::clone(lock(tail).watcher());
        let mut words = BytesMut::new();
        loop {
            let outgoing = lock(tail).next_outgoing(self.clock.monotonic());
            if let Some(message) = outgoing {
                message.encode(&mut words);
                continue;
            }
            if !words.is_empty() {
                write_parts(&mut writer, &[&words]).await?;
                words.clear();
                continue;
            }
            if tokio::time::timeout(STILL_HERE_INTERVAL, watcher.marked_again()).await.is_err() {
                write_parts(&mut writer, &[&[0; 4]]).await?;
            }
        }
    }

    /// Lets those ask again that were refused.
    async fn wake(&self, tail: &Mutex<Tail>) {
        loop {
            tokio::time::sleep(WAKE_INTERVAL).await;
            let mut tail = lock(tail);
            if tail.is_waiting() {
                tail.wake(self.clock.monotonic());
            }
        }
    }
}

impl Stream {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, partition: Arc<Partition>) {
        let mut wanted = self.lock();
        if let Some(tail) = &wanted.tail {
            lock(tail).add(Arc::clone(&partition));
        }
        wanted.partitions.insert(partition.id(), partition);
        drop(wanted);
        self.changed.notify_one();
    }

    fn remove(&self, id: TopicPartition) {
        let mut wanted = self.lock();
        if wanted.partitions.remove(&id).is_some()
            && let Some(tail) = &wanted.tail
        {
            let mut tail = lock(tail);
            tail.remove(id);
            tail.watcher().wake();
        }
    }
}

fn lock(tail: &Mutex<Tail>) -> MutexGuard<'_, Tail> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

fn report(partition: TopicPartition, error: &ReplicaError) {
    match error {
        // Roles change while words are on their way.
        ReplicaError::Stream(_) | ReplicaError::NotLeader(_) | ReplicaError::Gone => {
            tracing::debug!(%partition, %error, "a leader's word was not taken");
        }
        _ => {
            tracing::warn!(%partition, %error, "a follower could not take what its leader sent; it asks again")
        }
    }
}
