//! A follower's side: what it asks its leader, where it cuts its log, and its own high watermark.
//!
//! It lives as long as one leader's epoch. Truncation is decided by epochs alone (M-01, M-02) and only by a leader of the
//! epoch that the follower believes in (M-03).

use highwater_proto::museum::{self, Bug};
use highwater_proto::{BrokerId, LeaderEpoch, Offset};

use super::divergence::{FollowAnswer, LogView, Position};
use super::reports::{EpochError, StreamError};

/// Where a follower stands with its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// It has not said where its log ends, or has cut it since.
    Asking,
    /// The leader found that the logs agree.
    Copying,
}

/// A partition that follows a leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Follower {
    leader: BrokerId,
    epoch: LeaderEpoch,
    phase: Phase,
    high_watermark: Offset,
}

/// What a follower has to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// Everything from this offset on.
    To {
        /// The first offset that goes.
        end: Offset,
        /// The high watermark it knew was above that: cannot happen unless a leader was elected uncleanly.
        below_high_watermark: bool,
    },
    /// Everything; the log goes on at this offset.
    Reset {
        /// The new, empty log's start and end.
        at: Offset,
    },
    /// Nothing.
    None,
}

impl Follower {
    /// Begins to follow the leader of this epoch, with the high watermark that is known from before.
    #[must_use]
    pub fn new(leader: BrokerId, epoch: LeaderEpoch, high_watermark: Offset) -> Follower {
        Follower { leader, epoch, phase: Phase::Asking, high_watermark }
    }

    /// The leader.
    #[must_use]
    pub fn leader(&self) -> BrokerId {
        self.leader
    }

    /// The leader's epoch.
    #[must_use]
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// What is known to be committed.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Whether the leader has found that the logs agree, so that batches may come.
    #[must_use]
    pub fn is_copying(&self) -> bool {
        self.phase == Phase::Copying || museum::active(Bug::CopyBeforeAgreement)
    }

    /// What to tell the leader. Begins anew: until its answer, no batch is taken.
    pub fn ask(&mut self, log: &impl LogView) -> Position {
        self.phase = Phase::Asking;
        Position {
            leader_epoch: self.epoch,
            log_end: log.log_end(),
            last_epoch: log.last_epoch().unwrap_or(LeaderEpoch::UNKNOWN),
        }
    }

    /// The leader answered [`Follower::ask`]: what to cut. After a cut the follower asks again, for it may take several
    /// rounds; after [`Truncation::None`] batches come.
    ///
    /// # Errors
    /// [`StreamError`] if the answer is of another leader's epoch: it says nothing about this one's log.
    pub fn answered(
        &mut self,
        from: LeaderEpoch,
        answer: FollowAnswer,
        log: &impl LogView,
    ) -> Result<Truncation, StreamError> {
        self.check(from)?;
        let truncation = match answer {
            _ if museum::active(Bug::TruncateToHighWatermark) && log.log_end() > self.high_watermark => {
                Truncation::To { end: self.high_watermark, below_high_watermark: false }
            }
            FollowAnswer::Go => {
                self.phase = Phase::Copying;
                return Ok(Truncation::None);
            }
            FollowAnswer::Reset { log_start } => Truncation::Reset { at: log_start },
            FollowAnswer::Diverged { epoch, end } => match log.end_of_epoch(epoch) {
                // The end of that epoch here, or there, whichever is first.
                Some((_, own_end)) => self.truncation(own_end.min(end).max(log.log_start())),
                None => Truncation::Reset { at: end.min(log.log_start()) },
            },
        };
        self.phase = Phase::Asking;
        if let Truncation::To { end, .. } | Truncation::Reset { at: end } = truncation {
            self.high_watermark = self.high_watermark.min(end);
        }
        Ok(truncation)
    }

    fn truncation(&self, end: Offset) -> Truncation {
        Truncation::To { end, below_high_watermark: end < self.high_watermark }
    }

    /// Whether batches of this leader may be appended now.
    ///
    /// # Errors
    /// [`StreamError`] if they come from another leader's epoch.
    pub fn check(&self, from: LeaderEpoch) -> Result<(), StreamError> {
        if museum::active(Bug::FollowerTakesAnyEpoch) {
            return Ok(());
        }
        Ok(EpochError::check(from, self.epoch)?)
    }

    /// The leader told its high watermark. Returns this replica's own if it rose: never more than it has.
    ///
    /// # Errors
    /// [`StreamError`] if it comes from another leader's epoch.
    pub fn told(
        &mut self,
        from: LeaderEpoch,
        high_watermark: Offset,
        log_end: Offset,
    ) -> Result<Option<Offset>, StreamError> {
        self.check(from)?;
        if self.phase != Phase::Copying {
            return Ok(None);
        }
        let bug = museum::active(Bug::HighWatermarkBeyondLog);
        let known = if bug { high_watermark } else { high_watermark.min(log_end) };
        if known <= self.high_watermark {
            return Ok(None);
        }
        self.high_watermark = known;
        Ok(Some(known))
    }
}

#[cfg(test)]
mod tests {
    use super::super::divergence::answer;
    use super::super::divergence::tests::Epochs;
    use super::*;

    const EPOCH: LeaderEpoch = LeaderEpoch(9);

    /// Lets a follower and its leader agree, cutting as they say. Returns where the follower's log ends then.
    fn settle(follower: &mut Follower, mut log: Epochs, leader: &Epochs) -> (i64, Vec<Truncation>) {
        let mut cuts = Vec::new();
        for _ in 0..10 {
            let position = follower.ask(&log);
            match follower.answered(EPOCH, answer(leader, position), &log).unwrap() {
                Truncation::None => return (log.2, cuts),
                cut @ Truncation::To { end, .. } => {
                    log.2 = end.0;
                    log.0.retain(|(_, start)| *start < end.0);
                    cuts.push(cut);
                }
                cut @ Truncation::Reset { at } => {
                    log = Epochs(Vec::new(), at.0, at.0);
                    cuts.push(cut);
                }
            }
        }
        panic!("they never agree");
    }

    #[test]
    fn a_follower_does_not_cut_what_is_committed_because_it_has_not_heard_so() {
        // M-01: it knows of 5 committed records, and has all 10, as its leader does.
        let mut follower = Follower::new(BrokerId(1), EPOCH, Offset(5));
        let log = Epochs(vec![(1, 0)], 0, 10);
        assert_eq!(settle(&mut follower, log, &Epochs(vec![(1, 0), (9, 10)], 0, 10)), (10, vec![]));
        assert_eq!(follower.told(EPOCH, Offset(20), Offset(10)), Ok(Some(Offset(10))));
    }

    #[test]
    fn it_may_take_several_rounds() {
        // Each wrote in epochs that the other never saw.
        let mut follower = Follower::new(BrokerId(1), EPOCH, Offset(3));
        let log = Epochs(vec![(1, 0), (3, 5), (6, 8)], 0, 12);
        let leader = Epochs(vec![(1, 0), (2, 4), (5, 9), (9, 12)], 0, 20);
        let (end, cuts) = settle(&mut follower, log, &leader);
        assert_eq!((end, cuts.len()), (4, 3));
        assert_eq!(follower.high_watermark(), Offset(3), "what is committed was not cut");
    }

    #[test]
    fn an_answer_of_another_leader_cuts_nothing_and_its_batches_are_not_taken() {
        let mut follower = Follower::new(BrokerId(1), EPOCH, Offset(0));
        let log = Epochs(vec![(1, 0)], 0, 10);
        let _ = follower.ask(&log);
        for (other, newer) in [(8, false), (10, true)] {
            let refused = follower.answered(LeaderEpoch(other), FollowAnswer::Go, &log).unwrap_err();
            assert_eq!(matches!(refused, StreamError::Epoch(EpochError::Unknown { .. })), newer, "M-03");
            assert!(follower.check(LeaderEpoch(other)).is_err());
        }
        assert!(!follower.is_copying());
        assert_eq!(follower.told(EPOCH, Offset(7), Offset(10)), Ok(None), "the logs may differ below 7");
    }

    #[test]
    fn a_cut_below_what_was_committed_is_pointed_out() {
        let mut follower = Follower::new(BrokerId(1), EPOCH, Offset(10));
        let log = Epochs(vec![(1, 0)], 0, 10);
        let (_, cuts) = settle(&mut follower, log, &Epochs(vec![(1, 0), (9, 4)], 0, 6));
        assert_eq!(cuts, [Truncation::To { end: Offset(4), below_high_watermark: true }]);
        assert_eq!(follower.high_watermark(), Offset(4));
    }
}
