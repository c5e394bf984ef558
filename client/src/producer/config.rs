//! The producer's settings, with Kafka's names where the meaning is the same.

use std::time::Duration;

use highwater_proto::record::Compression;

use crate::error::ConfigError;

/// What must have happened before a batch counts as delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acks {
    /// Nothing: sent is delivered. Offsets are not known, losses are not noticed.
    None,
    /// The leader has written it.
    Leader,
    /// Every in-sync replica has it, under the topic's durability rule (fsynced, by default).
    #[default]
    All,
}

impl Acks {
    pub(crate) fn to_wire(self) -> i32 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

/// Whether the broker can tell a batch sent again from a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idempotence {
    /// Yes, unless `acks` is [`Acks::None`], where no answer could be acted on.
    #[default]
    On,
    /// No: a retry may write a batch twice, and one that fails may be overtaken by those after it.
    Off,
}

/// How a producer batches, waits and retries.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// What counts as delivered. Default: [`Acks::All`].
    pub acks: Acks,
    /// Default: [`Idempotence::On`].
    pub idempotence: Idempotence,
    /// Codec of the batches. Default: none.
    pub compression: Compression,
    /// A batch is sent once it holds about this many bytes (before compression). Default: 256 KiB, where the cost of
    /// a request has vanished behind that of its bytes.
    pub batch_bytes: usize,
    /// How long a batch that is not full may wait for more records. Default: 0. Nothing is gained by a timer here:
    /// while little is in flight a batch leaves at once, and under load batches fill by themselves while the
    /// pipeline is busy.
    pub linger: Duration,
    /// Bytes of records that may wait for their acknowledgement; `send` waits when they are used up. Default: 32 MiB.
    pub buffer_memory: usize,
    /// Batches of one partition on their way at once, 1 to 5. Default: 5, as many as the broker can tell apart.
    pub max_in_flight: usize,
    /// Largest request, and so largest record. Default: 1 MiB.
    pub max_request_bytes: usize,
    /// A record that is not acknowledged this long after `send` fails. Default: 120 s.
    pub delivery_timeout: Duration,
    /// How long `send` may wait for a topic it does not know yet. Default: 10 s.
    pub topic_timeout: Duration,
}

impl Default for ProducerConfig {
    fn default() -> ProducerConfig {
        ProducerConfig {
            acks: Acks::default(),
            idempotence: Idempotence::default(),
            compression: Compression::None,
            batch_bytes: 256 << 10,
            linger: Duration::ZERO,
            buffer_memory: 32 << 20,
            max_in_flight: 5,
            max_request_bytes: 1 << 20,
            delivery_timeout: Duration::from_secs(120),
            topic_timeout: Duration::from_secs(10),
        }
    }
}

impl ProducerConfig {
    pub(crate) fn is_idempotent(&self) -> bool {
        self.idempotence == Idempotence::On && self.acks != Acks::None
    }

    /// With more than this on its way for a partition, only full batches follow: the pipeline is busy, so waiting
    /// for the next answer costs nothing and makes better batches.
    pub(crate) fn busy_bytes(&self) -> usize {
        self.batch_bytes / 4
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key, problem: String, remedy| Err(ConfigError { key, problem, remedy });
        if !(1..=5).contains(&self.max_in_flight) {
            let remedy = "use 1 to 5: brokers remember the last five batches of a producer";
            return wrong("max_in_flight", format!("{} is out of bounds", self.max_in_flight), remedy);
        }
        if !(1_024..=(256 << 20)).contains(&self.max_request_bytes) {
            let remedy = "use 1 KiB to 256 MiB";
            return wrong(
                "max_request_bytes",
                format!("{} is out of bounds", self.max_request_bytes),
                remedy,
            );
        }
        if self.batch_bytes == 0 || self.batch_bytes > self.max_request_bytes {
            let problem = format!("{} is not in 1..={}", self.batch_bytes, self.max_request_bytes);
            return wrong("batch_bytes", problem, "keep it at or below max_request_bytes");
        }
        if self.buffer_memory < self.max_request_bytes || self.buffer_memory > u32::MAX as usize {
            let problem = format!("{} is out of bounds", self.buffer_memory);
            return wrong("buffer_memory", problem, "use at least max_request_bytes and less than 4 GiB");
        }
        if self.delivery_timeout <= self.linger {
            let problem = format!("{} ms leaves no time after linger", self.delivery_timeout.as_millis());
            return wrong("delivery_timeout", problem, "make it longer than linger");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_each_bound_is_named() {
        let good = ProducerConfig::default;
        assert_eq!(good().validate(), Ok(()));
        let bad = [
            ("max_in_flight", ProducerConfig { max_in_flight: 6, ..good() }),
            ("max_in_flight", ProducerConfig { max_in_flight: 0, ..good() }),
            ("batch_bytes", ProducerConfig { batch_bytes: 2 << 20, ..good() }),
            ("batch_bytes", ProducerConfig { batch_bytes: 0, ..good() }),
            ("buffer_memory", ProducerConfig { buffer_memory: 1_000, ..good() }),
            ("max_request_bytes", ProducerConfig { max_request_bytes: 10, ..good() }),
            ("delivery_timeout", ProducerConfig { delivery_timeout: Duration::ZERO, ..good() }),
        ];
        for (key, config) in bad {
            assert_eq!(config.validate().expect_err("refused").key, key);
        }
    }

    #[test]
    fn idempotence_needs_answers() {
        assert!(ProducerConfig::default().is_idempotent());
        assert!(!ProducerConfig { acks: Acks::None, ..ProducerConfig::default() }.is_idempotent());
        assert!(
            !ProducerConfig { idempotence: Idempotence::Off, ..ProducerConfig::default() }.is_idempotent()
        );
    }
}
