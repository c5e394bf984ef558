//! The leader's task for one follower's stream: a [`Feed`] between a socket's two halves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::BoxFuture;
use highwater_log::{ReadError, ReadPlan, ReadSlice};
use highwater_proto::{BrokerEpoch, BrokerId, TopicPartition};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::feed::{Feed, Outgoing, is_sound};
use super::message::{FollowerMessage, Slot, put_batches_head};
use crate::partition::{Partition, Share, warm};
use crate::peer::{FrameError, FrameReader, write_parts};

/// Said when there is nothing to say.
const STILL_HERE: [u8; 4] = [0; 4];
/// How often.
pub(super) const STILL_HERE_INTERVAL: Duration = Duration::from_millis(500);
/// A stream on which nothing came for so long is cut: a fresh one is sooner there than the old one's retransmissions.
pub(super) const SILENCE_MAX: Duration = Duration::from_millis(2000);
/// A follower's words are short.
const WORD_BYTES_MAX: usize = 1 << 10;
/// Heads that are gathered before they are written.
const GATHERED_BYTES: usize = 16 << 10;

/// Finds a partition, opening it if need be.
pub(crate) type Find = dyn Fn(TopicPartition) -> BoxFuture<'static, Option<Arc<Partition>>> + Send + Sync;

/// Feeds a follower until the connection ends.
pub(crate) async fn lead(stream: TcpStream, follower: BrokerId, epoch: BrokerEpoch, find: Arc<Find>) {
    let (reader, mut writer) = stream.into_split();
    let feed = Arc::new(Mutex::new(Feed::new(follower, epoch)));
    let ended = tokio::select! {
        ended = hear(FrameReader::new(reader, WORD_BYTES_MAX), &feed, &find) => ended,
        ended = speak(&mut writer, &feed) => ended.map_err(FrameError::from),
    };
    let why = ended.map_or_else(|error| error.to_string(), |()| "closed".to_owned());
    tracing::info!(%follower, %epoch, why, "a follower's stream ended");
}

fn lock(feed: &Mutex<Feed>) -> MutexGuard<'_, Feed> {
    feed.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn hear(
    mut frames: FrameReader<tokio::net::tcp::OwnedReadHalf>,
    feed: &Mutex<Feed>,
    find: &Arc<Find>,
) -> Result<(), FrameError> {
    let watcher = Arc::clone(lock(feed).watcher());
    loop {
        let frame = frames.next(SILENCE_MAX).await?;
        if frame.is_empty() {
            continue;
        }
        let message = FollowerMessage::decode(frame)
            .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?;
        let partition = match &message {
            FollowerMessage::Follow { partition, .. } => find(*partition).await,
            _ => None,
        };
        lock(feed).hear(message, partition);
        watcher.wake();
    }
}

async fn speak<W: AsyncWrite + Unpin>(writer: &mut W, feed: &Mutex<Feed>) -> std::io::Result<()> {
    let watcher = Arc::clone(lock(feed).watcher());
    let mut heads = BytesMut::new();
    let mut still_here_at = Instant::now() + STILL_HERE_INTERVAL;
    loop {
        let outgoing = lock(feed).next_outgoing();
        match outgoing {
            Some(Outgoing::Message(message)) => {
                message.encode_head(&mut heads);
                if heads.len() < GATHERED_BYTES {
                    continue;
                }
            }
            Some(Outgoing::Batches { slot, share }) => {
                send_batches(writer, feed, &mut heads, slot, share).await?;
                still_here_at = Instant::now() + STILL_HERE_INTERVAL;
                continue;
            }
            None => {}
        }
        if !heads.is_empty() {
            write_parts(writer, &[&heads]).await?;
            heads.clear();
            still_here_at = Instant::now() + STILL_HERE_INTERVAL;
            continue;
        }
        // News of what may not be sent, because the window is full or a throttle holds it, is no reason to fall silent.
        if Instant::now() >= still_here_at {
            write_parts(writer, &[&STILL_HERE]).await?;
            still_here_at = Instant::now() + STILL_HERE_INTERVAL;
        }
        let pause = lock(feed).resume().unwrap_or(STILL_HERE_INTERVAL);
        let until = still_here_at.min(Instant::now() + pause);
        let _ = tokio::time::timeout_at(until, watcher.marked_again()).await;
    }
}

/// Reads batches and writes them behind the heads that were gathered.
async fn send_batches<W: AsyncWrite + Unpin>(
    writer: &mut W,
    feed: &Mutex<Feed>,
    heads: &mut BytesMut,
    slot: Slot,
    share: Share,
) -> std::io::Result<()> {
    let Some(plan) = share.plan else { return Ok(()) };
    let words = [share.high_watermark, share.log_start, share.from];
    match read(plan).await {
        Ok(slice) if share.doubted && !is_sound(&slice.bytes) => {
            tracing::error!(from = %share.from, "what a follower asks for is damaged");
            lock(feed).unreadable(slot, slice.next);
        }
        Ok(slice) if slice.bytes.is_empty() => lock(feed).unread(slot),
        Ok(slice) => {
            put_batches_head(heads, slot, share.epoch, words, slice.bytes.len());
            lock(feed).sent(slot, slice.next, slice.bytes.len());
            write_parts(writer, &[heads, &slice.bytes]).await?;
            heads.clear();
        }
        Err(ReadError::Moved) => lock(feed).unread(slot),
        Err(error) => {
            tracing::error!(%error, "a follower asks for what cannot be read");
            lock(feed).unreadable(slot, share.from.advance(1));
        }
    }
    Ok(())
}

async fn read(plan: ReadPlan) -> Result<ReadSlice, ReadError> {
    warm(plan).await?.read()
}
