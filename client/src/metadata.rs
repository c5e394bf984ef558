//! What the client knows of the cluster: brokers' addresses, topics' ids, partitions' leaders.
//!
//! A cache, and wrong by nature: whoever gets a retriable error asks for a fresh copy. Concurrent refreshes of one
//! topic become one call. Brokers may lag behind each other: what one says never replaces what is known of a later leader
//! epoch, refreshes go to one broker after the other, and a topic is missing only when no broker knows it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use highwater_proto::grpc::{self, admin_client::AdminClient};
use highwater_proto::{BrokerId, ErrorCode, LeaderEpoch, TopicId};
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::config::ClientConfig;
use crate::connection::{Control, MESSAGE_BYTES_MAX, Patience};
use crate::error::AdminError;

/// A topic as the cluster last described it.
#[derive(Debug)]
pub(crate) struct TopicInfo {
    pub(crate) name: Arc<str>,
    pub(crate) id: TopicId,
    /// By partition index, without gaps.
    pub(crate) partitions: Vec<Leader>,
    /// Which refresh this came from; larger is newer.
    pub(crate) version: u64,
}

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) broker: Option<BrokerId>,
    pub(crate) epoch: LeaderEpoch,
}

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Whatever is known, if it is not older than `metadata_max_age`.
    Cached,
    /// Something newer than this version, which turned out wrong.
    NewerThan(u64),
}

/// What to do about a topic that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Say so.
    Report,
    /// Have it created, where the broker's settings allow that. For writers only: reading must not make topics.
    Create,
}

impl Freshness {
    /// Asked now: no cached answer is newer than the largest version.
    pub(crate) const ANEW: Freshness = Freshness::NewerThan(u64::MAX);
}

#[derive(Debug, Default)]
struct State {
    /// Where each one is; `None` where it does not say.
    brokers: BTreeMap<BrokerId, Option<String>>,
    topics: HashMap<Arc<str>, (Arc<TopicInfo>, Instant)>,
    version: u64,
}

/// The cache.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    state: Mutex<State>,
    /// Held while a refresh is under way, so that the others wait for its answer instead of asking too.
    refreshing: tokio::sync::Mutex<()>,
    /// Which broker the next refresh begins with.
    turn: AtomicUsize,
}

impl Metadata {
    /// The topic's partitions and leaders. One call at most; the caller retries.
    pub(crate) async fn topic(
        &self,
        config: &ClientConfig,
        control: &Control,
        name: &str,
        freshness: Freshness,
        missing: Missing,
    ) -> Result<Arc<TopicInfo>, AdminError> {
        if let Some(known) = self.known(config, name, freshness) {
            return Ok(known);
        }
        let _turn = self.refreshing.lock().await;
        if let Some(known) = self.known(config, name, freshness) {
            return Ok(known);
        }
        let allow_auto_create = missing == Missing::Create;
        let request = grpc::MetadataRequest { topics: vec![name.to_owned()], allow_auto_create };
        let turn = match freshness {
            Freshness::Cached => 0,
            // The broker that was asked before may be the one that is behind.
            Freshness::NewerThan(_) => self.turn.fetch_add(1, Ordering::Relaxed),
        };
        let answer = self.ask_from(config, control, &request, turn).await?;
        match self.keep_topic(topic_of(answer, name)?) {
            Err(error) if error.is_not_found() && missing == Missing::Report => {
                self.ask_the_others(config, control, &request, name).await.ok_or(error)
            }
            kept => kept,
        }
    }

    /// A topic that one broker does not know may be one that was just made.
    async fn ask_the_others(
        &self,
        config: &ClientConfig,
        control: &Control,
        request: &grpc::MetadataRequest,
        name: &str,
    ) -> Option<Arc<TopicInfo>> {
        let known: Vec<String> = self.lock().brokers.values().flatten().cloned().collect();
        if known.len() < 2 {
            return None;
        }
        let deadline = Instant::now() + config.request_timeout;
        for address in known {
            let asked = |channel| metadata_call(channel, request.clone());
            let answer =
                control.call_once(config, "Metadata", &[address], Patience::Short, deadline, &asked).await;
            let kept = answer.ok().and_then(|answer| self.keep_topic(topic_of(answer, name).ok()?).ok());
            if kept.is_some() {
                return kept;
            }
        }
        None
    }

    /// All that the cluster says about itself and `topics` (all when none is named); the cache learns from it.
    pub(crate) async fn ask(
        &self,
        config: &ClientConfig,
        control: &Control,
        request: grpc::MetadataRequest,
    ) -> Result<grpc::MetadataResponse, AdminError> {
        self.ask_from(config, control, &request, 0).await
    }

    async fn ask_from(
        &self,
        config: &ClientConfig,
        control: &Control,
        request: &grpc::MetadataRequest,
        turn: usize,
    ) -> Result<grpc::MetadataResponse, AdminError> {
        let addresses = || {
            let mut addresses = self.addresses(config);
            let first = turn % addresses.len().max(1);
            addresses.rotate_left(first);
            addresses
        };
        let call = |channel| metadata_call(channel, request.clone());
        let answer = control.call(config, "Metadata", addresses, call).await?;
        self.keep_brokers(&answer.brokers);
        Ok(answer)
    }

    /// Every address worth a try for a call that any broker answers: known brokers first, then the bootstrap list.
    pub(crate) fn addresses(&self, config: &ClientConfig) -> Vec<String> {
        let mut addresses: Vec<String> = self.lock().brokers.values().flatten().cloned().collect();
        for address in &config.bootstrap {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        addresses
    }

    /// Where to dial a broker: its own address; when it names none, the bootstrap list stands in. A broker that is not there
    /// at the moment is nowhere: at any other address is another broker, which would take the connection and lead nothing.
    pub(crate) fn addresses_of(&self, config: &ClientConfig, broker: BrokerId) -> Vec<String> {
        let state = self.lock();
        match state.brokers.get(&broker) {
            Some(Some(address)) => vec![address.clone()],
            None if !state.brokers.is_empty() => Vec::new(),
            Some(None) | None => config.bootstrap.clone(),
        }
    }

    pub(crate) fn keep_brokers(&self, brokers: &[grpc::Broker]) {
        let mut state = self.lock();
        let address = |b: &grpc::Broker| (!b.grpc.is_empty()).then(|| b.grpc.clone());
        state.brokers = brokers.iter().map(|b| (BrokerId(b.id), address(b))).collect();
    }

    fn keep_topic(&self, topic: grpc::TopicMetadata) -> Result<Arc<TopicInfo>, AdminError> {
        let mut state = self.lock();
        if topic.error != ErrorCode::None.to_wire() {
            state.topics.remove(topic.name.as_str());
            return Err(AdminError::refused(format!("topic {}", topic.name), topic.error, &topic.message));
        }
        state.version += 1;
        let mut info = topic_info(topic, state.version)?;
        if let Some((known, _)) = state.topics.get(&info.name).filter(|(known, _)| known.id == info.id) {
            for (new, known) in info.partitions.iter_mut().zip(&known.partitions) {
                if known.epoch > new.epoch {
                    *new = *known; // from a broker that is behind
                }
            }
        }
        let info = Arc::new(info);
        state.topics.insert(info.name.clone(), (info.clone(), Instant::now()));
        Ok(info)
    }

    fn known(&self, config: &ClientConfig, name: &str, freshness: Freshness) -> Option<Arc<TopicInfo>> {
        let state = self.lock();
        let (topic, read_at) = state.topics.get(name)?;
        let fresh = match freshness {
            Freshness::Cached => read_at.elapsed() < config.metadata_max_age,
            Freshness::NewerThan(version) => topic.version > version,
        };
        fresh.then(|| topic.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn metadata_call(
    channel: Channel,
    request: grpc::MetadataRequest,
) -> Result<tonic::Response<grpc::MetadataResponse>, tonic::Status> {
    AdminClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX).metadata(request).await
}

fn topic_of(answer: grpc::MetadataResponse, name: &str) -> Result<grpc::TopicMetadata, AdminError> {
    answer.topics.into_iter().find(|topic| topic.name == name).ok_or_else(|| AdminError::Protocol {
        call: "Metadata",
        reason: format!("topic {name} is not in it"),
    })
}

fn topic_info(mut topic: grpc::TopicMetadata, version: u64) -> Result<TopicInfo, AdminError> {
    let odd = |reason: &str| AdminError::Protocol {
        call: "Metadata",
        reason: format!("topic {}: {reason}", topic.name),
    };
    let id = TopicId::from_wire(&topic.topic_id).ok_or_else(|| odd("its id is not 16 bytes long"))?;
    if topic.partitions.is_empty() {
        return Err(odd("it has no partitions"));
    }
    topic.partitions.sort_by_key(|p| p.partition);
    if topic.partitions.iter().zip(0..).any(|(p, index)| p.partition != index) {
        return Err(odd("its partitions are not numbered 0 to n-1"));
    }
    let partitions = topic
        .partitions
        .iter()
        .map(|p| Leader {
            broker: (p.leader >= 0).then_some(BrokerId(p.leader)),
            epoch: LeaderEpoch(p.leader_epoch),
        })
        .collect();
    Ok(TopicInfo { name: topic.name.into(), id, partitions, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(id: i32, grpc: &str) -> grpc::Broker {
        grpc::Broker { id, grpc: grpc.to_owned(), rack: String::new() }
    }

    #[test]
    fn a_broker_that_is_not_there_is_not_looked_for_at_the_addresses_of_others() {
        let config = ClientConfig::new(["one:1", "two:2"]);
        let metadata = Metadata::default();
        let of = |id: i32| metadata.addresses_of(&config, BrokerId(id));
        assert_eq!(of(2), ["one:1", "two:2"], "nothing is known yet");
        metadata.keep_brokers(&[listed(1, "one:1"), listed(3, "")]);
        assert_eq!(of(1), ["one:1"]);
        assert_eq!(of(2), [""; 0], "it died, and whoever answers at another address is not it");
        assert_eq!(of(3), ["one:1", "two:2"], "it does not say where it is");
    }
}
