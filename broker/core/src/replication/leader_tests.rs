//! One test per rule, and a random walk over all of them.

use proptest::prelude::*;

use super::*;

const ME: BrokerId = BrokerId(1);
const LIFE: BrokerEpoch = BrokerEpoch(10);
const EPOCH: LeaderEpoch = LeaderEpoch(3);
const T0: Duration = Duration::from_secs(100);

fn assignment(isr: &[i32], partition_epoch: i32) -> Assignment {
    Assignment {
        replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
        isr: isr.iter().map(|id| BrokerId(*id)).collect(),
        leaving: Vec::new(),
        partition_epoch: PartitionEpoch(partition_epoch),
        recovering: false,
    }
}

/// A leader of three replicas, `end` records long and flushed, of which `high_watermark` are known to be committed.
fn leader(isr: &[i32], end: i64, high_watermark: i64) -> Leader {
    let rules = Rules { durability: Durability::Fsync, min_in_sync: 2, lag_max: Duration::from_millis(1000) };
    let start = LeaderStart {
        id: ME,
        broker_epoch: LIFE,
        epoch: EPOCH,
        log_end: Offset(end),
        flushed_end: Offset(end),
        high_watermark: Offset(high_watermark),
        assignment: assignment(isr, 0),
        rules,
    };
    Leader::new(start, T0)
}

fn progress(broker: i32, log_end: i64, flushed_end: i64) -> Progress {
    Progress {
        broker: BrokerId(broker),
        broker_epoch: LIFE,
        leader_epoch: EPOCH,
        log_end: Offset(log_end),
        flushed_end: Offset(flushed_end),
    }
}

fn everybody(_: BrokerId) -> Option<BrokerEpoch> {
    Some(LIFE)
}

fn members(proposal: &IsrProposal) -> Vec<i32> {
    proposal.isr.iter().map(|(id, _)| id.0).collect()
}

#[test]
fn only_what_every_in_sync_replica_has_flushed_is_committed() {
    let mut leader = leader(&[1, 2, 3], 0, 0);
    assert_eq!(leader.appended(Offset(10), T0), None);
    assert_eq!(leader.progressed(progress(2, 10, 10), T0), Ok(None));
    assert_eq!(leader.progressed(progress(3, 10, 4), T0), Ok(None), "M-12: the leader has not flushed");
    assert_eq!(leader.flushed(Offset(8)), Some(Offset(4)), "M-12: written is not flushed");
    assert_eq!(leader.progressed(progress(3, 10, 10), T0), Ok(Some(Offset(8))));
}

#[test]
fn records_in_memory_count_on_a_topic_that_says_so() {
    let mut leader = leader(&[1, 2], 0, 0);
    let _ = leader.set_rules(Rules { durability: Durability::Replicated, ..leader.rules });
    let _ = leader.appended(Offset(10), T0);
    assert_eq!(leader.progressed(progress(2, 10, 0), T0), Ok(Some(Offset(10))));
}

#[test]
fn what_followers_said_to_an_earlier_leader_counts_for_nothing() {
    let mut leader = leader(&[1, 2, 3], 10, 4);
    let old = Progress { leader_epoch: LeaderEpoch(2), ..progress(2, 10, 10) };
    let refused = StreamError::Epoch(EpochError::Fenced { asked: LeaderEpoch(2), current: EPOCH });
    assert_eq!(leader.progressed(old, T0), Err(refused), "M-03");
    let newer = Progress { leader_epoch: LeaderEpoch(4), ..old };
    assert!(
        matches!(leader.progressed(newer, T0), Err(StreamError::Epoch(EpochError::Unknown { .. }))),
        "M-03"
    );
    assert_eq!(leader.progressed(progress(3, 10, 10), T0), Ok(None), "M-04: 2 has not reported");
    assert_eq!(leader.progressed(progress(2, 9, 9), T0), Ok(Some(Offset(9))));
}

#[test]
fn the_latest_offset_is_not_told_before_the_epochs_start_is_committed() {
    let mut leader = leader(&[1, 2], 10, 4);
    assert_eq!(leader.latest(), None, "M-13");
    let _ = leader.progressed(progress(2, 9, 9), T0);
    assert_eq!((leader.high_watermark(), leader.latest()), (Offset(9), None));
    let _ = leader.progressed(progress(2, 10, 10), T0);
    assert_eq!(leader.latest(), Some(Offset(10)));
}

#[test]
fn nothing_is_committed_while_too_few_are_in_sync() {
    let mut leader = leader(&[1], 10, 4);
    assert_eq!(leader.high_watermark(), Offset(4), "M-09");
    let _ = leader.appended(Offset(12), T0);
    assert_eq!(leader.flushed(Offset(12)), None);
    assert_eq!(leader.progressed(progress(2, 12, 12), T0), Ok(None), "not committed as in sync yet");
    assert_eq!(leader.assigned(assignment(&[1, 2], 1), T0), Some(Offset(12)));
}

#[test]
fn a_follower_joins_only_with_all_that_is_committed_and_all_from_before_this_leader() {
    let mut leader = leader(&[1, 2], 10, 4);
    let _ = leader.progressed(progress(3, 6, 6), T0);
    assert_eq!(
        leader.propose(everybody, T0),
        None,
        "M-05: below the epoch's start, though above what is committed"
    );
    let _ = leader.progressed(progress(3, 10, 9), T0);
    assert_eq!(leader.propose(everybody, T0), None, "M-12: not flushed");
    let _ = leader.progressed(progress(3, 10, 10), T0);
    assert_eq!(leader.propose(|_| None, T0), None, "M-05: fenced");
    assert_eq!(leader.propose(|_| Some(BrokerEpoch(11)), T0), None, "KIP-903: an earlier life of it");
    let proposal = leader.propose(everybody, T0).expect("it has earned its place");
    assert_eq!(members(&proposal), [1, 2, 3]);
    assert_eq!((proposal.leader_epoch, proposal.partition_epoch), (EPOCH, PartitionEpoch(0)));
}

#[test]
fn a_proposed_member_counts_at_once_and_a_leaving_one_until_it_is_committed() {
    let mut leader = leader(&[1, 2], 10, 10);
    let _ = leader.progressed(progress(2, 10, 10), T0);
    let _ = leader.progressed(progress(3, 10, 10), T0);
    let _ = leader.propose(everybody, T0).expect("3 joins");
    let _ = leader.appended(Offset(20), T0);
    let _ = leader.flushed(Offset(20));
    assert_eq!(leader.progressed(progress(2, 20, 20), T0), Ok(None), "M-06: 3 may be in sync already");
    assert_eq!(leader.progressed(progress(3, 15, 15), T0), Ok(Some(Offset(15))));
    let _ = leader.assigned(assignment(&[1, 2, 3], 1), T0);
    let late = T0 + Duration::from_secs(5);
    let shrink = leader.propose(everybody, late).expect("3 is slow");
    assert_eq!(members(&shrink), [1, 2]);
    let _ = leader.appended(Offset(30), late);
    let _ = leader.flushed(Offset(30));
    assert_eq!(leader.progressed(progress(2, 30, 30), late), Ok(None), "M-06: 3 is still in sync");
    assert_eq!(leader.assigned(assignment(&[1, 2], 2), late), Some(Offset(30)));
}

#[test]
fn one_proposal_at_a_time_and_a_lost_answer_is_asked_for_again() {
    let mut leader = leader(&[1, 2], 0, 0);
    let _ = leader.progressed(progress(3, 0, 0), T0);
    let first = leader.propose(everybody, T0).expect("3 joins");
    assert_eq!(leader.propose(everybody, T0), None, "M-06: one under way");
    let _ = leader.proposal_answered(ProposalOutcome::Unanswered);
    assert_eq!(leader.maximal_isr().count(), 3, "M-06: it may have been carried out");
    assert_eq!(leader.propose(everybody, T0), Some(first), "the same again");
    let _ = leader.proposal_answered(ProposalOutcome::Outdated);
    assert_eq!(leader.maximal_isr().count(), 3, "until the metadata says otherwise");
    let _ = leader.assigned(assignment(&[1, 2], 0), T0);
    assert_eq!(leader.maximal_isr().count(), 3, "M-62: no news");
    let _ = leader.assigned(assignment(&[1, 2], 1), T0);
    assert_eq!(leader.maximal_isr().count(), 2);
    let _ = leader.propose(everybody, T0).expect("anew");
    let _ = leader.proposal_answered(ProposalOutcome::Refused);
    assert_eq!(leader.maximal_isr().count(), 2);
}

/// Who was to join held the high watermark back while it might have joined. When the proposal was refused, nothing looked
/// again, and acknowledgements waited for the next append.
#[test]
fn a_refused_proposal_lets_the_others_go_on() {
    let mut leader = leader(&[1, 2], 10, 10);
    let _ = leader.progressed(progress(2, 10, 10), T0);
    let _ = leader.progressed(progress(3, 10, 10), T0);
    let _ = leader.propose(everybody, T0).expect("3 joins");
    let _ = leader.appended(Offset(20), T0);
    let _ = leader.flushed(Offset(20));
    assert_eq!(leader.progressed(progress(2, 20, 20), T0), Ok(None), "3 may be in sync");
    assert_eq!(leader.proposal_answered(ProposalOutcome::Refused), Some(Offset(20)));
}

#[test]
fn while_a_proposal_is_under_way_the_next_ones_member_is_waited_for() {
    let mut leader = leader(&[1], 10, 10);
    let _ = leader.set_rules(Rules { min_in_sync: 1, ..leader.rules });
    let _ = leader.progressed(progress(2, 10, 10), T0);
    let _ = leader.propose(everybody, T0).expect("2 joins");
    let _ = leader.progressed(progress(3, 10, 10), T0);
    let _ = leader.appended(Offset(20), T0);
    let _ = leader.flushed(Offset(20));
    assert_eq!(leader.progressed(progress(2, 20, 20), T0), Ok(None), "M-07: 3 would be outrun");
    assert_eq!(leader.progressed(progress(3, 20, 20), T0), Ok(Some(Offset(20))));
}

#[test]
fn a_slow_follower_leaves_and_waits_longer_each_time_before_it_returns() {
    let mut leader = leader(&[1, 2, 3], 10, 10);
    let _ = leader.progressed(progress(2, 10, 10), T0);
    let _ = leader.progressed(progress(3, 10, 10), T0);
    let mut now = T0 + Duration::from_secs(3600);
    assert_eq!(leader.propose(everybody, now), None, "nobody is behind while nothing is written");
    let (mut end, mut waits) = (10, Vec::new());
    for round in 0..4 {
        let _ = leader.appended(Offset(end + 5), now);
        let _ = leader.progressed(progress(2, end + 5, end + 5), now);
        assert_eq!(leader.propose(everybody, now + Duration::from_millis(900)), None, "not late yet");
        now += Duration::from_millis(1100);
        let shrink = leader.propose(everybody, now).expect("3 is late");
        assert_eq!(members(&shrink), [1, 2]);
        let _ = leader.assigned(assignment(&[1, 2], 2 * round + 1), now);
        end += 5;
        let _ = leader.progressed(progress(3, end, end), now);
        let ejected = now;
        while leader.propose(everybody, now).is_none() {
            now += Duration::from_millis(50);
        }
        waits.push((now - ejected).as_millis());
        let _ = leader.assigned(assignment(&[1, 2, 3], 2 * round + 2), now);
    }
    assert_eq!(waits, [250, 500, 1000, 2000]);
}

/// A follower that has not followed in this epoch may have led before it and not know that it does no more (M-60).
#[test]
fn a_replica_that_is_not_wanted_any_more_leaves_once_it_follows_and_does_not_come_back() {
    let mut leader = leader(&[1, 2, 3], 10, 10);
    let leaving = Assignment { leaving: vec![BrokerId(3)], ..assignment(&[1, 2, 3], 1) };
    leader.assigned(leaving, T0);
    assert_eq!(leader.propose(everybody, T0), None);
    assert!(leader.is_unsettled());
    leader.progressed(progress(3, 4, 4), T0).unwrap();
    let proposal = leader.propose(everybody, T0).expect("it follows, however far behind it is");
    assert_eq!(members(&proposal), [1, 2]);
    leader.proposal_answered(ProposalOutcome::Accepted);
    leader.assigned(Assignment { leaving: vec![BrokerId(3)], ..assignment(&[1, 2], 2) }, T0);
    leader.progressed(progress(2, 10, 10), T0).unwrap();
    leader.progressed(progress(3, 10, 10), T0).unwrap();
    assert_eq!(leader.propose(everybody, T0 + Duration::from_secs(100)), None);
    assert!(!leader.is_unsettled());
}

#[test]
fn an_unclean_leader_says_that_it_took_over() {
    let mut leader = leader(&[1], 5, 0);
    let recovering = Assignment { recovering: true, ..assignment(&[1], 1) };
    let _ = leader.assigned(recovering, T0);
    assert_eq!(leader.propose(everybody, T0).as_ref().map(members), Some(vec![1]), "M-15");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn whatever_happens_the_invariants_hold(
        steps in proptest::collection::vec((0_u8..9, 2_i32..4, 0_i64..40, any::<bool>()), 1..120),
    ) {
        let mut leader = leader(&[1, 2], 5, 3);
        let (mut now, mut partition_epoch, mut proposed) = (T0, 0, None);
        for (step, broker, amount, flag) in steps {
            let before = leader.high_watermark();
            match step {
                0 | 1 => drop(leader.appended(leader.log_end.advance(amount), now)),
                2 | 3 => drop(leader.flushed(leader.flushed_end.advance(amount).min(leader.log_end))),
                4 | 5 => {
                    let (log, flushed) = leader.follower(BrokerId(broker)).unwrap_or((Offset(5), Offset(5)));
                    let log = log.advance(amount).min(leader.log_end);
                    let flushed = if flag { log } else { flushed.min(log) };
                    let _ = leader.progressed(progress(broker, log.0, flushed.0), now);
                }
                6 => now += Duration::from_millis(amount.unsigned_abs() * 60),
                7 => proposed = leader.propose(everybody, now).or(proposed),
                _ => if let Some(proposal) = proposed.take() {
                    if flag && proposal.partition_epoch.0 == partition_epoch {
                        partition_epoch += 1;
                        let isr = members(&proposal);
                        let _ = leader.assigned(assignment(&isr, partition_epoch), now);
                    } else {
                        let _ = leader.proposal_answered(ProposalOutcome::Unanswered);
                    }
                },
            }
            prop_assert_eq!(leader.check_invariants(before), Ok(()));
        }
    }
}
