//! Replicas on the move.

use super::super::testing::{
    alter, ask, at, cluster, come_back, fence, first, ids, let_go, run, state, topic, unfence,
};
use super::super::{Command, Registration};
use super::*;

/// One partition on brokers 1, 2 and 3 of five, with two that must be in sync.
fn three() -> Image {
    let mut image = cluster(5);
    topic(&mut image, &[&[1, 2, 3]], &[]);
    image
}

fn moves(image: &mut Image, replicas: Option<&[i32]>) -> Result<Partition, ReassignError> {
    let partitions = vec![Reassignment { partition: at(0), replicas: replicas.map(ids) }];
    match run(image, &Command::Reassign { partitions }) {
        Ok(Outcome::Reassigned { mut results }) => results.remove(0).result,
        other => panic!("{other:?}"),
    }
}

fn in_sync(image: &mut Image, isr: &[i32]) {
    let change = alter(image, isr);
    let _ = ask(image, change);
}

#[test]
fn new_replicas_are_added_and_the_old_ones_stay_until_the_new_ones_are_in_sync() {
    let mut image = three();
    let moving = moves(&mut image, Some(&[4, 2, 5])).unwrap();
    assert_eq!(moving.replicas, ids(&[4, 2, 5, 1, 3]));
    assert_eq!((moving.adding, moving.removing), (ids(&[4, 5]), ids(&[1, 3])));
    assert_eq!((moving.leader, moving.isr), (Some(BrokerId(1)), ids(&[1, 2, 3])));
    in_sync(&mut image, &[1, 2, 3, 4]);
    assert!(first(&image).is_reassigning(), "5 is not in sync yet");
    in_sync(&mut image, &[1, 2, 3, 4, 5]);
    let_go(&mut image);
    let moved = first(&image);
    assert_eq!((moved.replicas, moved.leader), (ids(&[4, 2, 5]), Some(BrokerId(4))));
    assert_eq!(state(&image).1, [2, 4, 5]);
}

/// For as long as its lease holds a leader that was taken away at once would show readers what is old by then (M-60).
#[test]
fn a_leader_that_goes_stays_in_sync_until_the_next_one_lets_it_go() {
    let mut image = three();
    moves(&mut image, Some(&[4, 2, 5])).unwrap();
    in_sync(&mut image, &[1, 2, 3, 4, 5]);
    let handed = first(&image);
    assert_eq!((handed.leader, handed.isr), (Some(BrokerId(4)), ids(&[1, 2, 3, 4, 5])));
    assert_eq!(handed.replicas, ids(&[4, 2, 5, 1, 3]));
    // What happens to others meanwhile does not end it, and one that is fenced has no lease any more.
    fence(&mut image, 3);
    assert!(first(&image).is_reassigning() && first(&image).isr.contains(&BrokerId(1)));
    fence(&mut image, 1);
    assert_eq!((first(&image).replicas, first(&image).is_reassigning()), (ids(&[4, 2, 5]), false));
}

#[test]
fn a_new_leader_that_dies_before_it_let_anybody_go_is_followed_by_one_that_stays() {
    let mut image = three();
    moves(&mut image, Some(&[4, 2])).unwrap();
    in_sync(&mut image, &[1, 2, 3, 4]);
    fence(&mut image, 4);
    assert_eq!((first(&image).leader, first(&image).is_reassigning()), (Some(BrokerId(2)), true));
    assert_eq!(state(&image).1, [1, 2, 3], "4 is not in sync, so nobody may go");
}

#[test]
fn a_leader_that_loses_a_replica_begins_a_new_epoch() {
    let mut image = three();
    moves(&mut image, Some(&[1, 2, 4])).unwrap();
    let before = first(&image).leader_epoch;
    in_sync(&mut image, &[1, 2, 3, 4]);
    let_go(&mut image);
    let after = first(&image);
    assert_eq!((after.replicas, after.leader), (ids(&[1, 2, 4]), Some(BrokerId(1))));
    assert!(after.leader_epoch > before, "what it knew of 3 is void");
}

#[test]
fn replicas_that_only_go_wait_for_their_leader_and_those_that_change_places_for_nobody() {
    let mut image = three();
    assert_eq!(moves(&mut image, Some(&[2, 1])).unwrap().replicas, ids(&[2, 1, 3]));
    let_go(&mut image);
    assert_eq!(first(&image).replicas, ids(&[2, 1]));
    let swapped = moves(&mut image, Some(&[1, 2])).unwrap();
    assert_eq!((swapped.replicas, swapped.leader), (ids(&[1, 2]), Some(BrokerId(1))));
}

#[test]
fn no_replica_goes_while_too_few_of_those_that_stay_are_in_sync() {
    let mut image = three();
    fence(&mut image, 2);
    let waiting = moves(&mut image, Some(&[1, 2])).unwrap();
    assert!(waiting.is_reassigning(), "2 is not in sync, and two must be");
    unfence(&mut image, 2);
    in_sync(&mut image, &[1, 2, 3]);
    let_go(&mut image);
    assert_eq!(first(&image).replicas, ids(&[1, 2]));
}

#[test]
fn a_dead_replica_that_stays_does_not_hold_the_others_up() {
    let mut image = three();
    fence(&mut image, 2);
    moves(&mut image, Some(&[1, 2, 4])).unwrap();
    in_sync(&mut image, &[1, 3, 4]);
    let_go(&mut image);
    assert_eq!(first(&image).replicas, ids(&[1, 2, 4]));
    assert_eq!(state(&image).1, [1, 4]);
}

#[test]
fn a_dead_replica_is_replaced() {
    let mut image = three();
    fence(&mut image, 1);
    moves(&mut image, Some(&[4, 2, 3])).unwrap();
    in_sync(&mut image, &[2, 3, 4]);
    let moved = first(&image);
    assert_eq!((moved.replicas, moved.leader), (ids(&[4, 2, 3]), Some(BrokerId(2))), "nobody was displaced");
}

#[test]
fn a_reassignment_is_changed_and_those_that_do_not_count_yet_are_dropped() {
    let mut image = three();
    moves(&mut image, Some(&[1, 2, 4])).unwrap();
    let changed = moves(&mut image, Some(&[1, 2, 5])).unwrap();
    assert_eq!((changed.replicas, changed.adding), (ids(&[1, 2, 5, 3]), ids(&[5])));
    assert_eq!(changed.removing, ids(&[3]));
    in_sync(&mut image, &[1, 2, 3, 5]);
    let_go(&mut image);
    assert_eq!(first(&image).replicas, ids(&[1, 2, 5]));
}

#[test]
fn one_that_counts_already_goes_only_with_the_others() {
    let mut image = three();
    moves(&mut image, Some(&[4, 5])).unwrap();
    in_sync(&mut image, &[1, 2, 3, 4]);
    let changed = moves(&mut image, Some(&[5, 1])).unwrap();
    assert_eq!((changed.adding, changed.removing), (ids(&[5]), ids(&[4, 2, 3])));
    assert_eq!(state(&image).1, [1, 2, 3, 4]);
    in_sync(&mut image, &[1, 2, 3, 4, 5]);
    let_go(&mut image);
    assert_eq!(first(&image).replicas, ids(&[5, 1]));
}

#[test]
fn a_reassignment_is_taken_back() {
    let mut image = three();
    assert_eq!(moves(&mut image, None), Err(ReassignError::NoneUnderWay));
    moves(&mut image, Some(&[4, 5, 1])).unwrap();
    in_sync(&mut image, &[1, 2, 4]);
    moves(&mut image, None).unwrap();
    assert_eq!(state(&image).1, [1, 2, 4], "4 counts already, and goes like any other");
    let_go(&mut image);
    let back = first(&image);
    let mut replicas = back.replicas.clone();
    replicas.sort_unstable();
    assert_eq!((replicas, back.is_reassigning()), (ids(&[1, 2, 3]), false));
    assert_eq!(state(&image).1, [1, 2]);
}

#[test]
fn it_is_not_taken_back_once_only_the_new_replicas_have_the_data() {
    let mut image = three();
    moves(&mut image, Some(&[4, 5, 1])).unwrap();
    for broker in [1, 2, 3] {
        in_sync(&mut image, &[1, 2, 3, 4]);
        let lost = |same| Registration { disk_id: "new".into(), ..same };
        come_back(&mut image, broker, lost).unwrap();
    }
    assert_eq!(state(&image), (Some(4), vec![4], vec![], vec![]));
    let refused = moves(&mut image, None).unwrap_err();
    assert_eq!(refused, ReassignError::CannotTakeBack);
    assert!(refused.to_string().contains("only replicas that it adds"));
}

#[test]
fn impossible_targets_say_why() {
    let mut image = three();
    fence(&mut image, 5);
    for (target, problem) in [
        (&[][..], "partition 0 cannot be held by []: there are 1 to 64 replicas"),
        (&[1, 1], "partition 0 cannot be held by [1, 1]: a broker is in it twice"),
        (
            &[1, 5],
            "partition 0 cannot be held by [1, 5]: broker 5 is not there, or is stopping or being drained",
        ),
        (
            &[1, 9],
            "partition 0 cannot be held by [1, 9]: broker 9 is not there, or is stopping or being drained",
        ),
    ] {
        assert_eq!(moves(&mut image, Some(target)).unwrap_err().to_string(), problem);
    }
    let partitions = vec![Reassignment { partition: at(7), replicas: None }];
    let Ok(Outcome::Reassigned { results }) = run(&mut image, &Command::Reassign { partitions }) else {
        panic!("answered")
    };
    assert_eq!(results[0].result, Err(ReassignError::UnknownPartition));
}

#[test]
fn a_growing_topic_acknowledges_as_before_until_the_new_replicas_are_in_sync() {
    let mut image = cluster(3);
    topic(&mut image, &[&[1]], &[("min.insync.replicas", "2")]);
    let growing = moves(&mut image, Some(&[1, 2, 3])).unwrap();
    assert_eq!(growing.min_isr(2), 1);
    in_sync(&mut image, &[1, 2, 3]);
    assert_eq!(first(&image).min_isr(2), 2);
}
