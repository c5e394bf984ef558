//! Cut and slow links of one host, as packet filters and queues of that host.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::host::{in_namespace, run};
use super::network::{Network, address};

/// Brokers talk several times a second: a cut that drops nothing for so long is none.
const DROP_PATIENCE: Duration = Duration::from_secs(4);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Which way packets are dropped, as seen from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It does not hear the others.
    In,
    /// The others do not hear it.
    Out,
    /// Neither.
    Both,
}

impl Network {
    /// Drops everything between `slot` and the addresses. Seen: packets were dropped.
    pub(super) fn cut(&self, slot: usize, others: &[String], way: Way) -> Result<()> {
        let addresses = format!("{{ {} }}", others.join(", "));
        if way != Way::Out {
            self.nft(slot, &["add", "element", "inet", "soak", "heard", &addresses])?;
        }
        if way != Way::In {
            self.nft(slot, &["add", "element", "inet", "soak", "told", &addresses])?;
        }
        let began = Instant::now();
        while self.dropped(slot)? == 0 {
            if began.elapsed() > DROP_PATIENCE {
                bail!("no packet was dropped on host {} in {DROP_PATIENCE:?}", slot + 1);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Drops nothing any more.
    pub(super) fn mend(&self, slot: usize) -> Result<()> {
        self.nft(slot, &["flush", "set", "inet", "soak", "heard"])?;
        self.nft(slot, &["flush", "set", "inet", "soak", "told"])?;
        self.nft(slot, &["reset", "counter", "inet", "soak", "dropped"])?;
        Ok(())
    }

    /// How many packets the host's filter has dropped since it was last mended.
    pub(super) fn dropped(&self, slot: usize) -> Result<u64> {
        let listed = self.nft(slot, &["list", "counter", "inet", "soak", "dropped"])?;
        let packets = listed.split("packets ").nth(1).and_then(|rest| rest.split_whitespace().next());
        packets.and_then(|text| text.parse().ok()).with_context(|| format!("a counter that says {listed}"))
    }

    /// Sends no faster than this. Seen: the bucket has been empty.
    pub(super) fn slow(&self, slot: usize, kilobits_s: u64) -> Result<()> {
        let rate = format!("{kilobits_s}kbit");
        let bucket = ["root", "tbf", "rate", &rate, "burst", "16kbit", "latency", "300ms"];
        self.tc(slot, &[&["qdisc", "add", "dev", "eth0"], &bucket[..]].concat())?;
        let began = Instant::now();
        loop {
            let shown = self.tc(slot, &["-s", "qdisc", "show", "dev", "eth0"])?;
            let over = shown.split("overlimits ").nth(1).and_then(|rest| rest.split_whitespace().next());
            if shown.contains("tbf") && over.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) > 0 {
                return Ok(());
            }
            if began.elapsed() > DROP_PATIENCE {
                self.tc(slot, &["qdisc", "del", "dev", "eth0", "root"])?;
                bail!("the link of host {} was never full at {rate}", slot + 1);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Sends as fast as it can again.
    pub(super) fn unslow(&self, slot: usize) -> Result<()> {
        self.tc(slot, &["qdisc", "del", "dev", "eth0", "root"]).map(|_| ())
    }

    /// The addresses of the other hosts.
    pub(super) fn others(slots: impl Iterator<Item = usize>, slot: usize) -> Vec<String> {
        slots.filter(|other| *other != slot).map(address).collect()
    }

    fn nft(&self, slot: usize, arguments: &[&str]) -> Result<String> {
        let namespace = in_namespace(&self.host(slot));
        run("nsenter", &[&[namespace.as_str(), "nft"], arguments].concat())
    }

    fn tc(&self, slot: usize, arguments: &[&str]) -> Result<String> {
        let namespace = in_namespace(&self.host(slot));
        run("nsenter", &[&[namespace.as_str(), "tc"], arguments].concat())
    }
}
