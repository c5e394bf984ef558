//! A disk that is lost for good, and what an operator does then: the broker's number is never used with another disk; a new
//! broker joins on the same host, takes over replicas and vote, and the old number is removed.

use anyhow::{Context, Result};
use highwater_client::BrokerChange;

use super::cluster::Cluster;
use super::procedures::{CHANGE_PATIENCE, broker};
use super::schedule::Planned;

impl Cluster {
    /// The whole procedure. Everything must be in sync before: one disk at a time may be lost.
    pub(super) async fn lose_a_disk(&mut self, planned: Planned) -> Result<String> {
        let slots: Vec<usize> = self.members.keys().copied().collect();
        let slot = slots[super::faults::pick(planned.whom, slots.len())];
        let gone = self.id(slot)?;
        self.member(slot)?.kill()?;
        let member = self.members.remove(&slot).context("it was just killed")?;
        let disk = member.disk.lose(&self.scratch, slot)?;
        self.hold(planned.lasts).await?;
        self.join(slot, Some(disk))?;
        let comes = self.wait_for_its_number(slot).await?;
        self.change(gone, BrokerChange::Drain, |status| broker(status, gone).is_some_and(|it| it.draining))
            .await?;
        self.until("the lost broker's replicas to be elsewhere", CHANGE_PATIENCE, |status| {
            broker(status, gone).is_some_and(|it| it.replicas == 0)
        })
        .await?;
        self.swap_votes(comes, gone).await?;
        self.remove(gone).await?;
        Ok(format!("host {}, broker {gone} replaced by broker {comes}", slot + 1))
    }
}
