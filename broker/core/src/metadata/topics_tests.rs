//! Decisions about topics, and the image they make.

use proptest::prelude::*;

use super::super::testing::{cluster, context, run};
use super::super::{Command, Mode, Outcome, TopicRef};
use super::*;

fn topic(name: &str, partitions: i32) -> NewTopic {
    NewTopic { name: name.into(), partitions, replication_factor: 1, ..NewTopic::default() }
}

fn create(image: &mut Image, name: &str, id: u8) -> Result<(), MetadataError> {
    let context = Context { fresh_id: TopicId([id; 16]), ..context() };
    let (record, _) = create_topic(image, context, &topic(name, 2))?;
    image.apply(image.applied() + 1, &record).expect("a decided record applies");
    Ok(())
}

#[test]
fn a_name_can_be_taken_once_and_again_after_it_was_deleted_under_another_id() {
    let mut image = cluster(1);
    create(&mut image, "a.b", 1).unwrap();
    assert_eq!(create(&mut image, "a.b", 2), Err(MetadataError::Exists { name: "a.b".into() }));
    let collides = MetadataError::Collides { name: "a_b".into(), existing: "a.b".into() };
    assert_eq!(create(&mut image, "a_b", 2), Err(collides));
    let record = delete_topic(&image, "a.b").unwrap();
    image.apply(image.applied() + 1, &record).unwrap();
    create(&mut image, "a_b", 2).unwrap();
    assert_eq!(image.topic_named("a_b").map(|t| t.id), Some(TopicId([2; 16])));
    assert!(image.topic(TopicId([1; 16])).is_none());
}

#[test]
fn impossible_topics_say_why() {
    let image = cluster(1);
    let refuse = |t: NewTopic| create_topic(&image, context(), &t).unwrap_err().to_string();
    assert_eq!(refuse(topic("t", 0)), "0 partitions are not possible: a topic has at least one");
    assert!(refuse(topic("t", 100_001)).contains("the limit is 100000"));
    let three = NewTopic { replication_factor: 3, ..topic("t", 1) };
    assert_eq!(refuse(three), "replication factor 3 is not possible with 1 live broker(s)");
    let typo = NewTopic { configs: BTreeMap::from([("retention.mss".into(), "1".into())]), ..topic("t", 1) };
    assert!(refuse(typo).contains("did you mean 'retention.ms'"));
}

#[test]
fn partitions_grow_and_never_shrink() {
    let mut image = cluster(1);
    create(&mut image, "t", 1).unwrap();
    assert!(add_partitions(&image, "t", 2, &[]).is_err());
    let record = add_partitions(&image, "t", 5, &[]).unwrap();
    image.apply(image.applied() + 1, &record).unwrap();
    assert_eq!(image.partition_count(), 5);
}

fn edit(image: &mut Image, name: &str, edit: ConfigEdit) -> Result<(), MetadataError> {
    let edits = BTreeMap::from([(name.to_owned(), edit)]);
    for record in alter_configs(image, context(), "t", &edits)? {
        image.apply(image.applied() + 1, &record).expect("a decided record applies");
    }
    Ok(())
}

fn configs(image: &Image) -> Vec<(&str, &str)> {
    let topic = image.topic_named("t").expect("the topic is there");
    topic.configs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[test]
fn settings_are_checked_as_the_whole_they_would_make() {
    let mut image = cluster(1);
    create(&mut image, "t", 1).unwrap();
    assert!(edit(&mut image, "segment.bytes", ConfigEdit::Set("1".into())).is_err());
    assert!(edit(&mut image, "no.such", ConfigEdit::Reset).is_err());
    edit(&mut image, "retention.ms", ConfigEdit::Set("77".into())).unwrap();
    assert_eq!(configs(&image), [("retention.ms", "77")]);
    edit(&mut image, "retention.ms", ConfigEdit::Reset).unwrap();
    assert_eq!(configs(&image), []);
}

#[test]
fn elements_are_added_to_and_taken_from_lists_and_nothing_else() {
    let mut image = cluster(1);
    create(&mut image, "t", 1).unwrap();
    let policy = "cleanup.policy";
    edit(&mut image, policy, ConfigEdit::Append("compact".into())).unwrap();
    assert_eq!(configs(&image), [(policy, "delete,compact")]);
    edit(&mut image, policy, ConfigEdit::Append(" compact , delete".into())).unwrap();
    assert_eq!(configs(&image), [(policy, "delete,compact")]);
    edit(&mut image, policy, ConfigEdit::Subtract("delete".into())).unwrap();
    assert_eq!(configs(&image), [(policy, "compact")]);
    assert!(edit(&mut image, policy, ConfigEdit::Subtract("compact".into())).is_err());
    let error = edit(&mut image, "retention.ms", ConfigEdit::Append("1".into())).unwrap_err();
    assert_eq!(error, MetadataError::NotAList { name: "retention.ms".into() });
    assert!(edit(&mut image, "no.such", ConfigEdit::Append("1".into())).is_err());
}

#[test]
fn a_replacement_takes_every_other_setting_back() {
    let mut image = cluster(1);
    create(&mut image, "t", 1).unwrap();
    edit(&mut image, "retention.ms", ConfigEdit::Set("77".into())).unwrap();
    edit(&mut image, "segment.ms", ConfigEdit::Set("88".into())).unwrap();
    let wanted = BTreeMap::from([("segment.ms".to_owned(), "99".to_owned())]);
    for record in replace_configs(&image, context(), "t", &wanted).unwrap() {
        image.apply(image.applied() + 1, &record).unwrap();
    }
    assert_eq!(configs(&image), [("segment.ms", "99")]);
    let wrong = BTreeMap::from([("segment.mss".to_owned(), "99".to_owned())]);
    assert!(replace_configs(&image, context(), "t", &wrong).is_err());
}

#[test]
fn a_topic_is_deleted_by_its_id_alone() {
    let mut image = cluster(1);
    create(&mut image, "t", 1).unwrap();
    let missing = MetadataError::NoSuchTopicId { id: TopicId([2; 16]) };
    assert_eq!(delete_topic_with_id(&image, TopicId([2; 16])), Err(missing));
    let record = delete_topic_with_id(&image, TopicId([1; 16])).unwrap();
    image.apply(image.applied() + 1, &record).unwrap();
    assert!(image.topic_named("t").is_none());
}

#[test]
fn a_record_of_an_unknown_kind_stops_the_reader() {
    let error = Image::default().apply(1, &Record { change: None }).unwrap_err();
    assert!(error.to_string().contains("start a newer one"));
}

#[test]
fn what_all_brokers_must_read_alike_is_written_into_the_topic() {
    let defaults = ["durability", "min.insync.replicas", "retention.ms"].map(str::to_owned);
    let defaults: BTreeMap<String, String> =
        defaults.into_iter().zip(["replicated", "3", "5"].map(str::to_owned)).collect();
    let context = Context { broker_defaults: &defaults, ..context() };
    let mut image = cluster(3);
    let (record, created) = create_topic(&image, context, &topic("t", 1)).unwrap();
    image.apply(image.applied() + 1, &record).unwrap();
    assert_eq!(configs(&image), [("durability", "replicated"), ("min.insync.replicas", "3")]);
    assert_eq!(Some(&created), image.topic(created.id));
    assert!(!created.acknowledges_from_disk() && created.min_insync_replicas() == 3);
    let own = BTreeMap::from([("durability".to_owned(), "fsync".to_owned())]);
    for record in replace_configs(&image, context, "t", &own).unwrap() {
        image.apply(image.applied() + 1, &record).unwrap();
    }
    assert_eq!(configs(&image), [("durability", "fsync"), ("min.insync.replicas", "3")]);
    let reset = BTreeMap::from([("durability".to_owned(), ConfigEdit::Reset)]);
    for record in alter_configs(&image, context, "t", &reset).unwrap() {
        image.apply(image.applied() + 1, &record).unwrap();
    }
    assert_eq!(configs(&image)[0], ("durability", "replicated"), "its default is the configuration's");
}

#[test]
fn what_is_only_checked_changes_nothing_and_is_answered_as_if_it_were_done() {
    let mut image = cluster(1);
    let before = image.to_records();
    let mode = Mode::ValidateOnly;
    let possible = Command::CreateTopic { topic: topic("t", 2), mode };
    let Ok(Outcome::TopicCreated { topic: would_be }) = run(&mut image, &possible) else {
        panic!("possible")
    };
    assert_eq!((would_be.partition_count(), image.topic_named("t")), (2, None));
    let wrong = Command::CreateTopic { topic: topic("t", 0), mode };
    assert!(run(&mut image, &wrong).is_err());
    assert_eq!(before[..before.len() - 1], image.to_records()[..before.len() - 1], "but for the last entry");
    create(&mut image, "t", 1).unwrap();
    let name = "t".to_owned();
    let before = image.topic_named("t").cloned();
    for checked in [
        Command::AddPartitions { topic: name.clone(), total: 9, assignments: Vec::new(), mode },
        Command::AlterConfigs {
            topic: name.clone(),
            edits: BTreeMap::from([("retention.ms".to_owned(), ConfigEdit::Set("7".into()))]),
            mode,
        },
        Command::ReplaceConfigs {
            topic: name,
            configs: BTreeMap::from([("retention.ms".to_owned(), "7".to_owned())]),
            mode,
        },
    ] {
        assert_eq!(run(&mut image, &checked), Ok(Outcome::Done));
        assert_eq!(image.topic_named("t"), before.as_ref());
    }
}

#[test]
fn a_deletion_tells_which_topic_went() {
    let mut image = cluster(1);
    let id = TopicId([1; 16]);
    for topic in [TopicRef::Name("t".into()), TopicRef::Id(id)] {
        create(&mut image, "t", 1).unwrap();
        let deleted = Outcome::TopicDeleted { id, name: "t".into() };
        assert_eq!(run(&mut image, &Command::DeleteTopic { topic: topic.clone() }), Ok(deleted));
        assert!(run(&mut image, &Command::DeleteTopic { topic }).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn a_snapshot_makes_the_same_image_and_replaying_twice_changes_nothing(
        steps in proptest::collection::vec((0_u8..5, 0_u8..6, 1_i32..20), 1..40),
    ) {
        let mut image = cluster(1);
        let before = image.applied();
        let mut log = Vec::new();
        for (step, (kind, which, n)) in (1_u8..).zip(steps) {
            let name = format!("topic-{which}");
            let decided = match kind {
                0 | 1 => {
                    let context = Context { fresh_id: TopicId([step; 16]), ..context() };
                    create_topic(&image, context, &topic(&name, n)).map(|(record, _)| record)
                }
                2 => delete_topic(&image, &name),
                3 => add_partitions(&image, &name, n, &[]),
                _ => Ok(take_producer_ids(&image).0),
            };
            if let Ok(record) = decided {
                image.apply(image.applied() + 1, &record).unwrap();
                log.push(record);
            }
        }
        prop_assert_eq!(image.check_invariants(), Ok(()));
        let copy = Image::from_records(image.applied(), &image.to_records()).unwrap();
        prop_assert_eq!(copy.digest(), image.digest());
        prop_assert_eq!(&copy, &image);
        let mut again = image.clone();
        for (index, record) in (before + 1..).zip(&log) {
            again.apply(index, record).unwrap();
        }
        prop_assert_eq!(again, image);
    }
}
