//! Faults of one moment: installed now, taken back later.

use anyhow::{Result, bail};

use super::class::Class;
use super::cluster::Cluster;
use super::cuts::Way;
use super::network::{Network, client_address};
use super::schedule::Planned;
use crate::history::Minority;

/// What takes a fault back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Undo {
    /// Start the broker again.
    Start(usize),
    /// Let the process go on.
    Continue(usize),
    /// Let packets through.
    Mend(usize),
    /// Let packets through as fast as they come.
    Unslow(usize),
    /// Give the room back.
    Free(usize),
    /// The disks are there again: unmount, mount, start.
    Power(Vec<usize>),
}

/// A fault that is installed.
#[derive(Clone, Debug)]
pub(super) struct Installed {
    pub(super) detail: String,
    pub(super) undo: Undo,
    pub(super) minority: Minority,
    /// The hosts that are disturbed.
    pub(super) slots: Vec<usize>,
}

/// Says what was installed.
fn installed(detail: String, undo: Undo, slot: usize) -> Installed {
    Installed { detail, undo, minority: Minority::Yes, slots: vec![slot] }
}

impl Cluster {
    /// Installs a fault that is not a procedure. `busy` are hosts that are disturbed already.
    ///
    /// # Errors
    /// Its effect was not seen: it does not count.
    pub(super) async fn install(&mut self, planned: Planned, busy: &[usize]) -> Result<Installed> {
        if planned.class == Class::PowerCutAll {
            return self.cut_power_of_all();
        }
        let slot = self.whom(planned, busy).await?;
        let name = format!("host {}", slot + 1);
        let slots: Vec<usize> = self.members.keys().copied().collect();
        let peers = Network::others(slots.iter().copied(), slot);
        match planned.class {
            Class::Kill | Class::KillLeader | Class::KillController => {
                self.member(slot)?.kill()?;
                Ok(installed(name, Undo::Start(slot), slot))
            }
            Class::Pause | Class::PauseLeader => {
                self.member(slot)?.process()?.pause()?;
                Ok(installed(name, Undo::Continue(slot), slot))
            }
            Class::OneWayCut => {
                let way = if planned.how.is_multiple_of(2) { Way::In } else { Way::Out };
                self.cut(slot, &peers, way)?;
                Ok(installed(format!("{name}, {way:?}"), Undo::Mend(slot), slot))
            }
            Class::Isolation if planned.how.is_multiple_of(2) => {
                self.cut(slot, &peers, Way::Both)?;
                Ok(installed(format!("{name}, from the other brokers"), Undo::Mend(slot), slot))
            }
            Class::Isolation => {
                let everybody = [peers, vec![client_address()]].concat();
                self.cut(slot, &everybody, Way::Both)?;
                Ok(installed(format!("{name}, from brokers and clients"), Undo::Mend(slot), slot))
            }
            Class::PartialCut => {
                let others: Vec<usize> = slots.into_iter().filter(|other| *other != slot).collect();
                let other = others[pick(planned.how, others.len())];
                self.cut(slot, &Network::others(std::iter::once(other), slot), Way::Both)?;
                Ok(installed(format!("{name} and host {}", other + 1), Undo::Mend(slot), slot))
            }
            Class::ControllerCut => {
                let Some(controller) = self.controller().await? else { bail!("there is no controller") };
                self.cut(slot, &Network::others(std::iter::once(controller), slot), Way::Both)?;
                Ok(installed(format!("{name} and host {}", controller + 1), Undo::Mend(slot), slot))
            }
            Class::SlowLink => {
                let kilobits_s = [256, 512, 1024, 2048][pick(planned.how, 4)];
                self.network.slow(slot, kilobits_s)?;
                Ok(installed(format!("{name}, {kilobits_s} kbit/s"), Undo::Unslow(slot), slot))
            }
            Class::DiskFull => {
                let member = self.member(slot)?;
                member.excuse = Some("its disk is full");
                let kind = member.disk.kind();
                if let Err(error) = member.disk.fill() {
                    self.undo(&Undo::Free(slot))?;
                    return Err(error);
                }
                Ok(installed(format!("{name}, {kind}"), Undo::Free(slot), slot))
            }
            Class::PowerCut => {
                let kind = self.member(slot)?.disk.kind();
                self.cut_power(slot)?;
                Ok(installed(format!("{name}, {kind}"), Undo::Power(vec![slot]), slot))
            }
            other => bail!("{} is a procedure", other.name()),
        }
    }

    /// Takes a fault back.
    pub(super) fn undo(&mut self, undo: &Undo) -> Result<()> {
        match undo {
            Undo::Start(slot) => self.start_member(*slot),
            Undo::Continue(slot) => self.member(*slot)?.process()?.go_on(),
            Undo::Mend(slot) => self.network.mend(*slot),
            Undo::Unslow(slot) => self.network.unslow(*slot),
            Undo::Free(slot) => {
                let member = self.member(*slot)?;
                member.disk.free()?;
                member.excuse = None;
                if !member.is_up() {
                    member.process = None;
                    self.start_member(*slot)?;
                }
                Ok(())
            }
            Undo::Power(slots) => {
                for slot in slots {
                    self.member(*slot)?.disk.restore_power()?;
                    self.start_member(*slot)?;
                }
                Ok(())
            }
        }
    }

    fn cut(&mut self, slot: usize, others: &[String], way: Way) -> Result<()> {
        let cut = self.network.cut(slot, others, way);
        if cut.is_err() {
            self.network.mend(slot)?;
        }
        cut
    }

    fn cut_power(&mut self, slot: usize) -> Result<()> {
        let member = self.member(slot)?;
        member.disk.cut_power()?;
        // It may have ended by itself the moment its disk failed: that is no crash.
        member.process()?.kill()?;
        member.process = None;
        Ok(())
    }

    fn cut_power_of_all(&mut self) -> Result<Installed> {
        let slots: Vec<usize> = self.members.keys().copied().collect();
        for slot in &slots {
            self.cut_power(*slot)?;
        }
        let undo = Undo::Power(slots.clone());
        Ok(Installed { detail: "all".to_owned(), undo, minority: Minority::No, slots })
    }

    /// Whom a fault strikes.
    async fn whom(&mut self, planned: Planned, busy: &[usize]) -> Result<usize> {
        let leader = match planned.class {
            Class::KillLeader | Class::PauseLeader => self.leader(planned.whom).await?,
            Class::KillController => self.controller().await?,
            _ => None,
        };
        let free = |slot: &usize| !busy.contains(slot);
        if let Some(slot) = leader.filter(free) {
            return Ok(slot);
        }
        let controller = match planned.class {
            Class::ControllerCut => self.controller().await?,
            Class::KillLeader | Class::PauseLeader | Class::KillController => {
                bail!("the one to strike is not there, or struck already")
            }
            _ => None,
        };
        let slots: Vec<usize> =
            self.members.keys().copied().filter(free).filter(|slot| Some(*slot) != controller).collect();
        if slots.is_empty() {
            bail!("nobody is left to strike");
        }
        Ok(slots[pick(planned.whom, slots.len())])
    }

    /// The host that leads a partition.
    async fn leader(&mut self, whom: u64) -> Result<Option<usize>> {
        let topic = self.caller.topic().await?;
        let partition = &topic.partitions[pick(whom, topic.partitions.len())];
        Ok(partition.leader.and_then(|id| self.slot_of(id.0)))
    }

    /// The host that leads the metadata.
    pub(super) async fn controller(&mut self) -> Result<Option<usize>> {
        let controller = self.caller.status().await?.controller;
        Ok(controller.and_then(|id| self.slot_of(id.0)))
    }
}

/// One of `count`.
pub(super) fn pick(chance: u64, count: usize) -> usize {
    usize::try_from(chance % count as u64).expect("below a count")
}
