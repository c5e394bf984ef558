//! Answers as bytes: a length, the request's number, and the encoded response.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Encodable;
use thiserror::Error;

/// Which request an answer belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope {
    /// The API.
    pub(super) key: ApiKey,
    /// The version, one that is served.
    pub(super) version: i16,
    /// The client's number.
    pub(super) correlation: i32,
}

/// Why a request gets no answer but the end of its connection.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    /// The API or its version is not served.
    #[error("API {key} is not served in version {version}")]
    Unserved {
        /// As sent.
        key: i16,
        /// As sent.
        version: i16,
    },
    /// It cannot be read.
    #[error("{key:?} v{version} cannot be read: {problem}")]
    Malformed {
        /// The API.
        key: ApiKey,
        /// The version.
        version: i16,
        /// What is wrong.
        problem: String,
    },
    /// A produce request that wants no answer failed; closing is the only way to tell.
    #[error("a batch sent with acks=0 was refused: {0}")]
    Unacknowledged(String),
    /// The answer does not fit its version. An error of ours.
    #[error("the answer to {key:?} v{version} cannot be encoded: {problem}")]
    Unencodable {
        /// The API.
        key: ApiKey,
        /// The version.
        version: i16,
        /// What the codec says.
        problem: String,
    },
}

impl Envelope {
    /// A buffer that holds the answer's header; its length is filled in at the end.
    pub(super) fn begin(&self, capacity: usize) -> BytesMut {
        let mut buffer = BytesMut::with_capacity(16 + capacity);
        buffer.put_i32(0);
        buffer.put_i32(self.correlation);
        if self.key.response_header_version(self.version) >= 1 {
            buffer.put_u8(0);
        }
        buffer
    }

    fn unencodable(&self, problem: &dyn std::fmt::Display) -> Refusal {
        Refusal::Unencodable { key: self.key, version: self.version, problem: problem.to_string() }
    }

    /// The whole answer.
    pub(super) fn encode<R: Encodable>(&self, response: &R) -> Result<Bytes, Refusal> {
        let mut buffer =
            self.begin(response.compute_size(self.version).map_err(|error| self.unencodable(&error))?);
        response.encode(&mut buffer, self.version).map_err(|error| self.unencodable(&error))?;
        fill_in_length(&mut buffer, 0);
        Ok(buffer.freeze())
    }
}

/// Fills in the length of an answer whose first part this is, with `more` bytes to follow in others.
pub(super) fn fill_in_length(first: &mut BytesMut, more: usize) {
    let length = i32::try_from(first.len() - 4 + more).expect("answers are bounded far below 2 GiB");
    first[..4].copy_from_slice(&length.to_be_bytes());
}
