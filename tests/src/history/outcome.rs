//! How an operation ended, and the rule that tells "did not happen" from "nobody knows".
//!
//! Getting this wrong hides loss (an unknown taken for a failure) or invents reads of aborted writes (a failure that took
//! effect), so the list of definite failures is short and written out.

use highwater_proto::ErrorCode;
use serde::{Deserialize, Serialize};

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It took effect, and the answer said so.
    Ok,
    /// It took no effect, now or ever.
    Fail,
    /// It may have taken effect, or may yet.
    Info,
}

/// Whether a fault was really put in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It was, and that was seen.
    Installed,
    /// It was not: nothing to do it to, or the machine cannot.
    Skipped,
    /// It was tried, and nobody knows.
    Indeterminate,
    /// It was taken back.
    Healed,
}

/// How often a request was sent before its last answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempts {
    /// Once.
    One,
    /// More than once, or nobody knows: the last answer says nothing of the earlier attempts.
    Several,
}

/// How a send ended whose last answer is `code`.
pub fn outcome_of(code: ErrorCode, attempts: Attempts) -> Outcome {
    match code {
        ErrorCode::None => Outcome::Ok,
        _ if attempts == Attempts::Several => Outcome::Info,
        // Refused before anything was appended.
        ErrorCode::NotEnoughReplicas
        | ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidRecord
        | ErrorCode::CorruptMessage
        | ErrorCode::InvalidTimestamp
        | ErrorCode::InvalidRequiredAcks
        | ErrorCode::UnsupportedCompressionType
        | ErrorCode::TopicAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::InvalidProducerEpoch
        | ErrorCode::ProducerFenced => Outcome::Fail,
        // Among others a timeout, a broken connection, NOT_ENOUGH_REPLICAS_AFTER_APPEND (it is in the leader's log),
        // NOT_LEADER_OR_FOLLOWER (it may have been appended and waited), KAFKA_STORAGE_ERROR.
        _ => Outcome::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_refused_before_the_append_is_a_failure() {
        let one = |code| outcome_of(code, Attempts::One);
        assert_eq!(one(ErrorCode::None), Outcome::Ok);
        assert_eq!(one(ErrorCode::NotEnoughReplicas), Outcome::Fail);
        assert_eq!(one(ErrorCode::MessageTooLarge), Outcome::Fail);
        for unknown in [
            ErrorCode::NotEnoughReplicasAfterAppend,
            ErrorCode::NotLeaderOrFollower,
            ErrorCode::RequestTimedOut,
            ErrorCode::NetworkException,
            ErrorCode::KafkaStorageError,
            ErrorCode::UnknownServerError,
            ErrorCode::OutOfOrderSequenceNumber,
        ] {
            assert_eq!(one(unknown), Outcome::Info, "{unknown:?}");
        }
    }

    #[test]
    fn the_last_answer_says_nothing_of_the_attempts_before_it() {
        assert_eq!(outcome_of(ErrorCode::NotEnoughReplicas, Attempts::Several), Outcome::Info);
        assert_eq!(outcome_of(ErrorCode::ProducerFenced, Attempts::Several), Outcome::Info);
        assert_eq!(outcome_of(ErrorCode::None, Attempts::Several), Outcome::Ok);
    }
}
