//! The codec that everybody uses reads what we encode by hand.

use kafka_protocol::messages::{ApiKey, FetchResponse};
use kafka_protocol::protocol::{Decodable, StrBytes};
use proptest::prelude::*;

use super::*;
use crate::listener::kafka::brokers::{LeaderHint, Reachable};

fn bytes_of(parts: &[Part]) -> Vec<u8> {
    let bytes = |part: &Part| match part {
        Part::Bytes(bytes) => bytes.to_vec(),
        Part::File(_) => unreachable!("no files here"),
    };
    parts.iter().flat_map(bytes).collect()
}

fn partition() -> impl Strategy<Value = PartitionPart> {
    let records = prop::collection::vec(
        prop::collection::vec(any::<u8>(), 1..200).prop_map(|bytes| Part::Bytes(bytes.into())),
        0..3,
    );
    let leader = any::<Option<(i16, i32)>>();
    (any::<i32>(), any::<i16>(), any::<[i64; 3]>(), any::<bool>(), records, leader, any::<Option<u16>>())
        .prop_map(
            |(
                index,
                error,
                [high_watermark, last_stable, log_start],
                aborted,
                records,
                leader,
                preferred,
            )| PartitionPart {
                index,
                error,
                high_watermark,
                last_stable,
                log_start,
                aborted: if aborted { Aborted::Empty } else { Aborted::Null },
                leader: leader.map(|(id, epoch)| (BrokerId(i32::from(id)), epoch)),
                preferred: preferred.map(|id| BrokerId(i32::from(id))),
                records,
            },
        )
}

fn topic() -> impl Strategy<Value = TopicPart> {
    let partitions = prop::collection::vec(partition(), 0..4);
    ("[a-z]{1,200}", any::<[u8; 16]>(), partitions).prop_map(|(name, id, partitions)| TopicPart {
        name: Bytes::from(name),
        id,
        partitions,
    })
}

fn hint() -> impl Strategy<Value = LeaderHint> {
    let text = |text: String| StrBytes::from_string(text);
    (0_i32..5, "[a-z.]{0,200}", any::<i32>(), proptest::option::of("[a-z]{0,9}")).prop_map(
        move |(id, host, port, rack)| LeaderHint {
            epoch: highwater_proto::LeaderEpoch(3),
            broker: Reachable { id: BrokerId(id), host: text(host), port, rack: rack.map(text) },
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_was_encoded_by_hand_decodes_to_the_same_in_every_version(
        version in 4_i16..=17,
        error in any::<i16>(),
        session in any::<i32>(),
        topics in prop::collection::vec(topic(), 0..3),
        hints in prop::collection::vec(hint(), 0..3),
    ) {
        let mut hinted = Hinted::default();
        let endpoints: std::collections::BTreeMap<BrokerId, _> = hints.iter().map(|hint| {
            let broker = &hint.broker;
            (broker.id, (broker.host.clone(), broker.port, broker.rack.clone()))
        }).collect();
        for hint in hints {
            hinted.note(hint);
        }
        let expected: Vec<_> = topics.iter().map(|topic| {
            let partitions: Vec<_> = topic.partitions.iter().map(|part| {
                (part.index, part.error, part.high_watermark, part.last_stable, part.log_start, part.aborted,
                    bytes_of(&part.records), part.leader, part.preferred)
            }).collect();
            (topic.name.clone(), topic.id, partitions)
        }).collect();
        let envelope = Envelope { key: ApiKey::Fetch, version, correlation: 7 };
        let parts = Response { error, session, topics, hinted }.encode(&envelope);
        let mut bytes = Bytes::from(bytes_of(&parts));
        let length = bytes.split_to(4);
        prop_assert_eq!(i32::from_be_bytes(length[..].try_into().unwrap()) as usize, bytes.len());
        prop_assert_eq!(&bytes.split_to(4)[..], &7_i32.to_be_bytes());
        if version >= FLEXIBLE {
            prop_assert_eq!(&bytes.split_to(1)[..], &[0]);
        }
        let decoded = FetchResponse::decode(&mut bytes, version).unwrap();
        prop_assert!(bytes.is_empty());
        if version >= 7 {
            prop_assert_eq!((decoded.error_code, decoded.session_id), (error, session));
        }
        let told: std::collections::BTreeMap<BrokerId, _> = decoded.node_endpoints.into_iter().map(|node| {
            (node.node_id, (node.host, node.port, node.rack))
        }).collect();
        prop_assert_eq!(told, if version >= HINTS { endpoints } else { std::collections::BTreeMap::new() });
        prop_assert_eq!(decoded.responses.len(), expected.len());
        for (topic, (name, id, partitions)) in decoded.responses.iter().zip(expected) {
            if version >= TOPIC_IDS {
                prop_assert_eq!(topic.topic_id.as_bytes(), &id);
            } else {
                prop_assert_eq!(topic.topic.0.as_bytes(), &name[..]);
            }
            prop_assert_eq!(topic.partitions.len(), partitions.len());
            for (part, (index, error, high_watermark, last_stable, log_start, aborted, records, leader, preferred)) in
                topic.partitions.iter().zip(partitions)
            {
                prop_assert_eq!((part.partition_index, part.error_code), (index, error));
                prop_assert_eq!((part.high_watermark, part.last_stable_offset), (high_watermark, last_stable));
                if version >= 5 {
                    prop_assert_eq!(part.log_start_offset, log_start);
                }
                prop_assert_eq!(part.aborted_transactions.is_none(), aborted == Aborted::Null);
                prop_assert_eq!(part.records.clone().unwrap_or_default(), records);
                let preferred = preferred.filter(|_| version >= 11).unwrap_or(BrokerId(-1));
                prop_assert_eq!(part.preferred_read_replica, preferred);
                let told = (part.current_leader.leader_id, part.current_leader.leader_epoch);
                prop_assert_eq!(told, leader.filter(|_| version >= HINTS).unwrap_or((BrokerId(-1), -1)));
            }
        }
    }
}
