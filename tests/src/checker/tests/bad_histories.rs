//! One bad history for each anomaly: it is flagged by its name.

use std::collections::{BTreeMap, BTreeSet};

use super::story::{Story, key, log};
use crate::checker::{Anomaly, Report, Verdict};
use crate::history::{BadRead, Fault, Kind, ListSpec, Outcome, PollMode};

#[track_caller]
fn assert_flags(report: &Report, anomaly: Anomaly) {
    assert!(report.anomalies.contains_key(anomaly.name()), "{anomaly:?} is not in {report:#?}");
    assert_eq!(report.anomalies[anomaly.name()].code, anomaly.code());
    assert_eq!(report.verdict, Verdict::Failed);
}

#[test]
fn two_values_at_one_offset_are_flagged() {
    let mut story = Story::good(3);
    story.assign(8, 0).poll(8, &[(0, 0), (1, 2)]);
    assert_flags(&story.end(3, 3, &log(3)), Anomaly::InconsistentOffsets);
}

#[test]
fn an_acknowledged_offset_that_shows_another_value_is_flagged() {
    let mut story = Story::new();
    story.sent(0, 0).send(1, Outcome::Info, None).assign(7, 0).poll(7, &[(0, 1)]);
    assert_flags(&story.end(2, 1, &[(0, 1)]), Anomaly::InconsistentOffsets);
}

#[test]
fn a_value_at_two_offsets_is_flagged() {
    let mut story = Story::good(3);
    story.poll(7, &[(3, 2)]);
    assert_flags(&story.end(3, 4, &[(0, 0), (1, 1), (2, 2), (3, 2)]), Anomaly::Duplicate);
}

#[test]
fn an_acknowledged_value_that_was_read_past_is_flagged() {
    let mut story = Story::new();
    story.sent(0, 0).sent(1, 1).sent(2, 2).assign(7, 0).poll(7, &[(0, 0), (2, 2)]);
    let report = story.end(3, 3, &[(0, 0), (2, 2)]);
    assert_flags(&report, Anomaly::LostWrite);
    assert_flags(&report, Anomaly::Unseen);
}

#[test]
fn a_value_that_was_read_and_is_gone_at_the_end_is_flagged() {
    let mut story = Story::new();
    story.sent(0, 0).send(1, Outcome::Info, None).assign(7, 0).poll(7, &[(0, 0), (1, 1)]);
    assert_flags(&story.end(2, 2, &[(0, 0)]), Anomaly::LostWrite);
}

#[test]
fn an_acknowledged_tail_that_nobody_ever_sees_is_flagged() {
    let mut story = Story::good(3);
    story.sent(3, 9);
    let report = story.end(4, 3, &log(3));
    assert_flags(&report, Anomaly::Unseen);
    assert!(!report.anomalies.contains_key(Anomaly::LostWrite.name()), "nobody read past it");
}

#[test]
fn a_read_of_what_failed_is_flagged() {
    let mut story = Story::good(2);
    story.send(2, Outcome::Fail, None).poll(7, &[(2, 2)]);
    assert_flags(&story.end(3, 3, &log(3)), Anomaly::AbortedRead);
}

#[test]
fn a_gap_inside_an_answer_is_flagged() {
    let mut story = Story::good(3);
    story.assign(8, 0).poll(8, &[(0, 0), (2, 2)]);
    assert_flags(&story.end(3, 3, &log(3)), Anomaly::InnerSkip);
}

#[test]
fn a_gap_between_answers_is_flagged() {
    let mut story = Story::good(3);
    story.assign(8, 0).poll(8, &[(0, 0)]).poll(8, &[(2, 2)]);
    assert_flags(&story.end(3, 3, &log(3)), Anomaly::Skip);
}

#[test]
fn a_gap_right_after_a_seek_is_flagged() {
    let mut story = Story::good(3);
    story.assign(8, 1).poll(8, &[(2, 2)]);
    assert_flags(&story.end(3, 3, &log(3)), Anomaly::Skip);
}

#[test]
fn an_answer_that_goes_backwards_is_flagged() {
    let mut story = Story::good(3);
    story.assign(8, 0).poll(8, &[(0, 0), (1, 1), (0, 0)]);
    assert_flags(&story.end(3, 3, &log(3)), Anomaly::InnerBackwards);
}

#[test]
fn a_repeated_record_is_flagged() {
    let mut story = Story::good(3);
    story.assign(8, 0).poll(8, &[(0, 0), (1, 1)]).poll(8, &[(1, 1)]);
    assert_flags(&story.end(3, 3, &log(3)), Anomaly::Backwards);
}

#[test]
fn sends_that_changed_places_are_flagged() {
    let mut story = Story::new();
    story.sent(0, 1).sent(1, 0).assign(7, 0).poll(7, &[(0, 1), (1, 0)]);
    assert_flags(&story.end(2, 2, &[(0, 1), (1, 0)]), Anomaly::SendsReordered);
}

#[test]
fn an_end_that_misses_an_acknowledged_write_is_flagged() {
    let mut story = Story::good(3);
    story.list(ListSpec::Latest, Some(2));
    assert_flags(&story.end(3, 3, &log(3)), Anomaly::StaleEnd);
}

#[test]
fn a_poll_whose_leader_does_not_know_an_acknowledged_write_is_flagged() {
    let mut story = Story::good(3);
    story.polled(7, Vec::new(), Some(2));
    assert_flags(&story.end(3, 3, &log(3)), Anomaly::StaleEnd);
}

#[test]
fn an_end_that_falls_is_flagged() {
    let mut story = Story::good(3);
    story.send(3, Outcome::Info, None).list(ListSpec::Latest, Some(4)).list(ListSpec::Latest, Some(3));
    assert_flags(&story.end(4, 4, &log(4)), Anomaly::EndFell);
}

#[test]
fn damage_and_strangers_are_flagged() {
    let mut story = Story::good(3);
    let bad = BTreeMap::from([(key(), vec![BadRead { offset: 1, problem: "the seal".into() }])]);
    let kind = Kind::Poll { mode: PollMode::Leader, reads: BTreeMap::new(), bad, ends: BTreeMap::new() };
    story.op(8, Outcome::Ok, kind);
    assert_flags(&story.end(3, 3, &log(3)), Anomaly::Unfaithful);

    let mut story = Story::good(3);
    story.poll(7, &[(3, 77)]);
    assert_flags(&story.end(3, 4, &[(0, 0), (1, 1), (2, 2), (3, 77)]), Anomaly::Unfaithful);
}

#[test]
fn a_deleted_record_that_is_read_is_flagged() {
    let mut story = Story::good(3);
    story.delete(2, Outcome::Ok).assign(8, 1).poll(8, &[(1, 1)]);
    assert_flags(&story.end(3, 3, &log(3)[2..]), Anomaly::BelowLogStart);
}

#[test]
fn a_log_start_that_falls_is_flagged() {
    let mut story = Story::good(3);
    story.delete(2, Outcome::Ok).list(ListSpec::Earliest, Some(0));
    assert_flags(&story.end(3, 3, &log(3)[2..]), Anomaly::LogStartFell);
    let mut story = Story::good(3);
    story.list(ListSpec::Earliest, Some(2)).list(ListSpec::Earliest, Some(1));
    assert_flags(&story.end(3, 3, &log(3)), Anomaly::LogStartFell);
}

#[test]
fn a_lookup_by_time_that_misses_the_first_record_is_flagged() {
    for wrong in [Some(2), Some(0), None] {
        let mut story = Story::good(3);
        story.list(ListSpec::Timestamp(5), wrong);
        assert_flags(&story.end(3, 3, &log(3)), Anomaly::WrongTimestamp);
    }
}

#[test]
fn a_partition_that_takes_no_write_after_the_heal_is_flagged() {
    let mut story = Story::good(1);
    story.header.limits.heal_us = 1;
    assert_flags(&story.end(1, 1, &log(1)), Anomaly::NotServed);
}

#[test]
fn a_drain_that_never_ends_is_flagged() {
    let mut story = Story::good(1);
    story.finish(1, 1, &log(1));
    story.ops.pop();
    assert_flags(&crate::checker::check_ops(&story.header, story.ops), Anomaly::NotConverged);
}

#[test]
fn a_stall_while_a_minority_is_faulty_is_flagged() {
    let mut story = Story::good(1);
    story.header.limits.minority_stall_us = Some(500);
    story.fault(Fault::Installed, true).send(1, Outcome::Info, None).wait(1000).sent(2, 1);
    story.fault(Fault::Healed, true);
    assert_flags(&story.end(3, 2, &[(0, 0), (1, 2)]), Anomaly::Stalled);
}

#[test]
fn a_request_without_an_answer_is_flagged() {
    let mut story = Story::good(1);
    story.ops[0].t_complete = None;
    story.ops[0].outcome = Outcome::Info;
    assert_flags(&story.end(1, 1, &log(1)), Anomaly::Unanswered);
}

#[test]
fn an_answer_long_after_its_deadline_is_flagged() {
    let mut story = Story::good(1);
    story.header.limits.answer_slack_us = 100;
    story.wait(2000);
    story.sent(1, 1);
    let last = story.ops.last_mut().expect("just sent");
    last.t_invoke -= 1500;
    assert_flags(&story.end(2, 2, &log(2)), Anomaly::Unanswered);
}

#[test]
fn a_run_that_shows_nothing_is_invalid_and_not_passed() {
    let mut too_few = Story::good(1);
    too_few.header.limits.ok_ops_min = 3;
    assert_eq!(too_few.end(1, 1, &log(1)).verdict, Verdict::Invalid);

    let mut never_installed = Story::good(1);
    never_installed.header.faults_asked = BTreeSet::from(["pause".to_owned()]);
    never_installed.fault(Fault::Skipped, true);
    let report = never_installed.clone().end(1, 1, &log(1));
    assert_eq!(report.verdict, Verdict::Invalid, "{report:?}");
    assert_eq!(report.faults["pause"].skipped, 1);
    never_installed.fault(Fault::Installed, true);
    assert_eq!(never_installed.end(1, 1, &log(1)).verdict, Verdict::Passed);

    let mut unclear = Story::good(1);
    unclear.fault(Fault::Indeterminate, true);
    assert_eq!(unclear.end(1, 1, &log(1)).verdict, Verdict::Invalid);

    let unfinished = Story::good(1);
    let report = crate::checker::check_ops(&unfinished.header, unfinished.ops);
    assert_eq!(report.verdict, Verdict::Invalid, "it was never healed nor drained");
}
