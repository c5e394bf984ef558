"""librdkafka, by its Python binding confluent-kafka."""
import functools
import sys
import time

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   OffsetSpec, ResourceType)
from driver_common import Failure, serve, told, unb64

BOOTSTRAP = {"bootstrap.servers": sys.argv[1]}


def hello():
    return {"client": "confluent-kafka (librdkafka)",
            "version": f"{confluent_kafka.__version__} ({confluent_kafka.libversion()[0]})", "cannot": []}


def produce(topic, partition, records, codec="none", acks=-1, idempotent=False, max_request=None):
    settings = dict(BOOTSTRAP, acks=acks, **{"compression.type": codec, "linger.ms": 50, "message.timeout.ms": 20000,
                                             "enable.idempotence": idempotent})
    if max_request:
        settings["message.max.bytes"] = max_request
    producer, results = Producer(settings), [None] * len(records)
    for index, record in enumerate(records):
        def delivered(error, message, index=index):
            results[index] = error if error else message.offset()
        extra = {} if record["timestamp"] is None else {"timestamp": record["timestamp"]}
        producer.produce(topic, unb64(record["value"]), unb64(record["key"]), partition, on_delivery=delivered,
                         headers=[(name, unb64(value)) for name, value in record["headers"]], **extra)
    if producer.flush(25):
        raise Failure(None, "NotFlushed", "records were left over")
    for result in results:
        if isinstance(result, KafkaError):
            raise KafkaException(result)
    return {"offsets": [offset if acks else None for offset in results]}


def consume(topic, partition, offset, count, timeout_s=15):
    consumer = Consumer(dict(BOOTSTRAP, **{"group.id": "unused", "enable.auto.commit": False,
                                           "auto.offset.reset": "error", "allow.auto.create.topics": False}))
    consumer.assign([TopicPartition(topic, partition, offset)])
    found, deadline = [], time.monotonic() + timeout_s
    while len(found) < count and time.monotonic() < deadline:
        for message in consumer.consume(count - len(found), 0.2):
            if message.error():
                raise KafkaException(message.error())
            found.append(told(message.offset(), message.timestamp()[1], message.key(), message.value(), message.headers()))
    consumer.close()
    return {"records": found}


def list_offsets(topic, partition, at):
    specs = {"earliest": OffsetSpec.earliest, "latest": OffsetSpec.latest, "max-timestamp": OffsetSpec.max_timestamp}
    spec = specs[at]() if at in specs else OffsetSpec.for_timestamp(at)
    where = TopicPartition(topic, partition)
    answer = admin().list_offsets({where: spec}, request_timeout=10)[where].result()
    return {"offset": answer.offset, "timestamp": answer.timestamp}


@functools.cache
def admin():
    """One for all: its answers are lost when it goes."""
    return AdminClient(BOOTSTRAP)


def first(futures):
    return next(iter(futures.values())).result()


def create_topic(name, partitions=1, configs=None, validate_only=False):
    first(admin().create_topics([NewTopic(name, partitions, 1, config=configs or {})], validate_only=validate_only,
                                request_timeout=10))
    return {}


def delete_topic(name):
    first(admin().delete_topics([name], request_timeout=10))
    return {}


def describe_topic(name):
    answer = first(admin().describe_topics(confluent_kafka.TopicCollection([name]), request_timeout=10))
    return {"partitions": len(answer.partitions)}


def create_partitions(name, count):
    first(admin().create_partitions([NewPartitions(name, count)], request_timeout=10))
    return {}


def describe_configs(name):
    answer = first(admin().describe_configs([ConfigResource(ResourceType.TOPIC, name)], request_timeout=10))
    return {key: {"value": entry.value, "default": entry.is_default} for key, entry in answer.items()}


def alter_configs(name, changes, incremental=True):
    resource = ConfigResource(ResourceType.TOPIC, name)
    if not incremental:
        for key, value in changes.items():
            resource.set_config(key, value)
        first(admin().alter_configs([resource], request_timeout=10))
        return {}
    for key, value in changes.items():
        operation = AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET
        resource.add_incremental_config(ConfigEntry(key, value, incremental_operation=operation))
    first(admin().incremental_alter_configs([resource], request_timeout=10))
    return {}


def delete_records(topic, partition, before):
    answer = first(admin().delete_records([TopicPartition(topic, partition, before)], request_timeout=10))
    return {"low_watermark": answer.low_watermark}


def describe_cluster():
    answer = admin().describe_cluster(request_timeout=10).result()
    return {"nodes": len(answer.nodes), "cluster_id": answer.cluster_id}


def error_of(error):
    inner = error.args[0] if isinstance(error, KafkaException) else error
    if isinstance(inner, KafkaError):
        return {"code": inner.code(), "name": inner.name(), "message": inner.str()}
    return {"code": getattr(error, "code", None), "name": type(error).__name__, "message": str(error)}


if __name__ == "__main__":
    serve({function.__name__: function for function in (
        hello, produce, consume, list_offsets, create_topic, delete_topic, describe_topic, create_partitions,
        describe_configs, alter_configs, delete_records, describe_cluster)}, error_of=error_of)
