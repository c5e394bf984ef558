//! Rot on a disk that is in use: looking for it, and what a replica does that has some.
//!
//! A replica that finds damage below what it flushed takes and serves nothing more (M-18): the controller is asked to let
//! others lead, and once this replica does not count any more it copies what it lacks from its leader. One that has no
//! others beside it that have everything says so and goes on: what is whole is of use, and what only it has must not be lost.

use std::sync::Arc;

use highwater_log::{Health, ReadError, Scrubbed};
use highwater_proto::Offset;
use highwater_proto::museum::{self, Bug};

use super::owner::{Partition, Released, Role, State};

impl Partition {
    /// Compares about 1 MiB of what is stored from `from` on with its checksums; `None` at the end of what is flushed. Waits
    /// for the disk.
    ///
    /// # Errors
    /// [`ReadError`]: it cannot be looked at now. Damage is no error: it is dealt with.
    pub fn scrub(self: &Arc<Partition>, from: Offset) -> Result<Option<Scrubbed>, ReadError> {
        let plan = {
            let state = self.lock();
            if state.gone {
                return Ok(None);
            }
            state.log.plan_scrub(from)
        };
        let Some(plan) = plan else { return Ok(None) };
        let scrubbed = plan.run()?;
        if scrubbed.damage.is_some() {
            self.condemn(from, scrubbed.next);
        }
        Ok(Some(scrubbed))
    }

    /// Somebody came upon damage between these offsets: it is looked at again, and this replica's part ends if it is there.
    pub fn condemn(self: &Arc<Partition>, from: Offset, end: Offset) {
        let mut released = Released::default();
        let mut state = self.lock();
        if state.gone || *state.log.health() == Health::Closed || museum::active(Bug::DamageIsServedOn) {
            return;
        }
        if !state.has_others() {
            tracing::error!(partition = %self.id, %from, %end, "stored records are damaged, and no other replica is in sync");
            return;
        }
        let was_sound = state.is_sound();
        let Some(range) = state.log.condemn(from, end) else { return };
        tracing::error!(
            partition = %self.id,
            path = %range.path.display(),
            position = range.position,
            offset = %range.offset,
            end = %range.end,
            "stored records are damaged: they are copied from another replica"
        );
        if was_sound {
            self.around.metrics.partitions_offline.inc();
        }
        state.damaged_in = Some(state.told.leader_epoch);
        self.want_attention(&mut state);
        released.watches.extend(state.tail.clone());
        drop(state);
        released.run();
    }
}

impl State {
    /// Whether others have everything that was acknowledged. Whoever leaves the in-sync replicas of a leader while they are
    /// fewer than its minimum stays eligible, for nothing is acknowledged then (M-09).
    fn has_others(&self) -> bool {
        self.replication_factor > 1
            && match &self.role {
                Role::Leader(leader) => {
                    let (in_sync, min) = leader.in_sync();
                    in_sync > 1 || min > 1
                }
                Role::Follower(_) | Role::Idle => true,
            }
    }
}
