"""The administrative requests of the differential test; see differential_cases."""
import uuid

from differential_cases import CASES, case


# ---- CreateTopics, DeleteTopics, CreatePartitions, DeleteRecords

def create(side, name, partitions=1, replicas=1, validate=False, assignments=(), **configs):
    topic = {"Name": name, "NumPartitions": partitions, "ReplicationFactor": replicas, "Assignments": list(assignments),
             "Configs": [{"Name": key.replace("_", "."), "Value": value} for key, value in configs.items()]}
    return {"Topics": [topic], "timeoutMs": 10000, "validateOnly": validate}


@case("CreateTopics", topics=[("there", 1)])
def create_topics(side, version):
    new = side.topic("new")
    return [("plain", create(side, new, 2, retention_ms="1000")), ("again", create(side, new)),
            ("there", create(side, side.topic("there"))), ("validate", create(side, side.topic("not"), validate=True)),
            ("validate there", create(side, side.topic("there"), validate=True))]


@case("CreateTopics")
def create_topics_bad(side, version):
    name = side.topic("bad")
    return [("name", create(side, "no spaces")), ("empty name", create(side, "")), ("dot", create(side, ".")),
            ("long name", create(side, "n" * 250)), ("no partitions", create(side, name, 0)),
            ("-2 partitions", create(side, name, -2)), ("3 replicas", create(side, name, 1, 3)),
            ("0 replicas", create(side, name, 1, 0)), ("bad value", create(side, name, retention_ms="soon")),
            ("unknown setting", create(side, name, retention_mz="1")), ("null value", create(side, name, retention_ms=None)),
            ("bad list", create(side, name, cleanup_policy="burn")), ("negative", create(side, name, segment_bytes="-1")),
            ("same twice", {"Topics": create(side, name)["Topics"] * 2, "timeoutMs": 10000}),
            ("none", {"Topics": [], "timeoutMs": 10000})]


@case("CreateTopics")
def create_topics_assigned(side, version):
    assigned = [{"PartitionIndex": 0, "BrokerIds": [1]}]
    return [("with counts too", create(side, side.topic("a"), 1, 1, assignments=assigned)),
            ("unknown broker", create(side, side.topic("b"), -1, -1,
                                      assignments=[{"PartitionIndex": 0, "BrokerIds": [77]}]))]


@case("CreateTopics", "4+")
def create_topics_defaults(side, version):
    return [("", create(side, side.topic("d"), -1, -1))]


@case("DeleteTopics", "1-5", topics=[("one", 1)])
def delete_topics(side, version):
    return [("there", {"TopicNames": [side.topic("one")], "TimeoutMs": 10000}),
            ("gone", {"TopicNames": [side.topic("one")], "TimeoutMs": 10000}),
            ("none", {"TopicNames": [], "TimeoutMs": 10000})]


@case("DeleteTopics", "6+", topics=[("one", 1), ("two", 1)])
def delete_topics_either(side, version):
    return [("by name", {"Topics": [{"Name": side.topic("one")}], "TimeoutMs": 10000}),
            ("by id", {"Topics": [{"Name": None, "TopicId": side.topic_id("two")}], "TimeoutMs": 10000}),
            ("gone", {"Topics": [{"Name": side.topic("one")}], "TimeoutMs": 10000}),
            ("unknown id", {"Topics": [{"Name": None, "TopicId": uuid.UUID(int=7)}], "TimeoutMs": 10000})]


@case("CreatePartitions", topics=[("one", 2)])
def create_partitions(side, version):
    def ask(count, name=None, validate=False, assignments=None):
        return {"Topics": [{"Name": name or side.topic("one"), "Count": count, "Assignments": assignments}],
                "TimeoutMs": 10000, "ValidateOnly": validate}
    return [("validate", ask(5, validate=True)), ("three", ask(3)), ("same", ask(3)), ("fewer", ask(1)),
            ("unknown", ask(3, "absent-topic")), ("negative", ask(-1)),
            ("too few assignments", ask(5, assignments=[{"BrokerIds": [1]}]))]


@case("DeleteRecords", topics=[("one", 1)])
def delete_records(side, version):
    side.fill("one", 10)

    def ask(offset, topic=None, partition=0):
        return {"Topics": [{"Name": topic or side.topic("one"), "Partitions": [
            {"PartitionIndex": partition, "Offset": offset}]}], "TimeoutMs": 10000}
    return [("before 3", ask(3)), ("backwards", ask(1)), ("beyond", ask(11)), ("-2", ask(-2)), ("all", ask(-1)),
            ("partition", ask(1, partition=9)), ("topic", ask(1, "absent-topic"))]


# ---- configurations

def described(side, name=None, kind=2, keys=None, **more):
    return dict({"Resources": [{"ResourceType": kind, "ResourceName": name or side.topic("one"),
                                "ConfigurationKeys": keys}]}, **more)


SETTINGS = ["cleanup.policy", "compression.type", "delete.retention.ms", "index.interval.bytes", "max.compaction.lag.ms",
            "max.message.bytes", "message.timestamp.after.max.ms", "message.timestamp.before.max.ms",
            "message.timestamp.type", "min.cleanable.dirty.ratio", "min.compaction.lag.ms", "min.insync.replicas",
            "retention.bytes", "retention.ms", "segment.bytes", "segment.ms"]


@case("DescribeConfigs", topics=[("one", 1)])
def describe_configs(side, version):
    return [("settings that both have", described(side, keys=SETTINGS)), ("one", described(side, keys=["retention.ms"])),
            ("unknown key", described(side, keys=["retention.mz"])), ("no key", described(side, keys=[])),
            ("unknown topic", described(side, "absent-topic")), ("bad name", described(side, "no spaces")),
            ("kind 0", described(side, "x", 0)), ("unknown broker", described(side, "77", 4)),
            ("everything", described(side))]


@case("DescribeConfigs", topics=[("one", 1)])
def describe_configs_synonyms(side, version):
    return [("", described(side, keys=["retention.ms", "segment.bytes"], IncludeSynonyms=True))]


@case("DescribeConfigs", "3+", topics=[("one", 1)])
def describe_configs_documentation(side, version):
    return [("", described(side, keys=["retention.ms"], IncludeDocumentation=True))]


@case("AlterConfigs", topics=[("one", 1)])
def alter_configs(side, version):
    def ask(name=None, kind=2, validate=False, **configs):
        return {"Resources": [{"ResourceType": kind, "ResourceName": name or side.topic("one"), "Configs": [
            {"Name": key.replace("_", "."), "Value": value} for key, value in configs.items()]}], "ValidateOnly": validate}
    return [("good", ask(retention_ms="5000")), ("validate", ask(retention_ms="6000", validate=True)),
            ("bad", ask(retention_ms="soon")), ("unknown", ask(retention_mz="5")), ("null", ask(retention_ms=None)),
            ("topic", ask("absent-topic", retention_ms="5000")), ("all default", ask()), ("kind 0", ask(kind=0))]


@case("IncrementalAlterConfigs", topics=[("one", 1)])
def incremental_alter_configs(side, version):
    def ask(name, operation, value, topic=None, kind=2, validate=False):
        return {"Resources": [{"ResourceType": kind, "ResourceName": topic or side.topic("one"), "Configs": [
            {"Name": name, "ConfigOperation": operation, "Value": value}]}], "ValidateOnly": validate}
    return [("set", ask("retention.ms", 0, "5000")), ("validate", ask("retention.ms", 0, "6000", validate=True)),
            ("append", ask("cleanup.policy", 2, "compact")), ("subtract", ask("cleanup.policy", 3, "delete")),
            ("append to a number", ask("retention.ms", 2, "5")), ("delete", ask("retention.ms", 1, None)),
            ("delete what is not set", ask("segment.ms", 1, None)), ("bad", ask("retention.ms", 0, "soon")),
            ("unknown", ask("retention.mz", 0, "5")), ("null", ask("retention.ms", 0, None)),
            ("operation 9", ask("retention.ms", 9, "5")), ("topic", ask("retention.ms", 0, "5", "absent-topic")),
            ("same twice", {"Resources": [{"ResourceType": 2, "ResourceName": side.topic("one"), "Configs": [
                {"Name": "retention.ms", "ConfigOperation": 0, "Value": "1"},
                {"Name": "retention.ms", "ConfigOperation": 1, "Value": None}]}]})]


@case("DescribeConfigs", topics=[("one", 1)])
def describe_configs_altered(side, version):
    side.call("IncrementalAlterConfigs", 1, {"Resources": [{"ResourceType": 2, "ResourceName": side.topic("one"), "Configs": [
        {"Name": "retention.ms", "ConfigOperation": 0, "Value": "5000"}]}]})
    side.settled(lambda: described(side, keys=["retention.ms"]), "5000")
    return [("", described(side, keys=["retention.ms", "segment.ms"], IncludeSynonyms=True))]


# ---- the cluster, partitions, directories, producers

@case("DescribeCluster")
def describe_cluster(side, version):
    return [("", {}), ("operations", {"IncludeClusterAuthorizedOperations": True})]


@case("DescribeTopicPartitions", topics=[("one", 4)])
def describe_topic_partitions(side, version):
    def ask(limit=2000, cursor=None, *names):
        return {"Topics": [{"Name": name} for name in names or (side.topic("one"),)], "ResponsePartitionLimit": limit,
                "Cursor": cursor}
    return [("", ask()), ("two of four", ask(2)), ("the rest", ask(2000, {"TopicName": side.topic("one"), "PartitionIndex": 2})),
            ("unknown", ask(2000, None, "absent-topic")), ("bad name", ask(2000, None, "no spaces")), ("limit 0", ask(0))]


@case("DescribeLogDirs", topics=[("one", 2)])
def describe_log_dirs(side, version):
    side.fill("one", 3)
    return [("one", {"Topics": [{"Topic": side.topic("one"), "Partitions": [0, 1]}]}),
            ("unknown", {"Topics": [{"Topic": "absent-topic", "Partitions": [0]}]}), ("none", {"Topics": []})]


@case("DescribeProducers", topics=[("one", 1)])
def describe_producers(side, version):
    side.fill("one", 3, producer=True)

    def ask(topic=None, partition=0):
        return {"Topics": [{"Name": topic or side.topic("one"), "PartitionIndexes": [partition]}]}
    return [("", ask()), ("partition", ask(partition=9)), ("topic", ask("absent-topic"))]


assert CASES
