//! Any one record dropped, doubled or exchanged in what a drain returned is noticed, whatever the history around it.

use proptest::prelude::*;

use super::story::{PRODUCER, Story};
use crate::checker::{Verdict, check_ops};
use crate::history::{Kind, Outcome, Read, Value};
use highwater_proto::Offset;

/// Of each send: whether it is acknowledged, unknown but there, unknown and not there, or failed; and the hole before it.
fn plan() -> impl Strategy<Value = Vec<(u8, i64)>> {
    proptest::collection::vec((0_u8..8, 0_i64..3), 3..40)
}

/// A good history made from a plan, its log, and how many polls the readers use.
fn good(plan: &[(u8, i64)], step: usize) -> (Story, Vec<(i64, u64)>) {
    let mut story = Story::new();
    let mut log = vec![(0, 0)];
    story.sent(0, 0);
    for (sequence, (fate, hole)) in (1..).zip(plan) {
        let next = log.last().map_or(0, |(offset, _)| offset + 1) + hole;
        match fate {
            0 => {
                story.send(sequence, Outcome::Fail, None);
            }
            1 => {
                story.send(sequence, Outcome::Info, None);
            }
            2 => {
                story.send(sequence, Outcome::Info, None);
                log.push((next, sequence));
            }
            _ => {
                story.sent(sequence, next);
                log.push((next, sequence));
            }
        }
    }
    story.assign(7, 0);
    for chunk in log.chunks(step) {
        story.poll(7, chunk);
    }
    let last = log.last().expect("one at least").0;
    story.finish(plan.len() as u64 + 1, last + 1, &log);
    (story, log)
}

/// The records that a poll returned; the last poll of a story is its drain.
fn reads_of(story: &mut Story, which: proptest::sample::Index) -> &mut Vec<Read> {
    let polls = story.ops.iter_mut().filter_map(|op| match &mut op.kind {
        Kind::Poll { reads, .. } => reads.values_mut().next(),
        _ => None,
    });
    let mut polls: Vec<_> = polls.filter(|reads| !reads.is_empty()).collect();
    let which = which.index(polls.len());
    polls.swap_remove(which)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_good_history_passes(plan in plan(), step in 1_usize..7) {
        let (story, _) = good(&plan, step);
        let report = check_ops(&story.header, story.ops);
        prop_assert_eq!(report.verdict, Verdict::Passed, "{}", report.summary());
    }

    #[test]
    fn every_dropped_record_is_noticed(
        plan in plan(), step in 1_usize..7, poll in any::<proptest::sample::Index>(),
        at in any::<proptest::sample::Index>(),
    ) {
        let (mut story, log) = good(&plan, step);
        let newest = log.last().expect("one at least").0;
        let reads = reads_of(&mut story, poll);
        let at = at.index(reads.len());
        let dropped = reads.remove(at);
        // A reader that stops one record early, before the drain, has done nothing wrong.
        let stopped_early = dropped.offset.0 == newest && reads.get(at).is_none();
        let report = check_ops(&story.header, story.ops);
        prop_assert_eq!(report.verdict == Verdict::Failed, !stopped_early, "{}", report.summary());
    }

    #[test]
    fn every_doubled_record_is_noticed(
        plan in plan(), step in 1_usize..7, poll in any::<proptest::sample::Index>(),
        at in any::<proptest::sample::Index>(), to in any::<proptest::sample::Index>(), moved in any::<bool>(),
    ) {
        let (mut story, log) = good(&plan, step);
        let newest = log.last().expect("one at least").0;
        let reads = reads_of(&mut story, poll);
        let mut again = reads[at.index(reads.len())];
        if moved {
            again.offset = Offset(newest + 1);
        }
        reads.insert(to.index(reads.len() + 1), again);
        let report = check_ops(&story.header, story.ops);
        prop_assert_eq!(report.verdict, Verdict::Failed, "{}", report.summary());
    }

    #[test]
    fn every_exchange_of_two_records_is_noticed(
        plan in plan(), step in 2_usize..7, poll in any::<proptest::sample::Index>(),
        at in any::<proptest::sample::Index>(), values_only in any::<bool>(),
    ) {
        let (mut story, _) = good(&plan, step);
        let reads = reads_of(&mut story, poll);
        prop_assume!(reads.len() >= 2);
        let at = at.index(reads.len() - 1);
        reads.swap(at, at + 1);
        if values_only {
            let (first, second) = (reads[at].offset, reads[at + 1].offset);
            (reads[at].offset, reads[at + 1].offset) = (second, first);
        }
        let report = check_ops(&story.header, story.ops);
        prop_assert_eq!(report.verdict, Verdict::Failed, "{}", report.summary());
    }

    #[test]
    fn every_invented_record_is_noticed(
        plan in plan(), step in 1_usize..7, poll in any::<proptest::sample::Index>(),
        at in any::<proptest::sample::Index>(), sequence in 1000_u64..2000,
    ) {
        let (mut story, _) = good(&plan, step);
        let reads = reads_of(&mut story, poll);
        let at = at.index(reads.len());
        reads[at].value = Value { producer: PRODUCER, sequence };
        let report = check_ops(&story.header, story.ops);
        prop_assert_eq!(report.verdict, Verdict::Failed, "{}", report.summary());
    }
}
