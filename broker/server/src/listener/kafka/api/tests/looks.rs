//! The cluster, topics page by page, sizes, producers and epochs.

use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeLogDirsRequest, DescribeProducersRequest,
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, FindCoordinatorRequest,
    OffsetForLeaderEpochRequest, describe_producers_request,
};

use super::super::{
    describe_cluster, describe_log_dirs, describe_producers, describe_topic_partitions, find_coordinator,
    offset_for_leader_epoch,
};
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_is_one_broker_and_its_controller() {
    let bench = bench().await;
    for version in 0..=2 {
        let asked = version == 1;
        let request = DescribeClusterRequest::default()
            .with_endpoint_type(1)
            .with_include_fenced_brokers(version >= 2)
            .with_include_cluster_authorized_operations(asked);
        let answer = seen(describe_cluster::handle(&bench.context, request, version).await, version);
        assert_eq!((answer.error_code, &answer.error_message), (0, &None));
        assert_eq!(answer.controller_id, BrokerId(1));
        let id = answer.cluster_id.as_str();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "drawn at random: {id}");
        let broker = &answer.brokers[0];
        assert_eq!(
            (broker.broker_id, broker.host.as_str(), broker.port),
            (BrokerId(1), "kafka.example", 9092)
        );
        assert_eq!(answer.cluster_authorized_operations != i32::MIN, asked);
    }
    for (kind, expected) in [(2, ErrorCode::MismatchedEndpointType), (9, ErrorCode::UnsupportedEndpointType)]
    {
        let request = DescribeClusterRequest::default().with_endpoint_type(kind);
        let answer = seen(describe_cluster::handle(&bench.context, request, 1).await, 1);
        assert_eq!((code(answer.error_code), answer.endpoint_type), (expected, kind));
        assert!(answer.brokers.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_coordinates_and_every_key_is_told_so() {
    let bench = bench().await;
    for version in 0..=6 {
        let request = if version >= 4 {
            FindCoordinatorRequest::default().with_coordinator_keys(vec![text_of("g"), text_of("h")])
        } else {
            FindCoordinatorRequest::default().with_key(text_of("g"))
        };
        let answer = seen(find_coordinator::handle(&bench.context, request, version).await, version);
        if version < 4 {
            assert_eq!((code(answer.error_code), answer.node_id.0), (ErrorCode::CoordinatorNotAvailable, -1));
        } else {
            let keys: Vec<_> =
                answer.coordinators.iter().map(|found| (found.key.as_str(), found.node_id.0)).collect();
            assert_eq!(keys, [("g", -1), ("h", -1)]);
            let codes = answer.coordinators.iter().map(|found| code(found.error_code));
            assert!(codes.into_iter().all(|code| code == ErrorCode::CoordinatorNotAvailable));
        }
    }
}

async fn page(
    bench: &Bench,
    topics: &[&str],
    limit: i32,
    cursor: Option<(&str, i32)>,
) -> DescribeTopicPartitionsResponse {
    let topic = |topic: &&str| TopicRequest::default().with_name(name(topic));
    let cursor = cursor
        .map(|(topic, index)| Cursor::default().with_topic_name(name(topic)).with_partition_index(index));
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(topics.iter().map(topic).collect())
        .with_response_partition_limit(limit)
        .with_cursor(cursor);
    seen(describe_topic_partitions::handle(&bench.context, request, 0).await, 0)
}

fn told(answer: &DescribeTopicPartitionsResponse) -> Vec<(String, i16, Vec<i32>)> {
    let indexes = |topic: &kafka_protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic| {
        topic.partitions.iter().map(|partition| partition.partition_index).collect()
    };
    let topics = answer.topics.iter();
    topics.map(|t| (t.name.as_ref().unwrap().to_string(), t.error_code, indexes(t))).collect()
}

fn next(answer: &DescribeTopicPartitionsResponse) -> Option<(String, i32)> {
    answer.next_cursor.as_ref().map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_come_page_by_page_and_every_partition_once() {
    let bench = bench().await;
    for (topic, partitions) in [("c", 2), ("a", 3), ("b", 1)] {
        bench.create(topic, partitions).await;
    }
    let whole = page(&bench, &[], 100, None).await;
    let all =
        [("a".to_owned(), 0, vec![0, 1, 2]), ("b".to_owned(), 0, vec![0]), ("c".to_owned(), 0, vec![0, 1])];
    assert_eq!((told(&whole), next(&whole)), (all.to_vec(), None));
    for limit in 1..=6 {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let from = cursor.as_ref().map(|(topic, index): &(String, i32)| (topic.as_str(), *index));
            let answer = page(&bench, &[], limit, from).await;
            let part = told(&answer);
            assert!(part.iter().map(|(_, _, indexes)| indexes.len()).sum::<usize>() <= limit as usize);
            found.extend(
                part.into_iter()
                    .flat_map(|(topic, _, indexes)| indexes.into_iter().map(move |i| (topic.clone(), i))),
            );
            cursor = next(&answer);
            if cursor.is_none() {
                break;
            }
        }
        let expected = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("c", 0), ("c", 1)];
        assert_eq!(found, expected.map(|(topic, index)| (topic.to_owned(), index)), "limit {limit}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn named_topics_are_told_of_once_and_missing_ones_by_their_code() {
    let bench = bench().await;
    bench.create("b", 2).await;
    let answer = page(&bench, &["b", "absent", "a b", "b"], 100, None).await;
    let expected = [
        ("a b".to_owned(), ErrorCode::InvalidTopicException.number(), vec![]),
        ("absent".to_owned(), ErrorCode::UnknownTopicOrPartition.number(), vec![]),
        ("b".to_owned(), 0, vec![0, 1]),
    ];
    assert_eq!(told(&answer), expected);
    let deleted_meanwhile = page(&bench, &[], 100, Some(("aa", 3))).await;
    assert_eq!(told(&deleted_meanwhile), [("b".to_owned(), 0, vec![0, 1])]);
}

async fn log_dirs(bench: &Bench, version: i16, topics: Option<&[(&str, &[i32])]>) -> DescribeLogDirsResult {
    let topic = |(topic, indexes): &(&str, &[i32])| {
        DescribableLogDirTopic::default().with_topic(name(topic)).with_partitions(indexes.to_vec())
    };
    let topics = topics.map(|topics| topics.iter().map(topic).collect());
    let request = DescribeLogDirsRequest::default().with_topics(topics);
    let mut answer = seen(describe_log_dirs::handle(&bench.context, request, version).await, version);
    assert_eq!((answer.error_code, answer.results.len()), (0, 1));
    answer.results.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_are_told_without_opening_what_was_never_written_to() {
    let bench = bench().await;
    bench.create("full", 2).await;
    bench.create("empty", 50).await;
    bench.produce("full", 1, 10).await;
    let open = bench.context.services.partitions.all().len();
    for version in 1..=4 {
        let result = log_dirs(&bench, version, None).await;
        assert!(std::path::Path::new(result.log_dir.as_str()).is_absolute());
        let counts: Vec<_> =
            result.topics.iter().map(|topic| (topic.name.as_str(), topic.partitions.len())).collect();
        assert_eq!(counts, [("empty", 50), ("full", 2)]);
        let sizes: Vec<_> =
            result.topics[1].partitions.iter().map(|p| (p.partition_size, p.offset_lag)).collect();
        assert!(sizes[0] == (0, 0) && sizes[1].0 > 100, "{sizes:?}");
        assert!(result.topics[0].partitions.iter().all(|partition| partition.partition_size == 0));
        if version >= 4 {
            assert!(result.usable_bytes > 0 && result.total_bytes >= result.usable_bytes);
        } else {
            assert_eq!((result.total_bytes, result.usable_bytes), (-1, -1));
        }
    }
    let some = log_dirs(&bench, 2, Some(&[("full", &[1, 7, -1]), ("absent", &[0])])).await;
    assert_eq!(some.topics.len(), 1);
    assert_eq!(some.topics[0].partitions.iter().map(|p| p.partition_index).collect::<Vec<_>>(), [1]);
    assert_eq!(bench.context.services.partitions.all().len(), open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_of_partitions_with_records_are_there_after_a_restart() {
    let bench = bench().await;
    bench.create("full", 1).await;
    bench.produce("full", 0, 10).await;
    let before = log_dirs(&bench, 4, None).await.topics;
    let config = BrokerConfig::ephemeral(bench._directory.path());
    let Bench { _directory, broker, context } = bench;
    drop(context);
    broker.stop().await.unwrap();
    let broker = Broker::start(config).await.unwrap();
    let advertised = Arc::new(Advertised { host: "kafka.example".to_owned(), port: 9092 });
    let context =
        Context { services: Arc::clone(broker.services()), advertised, listener: Arc::from("kafka-0") };
    let bench = Bench { _directory, broker, context };
    assert_eq!(log_dirs(&bench, 4, None).await.topics, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_tells_its_producers() {
    let bench = bench().await;
    bench.create("t", 2).await;
    bench.produce("t", 0, 10).await;
    let topic = |topic: &str, indexes: &[i32]| {
        describe_producers_request::TopicRequest::default()
            .with_name(name(topic))
            .with_partition_indexes(indexes.to_vec())
    };
    let request =
        DescribeProducersRequest::default().with_topics(vec![topic("t", &[0, 1, 2, 0]), topic("u", &[0])]);
    let answer = seen(describe_producers::handle(&bench.context, request, 0).await, 0);
    let [written, empty, absent, again] = &answer.topics[0].partitions[..] else { panic!("{answer:?}") };
    let producer = &written.active_producers[0];
    let told =
        (producer.producer_id.0, producer.producer_epoch, producer.last_sequence, producer.last_timestamp);
    assert_eq!(told, (7, 2, 9, NOW_MS));
    assert_eq!(code(again.error_code), ErrorCode::InvalidRequest);
    assert_eq!((producer.coordinator_epoch, producer.current_txn_start_offset), (-1, -1));
    assert_eq!((empty.error_code, &empty.error_message, &empty.active_producers[..]), (0, &None, &[][..]));
    for missing in [absent, &answer.topics[1].partitions[0]] {
        assert_eq!(code(missing.error_code), ErrorCode::UnknownTopicOrPartition);
        assert!(missing.error_message.is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_an_epoch_is_told_to_clients_and_not_to_replicas() {
    let bench = bench().await;
    bench.create("t", 1).await;
    bench.produce("t", 0, 10).await;
    use ErrorCode::*;
    // topic, partition, current epoch, asked epoch, code, epoch, end
    let cases = [
        ("t", 0, -1, 0, None, 0, 10),
        ("t", 0, 0, 0, None, 0, 10),
        ("t", 0, 0, 5, None, -1, -1),
        ("t", 0, 0, -1, None, -1, -1),
        ("t", 0, 3, 0, UnknownLeaderEpoch, -1, -1),
        ("t", 0, -2, 0, FencedLeaderEpoch, -1, -1),
        ("t", 1, -1, 0, UnknownTopicOrPartition, -1, -1),
        ("absent", 0, -1, 0, UnknownTopicOrPartition, -1, -1),
    ];
    let request = |topic: &str, index, current, asked| {
        let partition = OffsetForLeaderPartition::default()
            .with_partition(index)
            .with_current_leader_epoch(current)
            .with_leader_epoch(asked);
        let topic = OffsetForLeaderTopic::default().with_topic(name(topic)).with_partitions(vec![partition]);
        OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
    };
    for version in 2..=4 {
        for (topic, index, current, asked, expected, epoch, end) in cases {
            let asked = request(topic, index, current, asked).with_replica_id(BrokerId(-1));
            let answer = seen(offset_for_leader_epoch::handle(&bench.context, asked, version).await, version);
            let result = &answer.topics[0].partitions[0];
            assert_eq!(result.partition, index);
            let told = (code(result.error_code), result.leader_epoch, result.end_offset);
            assert_eq!(told, (expected, epoch, end), "v{version} {topic}-{index}");
        }
    }
    let forged = request("t", 0, -1, 0).with_replica_id(BrokerId(2));
    let answer = offset_for_leader_epoch::handle(&bench.context, forged, 4).await;
    assert_eq!(code(answer.topics[0].partitions[0].error_code), ClusterAuthorizationFailed);
}
