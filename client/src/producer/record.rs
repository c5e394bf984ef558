//! A record on its way in, borrowed from the caller: its bytes are copied once, into the batch.

use highwater_proto::PartitionIndex;
use highwater_proto::record::Header;

/// A record to send. Borrowed, so that sending allocates nothing.
///
/// ```
/// use highwater_client::Record;
/// let record = Record::new("orders").key(b"42").value(b"paid");
/// assert_eq!(record.key, Some(&b"42"[..]));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition; `None` leaves the choice to the key's hash, or to the producer when there is no key.
    pub partition: Option<PartitionIndex>,
    /// `None` is Kafka's null key.
    pub key: Option<&'a [u8]>,
    /// `None` is Kafka's null value: a tombstone on compacted topics.
    pub value: Option<&'a [u8]>,
    /// In order; names may repeat.
    pub headers: &'a [Header],
    /// Milliseconds since the Unix epoch; `None` is now.
    pub timestamp_ms: Option<i64>,
}

impl<'a> Record<'a> {
    /// A record without key, value and headers.
    pub fn new(topic: &'a str) -> Record<'a> {
        Record { topic, partition: None, key: None, value: None, headers: &[], timestamp_ms: None }
    }

    /// Sets the key. Records with equal keys go to the same partition.
    #[must_use]
    pub fn key(self, key: &'a (impl AsRef<[u8]> + ?Sized)) -> Record<'a> {
        Record { key: Some(key.as_ref()), ..self }
    }

    /// Sets the value.
    #[must_use]
    pub fn value(self, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Record<'a> {
        Record { value: Some(value.as_ref()), ..self }
    }

    /// Chooses the partition.
    #[must_use]
    pub fn partition(self, partition: i32) -> Record<'a> {
        Record { partition: Some(PartitionIndex(partition)), ..self }
    }

    /// Sets the headers.
    #[must_use]
    pub fn headers(self, headers: &'a [Header]) -> Record<'a> {
        Record { headers, ..self }
    }

    /// Sets the timestamp, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn timestamp_ms(self, timestamp_ms: i64) -> Record<'a> {
        Record { timestamp_ms: Some(timestamp_ms), ..self }
    }

    /// At least what the record takes in a batch: its bytes, and every length and delta at its longest.
    pub(crate) fn size_bytes(&self) -> usize {
        const FRAME: usize = 5 + 1 + 10 + 5 + 5 + 5 + 5;
        const HEADER_FRAME: usize = 5 + 5;
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let headers: usize = self
            .headers
            .iter()
            .map(|h| HEADER_FRAME + h.key.len() + h.value.as_ref().map_or(0, |v| v.len()))
            .sum();
        FRAME + length(self.key) + length(self.value) + headers
    }
}
