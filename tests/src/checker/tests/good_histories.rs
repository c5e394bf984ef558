//! Histories that look odd and are not wrong: none is flagged.

use super::story::{Story, log};
use crate::checker::{Report, Verdict};
use crate::history::{Fault, History, ListSpec, Outcome};

#[track_caller]
fn assert_passes(report: &Report) {
    assert_eq!(report.verdict, Verdict::Passed, "{}", report.summary());
}

#[test]
fn a_plain_history_passes() {
    let report = Story::good(5).end(5, 5, &log(5));
    assert_passes(&report);
    assert_eq!(report.records_acknowledged, 6);
    assert_eq!(report.ops["send"].ok, 6);
}

#[test]
fn holes_between_offsets_are_no_gaps() {
    let mut story = Story::new();
    story.sent(0, 0).sent(1, 4).assign(7, 0).poll(7, &[(0, 0)]).poll(7, &[(4, 1)]);
    assert_passes(&story.end(2, 6, &[(0, 0), (4, 1)]));
}

#[test]
fn an_unknown_send_may_appear_or_not() {
    let mut story = Story::good(1);
    story.send(1, Outcome::Info, None).send(2, Outcome::Info, None).poll(7, &[(1, 2)]);
    assert_passes(&story.end(3, 2, &[(0, 0), (1, 2)]));
}

#[test]
fn a_consumer_that_seeks_may_go_anywhere() {
    let mut story = Story::good(5);
    story.assign(7, 3).poll(7, &[(3, 3)]).assign(7, 0).poll(7, &[(0, 0), (1, 1)]);
    story.assign(8, 2).poll(8, &[]).poll(8, &[(2, 2), (3, 3)]);
    assert_passes(&story.end(5, 5, &log(5)));
}

#[test]
fn what_was_deleted_need_not_be_seen_nor_walked_over() {
    let mut story = Story::good(5);
    story.assign(8, 0).poll(8, &[(0, 0)]).delete(3, Outcome::Ok).poll(8, &[(3, 3), (4, 4)]);
    story.list(ListSpec::Earliest, Some(3)).list(ListSpec::Timestamp(0), Some(3));
    let mut rest = log(5).split_off(3);
    rest.dedup();
    story.assign(1000, 3);
    assert_passes(&story.end(5, 5, &rest));
}

#[test]
fn ends_and_lookups_that_are_right_pass() {
    let mut story = Story::good(3);
    story.list(ListSpec::Latest, Some(3)).polled(7, Vec::new(), Some(3)).sent(3, 3);
    story.list(ListSpec::Latest, Some(4)).list(ListSpec::Timestamp(11), Some(2));
    story.list(ListSpec::Timestamp(30), Some(3)).list(ListSpec::Timestamp(31), None);
    assert_passes(&story.end(4, 4, &log(4)));
}

#[test]
fn overlapping_questions_may_see_different_ends() {
    let mut story = Story::good(3);
    story.send(3, Outcome::Info, None).list(ListSpec::Latest, Some(4)).list(ListSpec::Latest, Some(3));
    let last = story.ops.last_mut().expect("listed");
    last.t_invoke -= 20;
    assert_passes(&story.end(4, 4, &log(4)));
}

#[test]
fn a_stall_is_excused_while_a_majority_is_faulty() {
    let mut story = Story::good(1);
    story.header.limits.minority_stall_us = Some(500);
    story.fault(Fault::Installed, false).send(1, Outcome::Info, None).wait(1000);
    story.fault(Fault::Healed, false).sent(2, 1);
    let report = story.end(3, 2, &[(0, 0), (1, 2)]);
    assert_passes(&report);
    assert!(report.worst_unavailability_us["t/0"] >= 1000);
}

#[test]
fn a_pause_without_sends_is_no_stall() {
    let mut story = Story::good(1);
    story.header.limits.minority_stall_us = Some(500);
    story.wait(10_000).sent(1, 1);
    assert_passes(&story.end(2, 2, &log(2)));
}

#[test]
fn a_history_written_as_lines_is_judged_as_it_was_in_memory() {
    let mut story = Story::good(4);
    story.fault(Fault::Installed, true).list(ListSpec::Latest, Some(4)).delete(0, Outcome::Info);
    story.finish(4, 4, &log(4));
    let mut text = serde_json::to_string(&crate::history::Header {
        highwater_history: crate::history::SCHEMA_VERSION,
        ..story.header.clone()
    })
    .expect("a header");
    for op in &story.ops {
        text.push('\n');
        text.push_str(&serde_json::to_string(op).expect("an operation"));
    }
    let read = crate::checker::check(History::new(text.as_bytes()).expect("a header")).expect("all lines");
    assert_passes(&read);
    assert_eq!(read, crate::checker::check_ops(&story.header, story.ops));
}
