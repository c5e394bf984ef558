//! A record's value that proves where it belongs.
//!
//! Layout, little endian: `topic` (8 bytes, xxh3 of the name), `partition` (4), `producer` (4), `sequence` (8), filler made
//! from the numbers before, and in the last 8 bytes the xxh3 of everything before it and of the record's key. So a value
//! that turns up in another partition, under another key, or with one bit changed says so itself.

use thiserror::Error;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::op::Key;

/// Bytes of the shortest value: the four numbers and the seal.
pub const VALUE_BYTES_MIN: usize = NUMBERS_BYTES + SEAL_BYTES;
const NUMBERS_BYTES: usize = 24;
const SEAL_BYTES: usize = 8;

/// Who wrote a value, and as its how-manieth to this partition. Unique in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    /// The producer's number in the history (not its id on the wire).
    pub producer: u32,
    /// Counts the producer's sends; rises with each send to one partition.
    pub sequence: u64,
}

/// Where a value says it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    topic: u64,
    partition: i32,
}

impl Origin {
    /// The origin of what is sent to this partition.
    pub fn of(key: &Key) -> Origin {
        Origin { topic: xxh3_64(key.topic.as_bytes()), partition: key.partition }
    }
}

/// Why bytes are not the value that belongs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ValueError {
    /// No value is so short.
    #[error("{bytes} bytes are too few for a value")]
    Short {
        /// How many there are.
        bytes: usize,
    },
    /// The seal does not fit the bytes and the key.
    #[error("the seal does not fit: the value, or the record's key, is not what was sent")]
    Broken,
    /// Sound, but sent to another partition.
    #[error("producer {producer} sent it as {sequence} to another topic or partition")]
    Stranger {
        /// Who sent it.
        producer: u32,
        /// As what.
        sequence: u64,
    },
}

impl Value {
    /// The bytes to send: `len` of them, at least [`VALUE_BYTES_MIN`]. `record_key` is sealed in.
    pub fn encode(self, origin: Origin, record_key: &[u8], len: usize) -> Vec<u8> {
        let len = len.max(VALUE_BYTES_MIN);
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(&origin.topic.to_le_bytes());
        bytes.extend_from_slice(&origin.partition.to_le_bytes());
        bytes.extend_from_slice(&self.producer.to_le_bytes());
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        let mut filler = self.sequence ^ u64::from(self.producer).rotate_left(40);
        while bytes.len() + SEAL_BYTES < len {
            filler = filler.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let room = (len - SEAL_BYTES - bytes.len()).min(8);
            bytes.extend_from_slice(&filler.to_be_bytes()[..room]);
        }
        let seal = seal(&bytes, record_key);
        bytes.extend_from_slice(&seal.to_le_bytes());
        bytes
    }

    /// Reads a value found in the partition of `origin` under `record_key`.
    ///
    /// # Errors
    /// [`ValueError`]: it does not belong here, or is not what was sent.
    pub fn decode(bytes: &[u8], origin: Origin, record_key: &[u8]) -> Result<Value, ValueError> {
        if bytes.len() < VALUE_BYTES_MIN {
            return Err(ValueError::Short { bytes: bytes.len() });
        }
        let (body, stored) = bytes.split_at(bytes.len() - SEAL_BYTES);
        if stored != seal(body, record_key).to_le_bytes() {
            return Err(ValueError::Broken);
        }
        let number = |at: usize, len: usize| {
            let mut wide = [0; 8];
            wide[..len].copy_from_slice(&body[at..at + len]);
            u64::from_le_bytes(wide)
        };
        let producer = u32::try_from(number(12, 4)).expect("four bytes");
        let sequence = number(16, 8);
        let told = (number(0, 8), number(8, 4));
        let here = (origin.topic, u64::from(origin.partition.cast_unsigned()));
        if told != here {
            return Err(ValueError::Stranger { producer, sequence });
        }
        Ok(Value { producer, sequence })
    }
}

fn seal(body: &[u8], record_key: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(body);
    hash.update(record_key);
    hash.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn a_value_proves_its_origin(
            producer in any::<u32>(), sequence in any::<u64>(), len in 0_usize..200, partition in any::<i32>(),
            flip in any::<proptest::sample::Index>(), bit in 0_u32..8,
        ) {
            let origin = Origin::of(&Key::new("orders", partition));
            let value = Value { producer, sequence };
            let mut bytes = value.encode(origin, b"k", len);
            prop_assert_eq!(bytes.len(), len.max(VALUE_BYTES_MIN));
            prop_assert_eq!(Value::decode(&bytes, origin, b"k"), Ok(value));
            prop_assert_eq!(Value::decode(&bytes, origin, b"K"), Err(ValueError::Broken));
            for other in [Key::new("orders", partition ^ 1), Key::new("order", partition)] {
                let read = Value::decode(&bytes, Origin::of(&other), b"k");
                prop_assert_eq!(read, Err(ValueError::Stranger { producer, sequence }));
            }
            let at = flip.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(Value::decode(&bytes, origin, b"k"), Err(ValueError::Broken));
        }
    }

    #[test]
    fn what_is_too_short_is_no_value() {
        let origin = Origin::of(&Key::new("t", 0));
        assert_eq!(Value::decode(&[0; 31], origin, b""), Err(ValueError::Short { bytes: 31 }));
    }
}
