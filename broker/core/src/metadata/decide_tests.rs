//! Decisions about topics, and the image they make.

use proptest::prelude::*;

use super::*;

static NO_DEFAULTS: BTreeMap<String, String> = BTreeMap::new();

fn context() -> Context<'static> {
    Context { broker_defaults: &NO_DEFAULTS, brokers: 1 }
}

fn topic(name: &str, partitions: i32) -> NewTopic {
    NewTopic { name: name.into(), partitions, replication_factor: 1, configs: BTreeMap::new() }
}

fn create(image: &mut Image, name: &str, id: u8) -> Result<(), MetadataError> {
    let record = create_topic(image, context(), &topic(name, 2), TopicId([id; 16]), 1)?;
    image.apply(image.applied() + 1, &record).expect("a decided record applies");
    Ok(())
}

#[test]
fn a_name_can_be_taken_once_and_again_after_it_was_deleted_under_another_id() {
    let mut image = Image::default();
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
    let image = Image::default();
    let refuse =
        |t: NewTopic| create_topic(&image, context(), &t, TopicId([1; 16]), 0).unwrap_err().to_string();
    assert_eq!(refuse(topic("t", 0)), "0 partitions are not possible: a topic has at least one");
    assert!(refuse(topic("t", 100_001)).contains("the limit is 100000"));
    let three = NewTopic { replication_factor: 3, ..topic("t", 1) };
    assert_eq!(refuse(three), "replication factor 3 is not possible with 1 broker(s)");
    let typo = NewTopic { configs: BTreeMap::from([("retention.mss".into(), "1".into())]), ..topic("t", 1) };
    assert!(refuse(typo).contains("did you mean 'retention.ms'"));
}

#[test]
fn partitions_grow_and_never_shrink() {
    let mut image = Image::default();
    create(&mut image, "t", 1).unwrap();
    assert!(add_partitions(&image, "t", 2).is_err());
    let record = add_partitions(&image, "t", 5).unwrap();
    image.apply(image.applied() + 1, &record).unwrap();
    assert_eq!(image.partition_count(), 5);
}

#[test]
fn settings_are_checked_as_the_whole_they_would_make() {
    let mut image = Image::default();
    create(&mut image, "t", 1).unwrap();
    let alter = |image: &Image, name: &str, value: Option<&str>| {
        let changes = BTreeMap::from([(name.to_owned(), value.map(str::to_owned))]);
        alter_configs(image, context(), "t", &changes)
    };
    assert!(alter(&image, "segment.bytes", Some("1")).is_err());
    assert!(alter(&image, "no.such", None).is_err());
    let record = alter(&image, "retention.ms", Some("77")).unwrap();
    image.apply(image.applied() + 1, &record).unwrap();
    assert_eq!(image.topic_named("t").unwrap().configs.get("retention.ms").map(String::as_str), Some("77"));
    let record = alter(&image, "retention.ms", None).unwrap();
    image.apply(image.applied() + 1, &record).unwrap();
    assert!(image.topic_named("t").unwrap().configs.is_empty());
}

#[test]
fn a_record_of_an_unknown_kind_stops_the_reader() {
    let error = Image::default().apply(1, &Record { change: None }).unwrap_err();
    assert!(error.to_string().contains("start a newer one"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn a_snapshot_makes_the_same_image_and_replaying_twice_changes_nothing(
        steps in proptest::collection::vec((0_u8..5, 0_u8..6, 1_i32..20), 1..40),
    ) {
        let mut image = Image::default();
        let mut log = Vec::new();
        for (step, (kind, which, n)) in (1_u8..).zip(steps) {
            let name = format!("topic-{which}");
            let decided = match kind {
                0 | 1 => create_topic(&image, context(), &topic(&name, n), TopicId([step; 16]), i64::from(n)),
                2 => delete_topic(&image, &name),
                3 => add_partitions(&image, &name, n),
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
        for (index, record) in (1_u64..).zip(&log) {
            again.apply(index, record).unwrap();
        }
        prop_assert_eq!(again, image);
    }
}
