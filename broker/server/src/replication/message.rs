//! The words of a replication stream and their bytes. Big-endian; each message is one frame:
//!
//! ```text
//! u32 length of what follows
//! u8  kind
//! u32 slot    the follower's number for a partition on this stream
//! u32 round   counts the follower's questions about it: words of an earlier round are stale
//!  follower:  1 follow    16 bytes topic, i32 partition, i32 leader epoch, i64 log end, i32 last epoch
//!             2 forget
//!             3 progress  i64 log start, i64 log end, i64 flushed end
//!  leader:    1 answer    i32 leader epoch, u8 (0 go, 1 diverged, 2 reset), i32 epoch, i64 offset
//!             2 batches   i32 leader epoch, i64 high watermark, i64 log start, i64 offset they follow on, batches
//!             3 watermark i32 leader epoch, i64 high watermark, i64 log start
//!             4 refused   u8 reason
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use highwater_core::replication::{FollowAnswer, Position};
use highwater_proto::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use thiserror::Error;

/// Bytes of a `batches` message before the batches, its length field included.
pub const BATCHES_HEAD_BYTES: usize = 4 + 1 + 4 + 4 + 4 + 8 + 8 + 8;
/// The longest message that is taken.
pub const MESSAGE_BYTES_MAX: usize = (2 << 30) - 1;

/// Which partition of a stream, and which question about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The follower's number for the partition.
    pub number: u32,
    /// The follower's question.
    pub round: u32,
}

/// What a follower says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowerMessage {
    /// It wants to follow from here.
    Follow {
        /// From now on this partition is meant by this number.
        slot: Slot,
        /// The partition.
        partition: TopicPartition,
        /// Where the follower's log stands.
        position: Position,
    },
    /// It follows no longer.
    Forget {
        /// The partition.
        slot: Slot,
    },
    /// What it has.
    Progress {
        /// The partition.
        slot: Slot,
        /// Where its log starts.
        log_start: Offset,
        /// Where its log ends.
        log_end: Offset,
        /// Up to where it is flushed.
        flushed_end: Offset,
    },
}

/// What a leader says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaderMessage {
    /// Whether the logs agree.
    Answer {
        /// The partition.
        slot: Slot,
        /// The leader's epoch.
        epoch: LeaderEpoch,
        /// The answer.
        answer: FollowAnswer,
    },
    /// What comes next.
    Batches {
        /// The partition.
        slot: Slot,
        /// The leader's epoch.
        epoch: LeaderEpoch,
        /// The first offset readers must not see.
        high_watermark: Offset,
        /// The first offset that is still there.
        log_start: Offset,
        /// Where the follower's log must end: nothing lies between this and the first batch.
        from: Offset,
        /// Whole batches as stored.
        records: Bytes,
    },
    /// The high watermark or the log's start moved.
    Watermark {
        /// The partition.
        slot: Slot,
        /// The leader's epoch.
        epoch: LeaderEpoch,
        /// The first offset readers must not see.
        high_watermark: Offset,
        /// The first offset that is still there.
        log_start: Offset,
    },
    /// It cannot be followed here, or not now.
    Refused {
        /// The partition.
        slot: Slot,
        /// Why.
        reason: Refusal,
    },
}

/// Why a leader does not feed a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It does not lead the partition, or does not know yet that it does.
    NotLeader,
    /// The follower believes in another epoch.
    OtherEpoch,
    /// The follower is not a replica.
    NotAReplica,
    /// The leader cannot read its log.
    Storage,
}

/// A message that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a replication message of kind {kind} and {bytes} bytes cannot be read")]
pub struct Unreadable {
    /// Its first byte.
    pub kind: u8,
    /// Its length without the length field.
    pub bytes: usize,
}

impl FollowerMessage {
    /// Adds the message's frame.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            FollowerMessage::Follow { slot, partition, position } => {
                put_head(out, 36, 1, *slot);
                out.put_slice(&partition.topic.0);
                out.put_i32(partition.partition.0);
                out.put_i32(position.leader_epoch.0);
                out.put_i64(position.log_end.0);
                out.put_i32(position.last_epoch.0);
            }
            FollowerMessage::Forget { slot } => put_head(out, 0, 2, *slot),
            FollowerMessage::Progress { slot, log_start, log_end, flushed_end } => {
                put_head(out, 24, 3, *slot);
                out.put_i64(log_start.0);
                out.put_i64(log_end.0);
                out.put_i64(flushed_end.0);
            }
        }
    }

    /// Reads a frame without its length.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn decode(mut frame: Bytes) -> Result<FollowerMessage, Unreadable> {
        let (kind, slot, unreadable) = take_head(&mut frame)?;
        match (kind, frame.len()) {
            (1, 36) => {
                let mut topic = [0; 16];
                frame.copy_to_slice(&mut topic);
                let partition = TopicPartition::new(TopicId(topic), PartitionIndex(frame.get_i32()));
                let position = Position {
                    leader_epoch: LeaderEpoch(frame.get_i32()),
                    log_end: Offset(frame.get_i64()),
                    last_epoch: LeaderEpoch(frame.get_i32()),
                };
                Ok(FollowerMessage::Follow { slot, partition, position })
            }
            (2, 0) => Ok(FollowerMessage::Forget { slot }),
            (3, 24) => Ok(FollowerMessage::Progress {
                slot,
                log_start: Offset(frame.get_i64()),
                log_end: Offset(frame.get_i64()),
                flushed_end: Offset(frame.get_i64()),
            }),
            _ => Err(unreadable),
        }
    }
}

impl LeaderMessage {
    /// Adds the message's frame; of [`LeaderMessage::Batches`] everything but the batches, which the caller sends after
    /// it.
    pub fn encode_head(&self, out: &mut BytesMut) {
        match self {
            LeaderMessage::Answer { slot, epoch, answer } => {
                put_head(out, 17, 1, *slot);
                out.put_i32(epoch.0);
                let (kind, at, offset) = match answer {
                    FollowAnswer::Go => (0, LeaderEpoch::UNKNOWN, Offset::ZERO),
                    FollowAnswer::Diverged { epoch, end } => (1, *epoch, *end),
                    FollowAnswer::Reset { log_start } => (2, LeaderEpoch::UNKNOWN, *log_start),
                };
                out.put_u8(kind);
                out.put_i32(at.0);
                out.put_i64(offset.0);
            }
            LeaderMessage::Batches { slot, epoch, high_watermark, log_start, from, records } => {
                put_batches_head(out, *slot, *epoch, [*high_watermark, *log_start, *from], records.len());
            }
            LeaderMessage::Watermark { slot, epoch, high_watermark, log_start } => {
                put_head(out, 20, 3, *slot);
                out.put_i32(epoch.0);
                out.put_i64(high_watermark.0);
                out.put_i64(log_start.0);
            }
            LeaderMessage::Refused { slot, reason } => {
                put_head(out, 1, 4, *slot);
                out.put_u8(*reason as u8);
            }
        }
    }

    /// Reads a frame without its length. Batches share the frame's memory.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn decode(mut frame: Bytes) -> Result<LeaderMessage, Unreadable> {
        let (kind, slot, unreadable) = take_head(&mut frame)?;
        match (kind, frame.len()) {
            (1, 17) => {
                let epoch = LeaderEpoch(frame.get_i32());
                let kind = frame.get_u8();
                let (at, offset) = (LeaderEpoch(frame.get_i32()), Offset(frame.get_i64()));
                let answer = match kind {
                    0 => FollowAnswer::Go,
                    1 => FollowAnswer::Diverged { epoch: at, end: offset },
                    2 => FollowAnswer::Reset { log_start: offset },
                    _ => return Err(unreadable),
                };
                Ok(LeaderMessage::Answer { slot, epoch, answer })
            }
            (2, 28..) => {
                let epoch = LeaderEpoch(frame.get_i32());
                let (high_watermark, log_start) = (Offset(frame.get_i64()), Offset(frame.get_i64()));
                let from = Offset(frame.get_i64());
                Ok(LeaderMessage::Batches { slot, epoch, high_watermark, log_start, from, records: frame })
            }
            (3, 20) => {
                let epoch = LeaderEpoch(frame.get_i32());
                let (high_watermark, log_start) = (Offset(frame.get_i64()), Offset(frame.get_i64()));
                Ok(LeaderMessage::Watermark { slot, epoch, high_watermark, log_start })
            }
            (4, 1) => {
                let reason = match frame.get_u8() {
                    0 => Refusal::NotLeader,
                    1 => Refusal::OtherEpoch,
                    2 => Refusal::NotAReplica,
                    3 => Refusal::Storage,
                    _ => return Err(unreadable),
                };
                Ok(LeaderMessage::Refused { slot, reason })
            }
            _ => Err(unreadable),
        }
    }
}

/// The front of a `batches` message whose batches, `bytes` of them, follow it. `words` are high watermark, log start and
/// the offset that the batches follow on.
pub fn put_batches_head(
    out: &mut BytesMut,
    slot: Slot,
    epoch: LeaderEpoch,
    words: [Offset; 3],
    bytes: usize,
) {
    put_head(out, 28 + bytes, 2, slot);
    out.put_i32(epoch.0);
    for word in words {
        out.put_i64(word.0);
    }
}

fn put_head(out: &mut BytesMut, body_bytes: usize, kind: u8, slot: Slot) {
    let length =
        u32::try_from(9 + body_bytes).expect("a message holds at most one read, which is far smaller");
    out.put_u32(length);
    out.put_u8(kind);
    out.put_u32(slot.number);
    out.put_u32(slot.round);
}

fn take_head(frame: &mut Bytes) -> Result<(u8, Slot, Unreadable), Unreadable> {
    let unreadable = Unreadable { kind: frame.first().copied().unwrap_or(0), bytes: frame.len() };
    if frame.len() < 9 {
        return Err(unreadable);
    }
    let kind = frame.get_u8();
    let slot = Slot { number: frame.get_u32(), round: frame.get_u32() };
    Ok((kind, slot, unreadable))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SLOT: Slot = Slot { number: 7, round: 9 };

    fn follower_words() -> Vec<FollowerMessage> {
        let partition = TopicPartition::new(TopicId([5; 16]), PartitionIndex(3));
        let position =
            Position { leader_epoch: LeaderEpoch(4), log_end: Offset(99), last_epoch: LeaderEpoch(-1) };
        let (log_start, log_end, flushed_end) = (Offset(1), Offset(3), Offset(2));
        vec![
            FollowerMessage::Follow { slot: SLOT, partition, position },
            FollowerMessage::Forget { slot: SLOT },
            FollowerMessage::Progress { slot: SLOT, log_start, log_end, flushed_end },
        ]
    }

    fn leader_words() -> Vec<LeaderMessage> {
        let (slot, epoch, high_watermark, log_start) = (SLOT, LeaderEpoch(4), Offset(8), Offset(2));
        let records = Bytes::from_static(b"batches");
        let answer = |answer| LeaderMessage::Answer { slot, epoch, answer };
        vec![
            answer(FollowAnswer::Go),
            answer(FollowAnswer::Diverged { epoch: LeaderEpoch(3), end: Offset(12) }),
            answer(FollowAnswer::Reset { log_start: Offset(12) }),
            LeaderMessage::Batches { slot, epoch, high_watermark, log_start, from: Offset(7), records },
            LeaderMessage::Watermark { slot, epoch, high_watermark, log_start },
            LeaderMessage::Refused { slot, reason: Refusal::NotLeader },
            LeaderMessage::Refused { slot, reason: Refusal::OtherEpoch },
            LeaderMessage::Refused { slot, reason: Refusal::NotAReplica },
            LeaderMessage::Refused { slot, reason: Refusal::Storage },
        ]
    }

    #[test]
    fn every_message_comes_back_as_it_was() {
        for message in follower_words() {
            let mut frame = BytesMut::new();
            message.encode(&mut frame);
            let length = frame.get_u32() as usize;
            assert_eq!(length, frame.len());
            assert_eq!(FollowerMessage::decode(frame.freeze()), Ok(message));
        }
        for message in leader_words() {
            let mut frame = BytesMut::new();
            message.encode_head(&mut frame);
            if let LeaderMessage::Batches { records, .. } = &message {
                assert_eq!(frame.len(), BATCHES_HEAD_BYTES);
                frame.put_slice(records);
            }
            let length = frame.get_u32() as usize;
            assert_eq!(length, frame.len());
            assert_eq!(LeaderMessage::decode(frame.freeze()), Ok(message));
        }
    }

    #[test]
    fn the_bytes_are_pinned() {
        let mut frame = BytesMut::new();
        follower_words()[2].encode(&mut frame);
        #[rustfmt::skip]
        assert_eq!(frame[..], [
            0, 0, 0, 33, 3, 0, 0, 0, 7, 0, 0, 0, 9,
            0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 2,
        ]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let frame = Bytes::from(bytes);
            let _ = FollowerMessage::decode(frame.clone());
            let _ = LeaderMessage::decode(frame);
        }
    }
}
