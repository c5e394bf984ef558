//! The codec that everybody uses reads what we encode by hand.

use kafka_protocol::messages::{ApiKey, FetchResponse};
use kafka_protocol::protocol::Decodable;
use proptest::prelude::*;

use super::*;

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
    (any::<i32>(), any::<i16>(), any::<[i64; 3]>(), any::<bool>(), records).prop_map(
        |(index, error, [high_watermark, last_stable, log_start], aborted, records)| PartitionPart {
            index,
            error,
            high_watermark,
            last_stable,
            log_start,
            aborted: if aborted { Aborted::Empty } else { Aborted::Null },
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_was_encoded_by_hand_decodes_to_the_same_in_every_version(
        version in 4_i16..=17,
        error in any::<i16>(),
        session in any::<i32>(),
        topics in prop::collection::vec(topic(), 0..3),
    ) {
        let expected: Vec<_> = topics.iter().map(|topic| {
            let partitions: Vec<_> = topic.partitions.iter().map(|part| {
                (part.index, part.error, part.high_watermark, part.last_stable, part.log_start, part.aborted,
                    bytes_of(&part.records))
            }).collect();
            (topic.name.clone(), topic.id, partitions)
        }).collect();
        let envelope = Envelope { key: ApiKey::Fetch, version, correlation: 7 };
        let parts = Response { error, session, topics }.encode(&envelope);
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
        prop_assert_eq!(decoded.responses.len(), expected.len());
        for (topic, (name, id, partitions)) in decoded.responses.iter().zip(expected) {
            if version >= TOPIC_IDS {
                prop_assert_eq!(topic.topic_id.as_bytes(), &id);
            } else {
                prop_assert_eq!(topic.topic.0.as_bytes(), &name[..]);
            }
            prop_assert_eq!(topic.partitions.len(), partitions.len());
            for (part, (index, error, high_watermark, last_stable, log_start, aborted, records)) in
                topic.partitions.iter().zip(partitions)
            {
                prop_assert_eq!((part.partition_index, part.error_code), (index, error));
                prop_assert_eq!((part.high_watermark, part.last_stable_offset), (high_watermark, last_stable));
                if version >= 5 {
                    prop_assert_eq!(part.log_start_offset, log_start);
                }
                prop_assert_eq!(part.aborted_transactions.is_none(), aborted == Aborted::Null);
                prop_assert_eq!(part.records.clone().unwrap_or_default(), records);
            }
        }
    }
}
