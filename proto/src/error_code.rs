//! The one table of error codes: Kafka's numbers, whether a retry can help, and what each means to a person.
//!
//! Source: the public Kafka protocol guide, "Error Codes". Operations have error enums of their own; only the
//! listeners turn those into these numbers.

use std::fmt;

/// Whether sending the same request again can succeed without anybody changing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Yes, after a back-off.
    Retriable,
    /// Yes, after the metadata was read anew.
    RefreshMetadata,
    /// No.
    Never,
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $retry:ident, $text:literal;)*) => {
        /// An error as it stands on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i16)]
        pub enum ErrorCode {
            $(#[doc = $text] $(#[$doc])* $name = $number,)*
        }

        impl ErrorCode {
            /// Every code of the table.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name,)*];

            /// The code with this number; numbers outside the table become [`ErrorCode::UnknownServerError`].
            pub fn from_wire(number: i32) -> ErrorCode {
                match number {
                    $($number => ErrorCode::$name,)*
                    _ => ErrorCode::UnknownServerError,
                }
            }

            /// Whether a retry can help.
            pub fn retry(self) -> Retry {
                match self { $(ErrorCode::$name => Retry::$retry,)* }
            }

            /// One sentence for a person.
            pub fn text(self) -> &'static str {
                match self { $(ErrorCode::$name => $text,)* }
            }
        }
    };
}

error_codes! {
    UnknownServerError = -1, Never, "the server failed in a way it did not expect";
    None = 0, Never, "no error";
    OffsetOutOfRange = 1, Never, "the offset is not in the log's range";
    CorruptMessage = 2, Retriable, "the batch fails its checksum or is malformed";
    UnknownTopicOrPartition = 3, RefreshMetadata, "no such topic or partition here";
    LeaderNotAvailable = 5, RefreshMetadata, "the partition has no leader at the moment";
    NotLeaderOrFollower = 6, RefreshMetadata, "this broker is not the partition's leader";
    RequestTimedOut = 7, Retriable, "the request timed out on the broker";
    MessageTooLarge = 10, Never, "the batch is larger than max.message.bytes";
    NetworkException = 13, RefreshMetadata, "the connection broke before an answer came";
    CoordinatorLoadInProgress = 14, Retriable, "the coordinator is loading";
    CoordinatorNotAvailable = 15, Retriable, "the coordinator is not available";
    NotCoordinator = 16, RefreshMetadata, "this broker is not the coordinator";
    InvalidTopicException = 17, Never, "the topic's name is not legal";
    RecordListTooLarge = 18, Never, "the request holds more than the broker takes in one piece";
    NotEnoughReplicas = 19, Retriable, "fewer in-sync replicas than min.insync.replicas; nothing was written";
    NotEnoughReplicasAfterAppend = 20, Retriable, "written, but not by min.insync.replicas";
    InvalidRequiredAcks = 21, Never, "acks must be 0, 1 or -1 (all)";
    TopicAuthorizationFailed = 29, Never, "not allowed on this topic";
    ClusterAuthorizationFailed = 31, Never, "not allowed on the cluster";
    InvalidTimestamp = 32, Never, "a record's timestamp is out of the topic's bounds";
    UnsupportedVersion = 35, Never, "the version of this request is not supported";
    TopicAlreadyExists = 36, Never, "the topic exists already";
    InvalidPartitions = 37, Never, "the number of partitions is not legal";
    InvalidReplicationFactor = 38, Never, "the replication factor is not legal";
    InvalidReplicaAssignment = 39, Never, "the manual assignment of replicas is not legal";
    InvalidConfig = 40, Never, "a setting's name or value is not legal";
    NotController = 41, RefreshMetadata, "this broker is not the controller";
    InvalidRequest = 42, Never, "the request contradicts itself";
    UnsupportedForMessageFormat = 43, Never, "not possible with this message format";
    PolicyViolation = 44, Never, "refused by the broker's policy";
    OutOfOrderSequenceNumber = 45, Never, "the producer's sequence number leaves a gap";
    DuplicateSequenceNumber = 46, Never, "the producer's sequence number was used before";
    InvalidProducerEpoch = 47, Never, "a newer instance of this producer has taken over";
    OperationNotAttempted = 55, Never, "not attempted, since another part of the request failed";
    KafkaStorageError = 56, RefreshMetadata, "the broker's disk refused; nothing was acknowledged";
    UnknownProducerId = 59, Never, "the broker does not know this producer id";
    FetchSessionIdNotFound = 70, Retriable, "no such fetch session on this connection; begin a new one";
    InvalidFetchSessionEpoch = 71, Retriable, "the fetch session is at another request; begin a new one";
    FencedLeaderEpoch = 74, RefreshMetadata, "the leader epoch in the request is older than the broker's";
    UnknownLeaderEpoch = 75, Retriable, "the leader epoch in the request is newer than the broker's";
    UnsupportedCompressionType = 76, Never, "the codec is not supported here";
    OffsetNotAvailable = 78, Retriable, "the leader does not know its latest offset yet";
    PreferredLeaderNotAvailable = 80, Never, "the preferred leader is not available";
    EligibleLeadersNotAvailable = 83, Never, "none of the replicas that may lead is there";
    ElectionNotNeeded = 84, Never, "the right replica leads already";
    NoReassignmentInProgress = 85, Never, "no move of this partition is under way";
    InvalidRecord = 87, Never, "a record breaks a rule of the topic";
    UnstableOffsetCommit = 88, Retriable, "offsets are still pending in a transaction";
    ThrottlingQuotaExceeded = 89, Retriable, "a quota is used up";
    ProducerFenced = 90, Never, "a newer producer with the same identity has taken over";
    UnknownTopicId = 100, RefreshMetadata, "no topic has this id (deleted, or made anew under its name)";
    InconsistentTopicId = 103, RefreshMetadata, "the topic's id and name disagree";
    FetchSessionTopicIdError = 106, Retriable, "the fetch session began with names and goes on with ids, or the reverse";
    MismatchedEndpointType = 114, Never, "this listener is of another type than the one asked for";
    UnsupportedEndpointType = 115, Never, "there is no such type of listener";
}

impl ErrorCode {
    /// The number on the wire.
    pub fn to_wire(self) -> i32 {
        i32::from(self as i16)
    }

    /// The number for JSON and logs.
    pub fn number(self) -> i16 {
        self as i16
    }

    /// Whether sending the same request again can succeed.
    pub fn is_retriable(self) -> bool {
        self.retry() != Retry::Never
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?} ({}): {}", self.number(), self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_from_its_number() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_wire(code.to_wire()), *code);
        }
        assert_eq!(ErrorCode::from_wire(12345), ErrorCode::UnknownServerError);
    }
}
