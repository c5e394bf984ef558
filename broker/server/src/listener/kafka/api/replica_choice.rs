//! Which replica a client reads from (KIP-392): the leader, unless the client named its rack, the leader is on another one and
//! a replica in sync is on that.
//!
//! A client that names no rack is always sent to the leader. A follower answers only while it is in sync.

use highwater_core::metadata::Partition;
use highwater_proto::{Offset, TopicPartition};
use kafka_protocol::messages::BrokerId;

use crate::listener::kafka::Context;
use crate::partition::ServedBy;

/// The first version whose clients may be sent to a follower.
const FOLLOWERS: i16 = 11;

/// Who reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    /// The version of its fetch.
    pub(super) version: i16,
    /// Its rack, or nothing.
    pub(super) rack: &'a str,
}

/// Where it reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    /// Here.
    Here(ServedBy),
    /// At this in-sync replica.
    Nearer {
        /// Which broker.
        replica: BrokerId,
        /// What the leader knows to be committed.
        high_watermark: Offset,
        /// The first offset that is still there.
        log_start: Offset,
    },
}

/// Where `reader` reads a partition from `offset` on.
pub(super) fn choose(
    context: &Context,
    id: TopicPartition,
    known: &Partition,
    reader: Reader<'_>,
    offset: Offset,
) -> Choice {
    let own = context.services.config().broker_id;
    if reader.rack.is_empty() || reader.version < FOLLOWERS {
        return Choice::Here(ServedBy::Leader);
    }
    if known.leader != Some(own) {
        let in_sync = known.isr.contains(&own);
        return Choice::Here(if in_sync { ServedBy::AnyReplica } else { ServedBy::Leader });
    }
    nearer(context, id, known, reader.rack, offset).unwrap_or(Choice::Here(ServedBy::Leader))
}

/// A replica on the reader's rack that has what it asks for.
fn nearer(
    context: &Context,
    id: TopicPartition,
    known: &Partition,
    rack: &str,
    offset: Offset,
) -> Option<Choice> {
    if known.isr.len() < 2 || context.services.config().cluster.rack.as_deref() == Some(rack) {
        return None;
    }
    let here = context.services.partitions.get(id)?.details();
    if offset < here.log_start || offset > here.high_watermark {
        return None;
    }
    let image = context.services.image();
    let on_rack = here.followers.iter().filter(|follower| {
        known.isr.contains(&follower.id)
            && follower.ends.is_some_and(|(log_end, _)| log_end >= offset)
            && image.broker(follower.id).is_some_and(|broker| {
                broker.is_active() && broker.rack.as_deref() == Some(rack) && context.can_reach(broker)
            })
    });
    let on_rack: Vec<_> = on_rack.map(|follower| BrokerId(follower.id.0)).collect();
    // Several share the partitions.
    let turn = usize::try_from(id.partition.0).unwrap_or(0) % on_rack.len().max(1);
    let (high_watermark, log_start) = (here.high_watermark, here.log_start);
    Some(Choice::Nearer { replica: *on_rack.get(turn)?, high_watermark, log_start })
}
