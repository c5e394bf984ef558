//! The codec's side, for tests and fuzzing: decode and encode by API key.

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Request};

/// What the codec makes of a body.
#[derive(Debug)]
pub(in crate::listener::kafka::guard) struct Decoded {
    /// Bytes after the end of the message.
    pub(in crate::listener::kafka::guard) rest: usize,
    /// The message, encoded again.
    pub(in crate::listener::kafka::guard) encoded: Bytes,
    /// The message, for comparing.
    pub(in crate::listener::kafka::guard) text: String,
}

/// The codec's functions for one request.
pub(in crate::listener::kafka::guard) struct Codec {
    pub(in crate::listener::kafka::guard) api_key: i16,
    pub(in crate::listener::kafka::guard) versions: (i16, i16),
    /// `None` when it is refused.
    pub(in crate::listener::kafka::guard) decode: fn(version: i16, body: &Bytes) -> Option<Decoded>,
    /// Decodes and drops.
    pub(in crate::listener::kafka::guard) decode_only: fn(version: i16, body: Bytes),
    /// A message whose fields all have their defaults, if there is one in this version.
    pub(in crate::listener::kafka::guard) default: fn(version: i16) -> Option<Bytes>,
}

const fn codec<R: Request + Default + Debug>() -> Codec {
    Codec {
        api_key: R::KEY,
        versions: (R::VERSIONS.min, R::VERSIONS.max),
        decode: decode::<R>,
        decode_only: decode_only::<R>,
        default: default::<R>,
    }
}

/// Every request that is served.
pub(in crate::listener::kafka::guard) const CODECS: &[Codec] = &[
    codec::<ProduceRequest>(),
    codec::<FetchRequest>(),
    codec::<ListOffsetsRequest>(),
    codec::<MetadataRequest>(),
    codec::<FindCoordinatorRequest>(),
    codec::<ApiVersionsRequest>(),
    codec::<CreateTopicsRequest>(),
    codec::<DeleteTopicsRequest>(),
    codec::<DeleteRecordsRequest>(),
    codec::<InitProducerIdRequest>(),
    codec::<OffsetForLeaderEpochRequest>(),
    codec::<DescribeConfigsRequest>(),
    codec::<AlterConfigsRequest>(),
    codec::<DescribeLogDirsRequest>(),
    codec::<CreatePartitionsRequest>(),
    codec::<ElectLeadersRequest>(),
    codec::<IncrementalAlterConfigsRequest>(),
    codec::<AlterPartitionReassignmentsRequest>(),
    codec::<ListPartitionReassignmentsRequest>(),
    codec::<DescribeClusterRequest>(),
    codec::<DescribeProducersRequest>(),
    codec::<DescribeTopicPartitionsRequest>(),
];

pub(in crate::listener::kafka::guard) fn codec_of(api_key: i16) -> &'static Codec {
    CODECS.iter().find(|codec| codec.api_key == api_key).expect("every request has its codec here")
}

fn decode<R: Decodable + Encodable + Debug>(version: i16, body: &Bytes) -> Option<Decoded> {
    let mut rest = body.clone();
    let message = R::decode(&mut rest, version).ok()?;
    let mut encoded = BytesMut::new();
    message.encode(&mut encoded, version).expect("what was decoded can be encoded");
    Some(Decoded { rest: rest.len(), encoded: encoded.freeze(), text: format!("{message:?}") })
}

fn decode_only<R: Decodable>(version: i16, mut body: Bytes) {
    drop(R::decode(&mut body, version));
}

fn default<R: Encodable + Default>(version: i16) -> Option<Bytes> {
    let mut encoded = BytesMut::new();
    R::default().encode(&mut encoded, version).ok()?;
    Some(encoded.freeze())
}
