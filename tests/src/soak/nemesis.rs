//! Works through the schedule: installs, holds, heals, and waits until everything is in sync again.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::class::Class;
use super::cluster::{Cluster, SETTLE_MAX};
use super::faults::Installed;
use super::schedule::{Episode, Planned, Schedule};
use crate::history::{Fault, Minority};

/// A fault whose target was not there is tried again so often.
const TRIES: u32 = 3;
/// A cluster that is stuck is given up after so many episodes in a row.
const STUCK_MAX: u32 = 2;

/// A fault that was installed, from beginning to end. Times are microseconds since the start of the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Struck {
    pub(super) class: String,
    pub(super) detail: String,
    /// Another fault was installed at the same time.
    pub(super) joined: bool,
    pub(super) installed_us: u64,
    pub(super) healed_us: u64,
    /// When everything was in sync again.
    pub(super) settled_us: Option<u64>,
}

/// What the nemesis did, and what the cluster could not cope with.
#[derive(Clone, Debug, Default)]
pub(super) struct Deeds {
    pub(super) struck: Vec<Struck>,
    /// Faults that were not installed, with the reason.
    pub(super) skipped: Vec<(Class, String)>,
    /// What a cluster must not do: stay out of sync, not stop, not let a broker join.
    pub(super) problems: Vec<String>,
}

/// Disturbs a cluster.
pub(super) struct Nemesis<'a> {
    pub(super) cluster: &'a mut Cluster,
    pub(super) deeds: Deeds,
    stuck: u32,
}

impl<'a> Nemesis<'a> {
    pub(super) fn new(cluster: &'a mut Cluster) -> Nemesis<'a> {
        Nemesis { cluster, deeds: Deeds::default(), stuck: 0 }
    }

    /// Strikes until the time is over, or the cluster is beyond help.
    pub(super) async fn strike(&mut self, mut schedule: Schedule, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time && self.stuck < STUCK_MAX {
            let Episode { first, second, quiet } = schedule.next();
            let from = self.deeds.struck.len();
            let done = match first.class {
                Class::LostDisk | Class::RollingRestart | Class::Membership | Class::LeaderTransfer => {
                    self.proceed(first).await
                }
                _ => self.disturb(first, second).await,
            };
            if let Err(error) = done {
                self.problem(format!("{}: {error:#}", first.class.name()));
            }
            self.settle(from).await;
            if let Err(error) = self.cluster.hold(quiet).await {
                self.problem(format!("a broker that ended cannot be started: {error:#}"));
            }
        }
    }

    /// One fault, or two at a time.
    async fn disturb(&mut self, first: Planned, second: Option<Planned>) -> Result<()> {
        let Some((at, struck)) = self.install(first, &[], second.is_some()).await else { return Ok(()) };
        let Some(second) = second else {
            self.cluster.hold(first.lasts).await?;
            return self.heal(at, &struck);
        };
        self.cluster.hold(first.lasts / 2).await?;
        let joining = self.install(second, &struck.slots, true).await;
        self.cluster.hold(second.lasts).await?;
        let healed = self.heal(at, &struck);
        if let Some((at, joining)) = joining {
            self.heal(at, &joining)?;
        }
        healed
    }

    /// Installs a fault; its place among the deeds. Nothing if it could not be.
    async fn install(
        &mut self,
        planned: Planned,
        busy: &[usize],
        joined: bool,
    ) -> Option<(usize, Installed)> {
        let mut reason = String::new();
        for attempt in 0..TRIES {
            // Whoever is tried next, or however: two followers may have nothing to say to each other.
            let planned = planned.shifted(attempt);
            let installed_us = self.cluster.recording.now_us();
            match self.cluster.install(planned, busy).await {
                Ok(struck) => {
                    let minority = if joined { Minority::No } else { struck.minority };
                    self.note(planned.class, &struck.detail, Fault::Installed, minority);
                    let at = self.begin(planned.class, struck.detail.clone(), joined, installed_us);
                    return Some((at, struck));
                }
                Err(error) => reason = format!("{error:#}"),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        eprintln!("  {} skipped: {reason}", planned.class.name());
        self.note(planned.class, &reason, Fault::Skipped, Minority::Yes);
        self.deeds.skipped.push((planned.class, reason));
        None
    }

    fn heal(&mut self, at: usize, struck: &Installed) -> Result<()> {
        let undone = self.cluster.undo(&struck.undo);
        self.end(at);
        undone
    }

    /// A procedure: it is one fault from its first step to its last, and counts if it came to its end.
    async fn proceed(&mut self, planned: Planned) -> Result<()> {
        let began = self.cluster.recording.now();
        let at = self.begin(planned.class, String::new(), false, self.cluster.recording.now_us());
        let done = match planned.class {
            Class::RollingRestart => self.cluster.rolling_restart().await,
            Class::LeaderTransfer => self.cluster.transfer_leaders().await,
            Class::Membership => self.cluster.change_members(planned).await,
            Class::LostDisk => self.cluster.lose_a_disk(planned).await,
            other => unreachable!("{} is not a procedure", other.name()),
        };
        let name = planned.class.name();
        match done {
            Ok(detail) => {
                let recorder = &self.cluster.recording.recorder;
                recorder.nemesis(began, name, detail.clone(), Fault::Installed, Minority::No);
                self.deeds.struck[at].detail = detail;
                self.end(at);
                Ok(())
            }
            Err(error) => {
                self.note(planned.class, &format!("{error:#}"), Fault::Indeterminate, Minority::No);
                self.deeds.struck.truncate(at);
                Err(error)
            }
        }
    }

    fn begin(&mut self, class: Class, detail: String, joined: bool, installed_us: u64) -> usize {
        eprintln!("{:>7.1} s  {} {detail}", installed_us as f64 / 1e6, class.name());
        let class = class.name().to_owned();
        let healed_us = installed_us;
        self.deeds.struck.push(Struck { class, detail, joined, installed_us, healed_us, settled_us: None });
        self.deeds.struck.len() - 1
    }

    fn end(&mut self, at: usize) {
        let recording = &self.cluster.recording;
        let struck = &mut self.deeds.struck[at];
        struck.healed_us = recording.now_us();
        let detail = struck.detail.clone();
        recording.recorder.nemesis(recording.now(), &struck.class, detail, Fault::Healed, Minority::Yes);
    }

    fn note(&self, class: Class, detail: &str, fault: Fault, minority: Minority) {
        let recording = &self.cluster.recording;
        recording.recorder.nemesis(recording.now(), class.name(), detail.to_owned(), fault, minority);
    }

    /// Everything is in sync again; for the deeds from `from` on.
    async fn settle(&mut self, from: usize) {
        match self.cluster.settle(SETTLE_MAX).await {
            Ok(took) => {
                self.stuck = 0;
                let now = self.cluster.recording.now_us();
                for struck in &mut self.deeds.struck[from..] {
                    struck.settled_us = Some(now);
                }
                eprintln!("{:>7.1} s    in sync after {took:.1?}", now as f64 / 1e6);
            }
            Err(error) => {
                self.stuck += 1;
                let last = self.deeds.struck.last().map_or("start", |struck| struck.class.as_str());
                let topic = self.cluster.caller.topic().await;
                let partitions = topic.map(|topic| topic.partitions);
                self.problem(format!("after {last}: {error:#}; partitions: {partitions:?}"));
            }
        }
    }

    fn problem(&mut self, problem: String) {
        eprintln!("  PROBLEM: {problem}");
        let at = self.cluster.recording.now_us() as f64 / 1e6;
        self.deeds.problems.push(format!("at {at:.1} s: {problem}"));
    }
}
