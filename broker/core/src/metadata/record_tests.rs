//! The bytes of the records, which may never change.

use prost::Message;

use super::*;

fn bytes(change: change::Change) -> Vec<u8> {
    Record::from(change).encode_to_vec()
}

#[test]
fn the_tags_of_topics_are_pinned() {
    let created = change::TopicCreated {
        topic_id: vec![1; 16],
        name: "t".into(),
        partitions: 2,
        configs: vec![ConfigValue { name: "k".into(), value: Some("v".into()) }],
        created_ms: 3,
        assignments: Vec::new(),
    };
    let golden = [
        &[0x0a, 33, 0x0a, 16][..],
        &[1; 16],
        &[0x12, 1, b't', 0x18, 2, 0x22, 6, 0x0a, 1, b'k', 0x12, 1, b'v', 0x28, 3],
    ];
    assert_eq!(bytes(change::Change::TopicCreated(created)), golden.concat());
    let taken = change::ProducerIdsTaken { end: 1000 };
    assert_eq!(bytes(change::Change::ProducerIdsTaken(taken)), [0x2a, 3, 0x08, 0xe8, 0x07]);
    let added = change::PartitionsAdded {
        topic_id: vec![7],
        partitions: 2,
        assignments: vec![PartitionState {
            replicas: vec![1, 2],
            isr: vec![3],
            elr: vec![4],
            last_known_elr: vec![5],
            leader: Some(6),
            leader_epoch: 7,
            partition_epoch: 8,
            adding: vec![9],
            removing: vec![10],
            recovering: true,
            last_leader: Some(11),
        }],
    };
    let state = [
        0x0a, 2, 1, 2, 0x12, 1, 3, 0x1a, 1, 4, 0x22, 1, 5, 0x28, 6, 0x30, 7, 0x38, 8, 0x42, 1, 9, 0x4a, 1,
        10, 0x50, 1, 0x58, 11,
    ];
    let golden = [&[0x1a, 36, 0x0a, 1, 7, 0x10, 2, 0x1a, 29][..], &state];
    assert_eq!(bytes(change::Change::PartitionsAdded(added)), golden.concat());
}

#[test]
fn the_tags_of_brokers_are_pinned() {
    let registered = change::BrokerRegistered {
        broker_id: 1,
        epoch: 2,
        served_epoch: Some(3),
        incarnation: vec![4],
        disk_id: "d".into(),
        peer: "p".into(),
        grpc: "g".into(),
        kafka: vec![KafkaAddress { name: "n".into(), host: "h".into(), port: 5 }],
        admin: "a".into(),
        rack: Some("r".into()),
        version: 6,
        fenced: true,
        draining: true,
        stopping: true,
        deposed_at: 9,
    };
    let golden = [
        0x42, 44, 0x08, 1, 0x10, 2, 0x18, 3, 0x22, 1, 4, 0x2a, 1, b'd', 0x32, 1, b'p', 0x3a, 1, b'g', 0x42,
        8, 0x0a, 1, b'n', 0x12, 1, b'h', 0x18, 5, 0x4a, 1, b'a', 0x52, 1, b'r', 0x58, 6, 0x60, 1, 0x68, 1,
        0x70, 1, 0x78, 9,
    ];
    assert_eq!(bytes(change::Change::BrokerRegistered(registered)), golden);
    let changed = change::BrokerChanged {
        broker_id: 1,
        fenced: Some(false),
        draining: Some(true),
        stopping: Some(false),
    };
    assert_eq!(bytes(change::Change::BrokerChanged(changed)), [0x52, 8, 0x08, 1, 0x10, 0, 0x18, 1, 0x20, 0]);
    let gone = change::BrokerUnregistered { broker_id: 3 };
    assert_eq!(bytes(change::Change::BrokerUnregistered(gone)), [0x4a, 2, 0x08, 3]);
    let taken = change::BrokerIdTaken { broker_id: 3 };
    assert_eq!(bytes(change::Change::BrokerIdTaken(taken)), [0x3a, 2, 0x08, 3]);
    let formed = change::ClusterFormed { cluster_id: vec![8], name: "c".into(), broker_ids: vec![1, 2] };
    let golden = [0x32, 10, 0x0a, 1, 8, 0x12, 1, b'c', 0x1a, 2, 1, 2];
    assert_eq!(bytes(change::Change::ClusterFormed(formed)), golden);
}

#[test]
fn the_tags_of_changed_partitions_entries_and_snapshots_are_pinned() {
    let list = |id| Some(BrokerIds { ids: vec![id] });
    let changed = change::PartitionChanged {
        topic_id: vec![7],
        partition: 1,
        leader: Some(-1),
        replicas: list(2),
        isr: Some(BrokerIds { ids: Vec::new() }),
        elr: list(3),
        last_known_elr: list(4),
        adding: list(5),
        removing: list(6),
        recovering: Some(false),
    };
    let minus_one = [0xff; 9];
    let golden = [
        &[0x5a, 45, 0x0a, 1, 7, 0x10, 1, 0x18][..],
        &minus_one,
        &[0x01, 0x22, 3, 0x0a, 1, 2, 0x2a, 0, 0x32, 3, 0x0a, 1, 3, 0x3a, 3, 0x0a, 1, 4, 0x42, 3, 0x0a, 1, 5],
        &[0x4a, 3, 0x0a, 1, 6, 0x50, 0],
    ];
    assert_eq!(bytes(change::Change::PartitionChanged(changed)), golden.concat());
    let raised = change::MetadataVersionRaised { version: 2 };
    assert_eq!(bytes(change::Change::MetadataVersionRaised(raised)), [0x62, 2, 0x08, 2]);
    let taken = change::SnapshotTaken { accepted: 1, next_broker_id: 2, unregistered_ids: vec![3] };
    assert_eq!(bytes(change::Change::SnapshotTaken(taken)), [0x6a, 7, 0x08, 1, 0x10, 2, 0x1a, 1, 3]);
    let entry = Entry { version: 1, based_on: 2, records: vec![Record { change: None }] };
    assert_eq!(entry.encode_to_vec(), [0x08, 1, 0x10, 2, 0x1a, 0]);
}
