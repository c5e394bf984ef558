//! One broker: its host, its disk, its configuration and, while it runs, its process.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context, Result};

use super::disk::Disk;
use super::network::{Network, address};
use super::process::Process;

/// How a broker finds its cluster.
#[derive(Clone, Debug)]
pub(super) enum Birth {
    /// It is one of the first, with this number; the slots of all of them.
    Founder { id: i32, slots: Vec<usize> },
    /// It joins those on these slots and is given a number.
    Joins { slots: Vec<usize> },
}

/// A broker.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) slot: usize,
    pub(super) disk: Disk,
    pub(super) process: Option<Process>,
    /// Why its process may end by itself just now; nothing excuses it otherwise.
    pub(super) excuse: Option<&'static str>,
    config: PathBuf,
    log: PathBuf,
}

impl Member {
    /// Prepares a broker that does not run yet.
    pub(super) fn new(
        scratch: &Path,
        slot: usize,
        disk: Disk,
        birth: &Birth,
        generation: usize,
    ) -> Result<Member> {
        let name = format!("broker-{}-{generation}", slot + 1);
        let config = scratch.join(format!("{name}.toml"));
        fs::write(&config, configuration(slot, &disk.data(), birth))?;
        let logs = scratch.join("logs");
        fs::create_dir_all(&logs)?;
        let log = logs.join(format!("{name}.log"));
        Ok(Member { slot, disk, process: None, excuse: None, config, log })
    }

    /// Starts its process.
    pub(super) fn start(&mut self, binary: &Path, network: &Network) -> Result<()> {
        debug_assert!(self.process.is_none(), "one process for one broker");
        self.process = Some(Process::start(binary, &network.host(self.slot), &self.config, &self.log)?);
        Ok(())
    }

    /// Its process.
    pub(super) fn process(&self) -> Result<&Process> {
        self.process.as_ref().with_context(|| format!("the broker on host {} does not run", self.slot + 1))
    }

    /// Whether its process is there.
    pub(super) fn is_up(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.end().is_none())
    }

    /// `kill -9`, and it is gone.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.process()?.kill()?;
        self.process = None;
        Ok(())
    }

    /// How its process ended, if nobody had asked it to. Told once.
    pub(super) fn unasked_end(&mut self) -> Option<ExitStatus> {
        let end = self.process.as_ref()?.end()?;
        self.process = None;
        Some(end)
    }

    /// Its number in the cluster, as its disk has it.
    pub(super) fn id(&self) -> Option<i32> {
        let meta = fs::read_to_string(self.disk.data().join("meta.properties")).ok()?;
        meta.lines().find_map(|line| line.strip_prefix("broker.id="))?.parse().ok()
    }

    /// The last lines that it logged.
    pub(super) fn last_words(&self, lines: usize) -> Vec<String> {
        let log = fs::read(&self.log).unwrap_or_default();
        let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(16 << 10)..]).into_owned();
        let all: Vec<&str> = tail.lines().collect();
        all[all.len().saturating_sub(lines)..].iter().map(|line| (*line).to_owned()).collect()
    }
}

fn peers(slots: &[usize]) -> Vec<String> {
    slots.iter().map(|slot| format!("{}:9095", address(*slot))).collect()
}

fn configuration(slot: usize, data: &Path, birth: &Birth) -> String {
    let host = address(slot);
    let mut text = format!(
        "data.dir = {data:?}\nsecurity.allow.plaintext = true\ncluster.name = \"soak\"\n\
         log.recycle.bytes = 33554432\n\
         [listener]\npeer = \"{host}:9095\"\ngrpc = \"{host}:9094\"\nadmin = \"{host}:9644\"\n\
         kafka = \"{host}:9092\"\n"
    );
    let lines = match birth {
        Birth::Founder { id, slots } => {
            let voters = (1..).zip(peers(slots)).map(|(id, peer)| format!("{id}@{peer}"));
            let voters: Vec<String> = voters.collect();
            format!("broker.id = {id}\ncluster.voters = \"{}\"\n", voters.join(","))
        }
        Birth::Joins { slots } => format!("cluster.join = \"{}\"\n", peers(slots).join(",")),
    };
    text.insert_str(0, &lines);
    let _ = writeln!(text, "# host {}", slot + 1);
    text
}
