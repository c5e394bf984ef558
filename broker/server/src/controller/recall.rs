//! What the others remember of a broker that is about to start, and whether it may.
//!
//! Raft counts on disks: who confirmed an entry or gave a vote still knows it after a restart. A voter that comes back with
//! an empty directory, or with an older copy of its own, forgot some of that, and its next vote could undo what the cluster
//! acknowledged. So a broker asks before its Raft starts. Its own directory cannot tell whether it is empty because the
//! cluster is new; the others can: any of them that was founded and went on proves that there is a cluster. An entry that the
//! missing disk helped to commit is on so many others that a majority of them includes one that has it.
//!
//! Not here: a vote that was given and then forgotten by a copy that holds every entry nonetheless. Nobody else knows of it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use highwater_proto::{BrokerEpoch, BrokerId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::service::Services;

/// A majority confirms who the controller is within this time, or there is none.
const CONFIRM_WAIT: Duration = Duration::from_millis(500);

/// What one broker knows of another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recollection {
    /// The last entry of the metadata log where it was asked; `None` and 0 know of nothing but, at most, the founders.
    pub(crate) log_end: Option<u64>,
    /// Whether the cluster was formed, as far as it is known there.
    pub(crate) is_formed: bool,
    /// How the broker is registered.
    pub(crate) registered: Option<Registered>,
    /// Whether it is one of the first voters, and never registered.
    pub(crate) is_expected: bool,
    /// From the controller, after a majority confirmed that it is that.
    pub(crate) confirmed: Option<Confirmed>,
    /// The controller and where it is, as far as it is known there.
    pub(crate) controller: Option<(BrokerId, String)>,
}

/// A registration that is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registered {
    /// The disk that it named.
    pub(crate) disk_id: String,
    /// Its last life.
    pub(crate) epoch: BrokerEpoch,
    /// Its last life that may have acknowledged something.
    pub(crate) served_epoch: Option<BrokerEpoch>,
}

/// What only the controller can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confirmed {
    /// Everything that was ever confirmed is at most here.
    pub(crate) index: u64,
    /// The last entry that the broker confirmed to it.
    pub(crate) matched: Option<u64>,
}

/// What the broker's own directory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) id: BrokerId,
    pub(crate) data_dir: PathBuf,
    pub(crate) disk_id: String,
    /// The last life that registered from it.
    pub(crate) last_epoch: Option<BrokerEpoch>,
    /// The last entry of the metadata log.
    pub(crate) log_end: Option<u64>,
    /// It was given its id by the cluster, and is told everything before it may get a vote.
    pub(crate) joins: bool,
}

/// Whether a broker may start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It has its memory, as far as the others can tell.
    GoOn,
    /// Nobody knows of a cluster: it founds it with the others.
    Found,
    /// The cluster was founded without it. Until it has applied this entry it must not vote.
    CatchUp {
        /// The entry.
        index: u64,
    },
    /// More must be known.
    Wait {
        /// What for.
        what: String,
    },
}

/// Why a broker must not start from its directory.
#[derive(Debug, PartialEq, Eq, Error)]
#[error(
    "broker {broker} must not start from {}: {forgotten} (says {witness}). If it took part again, what it had confirmed \
     could be lost. Nothing was deleted, and the cluster is as it was. Start it from the directory it had last. If that is \
     lost, replace the broker: start a new one from an empty directory with cluster.join in place of cluster.voters, it gets \
     an id of its own; then `highwater cluster decommission {broker} --wait`, `highwater cluster voters add` for the new one, \
     and `highwater cluster decommission {broker} --remove`",
    directory.display()
)]
pub struct RecallError {
    /// Who must not start.
    pub broker: BrokerId,
    /// From where.
    pub directory: PathBuf,
    /// Who remembers.
    pub witness: String,
    /// What the directory does not hold.
    pub forgotten: Forgotten,
}

/// What a directory lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// The metadata log is empty, and the broker is a member of the cluster.
    Everything {
        /// The disk that it was registered with.
        disk_id: String,
    },
    /// It is another disk than the one registered.
    OtherDisk {
        /// The disk of this directory.
        here: String,
        /// The disk that the broker was registered with.
        registered: String,
    },
    /// It is a copy from before the broker's last life.
    Life {
        /// The last life that the directory knows.
        here: Option<BrokerEpoch>,
        /// The life that served.
        served: BrokerEpoch,
    },
    /// The metadata log ends before what the broker confirmed.
    Entries {
        /// Its last entry.
        here: Option<u64>,
        /// What was confirmed.
        confirmed: u64,
    },
    /// The cluster gave nobody this id, or took it back.
    Id,
}

impl fmt::Display for Forgotten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Forgotten::Everything { disk_id } => write!(
                f,
                "it holds no metadata log, but the cluster knows this broker, with disk {disk_id}: the directory was \
                 emptied, or another one is in its place"
            ),
            Forgotten::OtherDisk { here, registered } => write!(
                f,
                "it is disk {here}, but the cluster knows this broker with disk {registered}: another broker has this id, or \
                 the directory is another one's"
            ),
            Forgotten::Life { here, served } => {
                let here = here.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string());
                write!(
                    f,
                    "it is an older copy: the last life it knows is {here}, but the broker has served in life {served} since"
                )
            }
            Forgotten::Entries { here, confirmed } => {
                let here = here.map_or_else(|| "nothing".to_owned(), |index| format!("entry {index}"));
                write!(
                    f,
                    "it is an older copy: its metadata log ends with {here}, but the broker has confirmed entry {confirmed}"
                )
            }
            Forgotten::Id => write!(
                f,
                "it holds no metadata log, there is a cluster already, and the cluster has no broker of this id: it was \
                 removed, or never given"
            ),
        }
    }
}

impl Own {
    /// Whether this directory was never told anything. One that founded the cluster and knows no more than that is not:
    /// it has its vote, and the others may wait for it.
    pub(crate) fn is_blank(&self) -> bool {
        self.log_end.is_none()
    }

    fn refused(&self, witness: &str, forgotten: Forgotten) -> RecallError {
        let (broker, directory) = (self.id, self.data_dir.clone());
        RecallError { broker, directory, witness: witness.to_owned(), forgotten }
    }

    /// What this directory should know by what somebody remembers, and does not.
    fn forgotten(&self, memory: &Recollection) -> Option<Forgotten> {
        if let Some(registered) = &memory.registered {
            if self.is_blank() {
                return Some(Forgotten::Everything { disk_id: registered.disk_id.clone() });
            }
            if let Some(served) = registered.served_epoch.filter(|served| Some(*served) > self.last_epoch) {
                return Some(Forgotten::Life { here: self.last_epoch, served });
            }
            // One that remembers an earlier life only may name a disk from before.
            if registered.disk_id != self.disk_id && Some(registered.epoch) >= self.last_epoch {
                let (here, registered) = (self.disk_id.clone(), registered.disk_id.clone());
                return Some(Forgotten::OtherDisk { here, registered });
            }
        }
        let confirmed = memory.confirmed.and_then(|confirmed| confirmed.matched);
        confirmed
            .filter(|confirmed| !self.is_blank() && Some(*confirmed) > self.log_end)
            .map(|confirmed| Forgotten::Entries { here: self.log_end, confirmed })
    }
}

/// Judges by what the others said. `others` is how many other first voters there are; with none there is nobody to ask.
///
/// # Errors
/// [`RecallError`]: somebody remembers what this directory does not.
pub(crate) fn judge(
    own: &Own,
    others: usize,
    memories: &[(String, Recollection)],
) -> Result<Judgement, RecallError> {
    for (witness, memory) in memories {
        if let Some(forgotten) = own.forgotten(memory) {
            return Err(own.refused(witness, forgotten));
        }
    }
    if !own.is_blank() || own.joins {
        return Ok(Judgement::GoOn);
    }
    let Some((witness, _)) = memories.iter().find(|(_, memory)| memory.log_end > Some(0)) else {
        let needed = if others == 0 { 0 } else { others / 2 + 1 };
        if memories.len() >= needed {
            return Ok(Judgement::Found);
        }
        let what = format!(
            "{} of the {others} other first brokers answer, and {needed} must: without them this broker, whose directory is \
             empty, cannot know whether there is a cluster already",
            memories.len()
        );
        return Ok(Judgement::Wait { what });
    };
    let confirmed = memories.iter().find_map(|(at, memory)| Some((at, memory, memory.confirmed?)));
    match confirmed {
        Some((_, memory, Confirmed { index, .. })) if memory.is_expected => Ok(Judgement::CatchUp { index }),
        Some((at, memory, _)) if memory.is_formed => Err(own.refused(at, Forgotten::Id)),
        _ => {
            let what = format!(
                "{witness} belongs to a cluster; its controller must say whether this broker, whose directory is empty, was \
                 a member before, and there is none now"
            );
            Ok(Judgement::Wait { what })
        }
    }
}

/// What this broker remembers of another one.
pub(crate) async fn recollect(services: &Services, broker: BrokerId) -> Recollection {
    let control = &services.control;
    // The confirmation comes first: what is read after it is at least as new.
    let status = control.status();
    let index = if status.is_leader {
        tokio::time::timeout(CONFIRM_WAIT, control.raft().linearize()).await.ok().and_then(Result::ok)
    } else {
        None
    };
    let status = control.status();
    let image = services.image();
    let node = u64::try_from(broker.0).ok();
    let matched = node.and_then(|node| status.replication.get(&node).copied().flatten());
    // Everything confirmed to earlier controllers and committed is before the entry that this one led with.
    let end = status.last_log_index.unwrap_or(0);
    let known = image.broker(broker);
    let votes = node.is_some_and(|node| status.voters.contains_key(&node));
    let controller = status.leader.and_then(|leader| {
        let address = status.voters.get(&leader)?;
        Some((BrokerId(i32::try_from(leader).ok()?), address.clone()))
    });
    Recollection {
        log_end: status.last_log_index,
        is_formed: image.cluster().is_some(),
        registered: known.map(|known| Registered {
            disk_id: known.disk_id.clone(),
            epoch: known.epoch,
            served_epoch: known.served_epoch,
        }),
        is_expected: votes && image.unregistered_ids().contains(&broker),
        confirmed: index.map(|index| Confirmed { index: index.max(end), matched }),
        controller,
    }
}

#[cfg(test)]
#[path = "recall_tests.rs"]
mod tests;
