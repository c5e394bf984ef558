//! Everything that is stored is compared with its checksums once in a while, so that rot is found while another replica has
//! what this one lost, and not when that one is lost too.

use std::sync::Arc;
use std::time::Duration;

use highwater_proto::Offset;

use crate::partition::Partition;
use crate::service::Services;

/// No more than this is read in a second.
const BYTES_PER_SECOND: u64 = 16 << 20;
/// The first round begins so long after the start, or sooner if rounds are more frequent: others are in more of a hurry.
const FIRST_AFTER: Duration = Duration::from_secs(60);

/// Goes round all partitions again and again, each time `interval` after the last, until `wait` says that it is time to end.
pub(super) fn scrub_all(services: &Services, interval: Duration, wait: impl Fn(Duration) -> bool) {
    let mut rest = interval.min(FIRST_AFTER);
    while !wait(rest) {
        let began = services.clock.monotonic();
        for partition in services.partitions.all() {
            if scrub(&partition, &wait) {
                return;
            }
        }
        rest = interval.saturating_sub(services.clock.monotonic().saturating_sub(began));
    }
}

/// Looks at one partition; true when it is time to end.
fn scrub(partition: &Arc<Partition>, wait: &impl Fn(Duration) -> bool) -> bool {
    let mut next = Offset::ZERO;
    loop {
        match partition.scrub(next) {
            Ok(Some(scrubbed)) => {
                next = scrubbed.next;
                if wait(Duration::from_micros(scrubbed.bytes.saturating_mul(1_000_000) / BYTES_PER_SECOND)) {
                    return true;
                }
            }
            Ok(None) => return false,
            Err(error) => {
                // Removed meanwhile, or the device refuses: the next round comes by again.
                tracing::warn!(partition = %partition.id(), %error, "what is stored could not be looked at");
                return false;
            }
        }
    }
}
