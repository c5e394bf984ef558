//! Where two logs part ways (M-01, M-02, M-16): by leader epochs, never by high watermarks.

use highwater_proto::museum::{self, Bug};
use highwater_proto::{LeaderEpoch, Offset};

/// What must be known of a log to compare it with another one.
pub trait LogView {
    /// The first offset that is there.
    fn log_start(&self) -> Offset;
    /// The next offset to be written.
    fn log_end(&self) -> Offset;
    /// The newest leader epoch that was assigned or written.
    fn last_epoch(&self) -> Option<LeaderEpoch>;
    /// The newest epoch not above `epoch` and where it ended; `None` if all known ones are newer.
    fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)>;
}

/// Where a follower stands when it asks to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The leader it believes in.
    pub leader_epoch: LeaderEpoch,
    /// Where its log ends: what it wants next.
    pub log_end: Offset,
    /// The newest epoch in its log; [`LeaderEpoch::UNKNOWN`] if it has none.
    pub last_epoch: LeaderEpoch,
}

/// What a leader answers to a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FollowAnswer {
    /// The logs agree up to the follower's end: it gets what follows.
    Go,
    /// They part ways: the leader's newest epoch not above the follower's, and where that ended.
    Diverged {
        /// That epoch.
        epoch: LeaderEpoch,
        /// Where it ended in the leader's log.
        end: Offset,
    },
    /// Nothing of the follower's log can be compared or used: it starts anew here, at the leader's log start (M-16).
    Reset {
        /// The leader's log start.
        log_start: Offset,
    },
}

/// Compares a follower's position with the leader's log.
#[must_use]
pub fn answer(leader: &impl LogView, position: Position) -> FollowAnswer {
    let log_start = leader.log_start();
    if position.log_end < log_start {
        return FollowAnswer::Reset { log_start };
    }
    if position.last_epoch == LeaderEpoch::UNKNOWN {
        // An empty log. One that begins where the leader has nothing cannot be continued.
        return if position.log_end <= leader.log_end() {
            FollowAnswer::Go
        } else {
            FollowAnswer::Reset { log_start }
        };
    }
    match leader.end_of_epoch(position.last_epoch) {
        Some(_) if museum::active(Bug::UnknownEpochIsFine) && position.log_end <= leader.log_end() => {
            FollowAnswer::Go
        }
        Some((epoch, end)) if epoch < position.last_epoch || end < position.log_end => {
            FollowAnswer::Diverged { epoch, end }
        }
        Some(_) => FollowAnswer::Go,
        // Everything the leader has is newer than everything the follower has.
        None => FollowAnswer::Reset { log_start },
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A log as its epochs, each with its first offset, and where it starts and ends.
    pub(in super::super) struct Epochs(pub Vec<(i32, i64)>, pub i64, pub i64);

    impl LogView for Epochs {
        fn log_start(&self) -> Offset {
            Offset(self.1)
        }
        fn log_end(&self) -> Offset {
            Offset(self.2)
        }
        fn last_epoch(&self) -> Option<LeaderEpoch> {
            self.0.last().map(|(epoch, _)| LeaderEpoch(*epoch))
        }
        fn end_of_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
            let at = self.0.iter().rposition(|(known, _)| *known <= epoch.0)?;
            let end = self.0.get(at + 1).map_or(self.2, |(_, start)| *start);
            Some((LeaderEpoch(self.0[at].0), Offset(end)))
        }
    }

    fn position(log_end: i64, last_epoch: i32) -> Position {
        Position {
            leader_epoch: LeaderEpoch(9),
            log_end: Offset(log_end),
            last_epoch: LeaderEpoch(last_epoch),
        }
    }

    #[test]
    fn logs_are_compared_by_epochs() {
        let leader = Epochs(vec![(1, 0), (2, 10), (5, 20)], 0, 30);
        assert_eq!(answer(&leader, position(30, 5)), FollowAnswer::Go);
        assert_eq!(answer(&leader, position(15, 2)), FollowAnswer::Go);
        let parted = |epoch, end| FollowAnswer::Diverged { epoch: LeaderEpoch(epoch), end: Offset(end) };
        assert_eq!(
            answer(&leader, position(25, 2)),
            parted(2, 20),
            "M-01: it wrote on after the leader left"
        );
        assert_eq!(
            answer(&leader, position(15, 4)),
            parted(2, 20),
            "M-02: an epoch that the leader never saw"
        );
        assert_eq!(answer(&leader, position(40, 5)), parted(5, 30));
    }

    #[test]
    fn a_follower_from_before_the_leaders_log_starts_anew() {
        let leader = Epochs(vec![(5, 20)], 20, 30);
        let reset = FollowAnswer::Reset { log_start: Offset(20) };
        assert_eq!(answer(&leader, position(15, 5)), reset, "M-16");
        assert_eq!(answer(&leader, position(25, 4)), reset, "nothing can be compared");
        assert_eq!(answer(&leader, position(0, -1)), reset);
        assert_eq!(answer(&leader, position(40, -1)), reset);
        assert_eq!(answer(&leader, position(20, -1)), FollowAnswer::Go);
    }
}
