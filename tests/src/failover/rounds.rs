//! One fault after the other: choose whom it hits, wait until every partition is written to again, mend, wait until whole.

#![expect(clippy::disallowed_methods, reason = "the bench takes real time")]

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use highwater_client::{Client, Election, TopicDescription};

use super::brokers::{Brokers, SIGCONT, SIGKILL, SIGSTOP};
use super::load::Load;

/// A partition that takes no write within this is counted with this.
const GIVE_UP: Duration = Duration::from_secs(30);
/// Replicas are in sync and preferred leaders lead within this after each round.
const WHOLE_WITHIN: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);
/// Between two rounds, so that nothing of the one is measured in the other.
const REST: Duration = Duration::from_millis(700);

/// Who is hit, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// `kill -9` of a broker that leads partitions and is not the controller.
    KillLeader,
    /// `kill -9` of the controller, which leads partitions too.
    KillController,
    /// SIGSTOP of a broker that leads partitions and is not the controller.
    StopLeader,
    /// SIGSTOP of the controller, which leads partitions too.
    StopController,
}

impl Class {
    /// All of them, in the order of the report.
    pub const ALL: [Class; 4] =
        [Class::KillLeader, Class::KillController, Class::StopLeader, Class::StopController];

    /// Its name on the command line and in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::KillLeader => "kill-leader",
            Class::KillController => "kill-controller",
            Class::StopLeader => "stop-leader",
            Class::StopController => "stop-controller",
        }
    }

    fn hits_controller(self) -> bool {
        matches!(self, Class::KillController | Class::StopController)
    }

    fn kills(self) -> bool {
        matches!(self, Class::KillLeader | Class::KillController)
    }
}

/// What is done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The topic that is written to.
    pub topic: String,
    /// How long a stopped broker stays stopped, at least.
    pub pause: Duration,
}

/// What one fault did.
#[derive(Clone, Debug)]
pub struct Round {
    /// What was done.
    pub class: Class,
    /// To whom.
    pub victim: i32,
    /// When, by the wall clock.
    pub at: SystemTime,
    /// The longest wait of a partition that the victim led.
    pub led: Duration,
    /// The longest wait of any partition.
    pub all: Duration,
    /// Errors that clients saw in this round.
    pub errors: u64,
}

/// A cluster under load, to which things are done.
#[derive(Debug)]
pub struct Rounds<'a> {
    /// The processes.
    pub brokers: &'a mut Brokers,
    /// How they are asked who leads.
    pub client: &'a Client,
    /// What is written meanwhile.
    pub load: &'a Load,
    /// What is done.
    pub plan: Plan,
    /// Victims are taken in turn.
    pub turn: usize,
}

impl Rounds<'_> {
    /// One round.
    ///
    /// # Errors
    /// The cluster did not become whole again, or cannot be asked.
    pub async fn run(&mut self, class: Class) -> Result<Round> {
        let topic = self.topic().await?;
        let victim = self.choose(class, &topic).await?;
        let led: Vec<bool> = topic
            .partitions
            .iter()
            .map(|partition| partition.leader.map(|id| id.0) == Some(victim))
            .collect();
        let errors = self.load.errors();
        self.load.clear();
        let at = SystemTime::now();
        let since = self.brokers.signal(victim, if class.kills() { SIGKILL } else { SIGSTOP })?;
        self.load.burst();
        let waits = self.wait_for_writes(since).await;
        let longest = |of: &dyn Fn(usize) -> bool| {
            let counted = waits.iter().enumerate().filter(|(partition, _)| of(*partition));
            counted.map(|(_, wait)| *wait).max().unwrap_or_default()
        };
        let (of_led, of_all) = (longest(&|partition| led[partition]), longest(&|_| true));
        if class.kills() {
            self.brokers.start_again(victim)?;
        } else {
            tokio::time::sleep(self.plan.pause.saturating_sub(since.elapsed())).await;
            self.brokers.signal(victim, SIGCONT)?;
        }
        self.wait_until_whole().await?;
        tokio::time::sleep(REST).await;
        let errors = self.load.errors() - errors;
        Ok(Round { class, victim, at, led: of_led, all: of_all, errors })
    }

    async fn topic(&self) -> Result<TopicDescription> {
        Ok(self.client.admin().describe_topic(&self.plan.topic).await?)
    }

    async fn choose(&mut self, class: Class, topic: &TopicDescription) -> Result<i32> {
        let controller = loop {
            if let Some(controller) = self.client.admin().cluster_status().await?.controller {
                break controller.0;
            }
            tokio::time::sleep(LOOK).await;
        };
        if class.hits_controller() {
            return Ok(controller);
        }
        let leads = |id: &i32| topic.partitions.iter().any(|p| p.leader.map(|leader| leader.0) == Some(*id));
        let others: Vec<i32> = self.brokers.ids().filter(|id| *id != controller).filter(leads).collect();
        self.turn += 1;
        others
            .get(self.turn % others.len().max(1))
            .copied()
            .context("nobody but the controller leads anything")
    }

    async fn wait_for_writes(&self, since: Instant) -> Vec<Duration> {
        loop {
            let first = self.load.first_after(since);
            if first.iter().all(Option::is_some) || since.elapsed() > GIVE_UP {
                return first.into_iter().map(|wait| wait.unwrap_or(GIVE_UP)).collect();
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until every replica is in sync and every partition is led by its first replica.
    ///
    /// # Errors
    /// It took too long.
    pub async fn wait_until_whole(&self) -> Result<()> {
        let began = Instant::now();
        let brokers = self.brokers.ids().count();
        while began.elapsed() < WHOLE_WITHIN {
            tokio::time::sleep(LOOK * 5).await;
            let Ok(topic) = self.topic().await else { continue };
            if !topic.partitions.iter().all(|partition| partition.in_sync_replicas.len() == brokers) {
                continue;
            }
            if topic
                .partitions
                .iter()
                .all(|partition| partition.leader.as_ref() == partition.replicas.first())
            {
                return Ok(());
            }
            // It is seen by the next look whether it worked.
            let _ = self.client.admin().elect_leaders(Election::Preferred, &[]).await;
        }
        bail!("the cluster was not whole again within {WHOLE_WITHIN:?}")
    }
}
