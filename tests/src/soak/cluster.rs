//! The brokers together: started, watched, waited for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::admin::Caller;
use super::disk::Disk;
use super::load::Recording;
use super::member::{Birth, Member};
use super::network::Network;

/// A cluster that was healed has everything in sync within this time, or it is stuck.
pub(super) const SETTLE_MAX: Duration = Duration::from_secs(90);
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(100);
const WORDS_KEPT: usize = 25;

/// A broker's process ended, and nobody had told it to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct UnaskedEnd {
    /// Microseconds since the start of the run.
    pub(super) at_us: u64,
    /// The host it ran on, counted from 1.
    pub(super) host: usize,
    /// How it ended.
    pub(super) how: String,
    /// What excuses it: a disk that had no room.
    pub(super) excuse: Option<String>,
    /// What it logged last.
    pub(super) last_words: Vec<String>,
}

/// The brokers, by the slot of their host.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) network: Network,
    pub(super) members: BTreeMap<usize, Member>,
    pub(super) caller: Caller,
    pub(super) recording: Arc<Recording>,
    pub(super) ends: Vec<UnaskedEnd>,
    pub(super) scratch: PathBuf,
    binary: PathBuf,
    disk_bytes: u64,
    generation: usize,
}

impl Cluster {
    /// Makes disks for the first brokers, starts them and waits until they serve.
    pub(super) async fn start(
        options: &super::Options,
        recording: Arc<Recording>,
        brokers: usize,
        disk_bytes: u64,
    ) -> Result<Cluster> {
        let mut cluster = Cluster {
            network: Network::new(&options.prefix),
            members: BTreeMap::new(),
            caller: Caller::new(),
            recording,
            ends: Vec::new(),
            scratch: options.scratch.clone(),
            binary: options.highwater.clone(),
            disk_bytes,
            generation: 0,
        };
        let slots: Vec<usize> = (0..brokers).collect();
        for slot in &slots {
            let disk = Disk::make(&cluster.scratch, *slot, disk_bytes)?;
            let id = i32::try_from(slot + 1)?;
            cluster.add(*slot, disk, &Birth::Founder { id, slots: slots.clone() })?;
        }
        for slot in slots {
            cluster.start_member(slot)?;
        }
        cluster.settle(SETTLE_MAX).await.context("three brokers do not become a cluster")?;
        Ok(cluster)
    }

    fn add(&mut self, slot: usize, disk: Disk, birth: &Birth) -> Result<()> {
        self.generation += 1;
        let member = Member::new(&self.scratch, slot, disk, birth, self.generation)?;
        self.members.insert(slot, member);
        Ok(())
    }

    /// A new broker, on an empty disk, joins the others. Not waited for.
    pub(super) fn join(&mut self, slot: usize, disk: Option<Disk>) -> Result<()> {
        let disk = match disk {
            Some(disk) => disk,
            None => Disk::make(&self.scratch, slot, self.disk_bytes)?,
        };
        let others = self.members.keys().copied().filter(|other| *other != slot).collect();
        self.add(slot, disk, &Birth::Joins { slots: others })?;
        self.start_member(slot)
    }

    pub(super) fn member(&mut self, slot: usize) -> Result<&mut Member> {
        self.members.get_mut(&slot).with_context(|| format!("no broker is on host {}", slot + 1))
    }

    /// The number of the broker on a host.
    pub(super) fn id(&mut self, slot: usize) -> Result<i32> {
        let id = self.member(slot)?.id();
        id.with_context(|| format!("the disk of host {} names no broker", slot + 1))
    }

    /// The host of the broker with a number.
    pub(super) fn slot_of(&self, id: i32) -> Option<usize> {
        self.members.values().find(|member| member.id() == Some(id)).map(|member| member.slot)
    }

    pub(super) fn start_member(&mut self, slot: usize) -> Result<()> {
        let (binary, network) = (self.binary.clone(), self.network.clone());
        self.member(slot)?.start(&binary, &network)
    }

    /// Notes processes that ended by themselves, and starts them again as an init system would.
    pub(super) fn tend(&mut self) -> Result<()> {
        let mut fallen = Vec::new();
        for member in self.members.values_mut() {
            if let Some(end) = member.unasked_end() {
                let how = end.to_string();
                let excuse = member.excuse.filter(|_| end.code().is_some()).map(str::to_owned);
                let host = member.slot + 1;
                let last_words = member.last_words(WORDS_KEPT);
                eprintln!("    the broker on host {host} ended by itself: {how} (excuse: {excuse:?})");
                for line in &last_words[last_words.len().saturating_sub(5)..] {
                    eprintln!("      {line}");
                }
                let at_us = self.recording.now_us();
                self.ends.push(UnaskedEnd { at_us, host, how, excuse, last_words });
                fallen.push(member.slot);
            }
        }
        for slot in fallen {
            // One that cannot live with its full disk is started when there is room again.
            if self.member(slot)?.excuse.is_none() {
                self.start_member(slot)?;
            }
        }
        Ok(())
    }

    /// Lets a time pass, and tends the processes meanwhile.
    pub(super) async fn hold(&mut self, time: Duration) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < time {
            self.tend()?;
            tokio::time::sleep(LOOK_AGAIN.min(time.saturating_sub(began.elapsed()))).await;
        }
        Ok(())
    }

    /// Waits until every broker is active and everything is in sync; how long that took.
    pub(super) async fn settle(&mut self, patience: Duration) -> Result<Duration> {
        let began = Instant::now();
        loop {
            self.tend()?;
            let lack = self.lack().await;
            match lack {
                None => return Ok(began.elapsed()),
                Some(lack) if began.elapsed() > patience => {
                    bail!("not in sync after {patience:?}: {lack}");
                }
                Some(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// What is not as it should be; `None` if all is well.
    async fn lack(&self) -> Option<String> {
        let ids: Vec<Option<i32>> = self.members.values().map(Member::id).collect();
        if ids.iter().any(Option::is_none) {
            return Some("a broker has no number yet".to_owned());
        }
        let ids: Vec<i32> = ids.into_iter().flatten().collect();
        self.caller.lack(&ids).await
    }
}
