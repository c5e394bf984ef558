//! Fetch: a session holds a cursor per partition and hands out stored batches as they become visible.
//!
//! Only partitions that have news are looked at, so an idle session of a thousand partitions costs nothing. Batches
//! leave as they are stored; a cold range is read ahead on a blocking thread first.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use highwater_log::FileSlice;
use highwater_proto::{LeaderEpoch, Offset, TopicPartition};
use tokio::time::Instant;

use super::{PartitionError, Services};
use crate::partition::{FetchError, Fetched, Partition, ServedBy, Watcher};

/// Most partitions in one session.
const POSITIONS_MAX: usize = 100_000;

/// Where a session reads in a partition.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// The partition.
    pub partition: TopicPartition,
    /// The next offset to hand out.
    pub offset: Offset,
    /// Cap per answer, in bytes; 0 is the demand's own.
    pub max_bytes: usize,
    /// The client's number for this cursor, returned with its data.
    pub generation: u32,
    /// The leader epoch the client believes in.
    pub epoch: LeaderEpoch,
    /// Who may answer.
    pub served_by: ServedBy,
}

/// What one answer should hold.
#[derive(Clone, Copy, Debug)]
pub struct FetchDemand {
    /// Wait until there is this much, in bytes.
    pub min_bytes: usize,
    /// Stop once there is this much, in bytes.
    pub max_bytes: usize,
    /// Wait no longer than this.
    pub deadline: Instant,
}

/// In what form a session hands batches out.
pub trait Records: Default + Send + std::fmt::Debug {
    /// Bytes of batches.
    fn size_bytes(&self) -> usize;

    /// Reads them from a partition.
    fn fetch(
        partition: &Arc<Partition>,
        from: Offset,
        max_bytes: usize,
        epoch: LeaderEpoch,
        served_by: ServedBy,
    ) -> impl Future<Output = Result<Fetched<Self>, FetchError>> + Send;
}

/// The batches themselves, uncopied.
impl Records for Bytes {
    fn size_bytes(&self) -> usize {
        self.len()
    }

    async fn fetch(
        partition: &Arc<Partition>,
        from: Offset,
        max_bytes: usize,
        epoch: LeaderEpoch,
        served_by: ServedBy,
    ) -> Result<Fetched<Bytes>, FetchError> {
        partition.fetch_from(from, max_bytes, epoch, served_by).await
    }
}

/// Where the batches lie in their file, for who sends them from there.
impl Records for Option<FileSlice> {
    fn size_bytes(&self) -> usize {
        self.as_ref().map_or(0, |slice| slice.bytes)
    }

    async fn fetch(
        partition: &Arc<Partition>,
        from: Offset,
        max_bytes: usize,
        epoch: LeaderEpoch,
        served_by: ServedBy,
    ) -> Result<Fetched<Option<FileSlice>>, FetchError> {
        partition.fetch_located(from, max_bytes, epoch, served_by).await
    }
}

/// News of one partition.
#[derive(Debug)]
pub struct PartitionNews<R = Bytes> {
    /// The partition.
    pub partition: TopicPartition,
    /// The cursor's number.
    pub generation: u32,
    /// The news.
    pub answer: Result<PartitionAnswer<R>, FetchFailure>,
}

/// Batches of one partition.
#[derive(Debug)]
pub struct PartitionAnswer<R = Bytes> {
    /// Whole batches as stored; empty when only the high watermark moved.
    pub records: R,
    /// The first offset that readers must not see.
    pub high_watermark: Offset,
    /// The first offset that is still there.
    pub log_start: Offset,
    /// The leader's epoch.
    pub epoch: LeaderEpoch,
}

/// Why a partition gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchFailure {
    /// It cannot be served.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// It refused.
    #[error(transparent)]
    Refused(#[from] FetchError),
}

/// What a session has to say.
#[derive(Debug)]
pub struct FetchAnswer<R = Bytes> {
    /// By partition.
    pub news: Vec<PartitionNews<R>>,
    /// Bytes of batches in it.
    pub bytes: usize,
    /// Whether a partition failed, which is told at once.
    pub failed: Option<Failed>,
    /// Whether there is more than fits.
    pub full: Option<Full>,
}

impl<R> Default for FetchAnswer<R> {
    fn default() -> FetchAnswer<R> {
        FetchAnswer { news: Vec::new(), bytes: 0, failed: None, full: None }
    }
}

/// The next batch does not fit into the answer.
#[derive(Clone, Copy, Debug)]
pub struct Full;

/// A partition of the answer failed.
#[derive(Clone, Copy, Debug)]
pub struct Failed;

/// What is left of an answer. Only its first batch may be larger.
#[derive(Clone, Copy, Debug)]
struct Room {
    bytes: usize,
    is_first: bool,
}

#[derive(Debug)]
struct Slot {
    position: Position,
    partition: Option<Arc<Partition>>,
    /// The high watermark that the client knows.
    told: Option<Offset>,
}

/// Cursors of one reader.
#[derive(Debug)]
pub struct FetchSession<R = Bytes> {
    services: Arc<Services>,
    watcher: Arc<Watcher>,
    slots: Vec<Option<Slot>>,
    by_partition: HashMap<TopicPartition, usize>,
    unopened: Vec<TopicPartition>,
    records: PhantomData<fn() -> R>,
}

impl<R: Records> FetchSession<R> {
    /// A session without partitions.
    #[must_use]
    pub fn new(services: &Arc<Services>) -> FetchSession<R> {
        FetchSession {
            records: PhantomData,
            services: Arc::clone(services),
            watcher: Arc::default(),
            slots: Vec::new(),
            by_partition: HashMap::new(),
            unopened: Vec::new(),
        }
    }

    /// Adds a partition, or moves its cursor.
    pub fn set(&mut self, position: Position) {
        let next = self.slots.len();
        let slot = *self.by_partition.entry(position.partition).or_insert(next);
        if slot == next {
            if next >= POSITIONS_MAX {
                self.by_partition.remove(&position.partition);
                return;
            }
            self.slots.push(None);
            self.unopened.push(position.partition);
        }
        match &mut self.slots[slot] {
            Some(existing) => existing.position = position,
            empty => *empty = Some(Slot { position, partition: None, told: None }),
        }
        self.watcher.mark(slot);
    }

    /// Like [`FetchSession::set`], and the next answer tells of the partition even if it holds nothing new.
    pub fn set_anew(&mut self, position: Position) {
        self.set(position);
        if let Some(index) = self.by_partition.get(&position.partition)
            && let Some(slot) = &mut self.slots[*index]
        {
            slot.told = None;
        }
    }

    /// Takes a partition out.
    pub fn forget(&mut self, id: TopicPartition) {
        // The slot's number stays taken, so that a mark under way cannot meet another partition in it.
        if let Some(index) = self.by_partition.remove(&id)
            && let Some(slot) = self.slots[index].take()
            && let Some(partition) = slot.partition
        {
            partition.unwatch(&self.watcher, index);
        }
    }

    /// Adds to the answer what is there now.
    pub async fn collect(&mut self, demand: &FetchDemand, answer: &mut FetchAnswer<R>) {
        // Those that were never looked at are opened together; what goes wrong is told by their slots.
        let unopened = std::mem::take(&mut self.unopened);
        self.services.partitions(unopened).for_each(async |_| ()).await;
        // Slots that are marked again while this runs wait for the next call, so that it ends.
        for _ in 0..self.watcher.marked() {
            if answer.bytes >= demand.max_bytes {
                return;
            }
            let Some(index) = self.watcher.take() else { return };
            let room = Room { bytes: demand.max_bytes - answer.bytes, is_first: answer.bytes == 0 };
            let news = match self.read(index, room).await {
                Look::News(news) => news,
                Look::Nothing => continue,
                Look::TooLarge => {
                    answer.full = Some(Full);
                    return;
                }
            };
            match &news.answer {
                Ok(found) => answer.bytes += found.records.size_bytes(),
                Err(_) => answer.failed = Some(Failed),
            }
            answer.news.push(news);
        }
    }

    /// Waits until a partition has news.
    pub async fn marked_again(&self) {
        self.watcher.marked_again().await;
    }

    /// Whether a partition has news that was not looked at.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.watcher.marked() > 0
    }

    async fn read(&mut self, index: usize, room: Room) -> Look<R> {
        let Some(Some(slot)) = self.slots.get_mut(index) else { return Look::Nothing };
        let position = slot.position;
        let outcome = read_slot(&self.services, &self.watcher, slot, index, room).await;
        let answer = match outcome {
            Ok(Read::Nothing) => return Look::Nothing,
            Ok(Read::TooLarge) => return Look::TooLarge,
            Ok(Read::Found(found)) => {
                slot.told = Some(found.high_watermark);
                if slot.position.offset < found.high_watermark {
                    self.watcher.mark(index);
                }
                Ok(found)
            }
            Err(error) => Err(error),
        };
        Look::News(PartitionNews { partition: position.partition, generation: position.generation, answer })
    }
}

/// What a slot's partition gave.
enum Read<R> {
    Found(PartitionAnswer<R>),
    Nothing,
    TooLarge,
}

/// What a look at a slot gave.
enum Look<R> {
    News(PartitionNews<R>),
    Nothing,
    TooLarge,
}

/// Reads on at a slot's cursor and moves it. After an error the slot is silent until it is set
/// again or its partition moves.
async fn read_slot<R: Records>(
    services: &Services,
    watcher: &Arc<Watcher>,
    slot: &mut Slot,
    index: usize,
    room: Room,
) -> Result<Read<R>, FetchFailure> {
    let partition = match &slot.partition {
        Some(partition) => Arc::clone(partition),
        None => {
            let partition = services.partition(slot.position.partition).await?;
            partition.watch(watcher.watch(index));
            slot.partition.insert(partition).clone()
        }
    };
    let cap = if slot.position.max_bytes == 0 { room.bytes } else { room.bytes.min(slot.position.max_bytes) };
    let Position { offset, epoch, served_by, .. } = slot.position;
    let fetched = R::fetch(&partition, offset, cap, epoch, served_by).await?;
    let bytes = fetched.records.size_bytes();
    if !room.is_first && bytes > room.bytes {
        // Its first batch is larger than what is left: the next answer begins with it.
        watcher.mark(index);
        return Ok(Read::TooLarge);
    }
    slot.position.offset = fetched.next_offset;
    services.metrics.bytes_fetched.inc_by(bytes as u64);
    if bytes == 0 && slot.told == Some(fetched.high_watermark) {
        return Ok(Read::Nothing);
    }
    Ok(Read::Found(PartitionAnswer {
        records: fetched.records,
        high_watermark: fetched.high_watermark,
        log_start: fetched.log_start,
        epoch: fetched.epoch,
    }))
}

impl<R> Drop for FetchSession<R> {
    fn drop(&mut self) {
        for (index, slot) in self.slots.iter().enumerate() {
            if let Some(Slot { partition: Some(partition), .. }) = slot {
                partition.unwatch(&self.watcher, index);
            }
        }
    }
}
