//! What brokers ask of the controller over the network, as JSON.

use std::collections::BTreeMap;

use highwater_core::metadata::{Command, Outcome, Refusal};
use highwater_proto::{BrokerEpoch, BrokerId, TopicPartition};
use serde::{Deserialize, Serialize};

use super::recall::Recollection;
use crate::service::PartitionDetails;

/// A request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// A change of the metadata.
    Submit(Command),
    /// A broker is alive.
    Heartbeat {
        /// Which.
        broker: BrokerId,
        /// In which life.
        epoch: BrokerEpoch,
        /// Up to which index it has carried the metadata out.
        applied: u64,
    },
    /// A change of the nodes of Raft.
    Members(Members),
    /// Not for the controller: what a leader knows of its partitions.
    Describe(Vec<TopicPartition>),
    /// What the controller knows of the nodes of Raft.
    Nodes,
    /// Not for the controller alone: what is known of a broker that is about to start.
    Recall(BrokerId),
}

/// What a heartbeat leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// The broker may lead what it leads.
    Serving,
    /// It is alive, and has not heard yet that others lead what it led: its lease is not renewed.
    Behind,
    /// It may neither lead nor be in sync.
    Fenced,
    /// It is of an earlier life, or not registered.
    Stale,
}

/// A change of Raft's nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Members {
    /// A node is to hear everything, without a vote.
    AddLearner {
        /// Its id.
        id: BrokerId,
        /// Where its peers reach it.
        address: String,
    },
    /// A learner that has caught up is to vote.
    AddVoter {
        /// Its id.
        id: BrokerId,
    },
    /// A voter is to vote no more, and stays as a learner.
    RemoveVoter {
        /// Its id.
        id: BrokerId,
    },
    /// A broker leaves for good: it must hold nothing.
    RemoveBroker {
        /// Its id.
        id: BrokerId,
    },
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It was decided.
    Decided {
        /// Everything up to here must be applied to see it.
        index: u64,
        /// What came of it.
        result: Result<Outcome, Refusal>,
    },
    /// The heartbeat was heard.
    Heard(Standing),
    /// The nodes changed.
    Changed,
    /// The nodes stay as they are.
    Refused {
        /// Why.
        reason: String,
    },
    /// Another node leads, perhaps this one. Nothing was done.
    NotController {
        /// Who leads and where.
        leader: Option<(BrokerId, String)>,
    },
    /// What this broker knows of the partitions, in the order of the request; `None` for those that it cannot serve.
    Described(Vec<Option<PartitionDetails>>),
    /// The last entry of the metadata log that each node is known to have.
    Nodes(BTreeMap<BrokerId, Option<u64>>),
    /// What is known of a broker here.
    Recalled(Recollection),
    /// The lead was lost on the way: it may or may not have been done.
    Unknown,
}
