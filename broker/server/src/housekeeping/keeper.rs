//! Threads and their rounds: one for short work on every partition, one for compaction and one for scrubbing, which take
//! long.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::opener::{OPENERS, Unopened};
use super::scrubber::scrub_all;
use crate::partition::Partition;
use crate::service::Services;

/// A checkpoint every so many rounds: it saves the next start some reading, and nothing depends on it.
const ROUNDS_PER_CHECKPOINT: u64 = 5;
/// Files and directories removed per round, so that a large deletion doesn't keep the disk from those who wait for it.
const REMOVALS_PER_ROUND: usize = 64;
/// Compaction rests after this many bytes,
const COMPACTION_PIECE_BYTES: u64 = 8 << 20;
/// for this long: at most 80 MiB of reading per second.
const COMPACTION_REST: Duration = Duration::from_millis(100);

/// The housekeeping threads.
#[derive(Debug)]
pub(crate) struct Housekeeper {
    stop: Arc<Stop>,
    threads: Mutex<Vec<JoinHandle<()>>>,
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
        let housekeeper = Housekeeper { stop: Arc::default(), threads: Mutex::default() };
        let mut round = 0;
        housekeeper.spawn("housekeeper", services, move |services, _| {
            round += 1;
            go_round(services, round);
        })?;
        housekeeper.spawn("compactor", services, compact_all)?;
        housekeeper.open_ahead(services)?;
        housekeeper.scrub(services)?;
        Ok(housekeeper)
    }

    /// Starts the thread that looks for rot, unless the configuration says never.
    fn scrub(&self, services: &Arc<Services>) -> std::io::Result<()> {
        let interval = services.config().log_scrub_interval;
        if interval.is_zero() {
            return Ok(());
        }
        let (services, stop) = (Arc::clone(services), Arc::clone(&self.stop));
        let work = move || scrub_all(&services, interval, |pause| stop.wait(pause));
        let thread = std::thread::Builder::new().name("scrubber".to_owned()).spawn(work)?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// Starts the threads that open what has data, and end then.
    fn open_ahead(&self, services: &Arc<Services>) -> std::io::Result<()> {
        let queue = Arc::new(Unopened::list(services));
        for index in 0..OPENERS {
            let (services, stop, queue) = (Arc::clone(services), Arc::clone(&self.stop), Arc::clone(&queue));
            let work = move || queue.open_all(&services, |pause| stop.wait(pause));
            let thread = std::thread::Builder::new().name(format!("opener-{index}")).spawn(work)?;
            self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(())
    }

    /// Starts a thread that does `work` once per interval.
    fn spawn(
        &self,
        name: &str,
        services: &Arc<Services>,
        mut work: impl FnMut(&Services, &Stop) + Send + 'static,
    ) -> std::io::Result<()> {
        let (services, stop) = (Arc::clone(services), Arc::clone(&self.stop));
        let rounds = move || {
            while !stop.wait(services.config().background_interval) {
                work(&services, &stop);
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(rounds)?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// Ends the threads; waits for the piece of work they are at.
    pub(crate) fn stop(&self) {
        *self.stop.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.changed.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a housekeeping thread had panicked");
            }
        }
    }
}

fn go_round(services: &Services, round: u64) {
    let now_ms = services.clock.unix_ms();
    for partition in services.partitions.all() {
        // Topics that do not wait for the disk still reach it before long.
        partition.flush_soon();
        retain(services, &partition, now_ms);
        if round.is_multiple_of(ROUNDS_PER_CHECKPOINT) {
            partition.checkpoint();
        }
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

fn compact_all(services: &Services, stop: &Stop) {
    let now_ms = services.clock.unix_ms();
    for partition in services.partitions.all() {
        let ticket = partition.with_log(|log, bound, _| log.begin_compaction(now_ms, bound));
        let Some(Some(ticket)) = ticket else { continue };
        let mut since_rest = 0;
        let cleaned = ticket.run(|bytes| {
            since_rest += bytes;
            if since_rest >= COMPACTION_PIECE_BYTES {
                since_rest = 0;
                // Told to stop, it hurries to its end.
                stop.wait(COMPACTION_REST);
            }
        });
        let compacted =
            cleaned.map(|cleaned| partition.with_log(|log, _, _| log.complete_compaction(cleaned)));
        match compacted {
            Ok(Some(Ok(compacted))) => {
                services.metrics.segments_compacted.inc_by(compacted.segments_count as u64);
                tracing::info!(partition = %partition.id(), ?compacted, "compacted");
            }
            Ok(None) => {}
            Ok(Some(Err(error))) | Err(error) => {
                tracing::warn!(partition = %partition.id(), %error, "compaction failed; it is tried again");
            }
        }
    }
}
