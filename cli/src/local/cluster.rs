//! The processes of a local cluster, together.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::try_join_all;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::ChildStdin;
use tokio::sync::mpsc;

use super::child::{self, Serving, describe};
use super::plan::Plan;
use crate::commands::broker::Ready;
use crate::exit::{CliError, CliResult};

/// A broker that does not stop in order within this is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// Brokers that were started together.
#[derive(Debug)]
pub(crate) struct LocalCluster {
    plan: Plan,
    running: BTreeMap<i32, Member>,
    ends: mpsc::UnboundedReceiver<Ended>,
    ending: mpsc::UnboundedSender<Ended>,
}

#[derive(Debug)]
struct Member {
    ready: Ready,
    stdin: ChildStdin,
}

/// A broker's process has ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) id: i32,
    pub(crate) pid: u32,
    /// How, as the rest of a sentence.
    pub(crate) how: String,
}

impl LocalCluster {
    /// Starts every broker of the plan, and returns when all serve.
    ///
    /// # Errors
    /// When one of them does not start; the others are ended.
    pub(crate) async fn start(plan: Plan) -> CliResult<LocalCluster> {
        let starting = plan.brokers.iter().map(|broker| child::start(broker, plan.logs));
        let starting = starting.collect::<CliResult<Vec<_>>>()?;
        let serving = try_join_all(starting.into_iter().map(child::Starting::ready)).await?;
        let (ending, ends) = mpsc::unbounded_channel();
        let ids: Vec<i32> = plan.brokers.iter().map(|broker| broker.id).collect();
        let mut cluster = LocalCluster { plan, running: BTreeMap::new(), ends, ending };
        for (id, serving) in ids.into_iter().zip(serving) {
            cluster.take_in(id, serving);
        }
        Ok(cluster)
    }

    fn take_in(&mut self, id: i32, serving: Serving) {
        let Serving { ready, mut child, stdin } = serving;
        let (pid, ending) = (ready.pid, self.ending.clone());
        tokio::spawn(async move {
            let how = child.wait().await.map_or_else(|error| error.to_string(), describe);
            // Nobody listens any more when the command ends.
            let _ = ending.send(Ended { id, pid, how });
        });
        self.running.insert(id, Member { ready, stdin });
    }

    /// The brokers that run, by number.
    pub(crate) fn brokers(&self) -> impl Iterator<Item = (i32, &Ready)> {
        self.running.iter().map(|(id, member)| (*id, &member.ready))
    }

    /// Every broker's address for clients.
    pub(crate) fn grpc(&self) -> Vec<String> {
        self.brokers().map(|(_, ready)| ready.grpc.clone()).collect()
    }

    /// The next broker that ends. Dropping the future loses nothing.
    pub(crate) async fn ended(&mut self) -> Ended {
        let ended = self.ends.recv().await.expect("the cluster holds a sender itself");
        self.running.remove(&ended.id);
        ended
    }

    /// Kills a broker (`kill -9`) and waits until it is gone.
    ///
    /// # Errors
    /// When it does not run, or the system refuses.
    pub(crate) async fn kill(&mut self, id: i32) -> CliResult {
        let pid = self.running.get(&id).map(|member| member.ready.pid);
        let pid = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let pid = pid.ok_or_else(|| CliError::failed(format!("broker {id} does not run")))?;
        kill_process(pid, Signal::KILL)
            .map_err(|error| CliError::failed(format!("broker {id} cannot be killed: {error}")))?;
        while self.ended().await.id != id {}
        Ok(())
    }

    /// Starts a broker that has ended, and returns when it serves.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) async fn start_again(&mut self, id: i32) -> CliResult {
        let plan = self.plan.brokers.iter().find(|broker| broker.id == id);
        let plan = plan.ok_or_else(|| CliError::failed(format!("there is no broker {id}")))?;
        let serving = child::start(plan, self.plan.logs)?.ready().await?;
        self.take_in(id, serving);
        Ok(())
    }

    /// How a broker that has ended can be started by hand.
    pub(crate) fn command_of(&self, id: i32) -> String {
        let plan = self.plan.brokers.iter().find(|broker| broker.id == id);
        plan.map_or_else(String::new, |plan| format!("highwater broker --config {}", plan.config.display()))
    }

    /// Stops every broker in order, all at once.
    ///
    /// # Errors
    /// When one had to be killed, or did not end well.
    pub(crate) async fn stop(mut self) -> CliResult {
        let mut left = BTreeMap::new();
        for (id, Member { ready, stdin }) in std::mem::take(&mut self.running) {
            drop(stdin);
            left.insert(id, ready.pid);
        }
        let mut bad = Vec::new();
        let patience = tokio::time::sleep(STOP_PATIENCE);
        tokio::pin!(patience);
        while !left.is_empty() {
            tokio::select! {
                ended = self.ended() => {
                    if left.remove(&ended.id).is_some() && ended.how != "ended with exit code 0" {
                        bad.push(format!("broker {} {}", ended.id, ended.how));
                    }
                }
                () = &mut patience => break,
            }
        }
        // Those that are left are killed as their handles go with the runtime.
        bad.extend(
            left.iter().map(|(id, pid)| format!("broker {id} (pid {pid}) did not stop and is killed")),
        );
        if bad.is_empty() { Ok(()) } else { Err(CliError::failed(bad.join("; "))) }
    }
}
