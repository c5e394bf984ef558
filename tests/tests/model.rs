//! The replication core, every state of it within small bounds, and walks beyond them.

use std::time::Duration;

use highwater_core::settings::Durability;
use highwater_tests::model::{Bounds, Depth, Explored, explore, walk};

#[track_caller]
fn assert_sound(explored: &Explored) {
    let found = explored.counterexamples.first();
    assert!(
        found.is_none(),
        "{}",
        found.map_or(String::new(), |(broken, steps)| format!("{broken}\n  {steps}"))
    );
}

#[test]
fn every_state_within_small_bounds_keeps_the_invariants() {
    let bounds = Bounds::of(Depth::Smoke, Durability::Fsync);
    let explored = explore(bounds, Duration::from_secs(300), 2);
    assert_sound(&explored);
    assert!(explored.complete, "{explored:?}");
    assert!(explored.unique_states > 50_000, "the model has become trivial: {explored:?}");
    assert_eq!(explored.unreached, [""; 0]);
}

#[test]
fn walks_through_fail_overs_crashes_and_lost_disks_keep_the_invariants() {
    for durability in [Durability::Fsync, Durability::Replicated] {
        for messages in [0, 4] {
            let bounds = Bounds { messages, ..Bounds::of(Depth::Walks, durability) };
            let mut walks = 0..1000;
            let explored = walk(bounds, 0, || walks.next().is_none());
            assert_sound(&explored);
            assert!(explored.unique_states > 20_000, "the walks lead nowhere: {explored:?}");
        }
    }
}
