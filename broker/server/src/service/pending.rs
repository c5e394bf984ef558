//! A produce request on its way: outcomes gather from its partitions, and the last one sends the reply.

use std::sync::{Arc, Mutex, PoisonError};

use highwater_proto::TopicPartition;

use super::produce::ProduceFailure;
use crate::partition::AckedBatch;

/// What became of one batch.
#[derive(Debug)]
pub struct BatchOutcome {
    /// Where it went.
    pub partition: TopicPartition,
    /// What became of it.
    pub result: Result<AckedBatch, ProduceFailure>,
}

/// Sends the reply; called exactly once.
type Reply = Box<dyn FnOnce(Vec<BatchOutcome>) + Send>;

/// A produce request whose batches are not all safe yet.
pub struct PendingProduce {
    state: Mutex<State>,
}

struct State {
    partitions: Vec<TopicPartition>,
    outcomes: Vec<Option<Result<AckedBatch, ProduceFailure>>>,
    missing: usize,
    reply: Option<Reply>,
}

impl std::fmt::Debug for PendingProduce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingProduce").finish_non_exhaustive()
    }
}

impl PendingProduce {
    /// A request for these partitions, in this order. With none, the reply goes at once.
    pub fn new(partitions: Vec<TopicPartition>, reply: Reply) -> Arc<PendingProduce> {
        let missing = partitions.len();
        let outcomes = partitions.iter().map(|_| None).collect();
        let pending = State { partitions, outcomes, missing, reply: Some(reply) };
        let pending = Arc::new(PendingProduce { state: Mutex::new(pending) });
        if missing == 0 {
            pending.expire();
        }
        pending
    }

    /// One batch is settled. Later words about the same batch are ignored.
    pub fn settle(&self, index: usize, result: Result<AckedBatch, ProduceFailure>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.reply.is_none() || state.outcomes[index].is_some() {
            return;
        }
        state.outcomes[index] = Some(result);
        state.missing -= 1;
        if state.missing == 0 {
            State::send(state);
        }
    }

    /// Time is up: whatever is not settled is answered as timed out. Returns how many batches that were.
    pub fn expire(&self) -> usize {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.reply.is_none() {
            return 0;
        }
        let missing = state.missing;
        State::send(state);
        missing
    }

    /// Whether the reply has gone.
    pub fn is_settled(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).reply.is_none()
    }
}

impl State {
    /// Sends the reply after letting go of the lock.
    fn send(mut state: std::sync::MutexGuard<'_, State>) {
        let Some(reply) = state.reply.take() else { return };
        let partitions = std::mem::take(&mut state.partitions);
        let outcomes = std::mem::take(&mut state.outcomes);
        drop(state);
        let outcomes = partitions.into_iter().zip(outcomes).map(|(partition, outcome)| {
            let result = outcome.unwrap_or(Err(ProduceFailure::TimedOut));
            BatchOutcome { partition, result }
        });
        reply(outcomes.collect());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use highwater_proto::{Offset, PartitionIndex, TopicId};

    use super::*;

    fn acked(offset: i64) -> AckedBatch {
        AckedBatch { base_offset: Offset(offset), append_time_ms: None, log_start: Offset(0) }
    }

    fn request(count: i32) -> (Arc<PendingProduce>, mpsc::Receiver<Vec<BatchOutcome>>) {
        let (tx, rx) = mpsc::channel();
        let ids = (0..count).map(|i| TopicPartition::new(TopicId([1; 16]), PartitionIndex(i))).collect();
        (PendingProduce::new(ids, Box::new(move |outcomes| tx.send(outcomes).unwrap())), rx)
    }

    #[test]
    fn the_last_batch_sends_the_reply_in_the_requests_order() {
        let (pending, replies) = request(2);
        pending.settle(1, Ok(acked(9)));
        assert!(replies.try_recv().is_err());
        pending.settle(1, Ok(acked(10)));
        assert!(replies.try_recv().is_err(), "a second word about one batch counts for nothing");
        pending.settle(0, Ok(acked(4)));
        let outcomes = replies.try_recv().expect("a reply");
        let offsets: Vec<i64> = outcomes.iter().map(|o| o.result.as_ref().unwrap().base_offset.0).collect();
        assert_eq!(offsets, [4, 9]);
    }

    #[test]
    fn time_running_out_answers_once_and_for_the_unsettled_only() {
        let (pending, replies) = request(2);
        pending.settle(0, Ok(acked(4)));
        assert_eq!((pending.expire(), pending.expire()), (1, 0));
        pending.settle(1, Ok(acked(5)));
        let outcomes = replies.try_recv().expect("a reply");
        assert!(outcomes[0].result.is_ok() && outcomes[1].result.is_err());
        assert!(replies.try_recv().is_err());
    }
}
