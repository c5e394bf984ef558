//! Replication streams between two brokers: ordered while they last, and broken without warning.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use highwater_env::Clock;
use highwater_server::simulation::{Feed, FollowerMessage, LeaderMessage, Outgoing, Tail, is_sound};

use super::broker::{id, node};
use super::events::{Event, Side};
use super::world::World;

/// A stream on which nothing could be delivered for so long is given up, in milliseconds.
const SILENCE_MS: u64 = 1500;

/// A stream that a follower opened.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) leader: usize,
    pub(super) follower: usize,
    feed: Feed,
    tail: Tail,
    /// On their way.
    up: VecDeque<FollowerMessage>,
    down: VecDeque<LeaderMessage>,
    /// When the last message of each direction arrives: no later one may be earlier.
    up_at: u64,
    down_at: u64,
    blocked_since: Option<u64>,
}

impl World {
    /// Follows these partitions, each with its leader, and no others.
    pub(super) fn follow(&mut self, at: usize, follows: &[(usize, usize)]) {
        let Some(process) = &self.nodes[at].process else { return };
        for connection in self.connections.values_mut().filter(|connection| connection.follower == at) {
            for (number, partition) in process.partitions.iter().enumerate() {
                if follows.contains(&(connection.leader, number)) {
                    connection.tail.add(Arc::clone(partition));
                } else {
                    connection.tail.remove(partition.id());
                }
            }
        }
        self.open_streams(at, follows);
        self.pump(at);
    }

    fn open_streams(&mut self, at: usize, follows: &[(usize, usize)]) {
        for (leader, _) in follows {
            let known = |connection: &Connection| (connection.leader, connection.follower) == (*leader, at);
            let reachable = self.network.is_open(at, *leader) && self.network.is_open(*leader, at);
            if self.connections.values().any(known) || !reachable || self.nodes[*leader].process.is_none() {
                continue;
            }
            let Some(process) = &self.nodes[at].process else { return };
            let Some(life) = process.life else { return };
            let mut tail = Tail::new(id(*leader));
            for (_, number) in follows.iter().filter(|(other, _)| other == leader) {
                tail.add(Arc::clone(&process.partitions[*number]));
            }
            let connection = Connection {
                leader: *leader,
                follower: at,
                feed: Feed::new(id(at), life),
                tail,
                up: VecDeque::new(),
                down: VecDeque::new(),
                up_at: 0,
                down_at: 0,
                blocked_since: None,
            };
            self.opened += 1;
            self.connections.insert(self.opened, connection);
        }
    }

    /// Opens what is missing, gives up what is stuck, and lets those ask again that were refused.
    pub(super) fn tick_streams(&mut self) {
        for at in 0..self.nodes.len() {
            if self.is_paused(at) {
                continue;
            }
            let follows = self.follows(at);
            self.open_streams(at, &follows);
        }
        let now = self.now;
        let network = &self.network;
        self.connections.retain(|_, connection| {
            let (leader, follower) = (connection.leader, connection.follower);
            let open = network.is_open(leader, follower) && network.is_open(follower, leader);
            let since = (!open).then(|| connection.blocked_since.unwrap_or(now));
            connection.blocked_since = since;
            since.is_none_or(|since| now - since < SILENCE_MS)
        });
        for connection in self.connections.values_mut() {
            let time = self.nodes[connection.follower].clock.monotonic();
            connection.tail.wake(time);
        }
        for at in 0..self.nodes.len() {
            if !self.is_paused(at) {
                self.pump(at);
            }
        }
    }

    /// Whom a broker follows, by what its partitions say.
    fn follows(&self, at: usize) -> Vec<(usize, usize)> {
        let Some(process) = &self.nodes[at].process else { return Vec::new() };
        let standing = |(number, partition): (usize, &Arc<highwater_server::simulation::Partition>)| {
            partition.standing().map(|standing| (node(standing.leader), number))
        };
        process.partitions.iter().enumerate().filter_map(standing).collect()
    }

    /// Ends every stream of a broker.
    pub(super) fn close_streams_of(&mut self, at: usize) {
        self.connections.retain(|_, connection| connection.leader != at && connection.follower != at);
    }

    /// Sends what a broker's ends of its streams have to say.
    pub(super) fn pump(&mut self, at: usize) {
        let numbers: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.leader == at || connection.follower == at)
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            self.pump_one(number, at);
        }
    }

    fn pump_one(&mut self, number: u64, at: usize) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let (leader, follower, now) = (connection.leader, connection.follower, self.now);
        let mut arrivals = Vec::new();
        if follower == at {
            let time = self.nodes[at].clock.monotonic();
            while let Some(message) = connection.tail.next_outgoing(time) {
                let delay = self.network.delay(&self.random, follower, leader);
                connection.up_at = connection.up_at.max(now + delay);
                connection.up.push_back(message);
                arrivals.push((connection.up_at, Side::Leader));
            }
        }
        if leader == at {
            while let Some(outgoing) = connection.feed.next_outgoing() {
                let Some(message) = read(&mut connection.feed, outgoing) else { continue };
                let delay = self.network.delay(&self.random, leader, follower);
                connection.down_at = connection.down_at.max(now + delay);
                connection.down.push_back(message);
                arrivals.push((connection.down_at, Side::Follower));
            }
        }
        for (when, to) in arrivals {
            self.future.plan(when, Event::Arrive { connection: number, to });
        }
    }

    /// The next message of a stream arrives, unless the way is blocked: then it waits.
    pub(super) fn arrive(&mut self, number: u64, to: Side) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let (leader, follower) = (connection.leader, connection.follower);
        let (sender, receiver) = match to {
            Side::Leader => (follower, leader),
            Side::Follower => (leader, follower),
        };
        if !self.network.is_open(sender, receiver) {
            return self.plan_in(50, Event::Arrive { connection: number, to });
        }
        match to {
            Side::Leader => {
                let Some(message) = connection.up.pop_front() else { return };
                let partition = match &message {
                    FollowerMessage::Follow { partition, .. } => self.nodes[leader]
                        .process
                        .as_ref()
                        .and_then(|process| process.partitions.get(partition.partition.0 as usize).cloned()),
                    _ => None,
                };
                connection.feed.hear(message, partition);
            }
            Side::Follower => {
                let Some(message) = connection.down.pop_front() else { return };
                let time = self.nodes[follower].clock.monotonic();
                if connection.tail.hear(message, time).is_err() {
                    self.refused_words += 1;
                }
            }
        }
        self.touched(receiver);
    }

    pub(super) fn receiver(&self, number: u64, to: Side) -> Option<usize> {
        let connection = self.connections.get(&number)?;
        Some(match to {
            Side::Leader => connection.leader,
            Side::Follower => connection.follower,
        })
    }
}

/// What goes out: bytes are copied, as a socket copies them.
fn read(feed: &mut Feed, outgoing: Outgoing) -> Option<LeaderMessage> {
    let (slot, share) = match outgoing {
        Outgoing::Message(message) => return Some(message),
        Outgoing::Batches { slot, share } => (slot, share),
    };
    let plan = share.plan?;
    match plan.read() {
        Ok(slice) if share.doubted && !is_sound(&slice.bytes) => {
            feed.unreadable(slot, slice.next);
            None
        }
        Ok(slice) => {
            feed.sent(slot, slice.next, slice.bytes.len());
            let records = Bytes::copy_from_slice(&slice.bytes);
            let (epoch, high_watermark, log_start) = (share.epoch, share.high_watermark, share.log_start);
            Some(LeaderMessage::Batches { slot, epoch, high_watermark, log_start, from: share.from, records })
        }
        Err(highwater_log::ReadError::Moved) => {
            feed.unread(slot);
            None
        }
        Err(_) => {
            feed.unreadable(slot, share.from.advance(1));
            None
        }
    }
}
