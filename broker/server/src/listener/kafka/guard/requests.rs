//! The shape of every request that is served, over the versions that the codec knows, in the order of their API keys.

use super::schema::{
    Kind, Request, Struct, array, boolean, int8, int16, int32, int32s, int64, nullable_array, nullable_bytes,
    nullable_string, optional, string, structure, uuid,
};

/// Every request.
pub(super) const REQUESTS: &[Request] = &[
    Request::new(0, (3, 13), 9, &PRODUCE),
    Request::new(1, (4, 18), 12, &FETCH),
    Request::new(2, (1, 10), 6, &LIST_OFFSETS),
    Request::new(3, (0, 13), 9, &METADATA),
    Request::new(10, (0, 6), 3, &FIND_COORDINATOR),
    Request::new(18, (0, 4), 3, &API_VERSIONS),
    Request::new(19, (2, 7), 5, &CREATE_TOPICS),
    Request::new(20, (1, 6), 4, &DELETE_TOPICS),
    Request::new(21, (0, 2), 2, &DELETE_RECORDS),
    Request::new(22, (0, 5), 2, &INIT_PRODUCER_ID),
    Request::new(23, (2, 4), 4, &OFFSET_FOR_LEADER_EPOCH),
    Request::new(32, (1, 4), 4, &DESCRIBE_CONFIGS),
    Request::new(33, (0, 2), 2, &ALTER_CONFIGS),
    Request::new(35, (1, 4), 2, &DESCRIBE_LOG_DIRS),
    Request::new(37, (0, 3), 2, &CREATE_PARTITIONS),
    Request::new(43, (0, 2), 2, &ELECT_LEADERS),
    Request::new(44, (0, 1), 1, &INCREMENTAL_ALTER_CONFIGS),
    Request::new(45, (0, 1), 0, &ALTER_PARTITION_REASSIGNMENTS),
    Request::new(46, (0, 0), 0, &LIST_PARTITION_REASSIGNMENTS),
    Request::new(60, (0, 2), 0, &DESCRIBE_CLUSTER),
    Request::new(61, (0, 0), 0, &DESCRIBE_PRODUCERS),
    Request::new(75, (0, 0), 0, &DESCRIBE_TOPIC_PARTITIONS),
];

const TEXT: Kind = Kind::Text(super::schema::Null::Never);

const PRODUCE: Struct = Struct::of(&[
    nullable_string("transactional_id"),
    int16("acks"),
    int32("timeout_ms"),
    array("topic_data", &Kind::Struct(&PRODUCE_TOPIC)),
]);
const PRODUCE_TOPIC: Struct = Struct::of(&[
    string("name").until(12),
    uuid("topic_id").since(13),
    array("partition_data", &Kind::Struct(&PRODUCE_PARTITION)),
]);
const PRODUCE_PARTITION: Struct = Struct::of(&[int32("index"), nullable_bytes("records")]);

const FETCH: Struct = Struct::tagged(
    &[
        int32("replica_id").until(14),
        int32("max_wait_ms"),
        int32("min_bytes"),
        int32("max_bytes"),
        int8("isolation_level"),
        int32("session_id").since(7),
        int32("session_epoch").since(7),
        array("topics", &Kind::Struct(&FETCH_TOPIC)),
        array("forgotten_topics_data", &Kind::Struct(&FORGOTTEN_TOPIC)).since(7),
        string("rack_id").since(11),
    ],
    &[nullable_string("cluster_id").tag(0), structure("replica_state", &REPLICA_STATE).since(15).tag(1)],
);
const REPLICA_STATE: Struct = Struct::of(&[int32("replica_id"), int64("replica_epoch")]);
const FETCH_TOPIC: Struct = Struct::of(&[
    string("topic").until(12),
    uuid("topic_id").since(13),
    array("partitions", &Kind::Struct(&FETCH_PARTITION)),
]);
const FETCH_PARTITION: Struct = Struct::tagged(
    &[
        int32("partition"),
        int32("current_leader_epoch").since(9),
        int64("fetch_offset"),
        int32("last_fetched_epoch").since(12),
        int64("log_start_offset").since(5),
        int32("partition_max_bytes"),
    ],
    &[uuid("replica_directory_id").since(17).tag(0), int64("high_watermark").since(18).tag(1)],
);
const FORGOTTEN_TOPIC: Struct =
    Struct::of(&[string("topic").until(12), uuid("topic_id").since(13), int32s("partitions")]);

const LIST_OFFSETS: Struct = Struct::of(&[
    int32("replica_id"),
    int8("isolation_level").since(2),
    array("topics", &Kind::Struct(&LIST_OFFSETS_TOPIC)),
    int32("timeout_ms").since(10),
]);
const LIST_OFFSETS_TOPIC: Struct =
    Struct::of(&[string("name"), array("partitions", &Kind::Struct(&LIST_OFFSETS_PARTITION))]);
const LIST_OFFSETS_PARTITION: Struct =
    Struct::of(&[int32("partition_index"), int32("current_leader_epoch").since(4), int64("timestamp")]);

const METADATA: Struct = Struct::of(&[
    nullable_array("topics", &Kind::Struct(&METADATA_TOPIC)),
    boolean("allow_auto_topic_creation").since(4),
    boolean("include_cluster_authorized_operations").since(8).until(10),
    boolean("include_topic_authorized_operations").since(8),
]);
const METADATA_TOPIC: Struct = Struct::of(&[uuid("topic_id").since(10), nullable_string("name")]);

const FIND_COORDINATOR: Struct = Struct::of(&[
    string("key").until(3),
    int8("key_type").since(1),
    array("coordinator_keys", &TEXT).since(4),
]);

const API_VERSIONS: Struct =
    Struct::of(&[string("client_software_name").since(3), string("client_software_version").since(3)]);

const CREATE_TOPICS: Struct = Struct::of(&[
    array("topics", &Kind::Struct(&CREATABLE_TOPIC)),
    int32("timeout_ms"),
    boolean("validate_only"),
]);
const CREATABLE_TOPIC: Struct = Struct::of(&[
    string("name"),
    int32("num_partitions"),
    int16("replication_factor"),
    array("assignments", &Kind::Struct(&CREATABLE_ASSIGNMENT)),
    array("configs", &Kind::Struct(&CREATABLE_CONFIG)),
]);
const CREATABLE_ASSIGNMENT: Struct = Struct::of(&[int32("partition_index"), int32s("broker_ids")]);
const CREATABLE_CONFIG: Struct = Struct::of(&[string("name"), nullable_string("value")]);

const DELETE_TOPICS: Struct = Struct::of(&[
    array("topics", &Kind::Struct(&DELETE_TOPIC)).since(6),
    array("topic_names", &TEXT).until(5),
    int32("timeout_ms"),
]);
const DELETE_TOPIC: Struct = Struct::of(&[nullable_string("name"), uuid("topic_id")]);

const DELETE_RECORDS: Struct =
    Struct::of(&[array("topics", &Kind::Struct(&DELETE_RECORDS_TOPIC)), int32("timeout_ms")]);
const DELETE_RECORDS_TOPIC: Struct =
    Struct::of(&[string("name"), array("partitions", &Kind::Struct(&DELETE_RECORDS_PARTITION))]);
const DELETE_RECORDS_PARTITION: Struct = Struct::of(&[int32("partition_index"), int64("offset")]);

const INIT_PRODUCER_ID: Struct = Struct::of(&[
    nullable_string("transactional_id"),
    int32("transaction_timeout_ms"),
    int64("producer_id").since(3),
    int16("producer_epoch").since(3),
]);

const OFFSET_FOR_LEADER_EPOCH: Struct =
    Struct::of(&[int32("replica_id").since(3), array("topics", &Kind::Struct(&EPOCH_TOPIC))]);
const EPOCH_TOPIC: Struct =
    Struct::of(&[string("topic"), array("partitions", &Kind::Struct(&EPOCH_PARTITION))]);
const EPOCH_PARTITION: Struct =
    Struct::of(&[int32("partition"), int32("current_leader_epoch"), int32("leader_epoch")]);

const DESCRIBE_CONFIGS: Struct = Struct::of(&[
    array("resources", &Kind::Struct(&DESCRIBE_CONFIGS_RESOURCE)),
    boolean("include_synonyms"),
    boolean("include_documentation").since(3),
]);
const DESCRIBE_CONFIGS_RESOURCE: Struct = Struct::of(&[
    int8("resource_type"),
    string("resource_name"),
    nullable_array("configuration_keys", &TEXT),
]);

const ALTER_CONFIGS: Struct =
    Struct::of(&[array("resources", &Kind::Struct(&ALTER_CONFIGS_RESOURCE)), boolean("validate_only")]);
const ALTER_CONFIGS_RESOURCE: Struct = Struct::of(&[
    int8("resource_type"),
    string("resource_name"),
    array("configs", &Kind::Struct(&ALTERABLE_CONFIG)),
]);
const ALTERABLE_CONFIG: Struct = Struct::of(&[string("name"), nullable_string("value")]);

const DESCRIBE_LOG_DIRS: Struct =
    Struct::of(&[nullable_array("topics", &Kind::Struct(&DESCRIBE_LOG_DIRS_TOPIC))]);
const DESCRIBE_LOG_DIRS_TOPIC: Struct = Struct::of(&[string("topic"), int32s("partitions")]);

const CREATE_PARTITIONS: Struct = Struct::of(&[
    array("topics", &Kind::Struct(&CREATE_PARTITIONS_TOPIC)),
    int32("timeout_ms"),
    boolean("validate_only"),
]);
const CREATE_PARTITIONS_TOPIC: Struct = Struct::of(&[
    string("name"),
    int32("count"),
    nullable_array("assignments", &Kind::Struct(&CREATE_PARTITIONS_ASSIGNMENT)),
]);
const CREATE_PARTITIONS_ASSIGNMENT: Struct = Struct::of(&[int32s("broker_ids")]);

const ELECT_LEADERS: Struct = Struct::of(&[
    int8("election_type").since(1),
    nullable_array("topic_partitions", &Kind::Struct(&ELECT_LEADERS_TOPIC)),
    int32("timeout_ms"),
]);
const ELECT_LEADERS_TOPIC: Struct = Struct::of(&[string("topic"), int32s("partitions")]);

const INCREMENTAL_ALTER_CONFIGS: Struct = Struct::of(&[
    array("resources", &Kind::Struct(&INCREMENTAL_ALTER_CONFIGS_RESOURCE)),
    boolean("validate_only"),
]);
const INCREMENTAL_ALTER_CONFIGS_RESOURCE: Struct = Struct::of(&[
    int8("resource_type"),
    string("resource_name"),
    array("configs", &Kind::Struct(&INCREMENTAL_CONFIG)),
]);
const INCREMENTAL_CONFIG: Struct =
    Struct::of(&[string("name"), int8("config_operation"), nullable_string("value")]);

const ALTER_PARTITION_REASSIGNMENTS: Struct = Struct::of(&[
    int32("timeout_ms"),
    boolean("allow_replication_factor_change").since(1),
    array("topics", &Kind::Struct(&REASSIGNABLE_TOPIC)),
]);
const REASSIGNABLE_TOPIC: Struct =
    Struct::of(&[string("name"), array("partitions", &Kind::Struct(&REASSIGNABLE_PARTITION))]);
const REASSIGNABLE_PARTITION: Struct =
    Struct::of(&[int32("partition_index"), nullable_array("replicas", &Kind::Fixed(4))]);

const LIST_PARTITION_REASSIGNMENTS: Struct =
    Struct::of(&[int32("timeout_ms"), nullable_array("topics", &Kind::Struct(&LIST_REASSIGNMENTS_TOPIC))]);
const LIST_REASSIGNMENTS_TOPIC: Struct = Struct::of(&[string("name"), int32s("partition_indexes")]);

const DESCRIBE_CLUSTER: Struct = Struct::of(&[
    boolean("include_cluster_authorized_operations"),
    int8("endpoint_type").since(1),
    boolean("include_fenced_brokers").since(2),
]);

const DESCRIBE_PRODUCERS: Struct = Struct::of(&[array("topics", &Kind::Struct(&DESCRIBE_PRODUCERS_TOPIC))]);
const DESCRIBE_PRODUCERS_TOPIC: Struct = Struct::of(&[string("name"), int32s("partition_indexes")]);

const DESCRIBE_TOPIC_PARTITIONS: Struct = Struct::of(&[
    array("topics", &Kind::Struct(&TOPIC_PARTITIONS_TOPIC)),
    int32("response_partition_limit"),
    optional("cursor", &TOPIC_PARTITIONS_CURSOR),
]);
const TOPIC_PARTITIONS_TOPIC: Struct = Struct::of(&[string("name")]);
const TOPIC_PARTITIONS_CURSOR: Struct = Struct::of(&[string("topic_name"), int32("partition_index")]);
