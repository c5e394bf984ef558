//! Three brokers as processes of their own, each of which can be killed, stopped and started again.

#![expect(clippy::disallowed_methods, reason = "the bench works on real files and processes")]

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::ports::Port;

/// Ends a process at once.
pub const SIGKILL: &str = "KILL";
/// Freezes a process: its connections stay open, and nobody answers on them.
pub const SIGSTOP: &str = "STOP";
/// Lets a frozen process go on.
pub const SIGCONT: &str = "CONT";

/// A cluster on this machine.
#[derive(Debug)]
pub struct Brokers {
    binary: PathBuf,
    folder: PathBuf,
    filter: String,
    members: Vec<Member>,
    _ports: Vec<Port>,
}

#[derive(Debug)]
struct Member {
    grpc: String,
    admin: String,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// The broker stops when this is closed, so that none outlives the command.
    _stdin: ChildStdin,
}

impl Brokers {
    /// Starts `count` brokers with fresh data in `folder`. `filter` says what they log, `settings` are lines of their
    /// configuration.
    ///
    /// # Errors
    /// One of them did not start; its log is in the folder.
    pub fn start(
        binary: &Path,
        folder: &Path,
        count: usize,
        filter: &str,
        settings: &str,
    ) -> Result<Brokers> {
        let ports: Vec<Port> = (0..count * 3).map(|_| Port::claim()).collect();
        let addresses: Vec<String> = ports.iter().map(|port| port.address().to_string()).collect();
        let (grpc, rest) = addresses.split_at(count);
        let (admin, peer) = rest.split_at(count);
        let voters: Vec<String> = (1..).zip(peer).map(|(id, address)| format!("{id}@{address}")).collect();
        let members = grpc.iter().zip(admin).map(|(grpc, admin)| (grpc.clone(), admin.clone()));
        let members = members.map(|(grpc, admin)| Member { grpc, admin, running: None });
        let (binary, folder, filter) = (binary.to_owned(), folder.to_owned(), filter.to_owned());
        let mut brokers = Brokers { binary, folder, filter, members: members.collect(), _ports: ports };
        for (index, member) in brokers.members.iter().enumerate() {
            let id = index + 1;
            let text = format!(
                "broker.id = {id}\ncluster.voters = {:?}\ndata.dir = {:?}\nlistener.peer = {:?}\nlistener.grpc = {:?}\n\
                 listener.admin = {:?}\nlistener.kafka = \"none\"\n{settings}",
                voters.join(","),
                brokers.folder.join(format!("broker-{id}")),
                peer[index],
                member.grpc,
                member.admin,
            );
            std::fs::write(brokers.config(index), text)?;
        }
        // All at once: each waits until most of them are there.
        let starting = (0..count).map(|index| brokers.spawn(index)).collect::<Result<Vec<_>>>()?;
        for (index, (running, stdout)) in starting.into_iter().enumerate() {
            brokers.members[index].running = Some(running);
            brokers.wait_ready(index, stdout)?;
        }
        Ok(brokers)
    }

    fn config(&self, index: usize) -> PathBuf {
        self.folder.join(format!("broker-{}.toml", index + 1))
    }

    /// Where the clients log, when the rounds are traced.
    #[must_use]
    pub fn client_log(folder: &Path) -> PathBuf {
        folder.join("client.log")
    }

    /// The logs of all brokers and of the clients, each with whose it is.
    pub(super) fn logs(&self) -> Vec<(String, PathBuf)> {
        let mut logs: Vec<_> = self.ids().map(|id| (format!("broker {id}"), self.log(id))).collect();
        logs.push(("client".to_owned(), Brokers::client_log(&self.folder)));
        logs
    }

    /// Where a broker logs.
    #[must_use]
    pub fn log(&self, id: i32) -> PathBuf {
        self.folder.join(format!("broker-{id}.log"))
    }

    /// The brokers' numbers.
    pub fn ids(&self) -> impl Iterator<Item = i32> + use<> {
        1..=i32::try_from(self.members.len()).unwrap_or(i32::MAX)
    }

    /// Every broker's address for clients.
    #[must_use]
    pub fn grpc(&self) -> Vec<String> {
        self.members.iter().map(|member| member.grpc.clone()).collect()
    }

    /// A broker's process, if it runs.
    #[must_use]
    pub fn pid(&self, id: i32) -> Option<u32> {
        self.members[index(id)].running.as_ref().map(|running| running.child.id())
    }

    fn spawn(&self, index: usize) -> Result<(Running, std::process::ChildStdout)> {
        let log = self.folder.join(format!("broker-{}.log", index + 1));
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let mut child = Command::new(&self.binary)
            .args(["broker", "--child", "--output", "json", "--config"])
            .arg(self.config(index))
            .env("HIGHWATER_LOG", &self.filter)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} does not start", self.binary.display()))?;
        let stdin = child.stdin.take().context("piped")?;
        let stdout = child.stdout.take().context("piped")?;
        Ok((Running { child, _stdin: stdin }, stdout))
    }

    fn wait_ready(&self, index: usize, stdout: std::process::ChildStdout) -> Result<()> {
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if serde_json::from_str::<serde_json::Value>(&line).is_err() {
            bail!("broker {} did not start: see {}", index + 1, self.folder.display());
        }
        Ok(())
    }

    /// Sends a signal to a broker, and says when it had taken it. After [`SIGKILL`] it has ended when this returns.
    ///
    /// # Errors
    /// It does not run, or the system refuses.
    pub fn signal(&mut self, id: i32, signal: &str) -> Result<Instant> {
        let member = &mut self.members[index(id)];
        let running = member.running.as_mut().with_context(|| format!("broker {id} does not run"))?;
        if signal == SIGKILL {
            running.child.kill()?;
            let at = Instant::now();
            running.child.wait()?;
            member.running = None;
            return Ok(at);
        }
        let pid = running.child.id();
        let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status()?;
        if !status.success() {
            bail!("broker {id} took no {signal}");
        }
        // The signal is only on its way: one thread after the other stops.
        while signal == SIGSTOP && !is_stopped(pid)? {
            std::thread::yield_now();
        }
        Ok(Instant::now())
    }

    /// Starts a broker that has ended, and returns when it serves.
    ///
    /// # Errors
    /// It did not start.
    pub fn start_again(&mut self, id: i32) -> Result<()> {
        let (running, stdout) = self.spawn(index(id))?;
        self.members[index(id)].running = Some(running);
        self.wait_ready(index(id), stdout)
    }
}

/// Whether every thread of a process is stopped.
fn is_stopped(pid: u32) -> Result<bool> {
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(thread?.path().join("stat"))?;
        let state = stat.rsplit_once(") ").and_then(|(_, fields)| fields.chars().next());
        if state != Some('T') {
            return Ok(false);
        }
    }
    Ok(true)
}

fn index(id: i32) -> usize {
    usize::try_from(id - 1).unwrap_or(usize::MAX)
}

impl Drop for Brokers {
    fn drop(&mut self) {
        for running in self.members.iter_mut().filter_map(|member| member.running.as_mut()) {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}
