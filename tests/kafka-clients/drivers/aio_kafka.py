"""aiokafka."""
import asyncio
import sys
import time

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code
from driver_common import Failure, Unsupported, serve, told, unb64

BOOTSTRAP = sys.argv[1]
LOOP = asyncio.new_event_loop()


def hello():
    return {"client": "aiokafka", "version": aiokafka.__version__, "cannot": ["null-record"]}


def run(answer):
    return LOOP.run_until_complete(answer) if asyncio.iscoroutine(answer) else answer


async def produce(topic, partition, records, codec="none", acks=-1, idempotent=False, max_request=None):
    more = {"max_request_size": max_request} if max_request else {}
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all" if acks == -1 else acks, linger_ms=50,
                                         compression_type=None if codec == "none" else codec,
                                         enable_idempotence=idempotent, max_batch_size=1 << 18, **more)
    async with producer:
        futures = [await producer.send(topic, unb64(one["value"]), unb64(one["key"]), partition, one["timestamp"],
                                       [(name, unb64(value)) for name, value in one["headers"]]) for one in records]
        await producer.flush()
        answers = [await asyncio.wait_for(future, 20) for future in futures]
    return {"offsets": [answer.offset for answer in answers] if acks else [None] * len(records)}


async def consume(topic, partition, offset, count, timeout_s=15):
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, enable_auto_commit=False, group_id=None,
                                         auto_offset_reset="none")
    where = aiokafka.TopicPartition(topic, partition)
    found, deadline = [], time.monotonic() + timeout_s
    async with consumer:
        consumer.assign([where])
        consumer.seek(where, offset)
        while True:
            for record in (await consumer.getmany(where, timeout_ms=200)).get(where, []):
                found.append(told(record.offset, record.timestamp, record.key, record.value, record.headers))
            if len(found) >= count or time.monotonic() > deadline:
                break
    return {"records": found[:count]}


async def list_offsets(topic, partition, at):
    if at == "max-timestamp":
        raise Unsupported("aiokafka does not ask for it")
    where = aiokafka.TopicPartition(topic, partition)
    async with aiokafka.AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=None) as consumer:
        if at == "earliest":
            return {"offset": (await consumer.beginning_offsets([where]))[where]}
        if at == "latest":
            return {"offset": (await consumer.end_offsets([where]))[where]}
        answer = (await consumer.offsets_for_times({where: at}))[where]
        return {"offset": answer.offset if answer else None}


def administrating(function):
    async def with_admin(**arguments):
        admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
        await admin.start()
        try:
            return await function(admin, **arguments)
        finally:
            await admin.close()
    with_admin.__name__ = function.__name__
    return with_admin


def check(code, message=""):
    if code:
        raise Failure(code, for_code(code).__name__, str(message))


@administrating
async def create_topic(admin, name, partitions=1, configs=None, validate_only=False):
    answer = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs or {})],
                                       validate_only=validate_only)
    for _, code, *message in answer.topic_errors:
        check(code, message)
    return {}


@administrating
async def delete_topic(admin, name):
    for _, code, *message in (await admin.delete_topics([name])).topic_error_codes:
        check(code, message)
    return {}


@administrating
async def describe_topic(admin, name):
    # Of all topics: asked for one by name, aiokafka lets the broker create it.
    found = [topic for topic in await admin.describe_topics() if topic["topic"] == name]
    check(found[0]["error_code"] if found else 3)
    return {"partitions": len(found[0]["partitions"])}


@administrating
async def create_partitions(admin, name, count):
    await admin.create_partitions({name: NewPartitions(count)})
    return {}


@administrating
async def describe_configs(admin, name):
    answer = (await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)]))[0].to_object()
    resource = answer["resources"][0]
    check(resource["error_code"], resource["error_message"])
    return {entry["config_names"]: {"value": entry["config_value"], "default": entry["config_source"] == 5}
            for entry in resource["config_entries"]}


@administrating
async def alter_configs(admin, name, changes, incremental=True):
    if incremental:
        raise Unsupported("aiokafka alters only as a whole")
    for answer in await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, changes)]):
        for code, message, *_ in answer.resources:
            check(code, message)
    return {}


@administrating
async def delete_records(admin, topic, partition, before):
    where = aiokafka.TopicPartition(topic, partition)
    answer = await admin.delete_records({where: RecordsToDelete(before)})
    return {"low_watermark": answer[where]}


@administrating
async def describe_cluster(admin):
    answer = await admin.describe_cluster()
    return {"nodes": len(answer["brokers"]), "cluster_id": answer["cluster_id"]}


if __name__ == "__main__":
    serve({function.__name__: function for function in (
        hello, produce, consume, list_offsets, create_topic, delete_topic, describe_topic, create_partitions,
        describe_configs, alter_configs, delete_records, describe_cluster)}, run)
