//! How evenly and how safely replicas are spread.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::testing::{cluster, come_back, context, fence, run, run_in, unfence};
use super::super::{Command, Context, Mode, NewTopic, Refusal, Registration};
use super::*;

fn create(image: &mut Image, id: u8, partitions: i32, factor: i32) -> Result<TopicId, Refusal> {
    let topic = NewTopic {
        name: format!("topic-{id}"),
        partitions,
        replication_factor: factor,
        ..NewTopic::default()
    };
    let context = Context { fresh_id: TopicId([id; 16]), ..context() };
    run_in(image, context, &Command::CreateTopic { topic, mode: Mode::Apply }).map(|_| context.fresh_id)
}

/// Replicas and preferred leaders per broker.
fn loads(image: &Image) -> Vec<(usize, usize)> {
    let count = |id: BrokerId| {
        let held = image.partitions().filter(|(.., it)| it.replicas.contains(&id)).count();
        (held, image.partitions().filter(|(.., it)| it.preferred_leader() == Some(id)).count())
    };
    image.brokers().map(|broker| count(broker.id)).collect()
}

fn spread(counts: impl Iterator<Item = usize> + Clone) -> usize {
    counts.clone().max().unwrap_or(0) - counts.min().unwrap_or(0)
}

fn on_racks(image: &mut Image, racks: &[&str]) {
    for (broker, rack) in (1..).zip(racks) {
        come_back(image, broker, |same| Registration { rack: Some((*rack).to_owned()), ..same }).unwrap();
        unfence(image, broker);
    }
}

#[test]
fn too_few_live_brokers_are_told_with_both_numbers() {
    let mut image = cluster(3);
    fence(&mut image, 3);
    let refused = |image: &mut Image, factor| create(image, 1, 1, factor).unwrap_err().to_string();
    assert_eq!(refused(&mut image, 3), "replication factor 3 is not possible with 2 live broker(s)");
    assert_eq!(refused(&mut image, 0), "replication factor 0 is not possible: it is a number from 1 to 64");
    assert_eq!(refused(&mut image, 65), "replication factor 65 is not possible: it is a number from 1 to 64");
    run(&mut image, &Command::Drain { broker: BrokerId(2) }).unwrap();
    assert_eq!(refused(&mut image, 2), "replication factor 2 is not possible with 1 live broker(s)");
    fence(&mut image, 1);
    assert_eq!(refused(&mut image, -1), "replication factor 1 is not possible with 0 live broker(s)");
}

#[test]
fn a_topic_that_does_not_say_gets_three_replicas_of_which_two_must_be_in_sync() {
    for (brokers, factor, min) in [(1, 1, 1), (2, 2, 1), (3, 3, 2), (5, 3, 2)] {
        let mut image = cluster(brokers);
        let id = create(&mut image, 1, -1, -1).unwrap();
        let topic = image.topic(id).unwrap();
        assert_eq!(
            (topic.replication_factor(), topic.min_insync_replicas()),
            (factor, min),
            "{brokers} brokers"
        );
        assert_eq!(topic.min_isr(highwater_proto::PartitionIndex(0)), Some(min));
    }
}

#[test]
fn one_partition_topics_are_spread_as_evenly_as_the_partitions_of_one() {
    let mut image = cluster(4);
    for id in 1..=40 {
        create(&mut image, id, 1, 2).unwrap();
    }
    let loads = loads(&image);
    assert!(loads.iter().all(|load| load.1 == 10), "{loads:?}");
    assert!(spread(loads.iter().map(|load| load.0)) <= 2, "{loads:?}");
}

#[test]
fn partitions_that_are_added_continue_the_spread() {
    let mut image = cluster(3);
    create(&mut image, 1, 2, 2).unwrap();
    for total in [3, 7, 12] {
        let (topic, assignments) = ("topic-1".to_owned(), Vec::new());
        run(&mut image, &Command::AddPartitions { topic, total, assignments, mode: Mode::Apply }).unwrap();
        let loads = loads(&image);
        assert!(spread(loads.iter().map(|load| load.0)) <= 2, "{loads:?}");
        assert!(spread(loads.iter().map(|load| load.1)) <= 1, "{loads:?}");
    }
}

#[test]
fn the_same_topic_is_placed_in_the_same_way_and_another_one_in_another() {
    let place = |id| {
        let mut image = cluster(6);
        create(&mut image, id, 12, 3).unwrap();
        image.partitions().map(|(.., it)| it.replicas.clone()).collect::<Vec<_>>()
    };
    assert_eq!(place(1), place(1));
    assert_ne!(place(1), place(2));
}

#[test]
fn assignments_by_hand_are_checked() {
    let mut image = cluster(3);
    fence(&mut image, 3);
    let mut refused = |assignments: &[&[i32]], partitions: i32, factor: i32| {
        let assignments =
            assignments.iter().map(|held| held.iter().map(|id| BrokerId(*id)).collect()).collect();
        let topic = NewTopic {
            name: "t".into(),
            partitions,
            replication_factor: factor,
            assignments,
            ..NewTopic::default()
        };
        run(&mut image, &Command::CreateTopic { topic, mode: Mode::Apply }).unwrap_err().to_string()
    };
    assert_eq!(refused(&[&[1]], 2, -1), "1 assignment(s) for 2 partition(s)");
    assert!(refused(&[&[1, 1]], -1, -1).contains("a broker is in it twice"));
    assert!(refused(&[&[1], &[1, 2]], -1, -1).contains("every partition of the topic has 1 replica(s)"));
    assert!(refused(&[&[1]], 1, 2).contains("every partition of the topic has 2 replica(s)"));
    assert!(refused(&[&[1, 3]], -1, -1).contains("broker 3 is not there"));
    assert!(refused(&[&[]], -1, -1).contains("there are 1 to 64 replicas"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn leaders_differ_by_one_and_replicas_by_two_at_most_on_brokers_that_were_empty(
        brokers in 1_i32..8,
        partitions in 1_i32..40,
        factor in 1_i32..4,
        id in any::<u8>(),
    ) {
        let factor = factor.min(brokers);
        let mut image = cluster(brokers);
        create(&mut image, id, partitions, factor).unwrap();
        let loads = loads(&image);
        prop_assert!(spread(loads.iter().map(|load| load.0)) <= 2, "{:?}", loads);
        prop_assert!(spread(loads.iter().map(|load| load.1)) <= 1, "{:?}", loads);
    }

    #[test]
    fn replicas_of_a_partition_are_on_as_many_racks_as_there_are(
        racks in proptest::collection::vec(0_usize..4, 2..8),
        partitions in 1_i32..20,
        factor in 1_i32..4,
        id in any::<u8>(),
    ) {
        let names = ["a", "b", "c", "d"];
        let racks: Vec<&str> = racks.iter().map(|rack| names[*rack]).collect();
        let brokers = i32::try_from(racks.len()).unwrap();
        let factor = factor.min(brokers);
        let mut image = cluster(brokers);
        on_racks(&mut image, &racks);
        create(&mut image, id, partitions, factor).unwrap();
        let different: BTreeSet<&str> = racks.iter().copied().collect();
        let most = different.len().min(usize::try_from(factor).unwrap());
        for (.., partition) in image.partitions() {
            let on = partition.replicas.iter().map(|id| image.broker(*id).unwrap().rack.clone());
            prop_assert_eq!(on.collect::<BTreeSet<_>>().len(), most, "{:?} {:?}", partition.replicas, racks);
        }
    }
}
