//! Who is let into the cluster, and what the data on the disk of one that comes back counts for.

use super::super::testing::{
    cluster, come_back, context, epoch_of, fence, register, registration, registration_again, run, run_in,
    state, topic, unfence,
};
use super::super::{ClusterId, Command, Incarnation, METADATA_VERSION, Refusal};
use super::*;
use highwater_proto::BrokerEpoch;
use std::collections::BTreeSet;

/// Two topics on brokers 1, 2 and 3 with two in sync: `t` is flushed before it is acknowledged or is not, as `durability`
/// says. Broker 1 leads alone, and 2 is eligible.
fn eligible(durability: &str) -> Image {
    let mut image = cluster(3);
    topic(&mut image, &[&[1, 2, 3]], &[("durability", durability)]);
    fence(&mut image, 3);
    fence(&mut image, 2);
    assert_eq!(state(&image), (Some(1), vec![1], vec![2], vec![]));
    image
}

fn refused(image: &mut Image, registration: Registration) -> String {
    let before = image.clone();
    let refused = register(image, registration).unwrap_err().to_string();
    assert_eq!(*image, before, "a refusal changes nothing");
    refused
}

#[test]
fn each_life_has_a_larger_epoch_and_begins_fenced() {
    let mut image = cluster(2);
    let before = epoch_of(&image, 1);
    let epoch = come_back(&mut image, 1, |same| same).unwrap();
    assert!(epoch > before);
    let broker = image.broker(BrokerId(1)).unwrap();
    assert!(broker.fenced && broker.epoch == epoch && broker.served_epoch == Some(before));
    unfence(&mut image, 1);
    assert_eq!(image.broker(BrokerId(1)).unwrap().served_epoch, Some(epoch));
}

#[test]
fn a_registration_whose_answer_was_lost_gets_it_again() {
    let mut image = cluster(1);
    let again = registration_again(&image, 1);
    let epoch = register(&mut image, again.clone()).unwrap();
    let before = image.digest();
    assert_eq!(register(&mut image, again), Ok(epoch));
    assert_ne!(before, image.digest(), "an entry without records counts too");
    assert_eq!(epoch_of(&image, 1), epoch);
}

#[test]
fn an_id_whose_owner_is_alive_is_refused_to_another_process() {
    let mut image = cluster(2);
    let alive = BTreeSet::from([BrokerId(1)]);
    let living = super::super::Context { alive: &alive, ..context() };
    let command = Command::RegisterBroker { registration: registration_again(&image, 1) };
    let refused = run_in(&mut image, living, &command).unwrap_err().to_string();
    let epoch = epoch_of(&image, 1);
    assert_eq!(
        refused,
        format!("broker 1 is alive already in epoch {epoch}, as another process at host-1:9095")
    );
    fence(&mut image, 1);
    run_in(&mut image, living, &command).expect("a fenced one is no longer in the way");
}

#[test]
fn two_processes_that_come_at_once_do_not_get_the_same_epoch() {
    let image = cluster(1);
    let mut batch = super::super::Batch::new(&image);
    let one = Command::RegisterBroker { registration: registration_again(&image, 1) };
    let other = Registration { incarnation: Incarnation([77; 16]), ..registration_again(&image, 1) };
    batch.decide(context(), &one).unwrap();
    let refused = batch.decide(context(), &Command::RegisterBroker { registration: other }).unwrap_err();
    let concurrent = RegistrationError::Concurrent { broker: BrokerId(1) };
    assert_eq!(refused, Refusal::Registration(concurrent));
}

#[test]
fn brokers_of_other_clusters_strangers_the_removed_and_the_outdated_stay_out() {
    let mut image = cluster(2);
    let other = Registration { cluster: Some(ClusterId([8; 16])), ..registration(1) };
    let text = refused(&mut image, other);
    assert!(text.contains("belongs to cluster 0808"), "{text}");
    let text = refused(&mut image, registration(3));
    assert!(text.contains("never gave the id 3"), "{text}");
    fence(&mut image, 2);
    run(&mut image, &Command::RemoveBroker { broker: BrokerId(2) }).unwrap();
    let text = refused(&mut image, registration(2));
    assert!(text.contains("broker 2 was removed"), "{text}");
    let text = refused(&mut image, Registration { version: 0, ..registration(1) });
    assert!(text.contains("start a newer program"), "{text}");
    let text = refused(&mut Image::default(), registration(1));
    assert!(text.contains("not formed yet"), "{text}");
    assert_eq!(METADATA_VERSION, image.metadata_version());
}

#[test]
fn a_clean_restart_leaves_a_replica_eligible() {
    for durability in ["fsync", "replicated"] {
        let mut image = eligible(durability);
        come_back(&mut image, 2, |same| same).unwrap();
        assert_eq!(state(&image), (Some(1), vec![1], vec![2], vec![]), "{durability}");
        fence(&mut image, 1);
        unfence(&mut image, 2);
        assert_eq!(state(&image), (Some(2), vec![2], vec![1], vec![]), "{durability}");
    }
}

#[test]
fn after_an_unclean_restart_only_what_was_flushed_before_it_was_acknowledged_counts() {
    let unclean = |same| Registration { last_stop: LastStop::Unclean, ..same };
    let mut image = eligible("fsync");
    come_back(&mut image, 2, unclean).unwrap();
    assert_eq!(state(&image), (Some(1), vec![1], vec![2], vec![]));
    let mut image = eligible("replicated");
    come_back(&mut image, 2, unclean).unwrap();
    assert_eq!(state(&image), (Some(1), vec![1], vec![], vec![2]));
    fence(&mut image, 1);
    unfence(&mut image, 2);
    assert_eq!(state(&image), (None, vec![], vec![1], vec![2]), "it is not elected");
}

#[test]
fn a_broker_with_another_disk_or_an_old_copy_of_it_counts_for_nothing() {
    for durability in ["fsync", "replicated"] {
        for gone in [
            (|same| Registration { disk_id: "new".into(), ..same }) as fn(Registration) -> Registration,
            |same| Registration { last_epoch: None, ..same },
            |same| Registration { last_epoch: same.last_epoch.map(|epoch| BrokerEpoch(epoch.0 - 1)), ..same },
        ] {
            let mut image = eligible(durability);
            come_back(&mut image, 2, gone).unwrap();
            assert_eq!(state(&image), (Some(1), vec![1], vec![], vec![]), "{durability}");
        }
    }
}

#[test]
fn a_life_that_never_served_does_not_make_the_disk_an_old_one() {
    let mut image = eligible("fsync");
    let first_life = registration_again(&image, 2);
    register(&mut image, first_life.clone()).unwrap();
    // It crashed before it wrote its new epoch down, and comes with the one of the life that served.
    let second = Registration { incarnation: Incarnation([66; 16]), ..first_life };
    register(&mut image, second).unwrap();
    assert_eq!(state(&image), (Some(1), vec![1], vec![2], vec![]));
}

#[test]
fn a_broker_that_comes_back_before_anybody_missed_it_is_out_of_sync_until_its_leader_says_otherwise() {
    let mut image = cluster(3);
    topic(&mut image, &[&[1, 2, 3]], &[]);
    come_back(&mut image, 1, |same| same).unwrap();
    assert_eq!(state(&image), (Some(2), vec![2, 3], vec![], vec![]));
    come_back(&mut image, 2, |same| Registration { disk_id: "new".into(), ..same }).unwrap();
    assert_eq!(state(&image), (Some(3), vec![3], vec![], vec![]), "2 has nothing, and 1 left before");
}

#[test]
fn a_broker_that_drains_drains_on_after_a_restart() {
    let mut image = cluster(3);
    run(&mut image, &Command::Drain { broker: BrokerId(2) }).unwrap();
    come_back(&mut image, 2, |same| same).unwrap();
    assert!(image.broker(BrokerId(2)).unwrap().draining);
}
