//! Fetch: stored batches from where the client asks, now or when there is enough.
//!
//! A connection has one set of cursors. A full request names all its partitions; an incremental one only changes what
//! the session on this connection reads, and hears only of partitions with news. Sessions live and die with their
//! connection, so they need no cache of their own and nobody can use another's.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use bytes::Bytes;
use highwater_log::FileSlice;
use highwater_proto::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::FetchPartition;
use tokio::time::{Duration, Instant};

use super::fetch_encoding::{Aborted, HINTS, PartitionPart, Response, TopicPart};
use super::replica_choice::{self, Choice, Reader};
use crate::listener::error_map::Coded;
use crate::listener::kafka::Context;
use crate::listener::kafka::answer::Envelope;
use crate::listener::kafka::brokers::Hinted;
use crate::listener::kafka::outbox::Part;
use crate::partition::ServedBy;
use crate::service::{FetchAnswer, FetchDemand, FetchSession, PartitionNews, Position};

/// The epoch of a request without a session.
const FINAL_EPOCH: i32 = -1;
/// The epoch of a request that begins a session.
const INITIAL_EPOCH: i32 = 0;
/// The first version that names topics by id.
const TOPIC_IDS: i16 = 13;
/// How often what follows from the metadata is looked at again though the client asks for nothing new.
const RECHECK: Duration = Duration::from_secs(5);
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// How a request names topics; a session stays with one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    Names,
    Ids,
}

#[derive(Debug)]
struct Session {
    id: i32,
    /// The epoch of the next request.
    next_epoch: i32,
    naming: Naming,
}

/// A topic as the client named it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TopicKey {
    name: Bytes,
    id: TopicId,
}

/// What the client wants of one partition.
#[derive(Clone, Debug)]
struct Wanted {
    topic: TopicKey,
    index: i32,
    offset: i64,
    max_bytes: usize,
    epoch: i32,
    /// The epoch of the last batch that the client has, or -1.
    last_epoch: i32,
}

/// A connection's cursors.
#[derive(Debug)]
pub(in crate::listener::kafka) struct Fetcher {
    cursors: FetchSession<Option<FileSlice>>,
    session_ids: Arc<AtomicI32>,
    session: Option<Session>,
    /// What is read, in the order in which it was asked for; what was taken out leaves a gap.
    places: Vec<Option<Place>>,
    by_name: HashMap<(TopicKey, i32), usize>,
    by_cursor: HashMap<TopicPartition, usize>,
    /// When all places were last looked at with the metadata.
    checked: Instant,
    /// Places to be read whether they have news or not: just asked for, or answered with records or an error before.
    due: Vec<usize>,
}

#[derive(Debug)]
struct Place {
    wanted: Wanted,
    cursor: Option<TopicPartition>,
}

/// What one request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// Everything that is read.
    Full,
    /// What has news.
    Incremental,
}

/// Answers by place.
type Parts = BTreeMap<usize, PartitionPart>;

impl Fetcher {
    /// No cursors yet. `session_ids` gives out the numbers of sessions.
    pub(in crate::listener::kafka) fn new(context: &Context, session_ids: Arc<AtomicI32>) -> Fetcher {
        Fetcher {
            cursors: FetchSession::new(&context.services),
            session_ids,
            session: None,
            places: Vec::new(),
            by_name: HashMap::new(),
            by_cursor: HashMap::new(),
            due: Vec::new(),
            checked: Instant::now(),
        }
    }

    /// Carries a request out. The answer is in parts, to be sent one after the other.
    pub(in crate::listener::kafka) async fn answer(
        &mut self,
        context: &Context,
        envelope: &Envelope,
        request: FetchRequest,
    ) -> Vec<Part> {
        let scope = match self.begin(&request, envelope.version) {
            Ok(scope) => scope,
            Err(code) => {
                let response = Response { error: code.number(), ..Response::default() };
                return response.encode(envelope);
            }
        };
        let mut parts = Parts::new();
        if request.replica_id.0 >= 0 || request.replica_state.replica_id.0 >= 0 {
            // Only brokers read as replicas, and they have a listener of their own.
            let refused = |at| (at, failed(ErrorCode::ClusterAuthorizationFailed));
            parts.extend((0..self.places.len()).map(refused));
        } else {
            self.recheck();
            let reader = Reader { version: envelope.version, rack: &request.rack_id };
            self.place_cursors(context, reader, &mut parts);
            let news = self.gather(context, &request, !parts.is_empty()).await;
            context.services.metrics().fetches_answered.inc();
            for news in news {
                self.sort_in(news, envelope.version, &mut parts);
            }
        }
        if scope == Scope::Full {
            self.add_unread(context, &mut parts).await;
        }
        let session = self.session.as_ref().map_or(0, |session| session.id);
        let mut hinted = Hinted::default();
        if envelope.version >= HINTS {
            self.hint(context, &mut parts, &mut hinted);
        }
        let topics = self.by_topic(parts, aborted(request.isolation_level));
        Response { error: 0, session, topics, hinted }.encode(envelope)
    }

    /// Finds or makes the session and takes in what the request changes.
    fn begin(&mut self, request: &FetchRequest, version: i16) -> Result<Scope, ErrorCode> {
        let naming = if version >= TOPIC_IDS { Naming::Ids } else { Naming::Names };
        if matches!(request.session_epoch, FINAL_EPOCH | INITIAL_EPOCH) {
            self.replace(request);
            self.session = (request.session_epoch == INITIAL_EPOCH && version >= 7).then(|| {
                let id = self.session_ids.fetch_add(1, Ordering::Relaxed) & i32::MAX;
                Session { id: id.max(1), next_epoch: 1, naming }
            });
            return Ok(Scope::Full);
        }
        let session = self.session.as_mut().filter(|session| session.id == request.session_id);
        let session = session.ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.next_epoch != request.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.naming != naming {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        session.next_epoch = if session.next_epoch == i32::MAX { 1 } else { session.next_epoch + 1 };
        for topic in &request.forgotten_topics_data {
            let name = topic.topic.0.clone().into_bytes();
            let key = TopicKey { name, id: TopicId(*topic.topic_id.as_bytes()) };
            for index in &topic.partitions {
                if let Some(at) = self.by_name.remove(&(key.clone(), *index)) {
                    self.take_out(at);
                }
            }
        }
        for wanted in wanted_of(request) {
            self.want(wanted);
        }
        Ok(Scope::Incremental)
    }

    /// A full request: what was read before and is not named any more is let go.
    fn replace(&mut self, request: &FetchRequest) {
        let count: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
        let known = |wanted: Wanted| self.by_name.contains_key(&(wanted.topic, wanted.index));
        if self.places.len() != count || !wanted_of(request).all(known) {
            for at in 0..self.places.len() {
                self.take_out(at);
            }
            self.places.clear();
            self.by_name.clear();
        }
        self.due.clear();
        for wanted in wanted_of(request) {
            self.want(wanted);
        }
    }

    fn want(&mut self, mut wanted: Wanted) {
        let known = self.by_name.get(&(wanted.topic.clone(), wanted.index)).copied();
        let at = known.unwrap_or(self.places.len());
        match self.places.get_mut(at) {
            Some(Some(place)) => {
                wanted.topic = place.wanted.topic.clone();
                place.wanted = wanted;
            }
            _ => {
                // A copy, so that the session does not hold a receive buffer.
                wanted.topic.name = Bytes::copy_from_slice(&wanted.topic.name);
                self.by_name.insert((wanted.topic.clone(), wanted.index), at);
                self.places.push(Some(Place { wanted, cursor: None }));
            }
        }
        self.due.push(at);
    }

    fn take_out(&mut self, at: usize) {
        if let Some(Place { cursor: Some(cursor), .. }) = self.places[at].take() {
            self.by_cursor.remove(&cursor);
            self.cursors.forget(cursor);
        }
    }

    /// From time to time everything that is read is looked at anew: a follower may have fallen out of the in-sync replicas, and
    /// nearer ones may have come to them.
    fn recheck(&mut self) {
        if self.checked.elapsed() >= RECHECK {
            self.checked = Instant::now();
            self.due = (0..self.places.len()).collect();
        }
    }

    /// Sets the cursors of all places that are due. A place whose topic isn't there, or that is better read elsewhere, stays
    /// due and is answered at once.
    fn place_cursors(&mut self, context: &Context, reader: Reader<'_>, parts: &mut Parts) {
        for at in std::mem::take(&mut self.due) {
            let Some(place) = &mut self.places[at] else { continue };
            let Wanted { index, offset, max_bytes, epoch, .. } = place.wanted;
            let (partition, choice) = match find(context, &place.wanted, reader) {
                Ok(found) => found,
                Err(code) => {
                    parts.insert(at, failed(code));
                    self.due.push(at);
                    continue;
                }
            };
            // A topic that was deleted and made anew under its name is another one.
            if let Some(old) = place.cursor.replace(partition).filter(|old| *old != partition) {
                self.by_cursor.remove(&old);
                self.cursors.forget(old);
            }
            match choice {
                Choice::Here(served_by) => {
                    self.by_cursor.insert(partition, at);
                    let (offset, epoch) = (Offset(offset), LeaderEpoch(epoch));
                    self.cursors.set_anew(Position {
                        partition,
                        offset,
                        max_bytes,
                        generation: 0,
                        epoch,
                        served_by,
                    });
                }
                Choice::Nearer { replica, high_watermark, log_start } => {
                    self.by_cursor.remove(&partition);
                    self.cursors.forget(partition);
                    place.cursor = None;
                    self.due.push(at);
                    let mut part = failed(ErrorCode::None);
                    (part.index, part.preferred) = (index, Some(replica));
                    (part.high_watermark, part.last_stable) = (high_watermark.0, high_watermark.0);
                    part.log_start = log_start.0;
                    parts.insert(at, part);
                }
            }
        }
    }

    /// Collects until there is enough, or time is up.
    async fn gather(
        &mut self,
        context: &Context,
        request: &FetchRequest,
        answer_now: bool,
    ) -> Vec<PartitionNews<Option<FileSlice>>> {
        let bytes = |asked: i32| usize::try_from(asked).unwrap_or(0);
        let wait = Duration::from_millis(bytes(request.max_wait_ms) as u64).min(WAIT_MAX);
        let demand = FetchDemand {
            min_bytes: bytes(request.min_bytes),
            max_bytes: bytes(request.max_bytes).min(context.services.config().fetch_max_bytes),
            deadline: Instant::now() + wait,
        };
        let mut answer = FetchAnswer::default();
        loop {
            self.cursors.collect(&demand, &mut answer).await;
            let enough = answer.bytes >= demand.min_bytes.min(demand.max_bytes) || answer.full.is_some();
            if enough || answer_now || answer.failed.is_some() || wait.is_zero() {
                return answer.news;
            }
            // A mark may come for what was just looked at; then the next look finds nothing, and this waits again.
            if !self.cursors.has_news() {
                let marked = tokio::time::timeout_at(demand.deadline, self.cursors.marked_again()).await;
                if marked.is_err() {
                    return answer.news;
                }
            }
        }
    }

    fn sort_in(&mut self, news: PartitionNews<Option<FileSlice>>, version: i16, parts: &mut Parts) {
        let Some(&at) = self.by_cursor.get(&news.partition) else { return };
        let part = match news.answer {
            Ok(found) => {
                let part = parts.entry(at).or_insert_with(|| failed(ErrorCode::None));
                part.high_watermark = found.high_watermark.0;
                part.last_stable = found.high_watermark.0;
                part.log_start = found.log_start.0;
                let Some(slice) = found.records else { return };
                part.records.push(Part::File(slice));
                part
            }
            Err(error) => {
                let code = match error.code() {
                    ErrorCode::UnknownTopicId if version < TOPIC_IDS => ErrorCode::UnknownTopicOrPartition,
                    code => code,
                };
                parts.entry(at).insert_entry(failed(code)).into_mut()
            }
        };
        // The client says next where it reads on; if it doesn't, it gets the same again.
        if part.records.len() <= 1 {
            self.due.push(at);
        }
    }

    /// Adds what a full answer must name although nothing was read of it.
    async fn add_unread(&self, context: &Context, parts: &mut Parts) {
        for (at, place) in self.places.iter().enumerate() {
            let Some(Place { cursor: Some(cursor), .. }) = place else { continue };
            if parts.contains_key(&at) {
                continue;
            }
            let part = match context.services.partition(*cursor).await {
                Ok(partition) => {
                    let details = partition.details();
                    let mut part = failed(ErrorCode::None);
                    part.high_watermark = details.high_watermark.0;
                    part.last_stable = details.high_watermark.0;
                    part.log_start = details.log_start.0;
                    part
                }
                Err(error) => failed(error.code()),
            };
            parts.insert(at, part);
        }
    }

    /// Tells clients that came to the wrong broker where the right one is.
    fn hint(&self, context: &Context, parts: &mut Parts, hinted: &mut Hinted) {
        let elsewhere = [ErrorCode::NotLeaderOrFollower, ErrorCode::FencedLeaderEpoch].map(ErrorCode::number);
        for (at, part) in parts.iter_mut().filter(|(_, part)| elsewhere.contains(&part.error)) {
            let Some(Place { cursor: Some(cursor), .. }) = &self.places[*at] else { continue };
            part.leader = context.leader_hint(*cursor).map(|hint| hinted.note(hint));
        }
    }

    fn by_topic(&self, parts: Parts, aborted: Aborted) -> Vec<TopicPart> {
        let mut topics: Vec<TopicPart> = Vec::new();
        let mut known: HashMap<&TopicKey, usize> = HashMap::new();
        for (at, part) in parts {
            let Some(Place { wanted, .. }) = &self.places[at] else { continue };
            let topic = *known.entry(&wanted.topic).or_insert_with(|| {
                let TopicKey { name, id } = wanted.topic.clone();
                topics.push(TopicPart { name, id: id.0, partitions: Vec::new() });
                topics.len() - 1
            });
            let aborted = if part.error == 0 { aborted } else { Aborted::Empty };
            topics[topic].partitions.push(PartitionPart { index: wanted.index, aborted, ..part });
        }
        topics
    }
}

/// The partition that is meant, and where it is to be read.
fn find(
    context: &Context,
    wanted: &Wanted,
    reader: Reader<'_>,
) -> Result<(TopicPartition, Choice), ErrorCode> {
    let image = context.services.image();
    let topic = match reader.version {
        TOPIC_IDS.. => image.topic(wanted.topic.id).ok_or(ErrorCode::UnknownTopicId)?,
        _ => {
            let name = std::str::from_utf8(&wanted.topic.name).unwrap_or_default();
            image.topic_named(name).ok_or(ErrorCode::UnknownTopicOrPartition)?
        }
    };
    let partition = TopicPartition::new(topic.id, PartitionIndex(wanted.index));
    let Some(known) = topic.partition(partition.partition) else {
        return Ok((partition, Choice::Here(ServedBy::Leader)));
    };
    // A client that has batches of an epoch which never was has another log than this one.
    let leads = known.leader == Some(context.services.config().broker_id);
    if leads && wanted.last_epoch > known.leader_epoch.0 {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let choice = replica_choice::choose(context, partition, known, reader, Offset(wanted.offset));
    Ok((partition, choice))
}

fn wanted_of(request: &FetchRequest) -> impl Iterator<Item = Wanted> {
    request.topics.iter().flat_map(|topic| {
        let name = topic.topic.0.clone().into_bytes();
        let key = TopicKey { name, id: TopicId(*topic.topic_id.as_bytes()) };
        topic.partitions.iter().map(move |partition| wanted(key.clone(), partition))
    })
}

fn wanted(topic: TopicKey, partition: &FetchPartition) -> Wanted {
    Wanted {
        topic,
        index: partition.partition,
        offset: partition.fetch_offset,
        // 0 would mean "as much as the answer takes"; a client that wants nothing still gets its first batch.
        max_bytes: usize::try_from(partition.partition_max_bytes).unwrap_or(0).max(1),
        epoch: partition.current_leader_epoch.max(LeaderEpoch::UNKNOWN.0),
        last_epoch: partition.last_fetched_epoch,
    }
}

/// Readers of committed records are told which transactions were aborted: none, so far.
fn aborted(isolation_level: i8) -> Aborted {
    if isolation_level == 1 { Aborted::Empty } else { Aborted::Null }
}

/// A partition with an error, or the beginning of one without.
fn failed(code: ErrorCode) -> PartitionPart {
    PartitionPart {
        index: 0,
        error: code.number(),
        high_watermark: -1,
        last_stable: -1,
        log_start: -1,
        aborted: Aborted::Null,
        leader: None,
        preferred: None,
        records: Vec::new(),
    }
}
