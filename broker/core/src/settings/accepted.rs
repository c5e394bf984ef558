//! Settings of Kafka's that change nothing here: taken where their value means what is done anyway, refused otherwise.
//!
//! A value is in the bounds if no client can tell that the setting was taken note of and no more. They are kept with the
//! topic like any other, so that tools find what they set.

use super::keys::{Bounds, Key};

const NO_LIMIT: &str = "9223372036854775807";

const fn accepted(name: &'static str, default: &'static str, bounds: Bounds, text: &'static str) -> Key {
    Key { name, default, bounds, text }
}

const fn between(min: i64, max: i64) -> Bounds {
    Bounds::Number { min, max }
}

/// Every setting of this kind, by name; `bounds` are the values that are taken.
pub const ACCEPTED: &[Key] = &[
    accepted("compression.gzip.level", "-1", between(-1, 9), "nothing is re-encoded, so no level applies"),
    accepted("compression.lz4.level", "9", between(1, 17), "nothing is re-encoded, so no level applies"),
    accepted(
        "compression.zstd.level",
        "3",
        between(-131_072, 22),
        "nothing is re-encoded, so no level applies",
    ),
    accepted(
        "file.delete.delay.ms",
        "60000",
        between(0, i64::MAX),
        "files go when nobody reads them any more",
    ),
    accepted(
        "flush.messages",
        NO_LIMIT,
        between(1, i64::MAX),
        "every append is flushed at once, and before acks=all is answered",
    ),
    accepted(
        "flush.ms",
        NO_LIMIT,
        between(0, i64::MAX),
        "every append is flushed at once, and before acks=all is answered",
    ),
    accepted(
        "follower.replication.throttled.replicas",
        "",
        Bounds::Words(&[""]),
        "set replication.throttle.rate: it holds for every replica that is catching up, and for no other",
    ),
    accepted(
        "leader.replication.throttled.replicas",
        "",
        Bounds::Words(&[""]),
        "set replication.throttle.rate: it holds for every replica that is catching up, and for no other",
    ),
    accepted("local.retention.bytes", "-2", Bounds::Word(&["-2"]), "there is no remote storage"),
    accepted("local.retention.ms", "-2", Bounds::Word(&["-2"]), "there is no remote storage"),
    accepted(
        "message.downconversion.enable",
        "true",
        Bounds::Word(&["true", "false"]),
        "there are no readers of older formats",
    ),
    accepted(
        "message.timestamp.difference.max.ms",
        NO_LIMIT,
        Bounds::Word(&[NO_LIMIT]),
        "set message.timestamp.before.max.ms and message.timestamp.after.max.ms instead",
    ),
    accepted(
        "preallocate",
        "false",
        Bounds::Word(&["true", "false"]),
        "segments are always made ready before they are written",
    ),
    accepted("remote.log.copy.disable", "false", Bounds::Word(&["false"]), "there is no remote storage"),
    accepted("remote.log.delete.on.disable", "false", Bounds::Word(&["false"]), "there is no remote storage"),
    accepted("remote.storage.enable", "false", Bounds::Word(&["false"]), "there is no remote storage"),
    accepted(
        "segment.index.bytes",
        "10485760",
        between(10_485_760, i32::MAX as i64),
        "an index is never a reason to close a segment",
    ),
    accepted("segment.jitter.ms", "0", Bounds::Word(&["0"]), "segments are closed when their time comes"),
    accepted(
        "unclean.leader.election.enable",
        "false",
        Bounds::Word(&["false"]),
        "no leader is elected that lacks acknowledged records",
    ),
];

/// Looks a setting of this kind up by its name.
#[must_use]
pub fn accepted_key(name: &str) -> Option<&'static Key> {
    ACCEPTED.iter().find(|key| key.name == name)
}

#[cfg(test)]
mod tests {
    use super::super::keys::key;
    use super::*;

    #[test]
    fn the_table_is_sorted_and_shares_no_name_with_the_settings_that_count() {
        assert!(ACCEPTED.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(ACCEPTED.iter().all(|accepted| key(accepted.name).is_none()));
    }
}
