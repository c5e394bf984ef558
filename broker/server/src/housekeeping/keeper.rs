//! The thread and its rounds.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::partition::{Pace, Partition};
use crate::service::Services;

/// A checkpoint every so many rounds: it saves the next start some reading, and nothing depends on it.
const ROUNDS_PER_CHECKPOINT: u64 = 5;
/// Files and directories removed per round, so that a large deletion doesn't keep the disk from those who wait for it.
const REMOVALS_PER_ROUND: usize = 64;

/// The housekeeping thread.
#[derive(Debug)]
pub(crate) struct Housekeeper {
    stop: Arc<Stop>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Waits for the interval; true when it is time to end.
    fn wait(&self, interval: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(stopped, interval, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Housekeeper {
    pub(crate) fn start(services: &Arc<Services>) -> std::io::Result<Housekeeper> {
        let stop = Arc::new(Stop::default());
        let (services, watched) = (Arc::clone(services), Arc::clone(&stop));
        let work = move || {
            let interval = services.config().background_interval;
            let mut round = 0;
            let mut pace = Pace::default();
            while !watched.wait(interval) {
                round += 1;
                go_round(&services, round, &mut pace);
            }
        };
        let thread = std::thread::Builder::new().name("housekeeper".to_owned()).spawn(work)?;
        Ok(Housekeeper { stop, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread; waits for the piece of work it is at.
    pub(crate) fn stop(&self) {
        *self.stop.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the housekeeping thread had panicked");
        }
    }
}

fn go_round(services: &Services, round: u64, pace: &mut Pace) {
    let now_ms = services.clock.unix_ms();
    for partition in services.partitions.all() {
        // Topics that do not wait for the disk still reach it before long.
        partition.flush_soon();
        retain(services, &partition, now_ms);
        if round.is_multiple_of(ROUNDS_PER_CHECKPOINT) {
            checkpoint(&partition);
        }
    }
    pace.note(services.clock.monotonic(), services.metrics.bytes_appended.get());
    if pace.is_slow() {
        // Every such round, since a reader may have kept a retired segment from reuse until now.
        services.partitions.reuse_retired();
    }
    if let Err(error) = services.partitions.directory().sweep(REMOVALS_PER_ROUND) {
        tracing::warn!(%error, "could not remove deleted files yet");
    }
}

fn retain(services: &Services, partition: &Partition, now_ms: i64) {
    let removed = partition.with_log(|log, bound, _| {
        log.expire_producers(now_ms);
        log.retain(now_ms, bound)
    });
    match removed {
        Some(Ok(removed)) if removed.segments_count > 0 => {
            services.metrics.segments_retired.inc_by(removed.segments_count as u64);
        }
        Some(Err(error)) => tracing::warn!(partition = %partition.id(), %error, "retention failed"),
        Some(Ok(_)) | None => {}
    }
}

fn checkpoint(partition: &Partition) {
    let Some(Some(ticket)) = partition.with_log(|log, _, _| log.begin_checkpoint()) else { return };
    let written = ticket.write();
    if let Some(Err(error)) = partition.with_log(|log, _, _| log.complete_checkpoint(written)) {
        tracing::warn!(partition = %partition.id(), %error, "a checkpoint failed; the next start will read more");
    }
}
