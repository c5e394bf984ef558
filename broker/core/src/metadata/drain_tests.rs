//! Brokers that leave for good.

use super::super::testing::{
    alter, ask, at, cluster, epoch_of, fence, first, ids, let_go, register, registration, run, state, topic,
    unfence,
};
use super::super::{Command, Refusal, RegistrationError};
use super::*;

const ONE: BrokerId = BrokerId(1);

fn refused(image: &mut Image, command: Command) -> String {
    run(image, &command).unwrap_err().to_string()
}

fn drain_one(image: &mut Image) -> Result<Outcome, Refusal> {
    run(image, &Command::Drain { broker: ONE })
}

#[test]
fn a_drained_broker_ends_with_nothing_and_is_removed_and_its_id_is_never_used_again() {
    let mut image = cluster(4);
    topic(&mut image, &[&[1, 2, 3], &[2, 3, 4], &[2, 1, 3]], &[]);
    assert_eq!(drain_one(&mut image), Ok(Outcome::Draining { partitions: 2 }));
    assert_eq!(first(&image).replicas, ids(&[4, 2, 3, 1]), "4 takes its place");
    let text = refused(&mut image, Command::RemoveBroker { broker: ONE });
    assert_eq!(text, "broker 1 still holds 2 replica(s); drain it first");
    let change = alter(&image, &[1, 2, 3, 4]);
    assert!(ask(&mut image, change).is_err(), "1 led, and leads no more");
    let_go(&mut image);
    // Of the third partition 2 is the leader all the time.
    for isr in [&[1, 2, 3, 4][..], &[2, 3, 4]] {
        let third = image.partition(at(2)).expect("it is there").clone();
        let change = super::super::AlterPartition {
            partition: at(2),
            leader_epoch: third.leader_epoch,
            partition_epoch: third.partition_epoch,
            ..alter(&image, isr)
        };
        let epoch = epoch_of(&image, 2);
        let command = Command::AlterPartition { broker: BrokerId(2), epoch, changes: vec![change] };
        run(&mut image, &command).unwrap();
    }
    assert_eq!(replicas_of(&image, ONE), 0);
    assert_eq!(state(&image).1, [2, 3, 4]);
    assert_eq!(run(&mut image, &Command::RemoveBroker { broker: ONE }), Ok(Outcome::Done));
    let removed = RegistrationError::Removed { broker: ONE };
    assert_eq!(register(&mut image, registration(1)), Err(Refusal::Registration(removed)));
    assert_eq!(run(&mut image, &Command::TakeBrokerId), Ok(Outcome::BrokerIdTaken { broker: BrokerId(5) }));
    assert!(register(&mut image, registration(5)).is_ok());
    fence(&mut image, 4);
    assert_eq!(
        refused(&mut image, Command::RemoveBroker { broker: BrokerId(9) }),
        "broker 9 is not registered"
    );
}

#[test]
fn a_broker_whose_replicas_have_nowhere_to_go_is_not_drained() {
    let mut image = cluster(3);
    topic(&mut image, &[&[1, 2, 3]], &[]);
    let before = image.clone();
    let text = refused(&mut image, Command::Drain { broker: ONE });
    assert_eq!(
        text,
        "broker 1 cannot be drained: topic 't' has replication factor 3, and only 2 other broker(s) can take \
         replicas"
    );
    assert_eq!(image, before);
    assert_eq!(refused(&mut image, Command::CancelDrain { broker: ONE }), "broker 1 is not being drained");
}

#[test]
fn a_draining_broker_gets_no_new_replicas_and_a_dead_one_is_drained_too() {
    let mut image = cluster(4);
    topic(&mut image, &[&[1, 2, 3]], &[]);
    fence(&mut image, 1);
    drain_one(&mut image).unwrap();
    assert_eq!(first(&image).adding, ids(&[4]));
    let change = alter(&image, &[2, 3, 4]);
    let _ = ask(&mut image, change);
    assert_eq!(first(&image).replicas, ids(&[4, 2, 3]));
    unfence(&mut image, 1);
    let topic = super::super::NewTopic {
        name: "u".into(),
        partitions: 9,
        replication_factor: 3,
        ..Default::default()
    };
    let context = super::super::Context { fresh_id: TopicId([2; 16]), ..super::super::testing::context() };
    let command = Command::CreateTopic { topic, mode: super::super::Mode::Apply };
    super::super::testing::run_in(&mut image, context, &command).unwrap();
    assert_eq!(replicas_of(&image, ONE), 0);
}

#[test]
fn a_drain_that_is_cancelled_leaves_the_replicas_where_they_are() {
    let mut image = cluster(4);
    topic(&mut image, &[&[1, 2, 3]], &[]);
    drain_one(&mut image).unwrap();
    run(&mut image, &Command::CancelDrain { broker: ONE }).unwrap();
    let mut replicas = first(&image).replicas;
    replicas.sort_unstable();
    assert_eq!((replicas, first(&image).is_reassigning()), (ids(&[1, 2, 3]), false));
    assert!(image.broker(ONE).unwrap().takes_replicas());
}

#[test]
fn a_broker_in_use_is_not_removed() {
    let mut image = cluster(2);
    let text = refused(&mut image, Command::RemoveBroker { broker: ONE });
    assert_eq!(text, "broker 1 is alive and was not drained; drain it first");
    fence(&mut image, 1);
    run(&mut image, &Command::RemoveBroker { broker: ONE }).unwrap();
    assert!(image.broker(ONE).is_none());
}

#[test]
fn drained_replicas_are_spread_over_the_others() {
    let mut image = cluster(5);
    let held: Vec<&[i32]> = (0..40).map(|n| [&[1, 2][..], &[2, 1], &[1, 3], &[3, 1]][n % 4]).collect();
    topic(&mut image, &held, &[]);
    drain_one(&mut image).unwrap();
    let added = |broker| image.partitions().filter(|(.., it)| it.adding.contains(&BrokerId(broker))).count();
    let leads = |broker| {
        image
            .partitions()
            .filter(|(.., it)| it.replicas[0] == BrokerId(broker) && !it.adding.is_empty())
            .count()
    };
    assert!(added(4) >= 15 && added(5) >= 15, "{} and {}", added(4), added(5));
    assert!(leads(4) >= 7 && leads(5) >= 7, "{} and {}", leads(4), leads(5));
}
