//! What operators do to a cluster at work: restarts in turn, brokers that come and go, leaderships that move.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use highwater_client::{
    BrokerChange, BrokerId, BrokerState, BrokerStatus, ClusterStatus, Election, Move, NodeRole,
};
use rustix::process::Signal;

use super::admin::TOPIC;
use super::class::Class;
use super::cluster::{Cluster, LOOK_AGAIN, SETTLE_MAX};
use super::disk::unmount_all;
use super::faults::pick;
use super::network::SLOTS;
use super::schedule::Planned;

/// A broker that is told to stop does within this time.
const STOP_PATIENCE: Duration = Duration::from_secs(40);
/// Moving replicas, and agreeing on members, takes no longer.
pub(super) const CHANGE_PATIENCE: Duration = Duration::from_secs(120);
const TRANSFER_PATIENCE: Duration = Duration::from_secs(20);

impl Cluster {
    /// Stops a broker in order. Seen: exit code 0.
    pub(super) async fn stop_in_order(&mut self, slot: usize) -> Result<()> {
        let member = self.member(slot)?;
        let process = member.process.take().context("a broker to be stopped runs")?;
        process.signal(Signal::TERM)?;
        let began = Instant::now();
        while process.end().is_none() && began.elapsed() < STOP_PATIENCE {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        match process.end() {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("the broker on host {} was told to stop: {status}", slot + 1),
            None => {
                process.kill()?;
                bail!("the broker on host {} did not stop within {STOP_PATIENCE:?} of SIGTERM", slot + 1)
            }
        }
    }

    /// Each broker in turn.
    pub(super) async fn rolling_restart(&mut self) -> Result<String> {
        let slots: Vec<usize> = self.members.keys().copied().collect();
        for slot in &slots {
            let id = self.id(*slot)?;
            let before = epoch(&self.caller.status().await?, id);
            self.stop_in_order(*slot).await?;
            self.start_member(*slot)?;
            self.until("a restarted broker to be registered again", SETTLE_MAX, |status| {
                epoch(status, id) > before
            })
            .await?;
            self.settle(SETTLE_MAX).await?;
        }
        Ok(format!("{} brokers", slots.len()))
    }

    /// Every partition's replicas in another order, and then the first of them leads. Seen: it does.
    pub(super) async fn transfer_leaders(&mut self) -> Result<String> {
        let topic = self.caller.topic().await?;
        let moves: Vec<Move> = topic
            .partitions
            .iter()
            .map(|partition| {
                let mut replicas = partition.replicas.clone();
                let at = partition.leader.and_then(|leader| replicas.iter().position(|id| *id == leader));
                replicas.rotate_left((at.unwrap_or(0) + 1) % partition.replicas.len().max(1));
                Move { topic: TOPIC.to_owned(), partition: partition.partition, replicas: Some(replicas) }
            })
            .collect();
        let outcomes = {
            let moves = &moves;
            self.caller.call("reassign", |admin| async move { admin.reassign(moves).await }).await?
        };
        for outcome in outcomes {
            outcome.result.with_context(|| format!("reassign {}-{}", outcome.topic, outcome.partition))?;
        }
        let began = Instant::now();
        loop {
            self.tend()?;
            let elected = self
                .caller
                .call("elect", |admin| async move { admin.elect_leaders(Election::Preferred, &[]).await });
            // Whoever is not elected now is asked for again.
            let _ = elected.await;
            let topic = self.caller.topic().await?;
            let right = |one: &Move| {
                let at = usize::try_from(one.partition.0).ok()?;
                let first = *one.replicas.as_ref()?.first()?;
                Some(topic.partitions.get(at)?.leader? == first)
            };
            let right = moves.iter().filter(|one| right(one) == Some(true)).count();
            if right == moves.len() {
                return Ok(format!("{right} partitions"));
            }
            if began.elapsed() > TRANSFER_PATIENCE {
                bail!("after {TRANSFER_PATIENCE:?} {right} of {} preferred leaders lead", moves.len());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// A broker joins, another fault strikes, an old one is drained, loses its vote, stops and is removed.
    pub(super) async fn change_members(&mut self, planned: Planned) -> Result<String> {
        let old: Vec<usize> = self.members.keys().copied().collect();
        let free = (0..SLOTS).find(|slot| !old.contains(slot)).context("no host is free")?;
        let leaving = old[pick(planned.whom, old.len())];
        self.join(free, None)?;
        let (goes, comes) = (self.id(leaving)?, self.wait_for_its_number(free).await?);
        self.change(goes, BrokerChange::Drain, |status| broker(status, goes).is_some_and(|it| it.draining))
            .await?;
        self.disturb(planned, leaving).await?;
        self.until("a drained broker to hold nothing", CHANGE_PATIENCE, |status| {
            broker(status, goes).is_some_and(|it| it.replicas == 0)
        })
        .await?;
        self.swap_votes(comes, goes).await?;
        self.stop_in_order(leaving).await?;
        self.remove(goes).await?;
        self.members.remove(&leaving);
        let problems = unmount_all(&self.scratch.join(format!("disk-{}", leaving + 1)));
        if let Some(problem) = problems.first() {
            bail!("the disk of a removed broker: {problem}");
        }
        Ok(format!("broker {comes} on host {} for broker {goes} on host {}", free + 1, leaving + 1))
    }

    /// In the middle of it a broker that stays is killed, or paused, for a while.
    async fn disturb(&mut self, planned: Planned, leaving: usize) -> Result<()> {
        let class = if planned.how.is_multiple_of(2) { Class::Kill } else { Class::Pause };
        let struck = self.install(Planned { class, ..planned }, &[leaving]).await?;
        self.hold(planned.lasts).await?;
        self.undo(&struck.undo)
    }

    /// Waits until a broker that joins has a number and takes part.
    pub(super) async fn wait_for_its_number(&mut self, slot: usize) -> Result<i32> {
        let began = Instant::now();
        let id = loop {
            self.tend()?;
            if let Some(id) = self.member(slot)?.id() {
                break id;
            }
            if began.elapsed() > CHANGE_PATIENCE {
                bail!("the broker on host {} was given no number within {CHANGE_PATIENCE:?}", slot + 1);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        self.until("a broker that joins to be active", CHANGE_PATIENCE, |status| {
            broker(status, id).is_some_and(|it| it.state == BrokerState::Active)
        })
        .await?;
        Ok(id)
    }

    /// One broker votes, and another one no longer does.
    pub(super) async fn swap_votes(&mut self, comes: i32, goes: i32) -> Result<()> {
        let votes = |status: &ClusterStatus, id| broker(status, id).map(|it| it.role == NodeRole::Voter);
        self.change(comes, BrokerChange::AddVoter, |status| votes(status, comes) == Some(true)).await?;
        self.change(goes, BrokerChange::RemoveVoter, |status| votes(status, goes) != Some(true)).await
    }

    /// A broker that holds nothing and has stopped is removed for good.
    pub(super) async fn remove(&mut self, id: i32) -> Result<()> {
        self.change(id, BrokerChange::Remove, |status| broker(status, id).is_none()).await
    }

    /// Orders a change until it is seen.
    pub(super) async fn change(
        &mut self,
        id: i32,
        change: BrokerChange,
        is_seen: impl Fn(&ClusterStatus) -> bool,
    ) -> Result<()> {
        let began = Instant::now();
        let mut said = None;
        while began.elapsed() < CHANGE_PATIENCE {
            self.tend()?;
            if self.caller.status().await.is_ok_and(|status| is_seen(&status)) {
                return Ok(());
            }
            let call = |admin: highwater_client::Admin| async move {
                admin.change_broker(BrokerId(id), change).await
            };
            if let Err(error) = self.caller.call("change broker", call).await {
                said = Some(format!("{error:#}"));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        bail!("{change:?} of broker {id} is not seen after {CHANGE_PATIENCE:?}: {said:?}")
    }

    /// Waits until the cluster's status is as it should be.
    pub(super) async fn until(
        &mut self,
        what: &str,
        patience: Duration,
        is_so: impl Fn(&ClusterStatus) -> bool,
    ) -> Result<()> {
        let began = Instant::now();
        loop {
            self.tend()?;
            let status = self.caller.status().await;
            if status.as_ref().is_ok_and(&is_so) {
                return Ok(());
            }
            if began.elapsed() > patience {
                bail!("waited {patience:?} for {what}; the cluster says {status:?}");
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

pub(super) fn broker(status: &ClusterStatus, id: i32) -> Option<&BrokerStatus> {
    status.brokers.iter().find(|broker| broker.id == BrokerId(id))
}

fn epoch(status: &ClusterStatus, id: i32) -> i64 {
    broker(status, id).map_or(-1, |broker| broker.epoch)
}
