//! The cluster's ids, its versions, and entries that come too late.

use super::super::testing::{cluster, context, fence, register, registration, run};
use super::super::{Applied, ApplyError, Batch, Command, Entry, Outcome, Refusal, Registration};
use super::*;

fn form_of(brokers: &[i32]) -> Command {
    let brokers = brokers.iter().map(|id| BrokerId(*id)).collect();
    Command::FormCluster { id: ClusterId([3; 16]), name: "c".into(), brokers }
}

#[test]
fn a_cluster_is_formed_once_of_brokers_that_differ() {
    let mut image = Image::default();
    assert_eq!(run(&mut image, &Command::TakeBrokerId), Err(Refusal::Cluster(ClusterError::NotFormed)));
    for (brokers, problem) in [
        (&[][..], "it has at least one"),
        (&[2, 2], "one of them is there twice"),
        (&[-1], "ids are numbers from 0"),
    ] {
        let refused = run(&mut image, &form_of(brokers)).unwrap_err().to_string();
        assert_eq!(refused, format!("a cluster cannot be formed of the brokers {brokers:?}: {problem}"));
    }
    run(&mut image, &form_of(&[5, 2])).unwrap();
    assert_eq!(image.next_broker_id(), BrokerId(6));
    let refused = run(&mut image, &form_of(&[1])).unwrap_err().to_string();
    assert!(refused.starts_with("the cluster was formed already, with the id 0303"), "{refused}");
    assert!(register(&mut image, registration(2)).is_ok());
    let refused = register(&mut image, registration(3)).unwrap_err().to_string();
    assert!(refused.contains("3"), "an id between those that were given was given to nobody: {refused}");
}

#[test]
fn ids_are_given_once_each_and_not_without_end() {
    let mut image = cluster(1);
    for expected in 2..=4 {
        let broker = BrokerId(expected);
        assert_eq!(run(&mut image, &Command::TakeBrokerId), Ok(Outcome::BrokerIdTaken { broker }));
    }
    register(&mut image, registration(3)).unwrap();
    assert_eq!(image.unregistered_ids().iter().map(|id| id.0).collect::<Vec<_>>(), [2, 4]);
    let mut batch = Batch::new(&image);
    let refused = loop {
        if let Err(refused) = batch.decide(context(), &Command::TakeBrokerId) {
            break refused;
        }
    };
    assert_eq!(refused, Refusal::Cluster(ClusterError::TooManyIds { waiting: UNREGISTERED_IDS_MAX }));
}

#[test]
fn the_version_rises_only_as_far_as_everybody_reads_and_never_falls() {
    let mut image = cluster(2);
    let mut raise = |version| run(&mut image, &Command::RaiseMetadataVersion { version });
    assert_eq!(raise(METADATA_VERSION), Ok(Outcome::Done));
    assert_eq!(raise(0).unwrap_err().to_string(), "the version of the metadata is 1, and cannot become 0");
    let refused = raise(METADATA_VERSION + 1).unwrap_err().to_string();
    assert_eq!(refused, "the version of the metadata cannot become 2: broker 1 reads up to 1");
    let mut image = cluster(1);
    fence(&mut image, 1);
    let newer = Registration { version: 9, last_epoch: None, ..registration(1) };
    register(&mut image, newer).unwrap();
    let refused = run(&mut image, &Command::RaiseMetadataVersion { version: 9 }).unwrap_err().to_string();
    assert_eq!(refused, "the version of the metadata cannot become 9: this program knows up to 1");
}

#[test]
fn what_a_controller_of_the_past_decided_changes_nothing() {
    let mut image = cluster(3);
    let mut zombie = Batch::new(&image);
    zombie.decide(context(), &Command::TakeBrokerId).unwrap();
    run(&mut image, &Command::TakeProducerIds).unwrap();
    let (accepted, digest) = (image.accepted(), image.digest());
    let entry = zombie.into_entry();
    let based_on = entry.based_on;
    assert_eq!(image.apply_entry(accepted + 1, &entry), Ok(Applied::Stale { based_on, accepted }));
    assert_eq!((image.accepted(), image.applied(), image.digest()), (accepted, accepted + 1, digest));
    assert_eq!(image.apply_entry(accepted + 1, &entry), Ok(Applied::Before));
    image.pass(accepted + 5);
    let mut batch = Batch::new(&image);
    batch.decide(context(), &Command::TakeBrokerId).unwrap();
    assert!(!batch.is_empty());
    assert_eq!(image.apply_entry(accepted + 6, &batch.into_entry()), Ok(Applied::Accepted));
}

#[test]
fn an_entry_is_applied_as_a_whole_or_not_at_all() {
    let mut image = cluster(1);
    let mut batch = Batch::new(&image);
    batch.decide(context(), &Command::TakeBrokerId).unwrap();
    let mut entry = batch.into_entry();
    entry.records.push(entry.records[0].clone());
    let before = image.clone();
    let index = image.applied() + 1;
    let problem = "gives a broker id away again";
    assert_eq!(image.apply_entry(index, &entry), Err(ApplyError::Contradiction { index, problem }));
    assert_eq!(image, before);
    entry.records[1] = Record { change: None };
    let error = image.apply_entry(index, &entry).unwrap_err();
    assert!(error.to_string().contains("start a newer one"), "{error}");
    assert_eq!(image, before);
}

#[test]
fn an_entry_of_a_newer_version_stops_the_reader() {
    let mut image = cluster(1);
    let (version, based_on) = (METADATA_VERSION + 1, image.accepted());
    let entry = Entry { version, based_on, records: Vec::new() };
    let index = image.applied() + 1;
    assert_eq!(image.apply_entry(index, &entry), Err(ApplyError::UnknownVersion { index, version }));
}

#[test]
fn a_clone_shares_what_is_not_changed() {
    let mut image = cluster(3);
    super::super::testing::topic(&mut image, &[&[1, 2, 3]], &[]);
    let before = image.clone();
    let id = super::super::testing::TOPIC;
    run(&mut image, &Command::TakeProducerIds).unwrap();
    let shared = |image: &Image| std::sync::Arc::as_ptr(image.topic_shared(id).expect("it is there"));
    assert_eq!(shared(&before), shared(&image));
    fence(&mut image, 1);
    assert_ne!(shared(&before), shared(&image));
}
