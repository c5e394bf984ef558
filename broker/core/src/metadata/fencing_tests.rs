//! Brokers that go and come back, and what KIP-966 says of the replicas they leave.

use super::super::testing::{
    alter, ask, at, cluster, come_back, epoch_of, fence, first, run, state, topic, unfence,
};
use super::super::{
    AlterPartitionError, Command, ConfigEdit, ElectionKind, Image, LastStop, Mode, Outcome, PartitionResult,
    Refusal, Registration,
};
use super::*;
use std::collections::BTreeMap;

/// One partition on brokers 1, 2 and 3, of which two must be in sync.
fn three() -> Image {
    let mut image = cluster(3);
    topic(&mut image, &[&[1, 2, 3]], &[]);
    image
}

fn shrink(image: &mut Image, isr: &[i32]) {
    let change = alter(image, isr);
    ask(image, change).unwrap();
}

fn unclean(image: &mut Image) -> Result<BrokerId, super::super::ElectionError> {
    let command = Command::ElectLeaders { kind: ElectionKind::Unclean, partitions: Some(vec![at(0)]) };
    match run(image, &command) {
        Ok(Outcome::Elected { mut results }) => results.remove(0).result,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fenced_broker_leaves_the_in_sync_set_and_the_next_replica_leads_in_a_new_epoch() {
    let mut image = three();
    let before = first(&image);
    fence(&mut image, 1);
    assert_eq!(state(&image), (Some(2), vec![2, 3], vec![], vec![]));
    let after = first(&image);
    assert_eq!(after.leader_epoch.0, before.leader_epoch.0 + 1);
    assert_eq!(after.partition_epoch.0, before.partition_epoch.0 + 1);
    fence(&mut image, 3);
    assert_eq!(first(&image).leader_epoch, after.leader_epoch, "the leader stayed, and so did its epoch");
}

#[test]
fn whoever_leaves_below_min_isr_stays_eligible_and_enough_in_sync_replicas_end_that() {
    let mut image = three();
    fence(&mut image, 3);
    assert_eq!(state(&image), (Some(1), vec![1, 2], vec![], vec![]), "two are enough");
    fence(&mut image, 2);
    assert_eq!(state(&image), (Some(1), vec![1], vec![2], vec![]));
    fence(&mut image, 1);
    assert_eq!(state(&image), (None, vec![], vec![1, 2], vec![]));
    unfence(&mut image, 3);
    assert_eq!(state(&image), (None, vec![], vec![1, 2], vec![]), "it may lack what was acknowledged");
    unfence(&mut image, 2);
    assert_eq!(state(&image), (Some(2), vec![2], vec![1], vec![]), "the eligible one leads");
    shrink(&mut image, &[2, 3]);
    assert_eq!(state(&image), (Some(2), vec![2, 3], vec![], vec![]));
}

#[test]
fn eligible_replicas_are_asked_in_the_order_of_the_replicas() {
    let mut image = three();
    shrink(&mut image, &[1]);
    assert_eq!(state(&image), (Some(1), vec![1], vec![2, 3], vec![]));
    fence(&mut image, 1);
    assert_eq!(state(&image), (Some(2), vec![2], vec![1, 3], vec![]));
}

#[test]
fn a_single_replica_stays_eligible_for_itself() {
    let mut image = cluster(1);
    topic(&mut image, &[&[1]], &[("min.insync.replicas", "2")]);
    fence(&mut image, 1);
    assert_eq!(state(&image), (None, vec![], vec![1], vec![]), "no more can be in sync than there are");
    unfence(&mut image, 1);
    assert_eq!(state(&image), (Some(1), vec![1], vec![], vec![]));
    assert_eq!(first(&image).leader_epoch.0, 2, "nobody led in between, and that counts");
}

#[test]
fn fewer_that_must_be_in_sync_end_the_eligibility_of_the_others() {
    let mut image = three();
    shrink(&mut image, &[1]);
    let edits = BTreeMap::from([("min.insync.replicas".to_owned(), ConfigEdit::Set("1".into()))]);
    let command = Command::AlterConfigs { topic: "t".into(), edits, mode: Mode::Apply };
    run(&mut image, &command).unwrap();
    assert_eq!(state(&image), (Some(1), vec![1], vec![], vec![]), "what 1 acknowledges now, the others lack");
    let edits = BTreeMap::from([("min.insync.replicas".to_owned(), ConfigEdit::Reset)]);
    let command = Command::AlterConfigs { topic: "t".into(), edits, mode: Mode::Apply };
    run(&mut image, &command).unwrap();
    assert_eq!(image.topic_named("t").unwrap().min_insync_replicas(), 2, "the default of three replicas");
    assert_eq!(state(&image), (Some(1), vec![1], vec![], vec![]), "nobody becomes eligible by that");
}

#[test]
fn an_unclean_election_is_made_only_when_asked_for_and_nobody_leads() {
    let mut image = three();
    shrink(&mut image, &[1, 2]);
    fence(&mut image, 2);
    fence(&mut image, 1);
    assert_eq!(state(&image), (None, vec![], vec![1, 2], vec![]), "3 is alive and is not elected");
    let before = first(&image);
    assert_eq!(unclean(&mut image), Ok(BrokerId(3)));
    assert_eq!(state(&image), (Some(3), vec![3], vec![], vec![]));
    let after = first(&image);
    assert!(after.recovering && after.leader_epoch > before.leader_epoch);
    let refused = unclean(&mut image).unwrap_err().to_string();
    assert_eq!(refused, "no election is needed: broker 3 leads");
}

#[test]
fn a_recovering_leader_is_alone_until_it_says_that_it_recovered() {
    let mut image = three();
    [3, 2, 1].into_iter().for_each(|broker| fence(&mut image, broker));
    unfence(&mut image, 3);
    assert_eq!(unclean(&mut image), Ok(BrokerId(3)));
    unfence(&mut image, 2);
    let change = alter(&image, &[2, 3]);
    let refused = ask(&mut image, change.clone()).unwrap_err();
    assert!(refused.to_string().contains("has not recovered"), "{refused}");
    let recovered = super::super::AlterPartition { recovered: true, ..change };
    let after = ask(&mut image, recovered).unwrap();
    assert!(!after.recovering && after.isr.len() == 2);
}

#[test]
fn a_recovering_leader_that_comes_back_is_recovering_still() {
    let mut image = three();
    [3, 2, 1].into_iter().for_each(|broker| fence(&mut image, broker));
    unfence(&mut image, 3);
    assert_eq!(unclean(&mut image), Ok(BrokerId(3)));
    fence(&mut image, 3);
    unfence(&mut image, 3);
    assert_eq!(state(&image), (Some(3), vec![3], vec![], vec![]));
    assert!(first(&image).recovering);
}

#[test]
fn an_unclean_election_prefers_those_that_were_eligible_once() {
    let mut image = cluster(3);
    topic(&mut image, &[&[1, 2, 3]], &[("durability", "replicated")]);
    shrink(&mut image, &[1, 3]);
    fence(&mut image, 1);
    assert_eq!(state(&image), (Some(3), vec![3], vec![1], vec![]));
    fence(&mut image, 2);
    let (epoch, partitions) = (epoch_of(&image, 3), vec![at(0)]);
    run(&mut image, &Command::ReportUnclean { broker: BrokerId(3), epoch, partitions }).unwrap();
    assert_eq!(state(&image), (None, vec![], vec![1], vec![3]));
    unfence(&mut image, 2);
    assert_eq!(state(&image).0, None);
    assert_eq!(unclean(&mut image), Ok(BrokerId(3)));
    assert_eq!(state(&image), (Some(3), vec![3], vec![], vec![]));
}

#[test]
fn with_nobody_alive_there_is_nobody_to_elect() {
    let mut image = three();
    (1..=3).for_each(|broker| fence(&mut image, broker));
    let refused = unclean(&mut image).unwrap_err().to_string();
    assert_eq!(refused, "none of the replicas [1, 2, 3] is alive");
}

#[test]
fn a_broker_that_stops_leads_nothing_and_is_in_sync_nowhere_before_it_goes() {
    let mut image = three();
    let epoch = epoch_of(&image, 1);
    let stop = Command::ControlledShutdown { broker: BrokerId(1), epoch };
    assert_eq!(run(&mut image, &stop), Ok(Outcome::Stopping { leaderless: 0 }));
    assert_eq!(state(&image), (Some(2), vec![2, 3], vec![], vec![]));
    let change = alter(&image, &[1, 2, 3]);
    let refused = ask(&mut image, change).unwrap_err().to_string();
    assert_eq!(refused, "broker 1 cannot be in sync: it is shutting down");
    assert_eq!(run(&mut image, &stop), Ok(Outcome::Stopping { leaderless: 0 }), "asking again is harmless");
    fence(&mut image, 1);
    let applied = image.applied();
    let unfence = Command::Unfence { broker: BrokerId(1), epoch, applied };
    let refused = run(&mut image, &unfence).unwrap_err();
    assert_eq!(refused, Refusal::Life(LifeError::Stopping { broker: BrokerId(1) }));
}

#[test]
fn the_last_broker_that_stops_is_told_what_it_leaves_without_a_leader() {
    let mut image = cluster(2);
    topic(&mut image, &[&[1, 2]], &[]);
    fence(&mut image, 2);
    shrink(&mut image, &[1]);
    let epoch = epoch_of(&image, 1);
    let stop = Command::ControlledShutdown { broker: BrokerId(1), epoch };
    assert_eq!(run(&mut image, &stop), Ok(Outcome::Stopping { leaderless: 1 }));
    assert_eq!(state(&image), (None, vec![], vec![1], vec![]));
}

#[test]
fn the_word_of_an_earlier_life_or_of_a_stranger_does_not_count() {
    let mut image = three();
    let (broker, epoch) = (BrokerId(1), BrokerEpoch(epoch_of(&image, 1).0 - 1));
    let partitions = vec![at(0)];
    let commands = |broker| {
        [
            Command::Unfence { broker, epoch, applied: 100 },
            Command::Fence { broker, epoch },
            Command::ControlledShutdown { broker, epoch },
            Command::AlterPartition { broker, epoch, changes: Vec::new() },
            Command::ReportUnclean { broker, epoch, partitions: partitions.clone() },
        ]
    };
    let before = image.clone();
    for command in commands(broker) {
        let refused = run(&mut image, &command).unwrap_err().to_string();
        assert!(refused.contains("broker 1 is registered in epoch"), "{command:?}: {refused}");
    }
    for command in commands(BrokerId(7)) {
        let refused = run(&mut image, &command).unwrap_err().to_string();
        assert_eq!(refused, "broker 7 is not registered", "{command:?}");
    }
    assert_eq!(image, before);
}

#[test]
fn a_broker_is_unfenced_only_after_it_has_seen_its_registration() {
    let mut image = three();
    let epoch = come_back(&mut image, 1, |same| same).unwrap();
    let applied = u64::try_from(epoch.0).unwrap() - 1;
    let early = Command::Unfence { broker: BrokerId(1), epoch, applied };
    let refused = run(&mut image, &early).unwrap_err().to_string();
    assert!(refused.contains("must come to"), "{refused}");
    assert!(!image.is_active(BrokerId(1)));
    unfence(&mut image, 1);
    assert!(image.is_active(BrokerId(1)));
}

#[test]
fn a_replica_that_lost_what_was_flushed_is_neither_in_sync_nor_eligible() {
    let mut image = three();
    fence(&mut image, 3);
    fence(&mut image, 2);
    assert_eq!(state(&image), (Some(1), vec![1], vec![2], vec![]));
    let (epoch, partitions) = (epoch_of(&image, 2), vec![at(0), at(0), at(9)]);
    run(&mut image, &Command::ReportUnclean { broker: BrokerId(2), epoch, partitions }).unwrap();
    assert_eq!(state(&image), (Some(1), vec![1], vec![], vec![2]));
    let (epoch, partitions) = (epoch_of(&image, 1), vec![at(0)]);
    run(&mut image, &Command::ReportUnclean { broker: BrokerId(1), epoch, partitions }).unwrap();
    assert_eq!(state(&image), (None, vec![], vec![], vec![1, 2]), "a leader that reads rot gives up (M-18)");
}

#[test]
fn an_in_sync_set_that_races_with_an_election_loses() {
    let mut image = three();
    let late = alter(&image, &[1, 2]);
    let epoch = epoch_of(&image, 1);
    fence(&mut image, 1);
    let command = Command::AlterPartition { broker: BrokerId(1), epoch, changes: vec![late.clone()] };
    let Ok(Outcome::PartitionsAltered { results }) = run(&mut image, &command) else { panic!("answered") };
    let (epoch, now) = (late.leader_epoch, first(&image).leader_epoch);
    let result = Err(AlterPartitionError::FencedLeaderEpoch { epoch, now });
    assert_eq!(results, [PartitionResult { partition: at(0), result }]);
    assert_eq!(state(&image).1, [2, 3]);
}

#[test]
fn a_topic_that_acknowledges_from_memory_goes_on_with_its_last_leader_when_all_have_lost_theirs() {
    for (durability, goes_on) in [("replicated", true), ("fsync", false)] {
        let mut image = cluster(3);
        topic(&mut image, &[&[1, 2, 3]], &[("durability", durability)]);
        [1, 2, 3].into_iter().for_each(|broker| fence(&mut image, broker));
        assert_eq!(first(&image).last_leader, Some(BrokerId(3)), "it led last");
        for broker in [1, 2] {
            lose(&mut image, broker);
            unfence(&mut image, broker);
            assert_eq!(first(&image).leader, None, "3 may still have everything");
        }
        lose(&mut image, 3);
        unfence(&mut image, 3);
        let after = first(&image);
        assert_eq!(after.leader, Some(BrokerId(3)).filter(|_| goes_on), "{durability}");
        assert_eq!((after.recovering, after.last_leader.is_none()), (goes_on, goes_on));
    }
}

/// The broker crashes, and what was only in memory is lost; or, for a durable topic, what was on the disk too.
fn lose(image: &mut Image, broker: i32) {
    come_back(image, broker, |same| Registration { last_stop: LastStop::Unclean, ..same }).unwrap();
    if image.topic_named("t").unwrap().acknowledges_from_disk() {
        let (epoch, partitions) = (epoch_of(image, broker), vec![at(0)]);
        run(image, &Command::ReportUnclean { broker: BrokerId(broker), epoch, partitions }).unwrap();
    }
}

#[test]
fn a_single_replica_of_a_topic_in_memory_comes_back_by_itself_and_an_empty_one_does_not() {
    let mut image = cluster(1);
    topic(&mut image, &[&[1]], &[("durability", "replicated")]);
    lose(&mut image, 1);
    unfence(&mut image, 1);
    assert_eq!(state(&image), (Some(1), vec![1], vec![], vec![]));
    assert!(first(&image).recovering);
    come_back(&mut image, 1, |same| Registration { disk_id: "new".into(), ..same }).unwrap();
    unfence(&mut image, 1);
    assert_eq!(state(&image), (None, vec![], vec![], vec![]));
}

#[test]
fn the_last_leader_waits_for_those_that_may_have_lost_nothing() {
    let mut image = cluster(3);
    topic(&mut image, &[&[1, 2, 3]], &[("durability", "replicated")]);
    [1, 2, 3].into_iter().for_each(|broker| fence(&mut image, broker));
    assert_eq!(state(&image), (None, vec![], vec![2, 3], vec![]));
    lose(&mut image, 3);
    unfence(&mut image, 3);
    assert_eq!(state(&image), (None, vec![], vec![2], vec![3]));
    lose(&mut image, 2);
    assert_eq!(state(&image), (Some(3), vec![3], vec![], vec![]), "nobody is left to wait for");
}
