//! The producer as its user holds it.

use std::sync::Arc;

use tokio::sync::TryAcquireError;

use crate::client::Client;
use crate::error::ProduceError;
use crate::producer::batch::Identity;
use crate::producer::config::{Acks, ProducerConfig};
use crate::producer::delivery::Delivery;
use crate::producer::record::Record;
use crate::producer::shared::{Shared, housekeeping};
use crate::producer::topic::TopicQueues;
use crate::time::unix_ms;

/// Sends records. Cheap to clone; clones share batches, connections and memory. Make it with
/// [`Client::producer`](crate::Client::producer).
///
/// When the last clone is dropped, records that are not acknowledged yet are given up: [`Producer::close`] first.
///
/// ```no_run
/// # async fn example(client: highwater_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use highwater_client::{ProducerConfig, Record};
///
/// let producer = client.producer(ProducerConfig::default()).await?;
/// for line in ["one", "two", "three"] {
///     // Waits only while `buffer_memory` is full. The delivery may be awaited now, later, or never.
///     let _delivery = producer.send(Record::new("lines").value(line)).await?;
/// }
/// producer.flush().await?; // everything sent so far is acknowledged, or this is the first error
/// producer.close().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Producer {
    handle: Arc<Handle>,
}

/// Closes the producer when the last clone goes.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close(&ProduceError::Closed);
    }
}

impl Producer {
    pub(crate) async fn start(client: Client, config: ProducerConfig) -> Result<Producer, ProduceError> {
        config.validate()?;
        let identity = if config.is_idempotent() {
            let named = |source| ProduceError::Metadata { topic: "(producer id)".to_owned(), source };
            let (id, epoch) = client.init_producer_id().await.map_err(named)?;
            Some(Identity { id, epoch })
        } else {
            None
        };
        let shared = Shared::new(client, config, identity);
        tokio::spawn(housekeeping(shared.clone()));
        Ok(Producer { handle: Arc::new(Handle { shared }) })
    }

    /// Takes a record for sending. Returns as soon as its bytes are in a batch; waits while `buffer_memory` is full,
    /// and, for the first record of a topic, until the topic is known. A call that is dropped before it returns may
    /// or may not have taken the record.
    ///
    /// # Errors
    /// Only what can be said at once (unknown topic or partition, too large, closed); the rest is the delivery's.
    pub async fn send(&self, record: Record<'_>) -> Result<Delivery, ProduceError> {
        let shared = &self.handle.shared;
        let topic = match shared.topic(record.topic) {
            Some(topic) => topic,
            None => shared.load_topic(record.topic).await?,
        };
        let size_bytes = self.checked_size(&record)?;
        match shared.memory.try_acquire_many(size_bytes) {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::Closed) => return Err(shared.ending()),
            Err(TryAcquireError::NoPermits) => {
                // Batches that linger hold the memory that is waited for.
                if !shared.config.linger.is_zero() {
                    shared.hurry();
                }
                let permit = shared.memory.acquire_many(size_bytes).await;
                permit.map_err(|_| shared.ending())?.forget();
            }
        }
        let (delivery, sealed) = self.append(&topic, &record, size_bytes)?;
        if sealed {
            // A full batch is on the list: let the task that feeds the connection have the thread, or a caller that
            // never waits would fill the whole buffer before the first byte leaves.
            tokio::task::yield_now().await;
        }
        Ok(delivery)
    }

    /// Takes a record if that needs no waiting.
    ///
    /// # Errors
    /// [`ProduceError::WouldBlock`] when memory is full or the topic is not known yet; else as [`Producer::send`].
    pub fn try_send(&self, record: Record<'_>) -> Result<Delivery, ProduceError> {
        let shared = &self.handle.shared;
        let topic = shared.topic(record.topic).ok_or(ProduceError::WouldBlock)?;
        let size_bytes = self.checked_size(&record)?;
        match shared.memory.try_acquire_many(size_bytes) {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::Closed) => return Err(shared.ending()),
            Err(TryAcquireError::NoPermits) => return Err(ProduceError::WouldBlock),
        }
        Ok(self.append(&topic, &record, size_bytes)?.0)
    }

    /// Waits until the topic is known, so that [`Producer::try_send`] can take records for it.
    ///
    /// # Errors
    /// When it is not known within `topic_timeout`.
    pub async fn prepare(&self, topic: &str) -> Result<(), ProduceError> {
        self.handle.shared.load_topic(topic).await.map(|_| ())
    }

    /// Waits until everything sent before is acknowledged or failed. Does not wait for later records.
    ///
    /// # Errors
    /// The first failure among the records that were not settled yet when this was called.
    pub async fn flush(&self) -> Result<(), ProduceError> {
        let shared = &self.handle.shared;
        let mut first_error = Ok(());
        for outcome in shared.hurry() {
            let result = outcome.settled().await;
            first_error = first_error.and(result);
        }
        first_error
    }

    /// Flushes, then ends the producer with all its clones: later sends fail with [`ProduceError::Closed`]. With
    /// [`Acks::None`] it also waits, for at most the request timeout, until the brokers have taken everything.
    ///
    /// # Errors
    /// As [`Producer::flush`].
    pub async fn close(self) -> Result<(), ProduceError> {
        let mut flushed = self.flush().await;
        let shared = &self.handle.shared;
        if shared.config.acks == Acks::None && !*shared.closed.borrow() {
            let timeout = shared.client.config().request_timeout;
            let finished = tokio::time::timeout(timeout, shared.finish()).await;
            flushed = flushed.and(finished.map_err(|_| ProduceError::NotTaken { after: timeout }));
        }
        self.handle.shared.close(&ProduceError::Closed);
        flushed
    }

    fn checked_size(&self, record: &Record<'_>) -> Result<u32, ProduceError> {
        let size_bytes = record.size_bytes();
        let max_bytes = self.handle.shared.config.max_request_bytes;
        match u32::try_from(size_bytes) {
            Ok(size) if size_bytes <= max_bytes => Ok(size),
            _ => Err(ProduceError::RecordTooLarge { topic: record.topic.to_owned(), size_bytes, max_bytes }),
        }
    }

    fn append(
        &self,
        topic: &TopicQueues,
        record: &Record<'_>,
        size_bytes: u32,
    ) -> Result<(Delivery, bool), ProduceError> {
        let shared = &self.handle.shared;
        let appended = topic.choose(record).and_then(|choice| {
            let timestamp_ms = record.timestamp_ms.unwrap_or_else(unix_ms);
            let appended = choice.queue.append(record, timestamp_ms, size_bytes as usize)?;
            if let Some(schedule) = appended.schedule {
                shared.place(choice.queue, schedule);
            }
            if choice.is_sticky && appended.completes {
                topic.move_on(choice.queue.partition.0.unsigned_abs() as usize);
            }
            Ok((appended.delivery, appended.sealed))
        });
        if appended.is_err() {
            shared.memory.add_permits(size_bytes as usize);
        }
        appended
    }
}
