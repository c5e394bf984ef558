//! Settings described and changed.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::{AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::messages::{alter_configs_request, incremental_alter_configs_request};

use super::super::{alter_configs, describe_configs, incremental_alter_configs};
use super::*;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

async fn describe(
    bench: &Bench,
    version: i16,
    kind: i8,
    resource: &str,
    keys: Option<&[&str]>,
) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text_of(resource))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text_of(key)).collect()));
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .with_include_documentation(version >= 3);
    let answer = describe_configs::handle(&bench.context, request, version).await;
    seen(answer, version).results.remove(0)
}

fn setting<'a>(result: &'a DescribeConfigsResult, name: &str) -> &'a DescribeConfigsResourceResult {
    let found = result.configs.iter().find(|config| config.name.as_str() == name);
    found.unwrap_or_else(|| panic!("{name} is not among {:?}", result.configs))
}

async fn value(bench: &Bench, topic: &str, key: &str) -> (String, i8) {
    let result = describe(bench, 4, TOPIC, topic, Some(&[key])).await;
    let found = setting(&result, key);
    (found.value.as_ref().unwrap().to_string(), found.config_source)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topics_settings_come_with_source_synonyms_type_and_words_in_every_version() {
    let bench = bench_with(|config| {
        config.topic_defaults.insert("segment.bytes".to_owned(), "30000".to_owned());
    })
    .await;
    let configs = std::collections::BTreeMap::from([("segment.bytes".to_owned(), "20000".to_owned())]);
    let services = &bench.context.services;
    services.create_topic("t".to_owned(), 1, 1, configs, Mode::Apply).await.unwrap();
    for version in 1..=4 {
        let all = describe(&bench, version, TOPIC, "t", None).await;
        assert_eq!((all.error_code, &all.error_message, all.resource_name.as_str()), (0, &None, "t"));
        assert!(
            all.configs.len() > 30
                && all.configs.iter().all(|config| !config.read_only && !config.is_sensitive)
        );
        assert_eq!(describe(&bench, version, TOPIC, "t", Some(&[])).await.configs.len(), all.configs.len());
        let segment = setting(&all, "segment.bytes");
        assert_eq!((segment.value.as_deref(), segment.config_source), (Some("20000"), 1));
        let synonyms: Vec<_> = segment
            .synonyms
            .iter()
            .map(|synonym| (synonym.name.as_str(), synonym.value.as_deref().unwrap(), synonym.source))
            .collect();
        let expected = [
            ("segment.bytes", "20000", 1),
            ("log.segment.bytes", "30000", 4),
            ("log.segment.bytes", "1073741824", 5),
        ];
        assert_eq!(synonyms, expected);
        assert_eq!(segment.config_type, if version >= 3 { 3 } else { 0 }, "v{version}");
        let documented = segment.documentation.as_deref().is_some_and(|text| !text.is_empty());
        assert_eq!(documented, version >= 3, "v{version}");
    }
    let two = describe(&bench, 4, TOPIC, "t", Some(&["retention.ms", "no.such"])).await;
    assert_eq!(two.configs.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_tells_its_settings_by_kafkas_names_and_other_resources_are_refused() {
    let bench = bench().await;
    let own = describe(&bench, 4, BROKER, "1", None).await;
    assert_eq!(own.error_code, 0);
    assert!(own.configs.iter().all(|config| config.read_only));
    assert!(own.configs.is_sorted_by_key(|config| config.name.clone()));
    for (name, value) in [
        ("advertised.listeners", "PLAINTEXT://kafka.example:9092"),
        ("auto.create.topics.enable", "true"),
        ("log.retention.ms", "604800000"),
        ("min.insync.replicas", "1"),
        ("num.partitions", "1"),
    ] {
        assert_eq!(setting(&own, name).value.as_deref(), Some(value), "{name}");
    }
    assert_eq!(describe(&bench, 4, BROKER, "", None).await.configs, []);
    use ErrorCode::{InvalidRequest, InvalidTopicException, UnknownTopicOrPartition};
    for (kind, resource, expected) in [
        (BROKER, "2", InvalidRequest),
        (BROKER, "x", InvalidRequest),
        (TOPIC, "absent", UnknownTopicOrPartition),
        (TOPIC, "a b", InvalidTopicException),
        (8, "1", InvalidRequest),
        (0, "", InvalidRequest),
    ] {
        let refused = describe(&bench, 1, kind, resource, None).await;
        assert_eq!(code(refused.error_code), expected, "{kind} {resource}");
        assert!(refused.error_message.is_some() && refused.configs.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_request_gets_no_boundless_answer() {
    let bench = bench().await;
    bench.create("t", 1).await;
    let resource =
        DescribeConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text_of("t"));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource; 15_000]);
    let answer = describe_configs::handle(&bench.context, request, 4).await;
    let (told, refused): (Vec<_>, Vec<_>) = answer.results.iter().partition(|result| result.error_code == 0);
    let settings: usize = told.iter().map(|result| result.configs.len()).sum();
    assert!((330_000..331_000).contains(&settings), "{settings}");
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|result| code(result.error_code) == ErrorCode::PolicyViolation));
}

async fn increment(
    bench: &Bench,
    version: i16,
    resource: (i8, &str),
    edits: &[(&str, i8, Option<&str>)],
) -> (ErrorCode, String) {
    let answer =
        incremental_alter_configs::handle(&bench.context, incremental(&[resource], edits), version).await;
    let result = &seen(answer, version).responses[0];
    assert_eq!((result.resource_type, result.resource_name.as_str()), resource);
    (code(result.error_code), result.error_message.as_ref().map_or_else(String::new, |text| text.to_string()))
}

fn incremental(
    resources: &[(i8, &str)],
    edits: &[(&str, i8, Option<&str>)],
) -> IncrementalAlterConfigsRequest {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let edit = |(name, operation, value): &(&str, i8, Option<&str>)| {
        let config = AlterableConfig::default().with_name(text_of(name)).with_config_operation(*operation);
        config.with_value(value.map(text_of))
    };
    let resource = |(kind, name): &(i8, &str)| {
        AlterConfigsResource::default()
            .with_resource_type(*kind)
            .with_resource_name(text_of(name))
            .with_configs(edits.iter().map(edit).collect())
    };
    IncrementalAlterConfigsRequest::default().with_resources(resources.iter().map(resource).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_set_taken_back_and_edited_as_lists() {
    let bench = bench().await;
    bench.create("t", 1).await;
    const DONE: (ErrorCode, String) = (ErrorCode::None, String::new());
    let topic = (TOPIC, "t");
    let set = [("retention.ms", 0, Some("77")), ("cleanup.policy", 2, Some("compact"))];
    assert_eq!(increment(&bench, 0, topic, &set).await, DONE);
    assert_eq!(value(&bench, "t", "retention.ms").await, ("77".to_owned(), 1));
    assert_eq!(value(&bench, "t", "cleanup.policy").await, ("delete,compact".to_owned(), 1));
    let edits = [("retention.ms", 1, None), ("cleanup.policy", 3, Some("delete"))];
    assert_eq!(increment(&bench, 1, topic, &edits).await, DONE);
    assert_eq!(value(&bench, "t", "retention.ms").await, ("604800000".to_owned(), 5));
    assert_eq!(value(&bench, "t", "cleanup.policy").await, ("compact".to_owned(), 1));
    assert_eq!(increment(&bench, 1, topic, &[("flush.messages", 0, Some("1"))]).await, DONE);
    assert_eq!(value(&bench, "t", "flush.messages").await, ("1".to_owned(), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_illegal_edit_is_refused_by_its_code_and_changes_nothing() {
    let bench = bench().await;
    bench.create("t", 1).await;
    use ErrorCode::{InvalidConfig, InvalidRequest, UnknownTopicOrPartition};
    let topic = (TOPIC, "t");
    type Edits<'a> = &'a [(&'a str, i8, Option<&'a str>)];
    let cases: &[((i8, &str), Edits<'_>, ErrorCode, &str)] = &[
        (topic, &[("retention.ms", 0, None)], InvalidRequest, "no value"),
        (topic, &[("retention.ms", 0, Some("x"))], InvalidConfig, "whole number"),
        (topic, &[("retention.ms", 2, Some("1"))], InvalidConfig, "not a list"),
        (topic, &[("retention.ms", 9, Some("1"))], InvalidRequest, "operations"),
        (topic, &[("no.such", 1, None)], InvalidConfig, "no.such"),
        (topic, &[("retention.ms", 0, Some("1")), ("retention.ms", 1, None)], InvalidRequest, "twice"),
        (
            topic,
            &[("segment.ms", 0, Some("5")), ("remote.storage.enable", 0, Some("true"))],
            InvalidConfig,
            "remote",
        ),
        ((TOPIC, "absent"), &[("retention.ms", 0, Some("1"))], UnknownTopicOrPartition, "absent"),
        ((BROKER, "1"), &[("log.retention.ms", 0, Some("1"))], InvalidRequest, "log.retention.ms"),
        ((BROKER, ""), &[("log.retention.ms", 0, Some("1"))], InvalidRequest, "when it starts"),
        ((BROKER, "7"), &[("log.retention.ms", 0, Some("1"))], InvalidRequest, "this is broker 1"),
        ((8, "1"), &[], InvalidRequest, "type 8"),
    ];
    for (resource, edits, expected, part) in cases {
        let (code, message) = increment(&bench, 1, *resource, edits).await;
        assert_eq!(code, *expected, "{resource:?} {edits:?}: {message}");
        assert!(message.contains(part), "{edits:?}: {message}");
    }
    let request = incremental(&[topic, topic], &[("segment.ms", 0, Some("5"))]);
    let answer = incremental_alter_configs::handle(&bench.context, request, 1).await;
    assert!(answer.responses.iter().all(|result| code(result.error_code) == InvalidRequest));
    let request = incremental(&[topic], &[("segment.ms", 0, Some("5"))]).with_validate_only(true);
    assert_eq!(
        incremental_alter_configs::handle(&bench.context, request, 1).await.responses[0].error_code,
        0
    );
    assert!(bench.context.services.image().topic_named("t").unwrap().configs.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_replication_can_be_taken_back_and_not_set() {
    let bench = bench().await;
    let own = bench.context.services.config().broker_id.to_string();
    let throttle = "leader.replication.throttled.rate";
    let taken_back = [(throttle, 1, None), ("follower.replication.throttled.rate", 1, None)];
    assert_eq!(increment(&bench, 1, (4, &own), &taken_back).await.0, ErrorCode::None);
    for edits in
        [&[(throttle, 0, Some("1000"))][..], &[(throttle, 1, None), ("num.partitions", 1, None)], &[]]
    {
        let (code, message) = increment(&bench, 1, (4, &own), edits).await;
        assert_eq!(code, ErrorCode::InvalidRequest, "{edits:?}: {message}");
    }
}

async fn replace(bench: &Bench, version: i16, configs: &[(&str, Option<&str>)]) -> ErrorCode {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config = |(name, value): &(&str, Option<&str>)| {
        AlterableConfig::default().with_name(text_of(name)).with_value(value.map(text_of))
    };
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text_of("t"))
        .with_configs(configs.iter().map(config).collect());
    let request = AlterConfigsRequest::default().with_resources(vec![resource]);
    code(seen(alter_configs::handle(&bench.context, request, version).await, version).responses[0].error_code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_way_to_alter_replaces_everything() {
    let bench = bench().await;
    bench.create("t", 1).await;
    let both = [("retention.ms", Some("77")), ("segment.ms", Some("88"))];
    assert_eq!(replace(&bench, 0, &both).await, ErrorCode::None);
    assert_eq!(replace(&bench, 1, &[("segment.ms", Some("99"))]).await, ErrorCode::None);
    assert_eq!(value(&bench, "t", "retention.ms").await, ("604800000".to_owned(), 5));
    assert_eq!(value(&bench, "t", "segment.ms").await, ("99".to_owned(), 1));
    assert_eq!(replace(&bench, 2, &[("segment.ms", None)]).await, ErrorCode::InvalidRequest);
    assert_eq!(replace(&bench, 2, &[("segment.mss", Some("1"))]).await, ErrorCode::InvalidConfig);
    assert_eq!(replace(&bench, 2, &[both[0], both[0]]).await, ErrorCode::InvalidRequest);
    assert_eq!(value(&bench, "t", "segment.ms").await, ("99".to_owned(), 1));
    assert_eq!(replace(&bench, 2, &[]).await, ErrorCode::None);
    assert!(bench.context.services.image().topic_named("t").unwrap().configs.is_empty());
}
