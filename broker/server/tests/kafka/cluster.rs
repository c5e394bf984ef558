//! Three brokers and a client that asks each of them: who leads, where, and what is refused.

use highwater_core::metadata::Partition;
use highwater_proto::record::Compression;
use highwater_proto::{BrokerId, ErrorCode};
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::*;
use tokio::net::TcpStream;

use super::support::{Cluster, wait_for};
use super::wire::{Wire, batch, name, produce};

/// Three brokers, each with a Kafka listener, two of them on one rack.
async fn on_two_racks() -> Cluster {
    let mut cluster = Cluster::of(3).on_racks(&["near", "near", "far"]);
    cluster.start_all().await;
    cluster
}

impl Cluster {
    async fn wire(&self, id: i32) -> Wire {
        Wire::to(TcpStream::connect(self.brokers[&id].kafka_addrs()[0]).await.unwrap())
    }

    /// A topic of one partition, held by these, and known to all brokers.
    async fn create(&self, topic: &str, replicas: &[i32]) {
        let assignment = CreatableReplicaAssignment::default().with_broker_ids(ids(replicas));
        let wanted = creatable(topic).with_assignments(vec![assignment]);
        let created = create(&mut self.wire(1).await, wanted).await;
        assert_eq!(created.error_code, 0, "{created:?}");
        assert_eq!(i32::from(created.replication_factor), replicas.len() as i32);
        self.all_see_partition(topic, "a leader", |partition| {
            partition.leader == Some(BrokerId(replicas[0]))
        })
        .await;
    }

    /// Waits until every broker sees partition 0 of the topic so.
    async fn all_see_partition(&self, topic: &str, what: &str, holds: impl Fn(&Partition) -> bool) {
        self.all_see(what, |image| image.topic_named(topic).is_some_and(|topic| holds(&topic.partitions[0])))
            .await;
    }

    fn topic_id(&self, topic: &str) -> uuid::Uuid {
        let image = self.brokers.values().next().unwrap().services().image();
        uuid::Uuid::from_bytes(image.topic_named(topic).unwrap().id.0)
    }
}

fn ids(of: &[i32]) -> Vec<kafka_protocol::messages::BrokerId> {
    of.iter().map(|id| kafka_protocol::messages::BrokerId(*id)).collect()
}

fn creatable(topic: &str) -> CreatableTopic {
    CreatableTopic::default().with_name(name(topic)).with_num_partitions(-1).with_replication_factor(-1)
}

async fn create(
    wire: &mut Wire,
    topic: CreatableTopic,
) -> kafka_protocol::messages::create_topics_response::CreatableTopicResult {
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    let mut response: CreateTopicsResponse = wire.ask(ApiKey::CreateTopics, 7, &request).await;
    response.topics.remove(0)
}

/// One fetch of partition 0, for as many as 200 ms.
async fn fetch(
    wire: &mut Wire,
    id: uuid::Uuid,
    offset: i64,
    epoch: i32,
    rack: &'static str,
) -> (kafka_protocol::messages::fetch_response::PartitionData, FetchResponse) {
    let partition = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_current_leader_epoch(epoch)
        .with_partition_max_bytes(1 << 20);
    let request = FetchRequest::default()
        .with_max_wait_ms(200)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_rack_id(kafka_protocol::protocol::StrBytes::from_static_str(rack))
        .with_topics(vec![FetchTopic::default().with_topic_id(id).with_partitions(vec![partition])]);
    let mut response: FetchResponse = wire.ask(ApiKey::Fetch, 17, &request).await;
    (response.responses[0].partitions.remove(0), response)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_the_wrong_broker_is_told_the_leader_and_where_it_is() {
    let cluster = on_two_racks().await;
    cluster.create("t", &[2, 3]).await;
    let leader = cluster.brokers[&2].kafka_addrs()[0];
    for wrong in [1, 3] {
        let mut wire = cluster.wire(wrong).await;
        let request = produce("t", 0, -1, batch(Compression::None, &["a"]));
        let response: ProduceResponse = wire.ask(ApiKey::Produce, 10, &request).await;
        let refused = &response.responses[0].partition_responses[0];
        assert_eq!(refused.error_code, ErrorCode::NotLeaderOrFollower.number(), "broker {wrong}");
        assert_eq!((refused.current_leader.leader_id.0, refused.current_leader.leader_epoch), (2, 0));
        let [node] = &response.node_endpoints[..] else { panic!("{response:?}") };
        assert_eq!((node.node_id.0, node.port), (2, i32::from(leader.port())));
        assert_eq!(node.rack.as_deref(), Some("near"));
        let old: ProduceResponse = wire.ask(ApiKey::Produce, 9, &request).await;
        assert!(old.node_endpoints.is_empty(), "version 9 has no place for it");
    }
    let (refused, response) = fetch(&mut cluster.wire(1).await, cluster.topic_id("t"), 0, 0, "").await;
    assert_eq!(refused.error_code, ErrorCode::NotLeaderOrFollower.number());
    assert_eq!((refused.current_leader.leader_id.0, refused.current_leader.leader_epoch), (2, 0));
    assert_eq!(response.node_endpoints[0].port, i32::from(leader.port()));
    let (unknown, _) = fetch(&mut cluster.wire(2).await, cluster.topic_id("t"), 0, 7, "").await;
    assert_eq!(unknown.error_code, ErrorCode::UnknownLeaderEpoch.number());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_get_the_replicas_that_were_asked_for_or_the_right_error() {
    let cluster = on_two_racks().await;
    let mut wire = cluster.wire(2).await;
    let created =
        create(&mut wire, creatable("three").with_num_partitions(2).with_replication_factor(3)).await;
    assert_eq!((created.error_code, created.replication_factor, created.num_partitions), (0, 3, 2));
    let many = create(&mut wire, creatable("four").with_num_partitions(1).with_replication_factor(4)).await;
    assert_eq!(many.error_code, ErrorCode::InvalidReplicationFactor.number());
    let message = many.error_message.unwrap();
    assert!(message.contains('4') && message.contains('3'), "{message}");
    let by_hand = |lists: &[&[i32]]| {
        let assignment = |(index, list): (i32, &&[i32])| {
            CreatableReplicaAssignment::default().with_partition_index(index).with_broker_ids(ids(list))
        };
        creatable("by-hand").with_assignments((0..).zip(lists).map(assignment).collect())
    };
    let cases: [(&str, &[&[i32]]); 4] = [
        ("a broker that is not there", &[&[1, 9]]),
        ("a broker twice", &[&[1, 1]]),
        ("nobody", &[&[]]),
        ("lists of different lengths", &[&[1, 2], &[3]]),
    ];
    for (what, lists) in cases {
        let refused = create(&mut wire, by_hand(lists)).await;
        assert_eq!(refused.error_code, ErrorCode::InvalidReplicaAssignment.number(), "{what}");
    }
    let created = create(&mut wire, by_hand(&[&[3, 1], &[2, 3]])).await;
    assert_eq!((created.error_code, created.replication_factor, created.num_partitions), (0, 2, 2));
    let more = |list: &[i32], count| {
        let assignment = CreatePartitionsAssignment::default().with_broker_ids(ids(list));
        let topic = CreatePartitionsTopic::default()
            .with_name(name("by-hand"))
            .with_count(count)
            .with_assignments(Some(vec![assignment]));
        CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000)
    };
    for (list, count, code) in [
        (&[1][..], 3, ErrorCode::InvalidReplicaAssignment),
        (&[1, 8], 3, ErrorCode::InvalidReplicaAssignment),
        (&[1, 2], 4, ErrorCode::InvalidReplicaAssignment),
        (&[1, 2], 3, ErrorCode::None),
    ] {
        let response: CreatePartitionsResponse =
            wire.ask(ApiKey::CreatePartitions, 3, &more(list, count)).await;
        assert_eq!(response.results[0].error_code, code.number(), "{list:?} for {count}");
    }
    let image = cluster.brokers[&2].services().image();
    let held: Vec<Vec<i32>> = image.topic_named("by-hand").unwrap().partitions.iter().map(numbers).collect();
    assert_eq!(held, [vec![3, 1], vec![2, 3], vec![1, 2]]);
    cluster.end().await;
}

fn numbers(partition: &Partition) -> Vec<i32> {
    partition.replicas.iter().map(|id| id.0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_move_leaders_are_elected_and_fenced_brokers_are_told_of() {
    let mut cluster = on_two_racks().await;
    cluster.create("t", &[1, 2]).await;
    let mut wire = cluster.wire(2).await;
    let moved = |index: i32, to: Option<&[i32]>| {
        let partition =
            ReassignablePartition::default().with_partition_index(index).with_replicas(to.map(ids));
        let topic = ReassignableTopic::default().with_name(name("t")).with_partitions(vec![partition]);
        AlterPartitionReassignmentsRequest::default().with_topics(vec![topic])
    };
    for (index, to, code) in [
        (0, None, ErrorCode::NoReassignmentInProgress),
        (5, Some(&[1, 3][..]), ErrorCode::UnknownTopicOrPartition),
        (0, Some(&[1, 7]), ErrorCode::InvalidReplicaAssignment),
        (0, Some(&[3, 2]), ErrorCode::None),
    ] {
        let response: AlterPartitionReassignmentsResponse =
            wire.ask(ApiKey::AlterPartitionReassignments, 0, &moved(index, to)).await;
        assert_eq!(response.responses[0].partitions[0].error_code, code.number(), "{index} to {to:?}");
    }
    let kept = moved(0, Some(&[1])).with_allow_replication_factor_change(false);
    let response: AlterPartitionReassignmentsResponse =
        wire.ask(ApiKey::AlterPartitionReassignments, 1, &kept).await;
    let refused = &response.responses[0].partitions[0];
    assert_eq!(refused.error_code, ErrorCode::InvalidReplicationFactor.number());
    cluster
        .all_see_partition("t", "the move over", |now| numbers(now) == [3, 2] && !now.is_reassigning())
        .await;
    let list = ListPartitionReassignmentsRequest::default().with_topics(None);
    let response: ListPartitionReassignmentsResponse =
        wire.ask(ApiKey::ListPartitionReassignments, 0, &list).await;
    assert!(response.topics.is_empty(), "{response:?}");

    cluster.all_see_partition("t", "broker 3 in sync", |now| now.isr.len() == 2).await;
    let elect = |kind, index| {
        let topic = TopicPartitions::default().with_topic(name("t")).with_partitions(vec![index]);
        ElectLeadersRequest::default().with_election_type(kind).with_topic_partitions(Some(vec![topic]))
    };
    let elected: ElectLeadersResponse = wire.ask(ApiKey::ElectLeaders, 2, &elect(0, 0)).await;
    let code = elected.replica_election_results[0].partition_result[0].error_code;
    assert!([0, ErrorCode::ElectionNotNeeded.number()].contains(&code), "{elected:?}");
    cluster.all_see_partition("t", "broker 3 lead", |now| now.leader == Some(BrokerId(3))).await;
    for (kind, index, code) in [
        (0, 0, ErrorCode::ElectionNotNeeded),
        (1, 0, ErrorCode::ElectionNotNeeded),
        (0, 4, ErrorCode::UnknownTopicOrPartition),
    ] {
        let elected: ElectLeadersResponse = wire.ask(ApiKey::ElectLeaders, 2, &elect(kind, index)).await;
        let result = &elected.replica_election_results[0].partition_result[0];
        assert_eq!(result.error_code, code.number(), "{elected:?}");
    }
    let unknown: ElectLeadersResponse = wire.ask(ApiKey::ElectLeaders, 2, &elect(7, 0)).await;
    assert_eq!(unknown.error_code, ErrorCode::InvalidRequest.number());

    cluster.stop(3).await;
    cluster.all_see_partition("t", "broker 2 lead", |now| now.leader == Some(BrokerId(2))).await;
    let elected: ElectLeadersResponse = wire.ask(ApiKey::ElectLeaders, 2, &elect(0, 0)).await;
    let result = &elected.replica_election_results[0].partition_result[0];
    assert_eq!(result.error_code, ErrorCode::PreferredLeaderNotAvailable.number());
    let ask = |fenced| DescribeClusterRequest::default().with_include_fenced_brokers(fenced);
    let active: DescribeClusterResponse = wire.ask(ApiKey::DescribeCluster, 2, &ask(false)).await;
    assert_eq!(active.brokers.iter().map(|broker| broker.broker_id.0).collect::<Vec<_>>(), [1, 2]);
    let all: DescribeClusterResponse = wire.ask(ApiKey::DescribeCluster, 2, &ask(true)).await;
    let known: Vec<_> = all.brokers.iter().map(|broker| (broker.broker_id.0, broker.is_fenced)).collect();
    assert_eq!(known, [(1, false), (2, false), (3, true)]);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_names_its_rack_reads_from_a_replica_in_sync_on_that_rack() {
    let mut cluster = on_two_racks().await;
    cluster.create("t", &[1, 3]).await;
    let id = cluster.topic_id("t");
    let mut leader = cluster.wire(1).await;
    assert_eq!(leader.produce("t", 0, batch(Compression::None, &["a", "b"])).await.error_code, 0);
    let (near, _) = fetch(&mut leader, id, 0, 0, "near").await;
    assert!(near.preferred_read_replica.0 == -1 && !near.records.unwrap().is_empty(), "the leader is near");
    let (nowhere, _) = fetch(&mut leader, id, 0, 0, "elsewhere").await;
    assert!(nowhere.preferred_read_replica.0 == -1 && !nowhere.records.unwrap().is_empty());
    let (far, _) = fetch(&mut leader, id, 0, 0, "far").await;
    assert_eq!((far.error_code, far.preferred_read_replica.0, far.high_watermark), (0, 3, 2));
    assert!(far.records.unwrap_or_default().is_empty());

    let mut follower = cluster.wire(3).await;
    let (without, _) = fetch(&mut follower, id, 0, 0, "").await;
    assert_eq!(without.error_code, ErrorCode::NotLeaderOrFollower.number(), "it named no rack");
    assert_eq!(without.current_leader.leader_id.0, 1);
    wait_for("the follower to know what is committed", async || {
        let (read, _) = fetch(&mut follower, id, 0, 0, "far").await;
        assert_eq!((read.error_code, read.preferred_read_replica.0), (0, -1));
        read.high_watermark == 2 && !read.records.unwrap_or_default().is_empty()
    })
    .await;
    // What a follower has says nothing of what there is: no client may start over because of it.
    let (beyond, _) = fetch(&mut follower, id, 99, 0, "far").await;
    assert_eq!(beyond.error_code, ErrorCode::OffsetNotAvailable.number());
    let (beyond, _) = fetch(&mut leader, id, 99, 0, "far").await;
    assert_eq!(beyond.error_code, ErrorCode::OffsetOutOfRange.number(), "the leader may say so");
    let (stale, _) = fetch(&mut follower, id, 0, 7, "far").await;
    assert_eq!(stale.error_code, ErrorCode::UnknownLeaderEpoch.number());

    cluster.stop(3).await;
    cluster.all_see_partition("t", "broker 3 out of sync", |now| now.isr == [BrokerId(1)]).await;
    let (alone, _) = fetch(&mut leader, id, 0, 0, "far").await;
    assert!(alone.preferred_read_replica.0 == -1 && !alone.records.unwrap().is_empty());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_fail_over_epochs_are_fenced_and_the_old_ones_end_where_they_ended() {
    let mut cluster = on_two_racks().await;
    cluster.create("t", &[2, 3]).await;
    let mut first = cluster.wire(2).await;
    assert_eq!(first.produce("t", 0, batch(Compression::None, &["a", "b", "c"])).await.error_code, 0);
    cluster.stop(2).await;
    cluster.all_see_partition("t", "broker 3 lead", |now| now.leader == Some(BrokerId(3))).await;
    let epoch = {
        let image = cluster.brokers[&3].services().image();
        image.topic_named("t").unwrap().partitions[0].leader_epoch.0
    };
    assert!(epoch > 0);
    let mut second = cluster.wire(3).await;
    assert_eq!(second.produce("t", 0, batch(Compression::None, &["d"])).await.base_offset, 3);
    let (fenced, _) = fetch(&mut second, cluster.topic_id("t"), 0, 0, "").await;
    assert_eq!(fenced.error_code, ErrorCode::FencedLeaderEpoch.number());
    let ask = |epoch: i32| {
        use kafka_protocol::messages::offset_for_leader_epoch_request::*;
        let partition = OffsetForLeaderPartition::default().with_leader_epoch(epoch);
        let topic = OffsetForLeaderTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
        OffsetForLeaderEpochRequest::default()
            .with_replica_id(kafka_protocol::messages::BrokerId(-1))
            .with_topics(vec![topic])
    };
    for (asked, known, end) in [(0, 0, 3), (epoch, epoch, 4), (epoch + 1, -1, -1)] {
        let answer: OffsetForLeaderEpochResponse =
            second.ask(ApiKey::OffsetForLeaderEpoch, 4, &ask(asked)).await;
        let found = &answer.topics[0].partitions[0];
        assert_eq!((found.error_code, found.leader_epoch, found.end_offset), (0, known, end), "{asked}");
    }
    cluster.end().await;
}
