//! The one list of what is served, in which versions, by whom.

use std::pin::Pin;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::Decodable;

use super::answer::{Envelope, Refusal};
use super::context::Context;
use super::{api, guard};

/// An answer that is being made.
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Bytes, Refusal>> + Send>>;

/// How an API is carried out.
#[derive(Clone, Copy)]
pub(super) enum Call {
    /// Batches are appended at once; the answer follows when they are safe.
    Produce,
    /// Reads with the connection's fetch session.
    Fetch,
    /// One call of the services.
    Plain(fn(Context, Envelope, Bytes) -> Answering),
}

/// One API.
pub(super) struct Api {
    /// Its number.
    pub(super) key: ApiKey,
    /// The oldest version that is carried out.
    pub(super) min: i16,
    /// The newest.
    pub(super) max: i16,
    /// The oldest version that clients are told of.
    pub(super) advertised_min: i16,
    /// How.
    pub(super) call: Call,
}

/// Reads a request's body after the guard found its counts and lengths to be true.
pub(super) fn decode<R: Decodable>(envelope: &Envelope, mut body: Bytes) -> Result<R, Refusal> {
    let Envelope { key, version, .. } = *envelope;
    guard::check(key as i16, version, &body).map_err(|error| Refusal::Malformed {
        key,
        version,
        problem: error.to_string(),
    })?;
    R::decode(&mut body, version).map_err(|error| Refusal::Malformed {
        key,
        version,
        problem: error.to_string(),
    })
}

macro_rules! plain {
    ($request:ident, $handler:ident) => {
        Call::Plain(|context, envelope, body| {
            Box::pin(async move {
                let request = decode::<kafka_protocol::messages::$request>(&envelope, body)?;
                let response = api::$handler::handle(&context, request, envelope.version).await;
                envelope.encode(&response)
            })
        })
    };
}

const fn api(key: ApiKey, min: i16, max: i16, call: Call) -> Api {
    Api { key, min, max, advertised_min: min, call }
}

/// Everything that is served.
pub(super) static APIS: &[Api] = &[
    // Clients take an oldest version above 0 for a broker without compression, so 0 is advertised (KAFKA-18659).
    Api { key: ApiKey::Produce, min: 3, max: 12, advertised_min: 0, call: Call::Produce },
    api(ApiKey::Fetch, 4, 17, Call::Fetch),
    api(ApiKey::ListOffsets, 1, 10, plain!(ListOffsetsRequest, list_offsets)),
    api(ApiKey::Metadata, 0, 13, plain!(MetadataRequest, metadata)),
    api(ApiKey::FindCoordinator, 0, 6, plain!(FindCoordinatorRequest, find_coordinator)),
    api(ApiKey::ApiVersions, 0, 4, plain!(ApiVersionsRequest, api_versions)),
    api(ApiKey::CreateTopics, 2, 7, plain!(CreateTopicsRequest, create_topics)),
    api(ApiKey::DeleteTopics, 1, 6, plain!(DeleteTopicsRequest, delete_topics)),
    api(ApiKey::DeleteRecords, 0, 2, plain!(DeleteRecordsRequest, delete_records)),
    api(ApiKey::InitProducerId, 0, 5, plain!(InitProducerIdRequest, init_producer_id)),
    api(ApiKey::OffsetForLeaderEpoch, 2, 4, plain!(OffsetForLeaderEpochRequest, offset_for_leader_epoch)),
    api(ApiKey::DescribeConfigs, 1, 4, plain!(DescribeConfigsRequest, describe_configs)),
    api(ApiKey::AlterConfigs, 0, 2, plain!(AlterConfigsRequest, alter_configs)),
    api(ApiKey::DescribeLogDirs, 1, 4, plain!(DescribeLogDirsRequest, describe_log_dirs)),
    api(ApiKey::CreatePartitions, 0, 3, plain!(CreatePartitionsRequest, create_partitions)),
    api(ApiKey::ElectLeaders, 0, 2, plain!(ElectLeadersRequest, elect_leaders)),
    api(
        ApiKey::IncrementalAlterConfigs,
        0,
        1,
        plain!(IncrementalAlterConfigsRequest, incremental_alter_configs),
    ),
    api(
        ApiKey::AlterPartitionReassignments,
        0,
        1,
        plain!(AlterPartitionReassignmentsRequest, alter_partition_reassignments),
    ),
    api(
        ApiKey::ListPartitionReassignments,
        0,
        0,
        plain!(ListPartitionReassignmentsRequest, list_partition_reassignments),
    ),
    api(ApiKey::DescribeCluster, 0, 2, plain!(DescribeClusterRequest, describe_cluster)),
    api(ApiKey::DescribeProducers, 0, 0, plain!(DescribeProducersRequest, describe_producers)),
    api(
        ApiKey::DescribeTopicPartitions,
        0,
        0,
        plain!(DescribeTopicPartitionsRequest, describe_topic_partitions),
    ),
];

/// Looks an API up by its number.
pub(super) fn find(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key as i16 == key)
}
