"""kafka-python."""
import functools
import re
import sys
import time

import kafka
from driver_common import Failure, serve, told, unb64
from kafka.admin import (AlterConfigOp, ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic,
                         OffsetSpec)

BOOTSTRAP = sys.argv[1]


def hello():
    return {"client": "kafka-python", "version": kafka.__version__, "cannot": ["null-record", "null-header"],
            "quirks": ["a whole alter keeps the other settings"]}


def produce(topic, partition, records, codec="none", acks=-1, idempotent=False, max_request=None):
    more = {"max_request_size": max_request} if max_request else {}
    producer = kafka.KafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all" if acks == -1 else acks, linger_ms=50,
                                   compression_type=None if codec == "none" else codec, enable_idempotence=idempotent,
                                   batch_size=1 << 18, **more)
    futures = [producer.send(topic, unb64(one["value"]), unb64(one["key"]), partition=partition,
                             headers=[(name, unb64(value)) for name, value in one["headers"]],
                             timestamp_ms=one["timestamp"]) for one in records]
    producer.flush(25)
    offsets = [future.get(10).offset for future in futures]
    producer.close(5)
    return {"offsets": offsets if acks else [None] * len(records)}


def consume(topic, partition, offset, count, timeout_s=15):
    consumer = kafka.KafkaConsumer(bootstrap_servers=BOOTSTRAP, enable_auto_commit=False, group_id=None,
                                   auto_offset_reset="none", fetch_max_wait_ms=50)
    where = kafka.TopicPartition(topic, partition)
    consumer.assign([where])
    consumer.seek(where, offset)
    found, deadline = [], time.monotonic() + timeout_s
    while len(found) < count and time.monotonic() < deadline:
        for record in consumer.poll(200).get(where, []):
            found.append(told(record.offset, record.timestamp, record.key, record.value, record.headers))
    consumer.close()
    return {"records": found[:count]}


@functools.cache
def admin():
    return KafkaAdminClient(bootstrap_servers=BOOTSTRAP)


def list_offsets(topic, partition, at):
    where = kafka.TopicPartition(topic, partition)
    specs = {"earliest": OffsetSpec.EARLIEST, "latest": OffsetSpec.LATEST, "max-timestamp": OffsetSpec.MAX_TIMESTAMP}
    answer = admin().list_partition_offsets({where: specs.get(at, at)})[where]
    return {"offset": answer.offset if answer else None}


def create_topic(name, partitions=1, configs=None, validate_only=False):
    admin().create_topics([NewTopic(name, partitions, 1, topic_configs=configs or {})], validate_only=validate_only)
    return {}


def delete_topic(name):
    admin().delete_topics([name])
    return {}


def describe_topic(name):
    answer = admin().describe_topics([name])[0]
    code = answer["error_code"]
    if code:
        raise kafka.errors.for_code(code)(name)
    return {"partitions": len(answer["partitions"])}


def create_partitions(name, count):
    admin().create_partitions({name: NewPartitions(count)})
    return {}


def describe_configs(name):
    resource = ConfigResource(ConfigResourceType.TOPIC, name)
    answer = admin().describe_configs([resource], config_filter="all")["topic"][name]
    return {key: {"value": entry["value"], "default": entry["config_source"] == "DEFAULT_CONFIG"}
            for key, entry in answer.items()}


def alter_configs(name, changes, incremental=True):
    operations = {key: (AlterConfigOp.SET, value) if value is not None else (AlterConfigOp.DELETE, None)
                  for key, value in changes.items()} if incremental else changes
    resource = ConfigResource(ConfigResourceType.TOPIC, name, operations)
    outcome = admin().alter_configs([resource], incremental=incremental)["topic"][name]
    found = re.match(r"\[Error (\d+)\] (\w+)", str(outcome))
    if found and found[1] != "0":
        raise Failure(int(found[1]), found[2], str(outcome))
    return {}


def delete_records(topic, partition, before):
    where = kafka.TopicPartition(topic, partition)
    answer = admin().delete_records({where: before})
    return {"low_watermark": answer[where]["low_watermark"]}


def describe_cluster():
    answer = admin().describe_cluster()
    return {"nodes": len(answer["brokers"]), "cluster_id": answer["cluster_id"]}


if __name__ == "__main__":
    serve({function.__name__: function for function in (
        hello, produce, consume, list_offsets, create_topic, delete_topic, describe_topic, create_partitions,
        describe_configs, alter_configs, delete_records, describe_cluster)})
