//! The thread that writes: everything that must be durable goes through it, in the order in which it was handed over.
//!
//! What waits in the queue is carried out together: appends that follow each other share one write and one sync (a group
//! commit), and are reported in order after it. The first error poisons the thread: everything from then on is refused,
//! because nobody knows what a failed sync left on the device.

use std::io;
use std::thread::JoinHandle;

use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot};

use super::journal::Journal;
use super::record::Body;
use crate::types::{LogId, TypeConfig, Vote};

/// Commands that may wait.
const QUEUE_MAX: usize = 1024;
/// Commands that are carried out together at most.
const BATCH_MAX: usize = 256;

type Done = oneshot::Sender<io::Result<()>>;

/// Something to make durable.
pub(super) enum Command {
    Append(Vec<Body>, IOFlushed<TypeConfig>),
    Truncate(Option<LogId>, Done),
    /// Nobody waits for it; an error shows with the next command.
    Purge(LogId),
    Vote(Vote, Done),
    /// Nobody waits for it: it only spares work after a restart.
    Committed(Option<LogId>),
    Stop,
}

/// The way to the thread.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    sender: mpsc::Sender<Command>,
}

impl Queue {
    pub(super) async fn send(&self, command: Command) -> io::Result<()> {
        self.sender.send(command).await.map_err(|_| stopped())
    }

    /// Sends a command that is answered when it is durable.
    pub(super) async fn wait(&self, command: impl FnOnce(Done) -> Command) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.send(command(done)).await?;
        answer.await.map_err(|_| stopped())?
    }
}

fn stopped() -> io::Error {
    io::Error::other("the raft log is closed")
}

/// The running thread. Dropping it lets the thread end when the last queue is gone.
#[derive(Debug)]
pub(crate) struct IoThread {
    queue: Queue,
    handle: JoinHandle<()>,
}

impl IoThread {
    pub(super) fn start(journal: Journal) -> io::Result<(IoThread, Queue)> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let committed = journal.marker.committed;
        let worker = Worker { journal, committed, poison: None };
        let handle =
            std::thread::Builder::new().name("raft-log".to_owned()).spawn(move || worker.run(receiver))?;
        let queue = Queue { sender };
        Ok((IoThread { queue: queue.clone(), handle }, queue))
    }

    /// Carries out what waits and ends the thread, which gives the directory free.
    pub(crate) async fn stop(self) {
        // A failed send means that the thread ended before.
        let _ = self.queue.send(Command::Stop).await;
        let joined = tokio::task::spawn_blocking(move || self.handle.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the thread of the raft log panicked");
        }
    }
}

struct Worker {
    journal: Journal,
    committed: Option<LogId>,
    poison: Option<String>,
}

/// Appends that are carried out together.
#[derive(Default)]
struct Group {
    bodies: Vec<Body>,
    callbacks: Vec<IOFlushed<TypeConfig>>,
}

impl Worker {
    fn run(mut self, mut receiver: mpsc::Receiver<Command>) {
        while let Some(first) = receiver.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && let Ok(next) = receiver.try_recv()
            {
                batch.push(next);
            }
            if self.carry_out(batch) == Next::Stop {
                break;
            }
        }
    }

    fn carry_out(&mut self, batch: Vec<Command>) -> Next {
        let mut group = Group::default();
        let mut next = Next::Go;
        for command in batch {
            if let Command::Append(bodies, callback) = command {
                group.bodies.extend(bodies);
                group.callbacks.push(callback);
                continue;
            }
            self.append(std::mem::take(&mut group));
            match command {
                Command::Append(..) => unreachable!("handled above"),
                Command::Truncate(after, done) => {
                    let result = self.attempt(|journal| {
                        journal.append(&[Body::truncation(after)])?;
                        journal.sync()
                    });
                    // Whoever waited may be gone, with the node.
                    let _ = done.send(result);
                }
                Command::Purge(upto) => {
                    let _ = self.attempt(|journal| {
                        journal.append(&[Body::purge(upto)])?;
                        journal.sync()?;
                        journal.remove_purged()
                    });
                }
                Command::Vote(vote, done) => {
                    let _ = done.send(self.attempt(|journal| journal.save_vote(&vote)));
                }
                Command::Committed(committed) => self.committed = committed,
                Command::Stop => next = Next::Stop,
            }
        }
        self.append(group);
        let committed = self.committed;
        let _ = self.attempt(|journal| {
            journal.mark(committed)?;
            if next == Next::Stop { journal.marker_file.sync() } else { Ok(()) }
        });
        next
    }

    fn append(&mut self, group: Group) {
        if group.callbacks.is_empty() {
            return;
        }
        let result = self.attempt(|journal| {
            journal.append(&group.bodies)?;
            journal.sync()
        });
        for callback in group.callbacks {
            callback
                .io_completed(result.as_ref().copied().map_err(|error| io::Error::other(error.to_string())));
        }
    }

    /// Does something to the files, unless something failed before.
    fn attempt(&mut self, work: impl FnOnce(&mut Journal) -> io::Result<()>) -> io::Result<()> {
        if let Some(poison) = &self.poison {
            return Err(io::Error::other(poison.clone()));
        }
        work(&mut self.journal).inspect_err(|error| {
            tracing::error!(%error, "the raft log cannot be written: the node stops");
            self.poison = Some(format!("the raft log failed before: {error}"));
        })
    }
}

/// Whether the thread goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Go,
    Stop,
}
