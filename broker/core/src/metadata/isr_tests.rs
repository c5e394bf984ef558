//! One test for each thing that a change of an in-sync set is held against.

use super::super::testing::*;
use super::super::{Command, Image, Outcome, Reassignment};
use super::*;
use highwater_proto::{LeaderEpoch, PartitionEpoch};

fn three() -> Image {
    let mut image = cluster(4);
    topic(&mut image, &[&[1, 2, 3]], &[]);
    image
}

#[test]
fn a_leader_shrinks_and_widens_its_in_sync_set_and_each_change_counts() {
    let mut image = three();
    let change = alter(&image, &[1, 3]);
    let after = ask(&mut image, change).unwrap();
    assert_eq!((after.isr, after.partition_epoch), (ids(&[1, 3]), PartitionEpoch(1)));
    let change = alter(&image, &[1, 3, 2]);
    let after = ask(&mut image, change).unwrap();
    assert_eq!((after.isr.len(), after.partition_epoch), (3, PartitionEpoch(2)));
    assert_eq!(after.leader_epoch, LeaderEpoch(0), "its leadership goes on");
}

#[test]
fn what_is_so_already_is_no_change() {
    let mut image = three();
    let change = alter(&image, &[1, 2, 3]);
    let after = ask(&mut image, change).unwrap();
    assert_eq!(after.partition_epoch, PartitionEpoch(0));
}

#[test]
fn an_older_partition_epoch_has_been_overtaken() {
    let mut image = three();
    let late = alter(&image, &[1]);
    let change = alter(&image, &[1, 2]);
    ask(&mut image, change).unwrap();
    let (epoch, now) = (PartitionEpoch(0), PartitionEpoch(1));
    assert_eq!(ask(&mut image, late), Err(AlterPartitionError::InvalidUpdateVersion { epoch, now }));
}

#[test]
fn two_changes_of_one_partition_at_once_are_one_too_many() {
    let mut image = three();
    let changes = vec![alter(&image, &[1, 2]), alter(&image, &[1, 3])];
    let epoch = epoch_of(&image, 1);
    let command = Command::AlterPartition { broker: BrokerId(1), epoch, changes };
    let Ok(Outcome::PartitionsAltered { results }) = run(&mut image, &command) else { panic!("answered") };
    assert!(results[0].result.is_ok());
    assert!(matches!(results[1].result, Err(AlterPartitionError::InvalidUpdateVersion { .. })));
}

#[test]
fn an_epoch_from_the_future_means_that_this_is_not_the_controller() {
    let mut image = three();
    let change = alter(&image, &[1, 2]);
    let newer = AlterPartition { leader_epoch: LeaderEpoch(1), ..change.clone() };
    assert_eq!(ask(&mut image, newer), Err(AlterPartitionError::NewerEpoch));
    let newer = AlterPartition { partition_epoch: PartitionEpoch(1), ..change };
    assert_eq!(ask(&mut image, newer), Err(AlterPartitionError::NewerEpoch));
}

#[test]
fn only_the_leader_changes_the_set() {
    let mut image = three();
    let epoch = epoch_of(&image, 2);
    let changes = vec![alter(&image, &[1, 2])];
    let command = Command::AlterPartition { broker: BrokerId(2), epoch, changes };
    let Ok(Outcome::PartitionsAltered { results }) = run(&mut image, &command) else { panic!("answered") };
    assert_eq!(results[0].result, Err(AlterPartitionError::NotLeader { broker: BrokerId(2) }));
}

#[test]
fn the_set_is_one_of_replicas_with_the_leader_among_them() {
    let mut image = three();
    for (isr, problem) in [
        (&[2, 3][..], "the leader, broker 1, is missing"),
        (&[], "the leader, broker 1, is missing"),
        (&[1, 2, 2], "a broker is in it twice"),
        (&[1, 4], "broker 4 is not a replica"),
    ] {
        let change = alter(&image, isr);
        let refused = ask(&mut image, change).unwrap_err().to_string();
        assert_eq!(refused, format!("in-sync replicas cannot be {isr:?}: {problem}"));
    }
}

#[test]
fn who_fetched_in_an_earlier_life_is_not_in_sync() {
    let mut image = three();
    let change = alter(&image, &[1, 2]);
    ask(&mut image, change).unwrap();
    let late = alter(&image, &[1, 2, 3]);
    come_back(&mut image, 3, |same| same).unwrap();
    unfence(&mut image, 3);
    let refused = ask(&mut image, late).unwrap_err();
    assert!(refused.to_string().contains("broker 3 cannot be in sync: it fetched in epoch"), "{refused}");
}

#[test]
fn who_is_fenced_is_not_in_sync() {
    let mut image = three();
    fence(&mut image, 3);
    let change = alter(&image, &[1, 2, 3]);
    let refused = ask(&mut image, change).unwrap_err().to_string();
    assert_eq!(refused, "broker 3 cannot be in sync: it is fenced");
}

#[test]
fn a_partition_that_is_gone_is_unknown() {
    let mut image = three();
    let epoch = epoch_of(&image, 1);
    let changes = vec![AlterPartition { partition: at(1), ..alter(&image, &[1]) }];
    let command = Command::AlterPartition { broker: BrokerId(1), epoch, changes };
    let Ok(Outcome::PartitionsAltered { results }) = run(&mut image, &command) else { panic!("answered") };
    assert_eq!(results[0].result, Err(AlterPartitionError::UnknownPartition));
}

#[test]
fn a_leader_with_which_everybody_is_in_sync_whom_a_reassignment_adds_hears_that_it_leads_no_more() {
    let mut image = three();
    let partitions = vec![Reassignment { partition: at(0), replicas: Some(ids(&[2, 3, 4])) }];
    run(&mut image, &Command::Reassign { partitions }).unwrap();
    let change = alter(&image, &[1, 2, 3, 4]);
    assert_eq!(ask(&mut image, change), Err(AlterPartitionError::NewLeaderElected));
    assert_eq!(state(&image), (Some(2), vec![1, 2, 3, 4], vec![], vec![]));
}
