//! Flushing: asked for under the lock, carried out without it.

use std::sync::Arc;

use highwater_log::{Durable, FlushError};
use highwater_proto::{Offset, TopicPartition};

use super::outcome::ProduceError;
use super::owner::{Flushing, Partition, Released, Role, State};
use crate::metrics::Metrics;

impl Partition {
    /// Asks for a flush, unless one is coming that takes the newest append along.
    pub(super) fn want_flush(self: &Arc<Partition>, state: &mut State) {
        state.flushing = match state.flushing {
            Flushing::Idle => {
                self.around.queue.push(Arc::clone(self));
                Flushing::Queued
            }
            Flushing::Running => Flushing::RunningAgain,
            waiting => waiting,
        };
    }

    /// Asks for a flush of whatever is not flushed, for topics that do not wait for it.
    pub fn flush_soon(self: &Arc<Partition>) {
        let mut state = self.lock();
        if state.log.flushed_end().get() < state.log.log_end() {
            self.want_flush(&mut state);
        }
    }

    /// Writes down what saves the next start some reading, and proves to it what was flushed.
    pub fn checkpoint(&self) {
        let Some(Some(ticket)) = self.with_log(|log, _, _| log.begin_checkpoint()) else { return };
        let written = ticket.write();
        if let Some(Err(error)) = self.with_log(|log, _, _| log.complete_checkpoint(written)) {
            tracing::warn!(partition = %self.id, %error, "a checkpoint failed; the next start will read more");
        }
    }

    /// One group flush: everything appended before it began. Blocks on the disk; run by a flusher thread.
    pub fn flush(self: Arc<Partition>) {
        let metrics = Arc::clone(&self.around.metrics);
        let ticket = {
            let mut state = self.lock();
            state.flushing = Flushing::Running;
            state.log.begin_flush()
        };
        let Some(ticket) = ticket else {
            self.lock().flushing = Flushing::Idle;
            return;
        };
        let began = self.now();
        let synced = ticket.sync();
        metrics.flush_seconds.observe(self.now().saturating_sub(began).as_secs_f64());
        let mut released = Released::default();
        let mut state = self.lock();
        match state.log.complete_flush(synced) {
            Ok(durable) => {
                metrics.flushes_completed.inc();
                state.flushed(durable, &mut released);
            }
            Err(error) => self.flush_failed(&metrics, &mut state, &error, &mut released),
        }
        let again = state.flushing == Flushing::RunningAgain;
        state.flushing = if again { Flushing::Queued } else { Flushing::Idle };
        drop(state);
        released.run();
        if again {
            self.around.queue.push(Arc::clone(&self));
        }
    }

    fn flush_failed(
        self: &Arc<Partition>,
        metrics: &Metrics,
        state: &mut State,
        error: &FlushError,
        released: &mut Released,
    ) {
        match error {
            // Nothing is lost, and everybody goes on waiting: housekeeping asks again.
            FlushError::TooManyOpenFiles(_) => {
                tracing::warn!(partition = %self.id, %error, "a flush is put off");
            }
            // The files went away under the flush, and with them everybody who waited.
            _ if state.gone => {
                tracing::debug!(partition = %self.id, %error, "a flush ended with its deleted topic");
            }
            _ => {
                metrics.flushes_failed.inc();
                metrics.partitions_offline.inc();
                state.flush_failed(self.id, error, released);
                self.want_attention(state);
            }
        }
    }
}

impl State {
    fn flushed(&mut self, durable: Durable<Offset>, released: &mut Released) {
        match &mut self.role {
            Role::Leader(leader) => {
                // A truncation may have come between the flush and this.
                let flushed = durable.get().min(self.log.log_end());
                if leader.flushed(flushed).is_some() {
                    self.release(released);
                }
            }
            Role::Follower(_) | Role::Idle => released.watches.extend(self.tail.clone()),
        }
    }

    fn flush_failed(&mut self, id: TopicPartition, error: &FlushError, released: &mut Released) {
        tracing::error!(partition = %id, %error, "a flush failed; the partition is offline until the broker restarts");
        let failed = self.parked.drain(..).map(|parked| (parked.ack, Err(ProduceError::FlushFailed)));
        released.acks.extend(failed);
    }
}
