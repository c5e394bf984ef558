//! Hosts: a network namespace for each broker and one for the clients, joined by a bridge in a namespace of its own.
//!
//! Every address is the same in every run, because nothing of it can be seen from outside; only the namespaces' names are
//! the machine's, and they begin with the run's own prefix.

use std::path::Path;

use anyhow::Result;

use super::host::{in_namespace, run};

/// How many hosts for brokers there are: three that serve, and one for whoever joins.
pub(super) const SLOTS: usize = 4;
/// The clients' place on the network.
const CLIENT_HOST: u8 = 100;

/// The bed's namespaces.
#[derive(Clone, Debug)]
pub(super) struct Network {
    prefix: String,
}

/// The address that clients come from.
pub(super) fn client_address() -> String {
    format!("10.77.0.{CLIENT_HOST}")
}

/// The address of a broker's host.
pub(super) fn address(slot: usize) -> String {
    format!("10.77.0.{}", slot + 1)
}

impl Network {
    pub(super) fn new(prefix: &str) -> Network {
        Network { prefix: prefix.to_owned() }
    }

    fn bridge(&self) -> String {
        format!("{}-br", self.prefix)
    }

    /// The clients' namespace.
    pub(super) fn client(&self) -> String {
        format!("{}-c", self.prefix)
    }

    /// The namespace of a broker's host.
    pub(super) fn host(&self, slot: usize) -> String {
        format!("{}-{}", self.prefix, slot + 1)
    }

    /// Makes all of it.
    pub(super) fn make(&self) -> Result<()> {
        let bridge = self.bridge();
        run("ip", &["netns", "add", &bridge])?;
        run("ip", &["-n", &bridge, "link", "add", "br0", "type", "bridge"])?;
        run("ip", &["-n", &bridge, "link", "set", "br0", "up"])?;
        self.plug(&self.client(), CLIENT_HOST)?;
        for slot in 0..SLOTS {
            self.plug(&self.host(slot), u8::try_from(slot + 1).expect("a few"))?;
            self.filter(slot)?;
        }
        Ok(())
    }

    fn plug(&self, namespace: &str, host: u8) -> Result<()> {
        let (bridge, port) = (self.bridge(), format!("p{host}"));
        run("ip", &["netns", "add", namespace])?;
        let ends = ["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", namespace];
        run("ip", &[&["-n", &bridge], &ends[..]].concat())?;
        run("ip", &["-n", &bridge, "link", "set", &port, "master", "br0", "up"])?;
        run("ip", &["-n", namespace, "link", "set", "lo", "up"])?;
        run("ip", &["-n", namespace, "address", "add", &format!("10.77.0.{host}/24"), "dev", "eth0"])?;
        run("ip", &["-n", namespace, "link", "set", "eth0", "up"])?;
        Ok(())
    }

    /// Sets of addresses from which, and to which, a host drops everything; empty for now.
    fn filter(&self, slot: usize) -> Result<()> {
        let rules = "table inet soak {
            set heard { type ipv4_addr; }
            set told { type ipv4_addr; }
            counter dropped { }
            chain in { type filter hook input priority 0; ip saddr @heard counter name dropped drop; }
            chain out { type filter hook output priority 0; ip daddr @told counter name dropped drop; }
        }";
        run("nsenter", &[&in_namespace(&self.host(slot)), "nft", rules])?;
        Ok(())
    }

    /// Every namespace of this run that is there.
    fn namespaces(&self) -> Vec<String> {
        let listed = run("ip", &["netns", "list"]).unwrap_or_default();
        let names = listed.lines().filter_map(|line| line.split_whitespace().next());
        let ours = |name: &&str| name.strip_prefix(&self.prefix).is_some_and(|rest| rest.starts_with('-'));
        names.filter(ours).map(str::to_owned).collect()
    }

    /// Kills what runs in the namespaces and removes them. What cannot be removed is said, and the rest goes on.
    pub(super) fn remove(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let namespaces = self.namespaces();
        for name in &namespaces {
            let pids = run("ip", &["netns", "pids", name]).unwrap_or_default();
            for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
                if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                    // It may have ended by itself in between.
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
        }
        for name in &namespaces {
            if let Err(error) = run("ip", &["netns", "del", name]) {
                problems.push(format!("{error:#}"));
            }
        }
        problems
    }
}

/// The runs whose guardian is gone and whose namespaces are still there, by prefix.
pub(super) fn orphans() -> Vec<String> {
    let listed = run("ip", &["netns", "list"]).unwrap_or_default();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    let prefixes = names.filter_map(|name| {
        let (prefix, _) = name.split_once('-')?;
        let pid: u32 = prefix.strip_prefix("hws")?.parse().ok()?;
        (!Path::new(&format!("/proc/{pid}")).exists()).then(|| prefix.to_owned())
    });
    let mut prefixes: Vec<String> = prefixes.collect();
    prefixes.sort();
    prefixes.dedup();
    prefixes
}
