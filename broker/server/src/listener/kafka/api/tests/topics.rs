//! Topics made, widened, emptied and deleted.

use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    MetadataRequest,
};
use uuid::Uuid;

use super::super::{create_partitions, create_topics, delete_records, delete_topics, metadata};
use super::*;

fn topic(topic: &str, partitions: i32, factor: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(factor)
}

fn assigned(topic_name: &str, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignment = |(index, brokers): &(i32, &[i32])| {
        CreatableReplicaAssignment::default()
            .with_partition_index(*index)
            .with_broker_ids(brokers.iter().map(|id| BrokerId(*id)).collect())
    };
    topic(topic_name, -1, -1).with_assignments(assignments.iter().map(assignment).collect())
}

fn config(key: &str, value: Option<&str>) -> CreatableTopicConfig {
    CreatableTopicConfig::default().with_name(text_of(key)).with_value(value.map(text_of))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_made_in_every_version_and_told_of_as_the_version_can() {
    let bench = bench_with(|config| config.topic_default_partitions = 3).await;
    for version in 2..=7 {
        let wanted =
            topic(&format!("t{version}"), -1, -1).with_configs(vec![config("retention.ms", Some("77"))]);
        let request = CreateTopicsRequest::default().with_topics(vec![wanted]);
        let answer = seen(create_topics::handle(&bench.context, request, version).await, version);
        let result = &answer.topics[0];
        assert_eq!((result.error_code, &result.error_message), (0, &None), "v{version}");
        let image = bench.context.services.image();
        let made = image.topic_named(&format!("t{version}")).unwrap();
        assert_eq!(made.partition_count(), 3);
        let expected = if version >= 5 { (3, 1) } else { (-1, -1) };
        assert_eq!((result.num_partitions, result.replication_factor), expected, "v{version}");
        let id = if version >= 7 { Uuid::from_bytes(made.id.0) } else { Uuid::nil() };
        assert_eq!(result.topic_id, id, "v{version}");
        if version >= 5 {
            let configs = result.configs.as_ref().unwrap();
            let retention = configs.iter().find(|config| config.name.as_str() == "retention.ms").unwrap();
            assert_eq!((retention.value.as_deref(), retention.config_source), (Some("77"), 1));
            let policy = configs.iter().find(|config| config.name.as_str() == "cleanup.policy").unwrap();
            assert_eq!((policy.value.as_deref(), policy.config_source), (Some("delete"), 5));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_impossible_topic_is_refused_alone_and_by_its_code() {
    let bench = bench().await;
    bench.create("there", 1).await;
    use ErrorCode::*;
    let cases = [
        (topic("good", 2, 1), None, ""),
        (topic("there", 1, 1), TopicAlreadyExists, "exists already"),
        (topic("a b", 1, 1), InvalidTopicException, "cannot stand in it"),
        (topic("none", 0, 1), InvalidPartitions, "at least one"),
        (topic("less", -2, 1), InvalidPartitions, "-2"),
        (topic("three", 1, 3), InvalidReplicationFactor, "replication factor 3"),
        (topic("zero", 1, 0), InvalidReplicationFactor, "replication factor 0"),
        (
            topic("typo", 1, 1).with_configs(vec![config("retention.m", Some("1"))]),
            InvalidConfig,
            "retention.ms",
        ),
        (
            topic("null", 1, 1).with_configs(vec![config("retention.ms", Option::None)]),
            InvalidConfig,
            "no value",
        ),
        (
            topic("unclean", 1, 1).with_configs(vec![config("unclean.leader.election.enable", Some("true"))]),
            InvalidConfig,
            "unclean.leader.election.enable",
        ),
        (topic("twice", 1, 1), InvalidRequest, "twice"),
        (topic("twice", 2, 1), InvalidRequest, "twice"),
        (assigned("both", &[(0, &[1])]).with_num_partitions(1), InvalidRequest, "must be -1"),
        (assigned("own", &[(0, &[1]), (1, &[1])]), None, ""),
        (assigned("other", &[(0, &[1]), (1, &[2])]), InvalidReplicaAssignment, "broker 2 is not there"),
        (assigned("many", &[(0, &[1, 2])]), InvalidReplicaAssignment, "[1, 2]"),
        (assigned("gap", &[(0, &[1]), (2, &[1])]), InvalidReplicaAssignment, "without a gap"),
        (assigned("again", &[(0, &[1]), (0, &[1])]), InvalidReplicaAssignment, "assigned twice"),
    ];
    let request =
        CreateTopicsRequest::default().with_topics(cases.iter().map(|case| case.0.clone()).collect());
    let answer = seen(create_topics::handle(&bench.context, request, 7).await, 7);
    assert_eq!(answer.topics.len(), cases.len() - 1, "a topic that stands there twice is answered once");
    for (wanted, expected, part) in &cases {
        let result = answer.topics.iter().find(|result| result.name == wanted.name).unwrap();
        assert_eq!(code(result.error_code), *expected, "{:?}", wanted.name);
        let message = result.error_message.as_deref().unwrap_or_default();
        assert!(message.contains(part), "{:?}: {message}", wanted.name);
    }
    let image = bench.context.services.image();
    let names: Vec<&str> = image.topics().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names, ["good", "own", "there"]);
    assert_eq!(image.topic_named("own").unwrap().partition_count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_has_at_most_ten_thousand_topics() {
    let bench = bench().await;
    let topics = (0..10_001).map(|number| topic(&format!("t{number}"), 1, 1)).collect();
    let request = CreateTopicsRequest::default().with_topics(topics).with_validate_only(true);
    let answer = create_topics::handle(&bench.context, request, 7).await;
    assert_eq!(answer.topics.len(), 10_001);
    assert!(answer.topics.iter().all(|result| code(result.error_code) == ErrorCode::PolicyViolation));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_named_often_is_told_of_once() {
    let bench = bench().await;
    let id = bench.create("t", 1000).await;
    let by_name = MetadataRequestTopic::default().with_name(Some(name("t")));
    let by_id = MetadataRequestTopic::default().with_name(None).with_topic_id(id);
    let named = [vec![by_name; 5_000], vec![by_id; 5_000]].concat();
    let request = MetadataRequest::default().with_topics(Some(named));
    let answer = seen(metadata::handle(&bench.context, request, 12).await, 12);
    assert_eq!(answer.topics.len(), 2);
    assert!(answer.topics.iter().all(|topic| topic.partitions.len() == 1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_only_to_be_checked_changes_nothing() {
    let bench = bench().await;
    let request = CreateTopicsRequest::default().with_topics(vec![topic("t", 4, 1)]).with_validate_only(true);
    let answer = seen(create_topics::handle(&bench.context, request, 7).await, 7);
    assert_eq!((answer.topics[0].error_code, answer.topics[0].num_partitions), (0, 4));
    assert!(answer.topics[0].topic_id.is_nil());
    assert!(bench.context.services.image().topic_named("t").is_none());
    bench.create("t", 1).await;
    let wider = CreatePartitionsTopic::default().with_name(name("t")).with_count(3).with_assignments(None);
    let request = CreatePartitionsRequest::default().with_topics(vec![wider]).with_validate_only(true);
    let answer = seen(create_partitions::handle(&bench.context, request, 3).await, 3);
    assert_eq!(answer.results[0].error_code, 0);
    assert_eq!(bench.context.services.image().topic_named("t").unwrap().partition_count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_deleted_by_name_in_every_version() {
    let bench = bench().await;
    for version in 1..=5 {
        bench.create("t", 2).await;
        let names = ["t", "absent", "twice", "twice"].map(name).to_vec();
        let request = DeleteTopicsRequest::default().with_topic_names(names);
        let answer = seen(delete_topics::handle(&bench.context, request, version).await, version);
        let codes: Vec<_> = answer.responses.iter().map(|result| code(result.error_code)).collect();
        use ErrorCode::*;
        assert_eq!(codes, [None, UnknownTopicOrPartition, InvalidRequest], "v{version}");
        assert_eq!(answer.responses[1].error_message.is_some(), version >= 5, "v{version}");
        assert!(bench.context.services.image().topic_named("t").is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_deleted_by_id_and_answered_with_their_names() {
    let bench = bench().await;
    let (by_id, by_name) = (bench.create("by-id", 1).await, bench.create("by-name", 1).await);
    let unknown = Uuid::from_bytes([9; 16]);
    let state =
        |topic: Option<&str>, id| DeleteTopicState::default().with_name(topic.map(name)).with_topic_id(id);
    let topics = vec![
        state(None, by_id),
        state(Some("by-name"), Uuid::nil()),
        state(None, unknown),
        state(Some("x"), unknown),
        state(None, Uuid::nil()),
    ];
    let request = DeleteTopicsRequest::default().with_topics(topics);
    let answer = seen(delete_topics::handle(&bench.context, request, 6).await, 6);
    let results: Vec<_> = answer
        .responses
        .iter()
        .map(|result| {
            (code(result.error_code), result.name.as_ref().map(|name| name.to_string()), result.topic_id)
        })
        .collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        results,
        [
            (ErrorCode::None, some("by-id"), by_id),
            (ErrorCode::None, some("by-name"), by_name),
            (ErrorCode::UnknownTopicId, None, unknown),
            (ErrorCode::InvalidRequest, some("x"), unknown),
            (ErrorCode::InvalidRequest, None, Uuid::nil()),
        ]
    );
    assert_eq!(bench.context.services.image().topics().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_added_and_assignments_held_to_the_one_broker() {
    let bench = bench().await;
    for topic in ["plain", "own", "other", "count", "fewer", "same"] {
        bench.create(topic, 2).await;
    }
    let wanted = |topic: &str, count: i32, assignments: Option<&[&[i32]]>| {
        let assignment = |brokers: &&[i32]| {
            let brokers = brokers.iter().map(|id| BrokerId(*id)).collect();
            CreatePartitionsAssignment::default().with_broker_ids(brokers)
        };
        CreatePartitionsTopic::default()
            .with_name(name(topic))
            .with_count(count)
            .with_assignments(assignments.map(|all| all.iter().map(assignment).collect()))
    };
    use ErrorCode::*;
    let cases = [
        (wanted("plain", 5, Option::None), None),
        (wanted("own", 4, Some(&[&[1], &[1]])), None),
        (wanted("other", 3, Some(&[&[2]])), InvalidReplicaAssignment),
        (wanted("count", 5, Some(&[&[1]])), InvalidReplicaAssignment),
        (wanted("fewer", 1, Option::None), InvalidPartitions),
        (wanted("same", 2, Option::None), InvalidPartitions),
        (wanted("absent", 2, Option::None), UnknownTopicOrPartition),
    ];
    for version in 0..=3 {
        let expected: Vec<_> =
            cases.iter().map(|(_, code)| if version == 0 { *code } else { again(*code) }).collect();
        let topics = cases.iter().map(|(topic, _)| topic.clone()).collect();
        let request = CreatePartitionsRequest::default().with_topics(topics);
        let answer = seen(create_partitions::handle(&bench.context, request, version).await, version);
        let codes: Vec<_> = answer.results.iter().map(|result| code(result.error_code)).collect();
        assert_eq!(codes, expected, "v{version}");
    }
    let image = bench.context.services.image();
    let counts = ["plain", "own", "other"].map(|topic| image.topic_named(topic).unwrap().partition_count());
    assert_eq!(counts, [5, 4, 2]);
    /// What was added once is no addition the second time.
    fn again(code: ErrorCode) -> ErrorCode {
        if code == None { InvalidPartitions } else { code }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_deleted_up_to_an_offset_or_the_high_watermark() {
    let bench = bench().await;
    bench.create("t", 2).await;
    bench.produce("t", 0, 10).await;
    let compacted = std::collections::BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
    let services = &bench.context.services;
    services.create_topic("compacted".to_owned(), 1, 1, compacted, Mode::Apply).await.unwrap();
    let cases = [
        ("t", 0, 4, ErrorCode::None, 4),
        ("t", 0, 2, ErrorCode::None, 4),
        ("t", 0, 11, ErrorCode::OffsetOutOfRange, -1),
        ("t", 0, -2, ErrorCode::OffsetOutOfRange, -1),
        ("t", 0, -1, ErrorCode::None, 10),
        ("t", 1, -1, ErrorCode::None, 0),
        ("t", 2, 0, ErrorCode::UnknownTopicOrPartition, -1),
        ("absent", 0, 0, ErrorCode::UnknownTopicOrPartition, -1),
        ("compacted", 0, 0, ErrorCode::PolicyViolation, -1),
    ];
    for (version, (topic, index, offset, expected, low)) in (0..=2).cycle().zip(cases) {
        let partition = DeleteRecordsPartition::default().with_partition_index(index).with_offset(offset);
        let topic = DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic.clone()]);
        let answer = seen(delete_records::handle(&bench.context, request, version).await, version);
        let result = &answer.topics[0].partitions[0];
        assert_eq!((code(result.error_code), result.low_watermark), (expected, low), "{topic:?}");
    }
}
