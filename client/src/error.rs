//! What can go wrong, one enum per operation, each saying whether a retry can help.

use std::time::Duration;

use highwater_proto::{ErrorCode, Offset, PartitionIndex};

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}; {remedy}")]
pub struct ConfigError {
    /// The setting.
    pub key: &'static str,
    /// What is wrong with its value.
    pub problem: String,
    /// What would be right.
    pub remedy: &'static str,
}

/// Why no broker could be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The client's settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// None of the addresses answered.
    #[error(
        "cannot connect to {addresses}: {reason}; is a broker running there? (`highwater dev` starts one)"
    )]
    Unreachable {
        /// Every address that was tried.
        addresses: String,
        /// What the last attempt said.
        reason: String,
    },
}

impl ConnectError {
    /// Whether trying again later can help.
    pub fn is_retriable(&self) -> bool {
        matches!(self, ConnectError::Unreachable { .. })
    }
}

/// Why a metadata or admin call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// No broker could be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The broker answered with an error of its own.
    #[error("{subject}: {message} ({code:?})")]
    Refused {
        /// The topic, partition or setting it is about.
        subject: String,
        /// Kafka's number for it.
        code: ErrorCode,
        /// The broker's words.
        message: String,
    },
    /// The call failed below the application: the transport or the RPC itself.
    #[error("{call} failed: {reason}")]
    Rpc {
        /// The call.
        call: &'static str,
        /// gRPC's status.
        status: tonic::Code,
        /// What it said.
        reason: String,
    },
    /// No answer in time.
    #[error("{call}: no answer in {} ms", after.as_millis())]
    TimedOut {
        /// The call.
        call: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The answer does not fit the question.
    #[error("{call}: the broker's answer makes no sense: {reason}")]
    Protocol {
        /// The call.
        call: &'static str,
        /// What does not fit.
        reason: String,
    },
}

impl AdminError {
    pub(crate) fn refused(subject: impl Into<String>, code: i32, message: &str) -> AdminError {
        let code = ErrorCode::from_wire(code);
        let message = if message.is_empty() { code.text() } else { message };
        AdminError::Refused { subject: subject.into(), code, message: message.to_owned() }
    }

    pub(crate) fn rpc(call: &'static str, status: &tonic::Status) -> AdminError {
        AdminError::Rpc { call, status: status.code(), reason: status_reason(status) }
    }

    /// Whether the same call can succeed later without anybody changing it.
    pub fn is_retriable(&self) -> bool {
        match self {
            AdminError::Connect(error) => error.is_retriable(),
            AdminError::Refused { code, .. } => code.is_retriable(),
            AdminError::Rpc { status, .. } => is_transient(*status),
            AdminError::TimedOut { .. } => true,
            AdminError::Protocol { .. } => false,
        }
    }

    /// The broker's error code, if it was the broker that refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            AdminError::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the thing asked about does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId))
    }
}

/// Whether a gRPC status speaks of the connection or of a busy broker, and not of the request.
pub(crate) fn is_transient(status: tonic::Code) -> bool {
    use tonic::Code;
    matches!(
        status,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Aborted
            | Code::ResourceExhausted
            | Code::Unknown
            | Code::Internal
    )
}

/// A status with the causes below it, in one line.
pub(crate) fn status_reason(status: &tonic::Status) -> String {
    let mut reason =
        if status.message().is_empty() { status.code().to_string() } else { status.message().to_owned() };
    append_causes(&mut reason, std::error::Error::source(status));
    reason
}

/// An error with its causes, in one line, each said once.
pub(crate) fn reason_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut reason = error.to_string();
    append_causes(&mut reason, error.source());
    reason
}

fn append_causes(reason: &mut String, mut cause: Option<&(dyn std::error::Error + 'static)>) {
    while let Some(error) = cause {
        let text = error.to_string();
        if !reason.contains(&text) {
            reason.push_str(": ");
            reason.push_str(&text);
        }
        cause = error.source();
    }
}

/// Why a record was not, or not surely, written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError {
    /// The producer's settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The topic's partitions and leaders could not be learned in time; nothing was sent.
    #[error("topic {topic}: {source}")]
    Metadata {
        /// The topic.
        topic: String,
        /// The last answer.
        source: AdminError,
    },
    /// The record names a partition that the topic does not have.
    #[error("topic {topic} has partitions 0 to {}, not {partition}", partitions - 1)]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: PartitionIndex,
        /// How many the topic has.
        partitions: i32,
    },
    /// The record is larger than the producer's `max_request_bytes`.
    #[error("a record of about {size_bytes} bytes for {topic} is over max_request_bytes = {max_bytes}")]
    RecordTooLarge {
        /// The topic.
        topic: String,
        /// Key, value and headers together.
        size_bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// The batch could not be encoded.
    #[error("the batch for {topic}-{partition} cannot be encoded: {reason}")]
    Encode {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionIndex,
        /// The encoder's words.
        reason: String,
    },
    /// `try_send` only: `buffer_memory` is full, or the topic is not known yet. Use `send`, which waits.
    #[error("the producer cannot take the record without waiting")]
    WouldBlock,
    /// The broker refused the batch for a reason that a retry does not cure. It was not written.
    #[error("{topic}-{partition}: {message} ({code:?})")]
    Refused {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionIndex,
        /// Kafka's number for it.
        code: ErrorCode,
        /// The broker's words.
        message: String,
    },
    /// No acknowledgement within `delivery_timeout`.
    #[error(
        "{topic}-{partition}: not acknowledged in {} ms after {attempts} attempts; last answer: {last}",
        after.as_millis()
    )]
    TimedOut {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionIndex,
        /// How long was tried.
        after: Duration,
        /// How often the batch was sent. With 0 it was surely not written; else it may have been.
        attempts: u32,
        /// What the last attempt ended with.
        last: String,
    },
    /// A newer producer has taken this one's identity; make a new producer.
    #[error("the producer was fenced: {message} ({code:?})")]
    Fenced {
        /// Kafka's number for it.
        code: ErrorCode,
        /// The broker's words.
        message: String,
    },
    /// Without acknowledgements: the brokers had not taken everything in time, so some records may be lost.
    #[error("the brokers had not taken everything within {after:?}; unacknowledged records may be lost")]
    NotTaken {
        /// How long was waited.
        after: std::time::Duration,
    },
    /// The producer was closed or dropped before the record was acknowledged.
    #[error("the producer is closed")]
    Closed,
}

impl ProduceError {
    /// Whether sending the record again can succeed. For [`ProduceError::TimedOut`] see also
    /// [`ProduceError::may_be_written`]: a record sent anew is a new record to the broker.
    pub fn is_retriable(&self) -> bool {
        match self {
            ProduceError::Metadata { source, .. } => source.is_retriable(),
            ProduceError::WouldBlock | ProduceError::TimedOut { .. } => true,
            _ => false,
        }
    }

    /// Whether the record may stand in the log although no acknowledgement came.
    pub fn may_be_written(&self) -> bool {
        matches!(
            self,
            ProduceError::TimedOut { attempts: 1.., .. }
                | ProduceError::Closed
                | ProduceError::NotTaken { .. }
        )
    }

    /// The broker's error code, if it was the broker that refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ProduceError::Refused { code, .. } | ProduceError::Fenced { code, .. } => Some(*code),
            ProduceError::Metadata { source, .. } => source.code(),
            _ => None,
        }
    }
}

/// Why a consumer could not go on. The consumer stays usable: its position has not moved past anything that was not
/// handed out, and the next call tries again from there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsumeError {
    /// The consumer's settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Metadata or offsets could not be learned.
    #[error(transparent)]
    Metadata(#[from] AdminError),
    /// The partition is not one that this consumer was given.
    #[error("{topic}-{partition} is not assigned to this consumer")]
    NotAssigned {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionIndex,
    },
    /// The topic does not have the partition.
    #[error("topic {topic} has partitions 0 to {}, not {partition}", partitions - 1)]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: PartitionIndex,
        /// How many the topic has.
        partitions: i32,
    },
    /// The position is outside the log and the policy is [`OffsetReset::Fail`](crate::OffsetReset).
    #[error("{topic}-{partition}: offset {offset} is out of range, the log holds [{log_start}, {log_end})")]
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionIndex,
        /// The consumer's position.
        offset: Offset,
        /// First offset the log still has.
        log_start: Offset,
        /// First offset past what can be read.
        log_end: Offset,
    },
    /// A batch arrived that fails its checksum or cannot be decoded.
    #[error("{topic}-{partition}: the batch at offset {offset} is damaged: {reason}")]
    Corrupt {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionIndex,
        /// Where it starts, as far as known.
        offset: Offset,
        /// The decoder's words.
        reason: String,
    },
    /// The broker refused for a reason that a retry does not cure.
    #[error("{topic}-{partition}: {message} ({code:?})")]
    Refused {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionIndex,
        /// Kafka's number for it.
        code: ErrorCode,
        /// The broker's words.
        message: String,
    },
}

impl ConsumeError {
    /// Whether calling again can succeed without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        match self {
            ConsumeError::Metadata(error) => error.is_retriable(),
            ConsumeError::Corrupt { .. } => true,
            _ => false,
        }
    }
}
