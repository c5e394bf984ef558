//! Cutting a run of batches (a fetch's bytes, a stretch of a segment) into whole batches.

use bytes::Bytes;

use super::error::BatchError;
use super::header::BatchHeader;

/// Splits `bytes` into whole batches, each a slice that shares the memory. A last batch that is cut ends the walk
/// without an error, as a fetch may end anywhere; bytes that are no batch give one error and end it.
pub fn batches(bytes: Bytes) -> Batches {
    Batches { rest: bytes }
}

/// The iterator of [`batches`].
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// What has not been returned yet: at the end, the bytes of a cut last batch.
    pub fn remainder(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for Batches {
    type Item = Result<Bytes, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        match BatchHeader::parse(&self.rest) {
            Ok(header) if header.size_bytes() <= self.rest.len() => {
                Some(Ok(self.rest.split_to(header.size_bytes())))
            }
            Ok(_) | Err(BatchError::Truncated { .. }) => None,
            Err(error) => {
                self.rest = Bytes::new();
                Some(Err(error))
            }
        }
    }
}

impl std::iter::FusedIterator for Batches {}
