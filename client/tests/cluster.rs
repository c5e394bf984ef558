//! The library against three real brokers: leaders stop under load, and the caller hears nothing of it.
#![expect(clippy::unwrap_used, reason = "tests and their helpers")]

#[path = "../../broker/server/tests/support/cluster.rs"]
mod support;

use std::time::Duration;

use highwater_client::{
    BrokerChange, BrokerId, BrokerState, Client, ClientConfig, ConsumerConfig, Election, ErrorCode, Move,
    NewTopic, NodeRole, Offset, PartitionIndex, Position, Producer, ProducerConfig, Record, TopicDescription,
};
use highwater_server::service::Image;

use support::{Cluster, wait_for};

impl Cluster {
    /// A client that was told of this broker only.
    async fn client_of(&self, id: i32) -> Client {
        let address = self.brokers[&id].grpc_addr().to_string();
        Client::connect(ClientConfig::new([address])).await.unwrap()
    }
}

fn leader_of(topic: &TopicDescription, partition: usize) -> i32 {
    topic.partitions[partition].leader.unwrap().0
}

fn is_whole(image: &Image) -> bool {
    image.topic_named("t").is_some_and(|topic| topic.partitions.iter().all(|now| now.isr.len() == 3))
}

/// Sends 0, 1, 2, ... to partition 0 until told to stop, and expects every one to be acknowledged at its own offset.
async fn write_numbers(producer: Producer, mut stop: tokio::sync::oneshot::Receiver<()>) -> i64 {
    let mut deliveries = Vec::new();
    let mut number = 0;
    while stop.try_recv().is_err() {
        let record = number.to_string();
        deliveries.push(producer.send(Record::new("t").partition(0).value(&record)).await.unwrap());
        number += 1;
        if number % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    for (delivery, expected) in deliveries.into_iter().zip(0..) {
        let offset = delivery.await.unwrap().offset;
        // A batch that turns out to be written already may come without its offset.
        assert!(offset.is_none_or(|offset| offset == Offset(expected)), "{offset:?} for {expected}");
    }
    number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_stop_one_after_the_other_and_every_record_comes_once_and_in_order() {
    let mut cluster = Cluster::serving(3).await;
    let client = cluster.client_of(2).await;
    let admin = client.admin();
    admin.create_topic(NewTopic::new("t").partitions(1).replication_factor(3)).await.unwrap();
    let producer = client.producer(ProducerConfig::default()).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let writer = tokio::spawn(write_numbers(producer, stopped));
    let reader_client = cluster.client_of(3).await;
    let (end, mut ended) = tokio::sync::watch::channel(i64::MAX);
    let reader = tokio::spawn(async move {
        let mut consumer = reader_client.consumer(ConsumerConfig::default());
        consumer.assign("t", 0, Position::Beginning).await.unwrap();
        let mut next = 0;
        while next < *ended.borrow_and_update() {
            for record in consumer.poll(Duration::from_millis(200)).await.unwrap().iter() {
                let record = record.unwrap();
                let value = std::str::from_utf8(record.value.as_deref().unwrap()).unwrap().to_owned();
                assert_eq!((record.offset, value), (Offset(next), next.to_string()), "each once, in order");
                next += 1;
            }
        }
        next
    });
    for _ in 0..3 {
        let leader = leader_of(&admin.describe_topic("t").await.unwrap(), 0);
        let end_of = async || admin.list_offsets("t", Position::End).await.unwrap()[0];
        let before = end_of().await;
        cluster.stop(leader).await;
        wait_for("writes to go on", async || end_of().await > before.advance(100)).await;
        assert_ne!(leader_of(&admin.describe_topic("t").await.unwrap(), 0), leader);
        cluster.start(leader).await;
        cluster.all_see("all in sync", is_whole).await;
    }
    stop.send(()).unwrap();
    let written = writer.await.unwrap();
    end.send(written).unwrap();
    assert_eq!(reader.await.unwrap(), written);
    assert_eq!(admin.list_offsets("t", Position::End).await.unwrap(), [Offset(written)], "none twice");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_about_partitions_reach_their_leaders_and_the_others_any_broker_that_lives() {
    let mut cluster = Cluster::serving(3).await;
    let client = cluster.client_of(1).await;
    let admin = client.admin();
    let created = admin.create_topic(NewTopic::new("t").partitions(3).replication_factor(3)).await.unwrap();
    assert_eq!((created.partitions, created.replication_factor), (3, 3));
    // Another broker may not have heard of the topic yet; no caller sees that.
    let other = cluster.client_of(3).await;
    assert_eq!(other.admin().list_offsets("t", Position::End).await.unwrap(), [Offset(0); 3]);
    let topic = other.admin().describe_topic("t").await.unwrap();
    let mut leaders: Vec<i32> = (0..3).map(|partition| leader_of(&topic, partition)).collect();
    leaders.sort_unstable();
    assert_eq!(leaders, [1, 2, 3], "each leads one");

    let producer = client.producer(ProducerConfig::default()).await.unwrap();
    for partition in 0..3 {
        for _ in 0..=partition {
            let sent = producer.send(Record::new("t").partition(partition).value("v")).await.unwrap();
            sent.await.unwrap();
        }
    }
    let ends = admin.list_offsets("t", Position::End).await.unwrap();
    assert_eq!(ends, [1, 2, 3].map(Offset));
    for partition in 0..3 {
        let start = admin.delete_records("t", PartitionIndex(partition), Some(Offset(1))).await.unwrap();
        assert_eq!(start, Offset(1));
    }
    assert_eq!(admin.list_offsets("t", Position::Beginning).await.unwrap(), [Offset(1); 3]);
    let too_far = admin.delete_records("t", PartitionIndex(0), Some(Offset(99))).await.unwrap_err();
    assert_eq!(too_far.code(), Some(ErrorCode::OffsetOutOfRange));
    let nowhere = admin.delete_records("t", PartitionIndex(9), None).await.unwrap_err();
    assert!(nowhere.is_not_found(), "{nowhere}");

    // The broker that this client was told of goes away; it knows the others by now.
    cluster.stop(1).await;
    admin.create_topic(NewTopic::new("later").replication_factor(2)).await.unwrap();
    assert_eq!(admin.list_offsets("t", Position::End).await.unwrap(), ends);
    admin.delete_topic("later").await.unwrap();
    assert!(admin.describe_topic("later").await.unwrap_err().is_not_found());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cluster_is_described_and_changed() {
    let cluster = Cluster::serving(3).await;
    let admin = cluster.client_of(2).await.admin();
    admin.create_topic(NewTopic::new("t").partitions(1).replication_factor(2)).await.unwrap();
    let status = admin.cluster_status().await.unwrap();
    assert!(status.controller.is_some());
    assert_eq!((status.topics, status.partitions, status.leaderless), (1, 1, 0));
    let ids: Vec<i32> = status.brokers.iter().map(|broker| broker.id.0).collect();
    assert_eq!(ids, [1, 2, 3]);
    for broker in &status.brokers {
        assert_eq!((broker.state, broker.role), (BrokerState::Active, NodeRole::Voter));
        assert!(broker.grpc.contains(':') && broker.peer.contains(':'));
    }

    let before = admin.describe_topic("t").await.unwrap().partitions.remove(0);
    assert_eq!(before.replica_states.len(), 2);
    let spare = [1, 2, 3].map(BrokerId).into_iter().find(|id| !before.replicas.contains(id)).unwrap();
    let wanted = vec![spare, before.replicas[0]];
    let one = Move { topic: "t".to_owned(), partition: PartitionIndex(0), replicas: Some(wanted.clone()) };
    let moved = admin.reassign(std::slice::from_ref(&one)).await.unwrap();
    assert!(moved[0].result.is_ok(), "{moved:?}");
    cluster
        .all_see("the replica moved", |image| {
            let now = &image.topic_named("t").unwrap().partitions[0];
            !now.is_reassigning() && now.replicas == wanted && now.isr.len() == 2
        })
        .await;
    let now = admin.describe_topic("t").await.unwrap().partitions.remove(0);
    assert_eq!((now.replicas, now.in_sync_replicas.len()), (wanted, 2));
    assert!(admin.list_reassignments().await.unwrap().is_empty());
    let back = admin.reassign(&[Move { replicas: None, ..one }]).await.unwrap();
    assert_eq!(back[0].result.as_ref().unwrap_err().code(), Some(ErrorCode::NoReassignmentInProgress));

    admin.elect_leaders(Election::Preferred, &[("t".to_owned(), PartitionIndex(0))]).await.unwrap();
    cluster
        .all_see("the preferred leader lead", |image| {
            image.topic_named("t").unwrap().partitions[0].leader == Some(spare)
        })
        .await;
    assert_eq!(admin.describe_topic("t").await.unwrap().partitions[0].leader, Some(spare));
    let unknown = admin.elect_leaders(Election::Preferred, &[("no".to_owned(), PartitionIndex(0))]).await;
    assert!(unknown.unwrap()[0].result.as_ref().unwrap_err().is_not_found());

    admin.change_broker(spare, BrokerChange::Drain).await.unwrap();
    cluster
        .all_see("the broker hold nothing", |image| {
            image.partitions().all(|(_, _, partition)| !partition.replicas.contains(&spare))
        })
        .await;
    let status = admin.cluster_status().await.unwrap();
    let broker = status.brokers.iter().find(|broker| broker.id == spare).unwrap();
    assert_eq!((broker.draining, broker.replicas), (true, 0));
    admin.change_broker(spare, BrokerChange::CancelDrain).await.unwrap();
    let live = admin.change_broker(spare, BrokerChange::Remove).await.unwrap_err();
    assert!(live.code().is_some() && !live.is_retriable(), "a broker that lives is not removed: {live}");
    cluster.end().await;
}
