//! What `send` hands back: a future per record that costs no allocation, because a batch's records share one outcome.

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use highwater_proto::{Offset, PartitionIndex};

use crate::error::ProduceError;

/// Where an acknowledged record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: PartitionIndex,
    /// Its offset; `None` with [`Acks::None`](crate::Acks), or when the broker knows only that it has it already.
    pub offset: Option<Offset>,
    /// Milliseconds since the Unix epoch: the record's own, or the broker's on `LogAppendTime` topics.
    pub timestamp_ms: i64,
}

/// What the broker said about a whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Offset of the batch's first record.
    pub(crate) base_offset: Option<Offset>,
    /// Set when the broker put its own time in.
    pub(crate) append_time_ms: Option<i64>,
}

/// The fate of one batch, set once and read by all its records' deliveries.
#[derive(Debug)]
pub(crate) struct BatchOutcome {
    topic: Arc<str>,
    partition: PartitionIndex,
    result: OnceLock<Result<Written, ProduceError>>,
    waiting: Mutex<Vec<Waker>>,
}

impl BatchOutcome {
    pub(crate) fn new(topic: Arc<str>, partition: PartitionIndex) -> Arc<BatchOutcome> {
        Arc::new(BatchOutcome { topic, partition, result: OnceLock::new(), waiting: Mutex::new(Vec::new()) })
    }

    /// Settles the batch. The first word stands: a batch that timed out stays failed even if its acknowledgement
    /// comes in later.
    pub(crate) fn settle(&self, result: Result<Written, ProduceError>) {
        if self.result.set(result).is_err() {
            return;
        }
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in waiting {
            waker.wake();
        }
    }

    /// The result, or the caller's waker is kept in `slot`.
    ///
    /// A waker stored here is never lost: `settle` sets the result before it takes the list, and this looks at the
    /// result again with the list locked, so either it sees the result or `settle` sees the waker.
    fn poll(&self, slot: &mut Option<usize>, waker: &Waker) -> Poll<&Result<Written, ProduceError>> {
        if let Some(result) = self.result.get() {
            return Poll::Ready(result);
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = self.result.get() {
            return Poll::Ready(result);
        }
        match slot.and_then(|index| waiting.get_mut(index)) {
            Some(kept) => kept.clone_from(waker),
            None => {
                *slot = Some(waiting.len());
                waiting.push(waker.clone());
            }
        }
        Poll::Pending
    }

    /// Waits until the batch is settled, one way or the other.
    pub(crate) async fn settled(&self) -> Result<(), ProduceError> {
        let mut slot = None;
        std::future::poll_fn(|cx| {
            self.poll(&mut slot, cx.waker()).map(|r| r.as_ref().map(|_| ()).map_err(Clone::clone))
        })
        .await
    }
}

/// The acknowledgement of one record, to be awaited or dropped: dropping it does not take the record back.
#[derive(Debug)]
#[must_use = "a record is only known to be written once its delivery was awaited (or the producer flushed)"]
pub struct Delivery {
    batch: Arc<BatchOutcome>,
    index: u32,
    timestamp_ms: i64,
    slot: Option<usize>,
}

impl Delivery {
    pub(crate) fn new(batch: Arc<BatchOutcome>, index: u32, timestamp_ms: i64) -> Delivery {
        Delivery { batch, index, timestamp_ms, slot: None }
    }

    /// The partition the record went to.
    pub fn partition(&self) -> PartitionIndex {
        self.batch.partition
    }

    /// The result if it is already there; never waits.
    pub fn peek(&self) -> Option<Result<RecordMetadata, ProduceError>> {
        self.batch.result.get().map(|result| self.metadata(result))
    }

    fn metadata(&self, result: &Result<Written, ProduceError>) -> Result<RecordMetadata, ProduceError> {
        let written = result.as_ref().map_err(Clone::clone)?;
        Ok(RecordMetadata {
            topic: self.batch.topic.clone(),
            partition: self.batch.partition,
            offset: written.base_offset.map(|base| base.advance(i64::from(self.index))),
            timestamp_ms: written.append_time_ms.unwrap_or(self.timestamp_ms),
        })
    }
}

impl Clone for Delivery {
    fn clone(&self) -> Delivery {
        // The slot belongs to the one task that polled.
        Delivery::new(self.batch.clone(), self.index, self.timestamp_ms)
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, ProduceError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match this.batch.poll(&mut this.slot, cx.waker()) {
            Poll::Ready(result) => Poll::Ready(this.metadata(result)),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Arc<BatchOutcome> {
        BatchOutcome::new("t".into(), PartitionIndex(3))
    }

    #[tokio::test]
    async fn every_record_of_a_batch_gets_its_own_offset() {
        let batch = outcome();
        let waiting: Vec<_> =
            (0..3).map(|i| tokio::spawn(Delivery::new(batch.clone(), i, 70 + i64::from(i)))).collect();
        tokio::task::yield_now().await;
        batch.settle(Ok(Written { base_offset: Some(Offset(10)), append_time_ms: None }));
        for (i, task) in waiting.into_iter().enumerate() {
            let metadata = task.await.expect("not cancelled").expect("delivered");
            assert_eq!(metadata.offset, Some(Offset(10 + i as i64)));
            assert_eq!((metadata.partition, metadata.timestamp_ms), (PartitionIndex(3), 70 + i as i64));
        }
    }

    #[tokio::test]
    async fn the_first_word_about_a_batch_stands() {
        let batch = outcome();
        batch.settle(Err(ProduceError::Closed));
        batch.settle(Ok(Written { base_offset: Some(Offset(1)), append_time_ms: None }));
        assert_eq!(Delivery::new(batch, 0, 0).await, Err(ProduceError::Closed));
    }

    #[test]
    fn polling_again_and_again_keeps_one_waker() {
        let batch = outcome();
        let mut delivery = Delivery::new(batch.clone(), 0, 0);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..100 {
            assert!(Pin::new(&mut delivery).poll(&mut cx).is_pending());
        }
        assert_eq!(batch.waiting.lock().expect("not poisoned").len(), 1);
    }
}
