//! The one place where the operations' errors become wire codes.

use highwater_core::metadata::{ElectionError, MetadataError, PlacementError, ReassignError, Refusal};
use highwater_core::replication::AcksError;
use highwater_proto::ErrorCode;

use crate::controller::SubmitError;
use crate::partition::{
    DeleteRecordsError, EpochError, FetchError, LeaderError, ListOffsetsError, ProduceError,
};
use crate::service::{
    DeleteRecordsFailure, FetchFailure, ListOffsetsFailure, PartitionError, ProduceFailure, TopicFailure,
};

/// An error that has a number on the wire.
pub(crate) trait Coded: std::fmt::Display {
    /// The number.
    fn code(&self) -> ErrorCode;
}

impl Coded for PartitionError {
    fn code(&self) -> ErrorCode {
        match self {
            PartitionError::UnknownTopic(_) => ErrorCode::UnknownTopicId,
            PartitionError::UnknownPartition { .. } => ErrorCode::UnknownTopicOrPartition,
            PartitionError::Elsewhere(_) => ErrorCode::NotLeaderOrFollower,
            PartitionError::Offline(_) => ErrorCode::KafkaStorageError,
        }
    }
}

impl Coded for ProduceFailure {
    fn code(&self) -> ErrorCode {
        match self {
            ProduceFailure::Partition(error) => error.code(),
            ProduceFailure::Refused(error) => error.code(),
            ProduceFailure::TimedOut => ErrorCode::RequestTimedOut,
        }
    }
}

impl Coded for ProduceError {
    fn code(&self) -> ErrorCode {
        use highwater_log::{AppendError, ProducerError};
        match self {
            ProduceError::Gone => ErrorCode::UnknownTopicId,
            ProduceError::NotLeader(_) => ErrorCode::NotLeaderOrFollower,
            ProduceError::Acks(AcksError::Illegal { .. }) => ErrorCode::InvalidRequiredAcks,
            ProduceError::Acks(AcksError::NotEnoughReplicas { .. }) => ErrorCode::NotEnoughReplicas,
            ProduceError::TooFewAfterAppend { .. } => ErrorCode::NotEnoughReplicasAfterAppend,
            ProduceError::Batch(error) => error.code(),
            ProduceError::FlushFailed => ErrorCode::KafkaStorageError,
            ProduceError::Append(error) => match &**error {
                AppendError::Producer(error) => match error {
                    ProducerError::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
                    ProducerError::Fenced { .. } => ErrorCode::InvalidProducerEpoch,
                    ProducerError::StaleDuplicate { .. } => ErrorCode::DuplicateSequenceNumber,
                },
                AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
                _ => ErrorCode::KafkaStorageError,
            },
        }
    }
}

impl Coded for EpochError {
    fn code(&self) -> ErrorCode {
        match self {
            EpochError::Fenced { .. } => ErrorCode::FencedLeaderEpoch,
            EpochError::Unknown { .. } => ErrorCode::UnknownLeaderEpoch,
        }
    }
}

impl Coded for LeaderError {
    fn code(&self) -> ErrorCode {
        match self {
            LeaderError::Epoch(error) => error.code(),
            LeaderError::NotLeader(_) => ErrorCode::NotLeaderOrFollower,
        }
    }
}

impl Coded for FetchFailure {
    fn code(&self) -> ErrorCode {
        match self {
            FetchFailure::Partition(error) => error.code(),
            FetchFailure::Refused(error) => match error {
                FetchError::Gone => ErrorCode::UnknownTopicId,
                FetchError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
                FetchError::NotHere { .. } => ErrorCode::OffsetNotAvailable,
                FetchError::Leader(error) => error.code(),
                FetchError::Storage(_) => ErrorCode::KafkaStorageError,
            },
        }
    }
}

impl Coded for ListOffsetsFailure {
    fn code(&self) -> ErrorCode {
        match self {
            ListOffsetsFailure::Partition(error) => error.code(),
            ListOffsetsFailure::Illegal(_) => ErrorCode::InvalidRequest,
            ListOffsetsFailure::Refused(error) => match error {
                ListOffsetsError::Gone => ErrorCode::UnknownTopicId,
                ListOffsetsError::Leader(error) => error.code(),
                ListOffsetsError::NotYet => ErrorCode::OffsetNotAvailable,
                ListOffsetsError::Storage(_) => ErrorCode::KafkaStorageError,
            },
        }
    }
}

impl Coded for DeleteRecordsFailure {
    fn code(&self) -> ErrorCode {
        match self {
            DeleteRecordsFailure::NoSuchTopic(_) => ErrorCode::UnknownTopicOrPartition,
            DeleteRecordsFailure::NotDeleted(_) => ErrorCode::PolicyViolation,
            DeleteRecordsFailure::Partition(error) => error.code(),
            DeleteRecordsFailure::Refused(error) => match error {
                DeleteRecordsError::NotLeader(_) => ErrorCode::NotLeaderOrFollower,
                DeleteRecordsError::NotEverywhere => ErrorCode::RequestTimedOut,
                DeleteRecordsError::Gone => ErrorCode::UnknownTopicOrPartition,
                DeleteRecordsError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
                DeleteRecordsError::Storage(_) => ErrorCode::KafkaStorageError,
            },
        }
    }
}

impl Coded for TopicFailure {
    fn code(&self) -> ErrorCode {
        match self {
            TopicFailure::Change(error) => error.code(),
        }
    }
}

impl Coded for SubmitError {
    fn code(&self) -> ErrorCode {
        match self {
            SubmitError::Refused(refusal) => refusal.code(),
            SubmitError::Impossible { .. } => ErrorCode::InvalidRequest,
            SubmitError::NoController { .. } | SubmitError::Unknown => ErrorCode::RequestTimedOut,
        }
    }
}

impl Coded for ElectionError {
    fn code(&self) -> ErrorCode {
        match self {
            ElectionError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            ElectionError::NotNeeded { .. } => ErrorCode::ElectionNotNeeded,
            ElectionError::PreferredNotAvailable { .. } => ErrorCode::PreferredLeaderNotAvailable,
            _ => ErrorCode::EligibleLeadersNotAvailable,
        }
    }
}

impl Coded for ReassignError {
    fn code(&self) -> ErrorCode {
        match self {
            ReassignError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            ReassignError::NoneUnderWay => ErrorCode::NoReassignmentInProgress,
            _ => ErrorCode::InvalidReplicaAssignment,
        }
    }
}

impl Coded for Refusal {
    fn code(&self) -> ErrorCode {
        match self {
            Refusal::Topic(error) => error.code(),
            // Brokers hear these from each other; no client does.
            Refusal::Life(_) => ErrorCode::InvalidRequest,
            Refusal::Registration(_) | Refusal::Removal(_) | Refusal::Cluster(_) => ErrorCode::InvalidRequest,
        }
    }
}

impl Coded for MetadataError {
    fn code(&self) -> ErrorCode {
        match self {
            MetadataError::Name(_) | MetadataError::Collides { .. } => ErrorCode::InvalidTopicException,
            MetadataError::Setting(_) | MetadataError::NotAList { .. } => ErrorCode::InvalidConfig,
            MetadataError::Exists { .. } => ErrorCode::TopicAlreadyExists,
            MetadataError::NoSuchTopic { .. } => ErrorCode::UnknownTopicOrPartition,
            MetadataError::NoSuchTopicId { .. } => ErrorCode::UnknownTopicId,
            MetadataError::Partitions { .. } => ErrorCode::InvalidPartitions,
            MetadataError::Placement(
                PlacementError::Factor { .. } | PlacementError::TooFewBrokers { .. },
            ) => ErrorCode::InvalidReplicationFactor,
            MetadataError::Placement(PlacementError::Assignment { .. } | PlacementError::Count { .. }) => {
                ErrorCode::InvalidReplicaAssignment
            }
        }
    }
}
