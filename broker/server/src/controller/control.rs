//! Finding the controller, and asking it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use highwater_core::metadata::{Command, Outcome, Refusal};
use highwater_proto::{BrokerEpoch, BrokerId};
use highwater_raft_store::{MembershipError, RaftNode, RaftStatus};
use thiserror::Error;
use tokio::time::Instant;

use super::decisions::Decider;
use super::request::{Answer, Members, Request, Standing};
use crate::peer::{CallError, Kind, Peers};

/// One call has this long: more than [`highwater_raft_store::RaftConfig::majority_patience`], whose refusal says why.
const CALL_WAIT: Duration = Duration::from_secs(3);
/// Without a controller, or with one that has just changed, it is looked for again after this long.
const LOOK_AGAIN: Duration = Duration::from_millis(30);
/// A controller that was replaced while it decided has this long to say how.
const LAST_ANSWER_WAIT: Duration = Duration::from_millis(200);
/// What was decided elsewhere has this long to arrive here.
const APPLY_WAIT: Duration = Duration::from_secs(5);

/// Why a change of the metadata has no outcome.
#[derive(Debug, Error)]
pub enum SubmitError {
    /// It is not legal.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The controller would not do it at all.
    #[error("{reason}")]
    Impossible {
        /// Why.
        reason: String,
    },
    /// There was no controller in time. Nothing was done.
    #[error("there is no controller: too few brokers of the cluster can be reached (waited {waited:?})")]
    NoController {
        /// For so long.
        waited: Duration,
    },
    /// It was asked and its answer was lost: it may or may not have been done.
    #[error("the controller changed while it decided: the change may or may not have been made")]
    Unknown,
}

/// The way to the controller, wherever it is.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    raft: RaftHandle,
    decider: Arc<Decider>,
    peers: Arc<Peers>,
}

/// A node of Raft that can be shown.
#[derive(Clone)]
struct RaftHandle(RaftNode);

impl std::fmt::Debug for RaftHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftNode").field("status", &*self.0.status().borrow()).finish()
    }
}

impl Control {
    pub(crate) fn new(raft: RaftNode, decider: Arc<Decider>, peers: Arc<Peers>) -> Control {
        Control { raft: RaftHandle(raft), decider, peers }
    }

    /// What this node knows of Raft.
    pub(crate) fn status(&self) -> RaftStatus {
        self.raft.0.status().borrow().clone()
    }

    /// The node of Raft itself.
    pub(crate) fn raft(&self) -> &RaftNode {
        &self.raft.0
    }

    /// The decisions of this node.
    pub(crate) fn decider(&self) -> &Arc<Decider> {
        &self.decider
    }

    /// Connections to other brokers.
    pub(crate) fn peers(&self) -> &Arc<Peers> {
        &self.peers
    }

    /// Has a change decided, and waits until it is visible here.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub(crate) async fn submit(&self, command: Command, patience: Duration) -> Result<Outcome, SubmitError> {
        // What may be asked twice without harm is asked again when an answer is lost.
        let repeatable = is_repeatable(&command);
        match self.ask(&Request::Submit(command), patience, repeatable).await? {
            Answer::Decided { index, result } => {
                let _ = tokio::time::timeout(APPLY_WAIT, self.raft.0.wait_applied(index)).await;
                Ok(result?)
            }
            Answer::Refused { reason } => Err(SubmitError::Impossible { reason }),
            _ => Err(SubmitError::Unknown),
        }
    }

    /// Changes the nodes of Raft.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub(crate) async fn change_members(
        &self,
        members: Members,
        patience: Duration,
    ) -> Result<(), SubmitError> {
        match self.ask(&Request::Members(members), patience, true).await? {
            Answer::Changed => Ok(()),
            Answer::Refused { reason } => Err(SubmitError::Impossible { reason }),
            _ => Err(SubmitError::Unknown),
        }
    }

    /// Tells the controller that a broker is alive, and up to where it has carried the metadata out.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub(crate) async fn heartbeat(
        &self,
        broker: BrokerId,
        epoch: BrokerEpoch,
        applied: u64,
        patience: Duration,
    ) -> Result<Standing, SubmitError> {
        match self.ask(&Request::Heartbeat { broker, epoch, applied }, patience, true).await? {
            Answer::Heard(standing) => Ok(standing),
            _ => Err(SubmitError::Unknown),
        }
    }

    /// Answers a request as the controller, if this node is it.
    pub(crate) async fn answer(&self, request: Request) -> Answer {
        match request {
            Request::Submit(command) => self.decider.submit(command).await,
            Request::Heartbeat { broker, epoch, applied } => {
                self.decider.heartbeat(broker, epoch, applied).await
            }
            Request::Members(members) => self.change(members).await,
            Request::Nodes if !self.status().is_leader => Answer::NotController { leader: None },
            Request::Nodes => {
                let nodes = self.status().replication.into_iter();
                let known = |(id, matched)| Some((BrokerId(i32::try_from(id).ok()?), matched));
                Answer::Nodes(nodes.filter_map(known).collect())
            }
            Request::Describe(_) | Request::Recall(_) => {
                Answer::Refused { reason: "a broker is asked for this, and not the controller".to_owned() }
            }
        }
    }

    /// Asks the controller what only it knows.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub(crate) async fn ask_controller(
        &self,
        request: Request,
        patience: Duration,
    ) -> Result<Answer, SubmitError> {
        self.ask(&request, patience, true).await
    }

    async fn ask(
        &self,
        request: &Request,
        patience: Duration,
        repeatable: bool,
    ) -> Result<Answer, SubmitError> {
        let body = serde_json::to_vec(request).expect("a request is plain data");
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(SubmitError::NoController { waited: patience });
            }
            let asking: BoxFuture<'_, _> = Box::pin(self.ask_once(request, &body, left.min(CALL_WAIT)));
            let answer = tokio::select! {
                answer = tokio::time::timeout(left, asking) => answer,
                () = self.until_replaced(repeatable) => Ok(Some(Answer::Unknown)),
            };
            match answer {
                Err(_) if repeatable => return Err(SubmitError::NoController { waited: patience }),
                Err(_) => return Err(SubmitError::Unknown),
                Ok(Some(Answer::Unknown)) if !repeatable => return Err(SubmitError::Unknown),
                Ok(None | Some(Answer::NotController { .. } | Answer::Unknown)) => {
                    tokio::time::sleep(LOOK_AGAIN.min(left)).await;
                }
                Ok(Some(answer)) => return Ok(answer),
            }
        }
    }

    /// Waits until another node leads than the one that is asked now: a controller that is stopped or cut off never answers.
    /// What must not be asked twice is given a moment more, since the answer may be on its way.
    async fn until_replaced(&self, repeatable: bool) {
        let mut status = self.raft.0.status();
        let asked = status.borrow_and_update().leader;
        let ended = status.wait_for(|now| now.leader.is_some() && now.leader != asked).await.is_err();
        // Without a leader nobody may have been asked yet.
        if ended || (asked.is_none() && !repeatable) {
            return std::future::pending().await;
        }
        if !repeatable {
            tokio::time::sleep(LAST_ANSWER_WAIT).await;
        }
    }

    /// One attempt; `None` if nobody could be asked.
    async fn ask_once(&self, request: &Request, body: &[u8], patience: Duration) -> Option<Answer> {
        let status = self.status();
        let Some(leader) = status.leader else { return self.ask_around(&status, body, patience).await };
        if leader == status.id {
            let answer = self.answer(request.clone()).await;
            return match answer {
                // It led once, and nobody tells it who does now.
                Answer::NotController { .. } => {
                    self.ask_around(&status, body, patience).await.or(Some(answer))
                }
                answer => Some(answer),
            };
        }
        let address = status.voters.get(&leader).or_else(|| status.learners.get(&leader))?;
        let to = BrokerId(i32::try_from(leader).ok()?);
        self.call(to, address, body, patience).await
    }

    /// Nobody tells this node who leads: it may have been removed without hearing of it. Others know.
    async fn ask_around(&self, status: &RaftStatus, body: &[u8], patience: Duration) -> Option<Answer> {
        for (id, address) in status.voters.iter().filter(|(id, _)| **id != status.id) {
            let Ok(id) = i32::try_from(*id).map(BrokerId) else { continue };
            match self.call(id, address, body, patience).await {
                Some(Answer::NotController { leader: Some((leader, address)) })
                    if leader.0 as u64 != status.id =>
                {
                    return self.call(leader, &address, body, patience).await;
                }
                None | Some(Answer::NotController { .. }) => {}
                answer => return answer,
            }
        }
        None
    }

    async fn call(&self, to: BrokerId, address: &str, body: &[u8], patience: Duration) -> Option<Answer> {
        match self.peers.call(to, address, Kind::Control, body, patience).await {
            Ok(answer) => serde_json::from_slice(&answer).ok(),
            // It was never sent.
            Err(CallError::Dial(_)) => None,
            Err(CallError::Refused { reason, .. }) => Some(Answer::Refused { reason }),
            Err(CallError::TimedOut { .. } | CallError::Broken { .. }) => Some(Answer::Unknown),
        }
    }

    /// Whether this node leads and is about to lose its vote, though others could lead.
    fn must_step_aside(&self, node: BrokerId) -> bool {
        let status = self.status();
        status.is_leader && status.id == node.0 as u64 && status.voters.len() > 1
    }

    /// Hands the lead over, so that the next leader carries out what was asked of this one.
    async fn step_aside(&self) -> Answer {
        let status = self.status();
        let others = status.voters.keys().filter(|id| **id != status.id);
        if let Some(next) = others.max_by_key(|id| status.replication.get(id).copied().flatten()) {
            let _ = self.raft.0.transfer_leader(*next).await;
        }
        Answer::NotController { leader: None }
    }

    async fn change(&self, members: Members) -> Answer {
        let id = |id: BrokerId| u64::try_from(id.0).unwrap_or(0);
        let raft = &self.raft.0;
        let voters = || -> std::collections::BTreeSet<u64> { self.status().voters.keys().copied().collect() };
        let changed = match members {
            Members::AddLearner { id: node, address } => raft.add_learner(id(node), &address).await,
            Members::AddVoter { id: node } => {
                let mut voters = voters();
                voters.insert(id(node));
                raft.change_voters(voters).await
            }
            Members::RemoveVoter { id: node } if self.must_step_aside(node) => {
                return self.step_aside().await;
            }
            Members::RemoveVoter { id: node } => raft.demote(id(node)).await,
            Members::RemoveBroker { id: node } if self.must_step_aside(node) => {
                return self.step_aside().await;
            }
            Members::RemoveBroker { id: node } => {
                // The metadata first: it refuses while the broker holds anything.
                match self.decider.submit(Command::RemoveBroker { broker: node }).await {
                    Answer::Decided { result: Ok(_), .. } => raft.remove(id(node)).await,
                    Answer::Decided { result: Err(refusal), .. } => {
                        return Answer::Refused { reason: refusal.to_string() };
                    }
                    other => return other,
                }
            }
        };
        match changed {
            Ok(()) => Answer::Changed,
            // One that joins may know no other member than this one.
            Err(MembershipError::NotLeader { leader }) => {
                let known = leader.and_then(|(id, at)| Some((BrokerId(i32::try_from(id).ok()?), at)));
                Answer::NotController { leader: known }
            }
            Err(error) => Answer::Refused { reason: error.to_string() },
        }
    }
}

fn is_repeatable(command: &Command) -> bool {
    match command {
        Command::FormCluster { .. }
        | Command::RegisterBroker { .. }
        | Command::Unfence { .. }
        | Command::Fence { .. }
        | Command::ControlledShutdown { .. }
        | Command::ReportUnclean { .. }
        | Command::Drain { .. }
        | Command::CancelDrain { .. }
        | Command::RaiseMetadataVersion { .. }
        | Command::TakeBrokerId
        | Command::TakeProducerIds => true,
        Command::AlterPartition { .. }
        | Command::ElectLeaders { .. }
        | Command::Reassign { .. }
        | Command::RemoveBroker { .. }
        | Command::CreateTopic { .. }
        | Command::DeleteTopic { .. }
        | Command::AddPartitions { .. }
        | Command::AlterConfigs { .. }
        | Command::ReplaceConfigs { .. } => false,
    }
}
