"""The requests of the differential test. A case is asked at every version that both brokers serve.

A case gets its side of the comparison and the version, and returns the steps: pairs of a label and a request, or a
function from the answers so far to a request.
"""
import random
import time as clock
import uuid

import wire

# Young enough for every retention, and the same on both sides.
T0 = int(clock.time()) * 1000 - 3_600_000
CASES = []


def case(name, versions="0+", topics=()):
    """Registers a case of an API; `topics` are made for it at every version, each `(suffix, partitions)`."""
    def register(function):
        CASES.append((name, function.__name__, versions, topics, function))
        return function
    return register


def batch(*values, time=T0, **wrong):
    return wire.batch([(b"k", value) for value in values or (b"v",)], time, **wrong)


# ---- ApiVersions, Metadata

@case("ApiVersions")
def api_versions(side, version):
    return [("", {"ClientSoftwareName": "differential", "ClientSoftwareVersion": "1"})]


@case("ApiVersions", "3+")
def api_versions_bad_name(side, version):
    return [("", {"ClientSoftwareName": "", "ClientSoftwareVersion": "!"})]


@case("Metadata", topics=[("one", 3)])
def metadata_known(side, version):
    return [("", {"Topics": [{"Name": side.topic("one")}], "AllowAutoTopicCreation": False})]


@case("Metadata", "1+")
def metadata_none(side, version):
    return [("", {"Topics": []})]


@case("Metadata", "4+")
def metadata_unknown(side, version):
    return [("", {"Topics": [{"Name": "differential-absent"}], "AllowAutoTopicCreation": False})]


@case("Metadata", "4+")
def metadata_bad_name(side, version):
    return [("", {"Topics": [{"Name": "no spaces"}], "AllowAutoTopicCreation": True})]


@case("Metadata", "12+", topics=[("one", 1)])
def metadata_by_id(side, version):
    return [("", {"Topics": [{"Name": None, "TopicId": side.topic_id("one")}], "AllowAutoTopicCreation": False}),
            ("unknown", {"Topics": [{"Name": None, "TopicId": uuid.UUID(int=7)}], "AllowAutoTopicCreation": False})]


@case("Metadata", "8-10", topics=[("one", 1)])
def metadata_operations(side, version):
    return [("", {"Topics": [{"Name": side.topic("one")}], "AllowAutoTopicCreation": False,
                  "IncludeTopicAuthorizedOperations": True, "IncludeClusterAuthorizedOperations": True})]


# ---- Produce

def produce(side, records, topic="one", partition=0, acks=-1, name=None):
    return {"Acks": acks, "TimeoutMs": 5000, "TopicData": [
        {"Name": name or side.topic(topic), "TopicId": side.topic_id(topic) if name is None else uuid.UUID(int=7),
         "PartitionData": [{"Index": partition, "Records": records}]}]}


@case("Produce", topics=[("one", 2)])
def produce_good(side, version):
    return [("all", produce(side, batch(b"a", b"b"))), ("leader", produce(side, batch(b"c"), acks=1)),
            ("other partition", produce(side, batch(b"d"), partition=1))]


@case("Produce", topics=[("one", 1)])
def produce_elsewhere(side, version):
    return [("partition", produce(side, batch(), partition=5)), ("topic", produce(side, batch(), name="absent-topic")),
            ("negative partition", produce(side, batch(), partition=-1))]


@case("Produce", topics=[("one", 1)])
def produce_bad_acks(side, version):
    return [("", produce(side, batch(), acks=2)), ("", produce(side, batch(), acks=-2))]


@case("Produce", topics=[("one", 1)])
def produce_bad_batches(side, version):
    good = batch(b"a", b"b")
    return [
        ("crc", produce(side, batch(crc=1))), ("magic 0", produce(side, batch(magic=0))),
        ("magic 1", produce(side, batch(magic=1))), ("magic 3", produce(side, batch(magic=3))),
        ("count too high", produce(side, batch(count=7))), ("count 0", produce(side, batch(count=0))),
        ("count negative", produce(side, batch(count=-1))), ("delta", produce(side, batch(b"a", b"b", last_delta=9))),
        # Null records are not among them: Kafka 4.3 never answers those.
        ("empty", produce(side, b"")), ("half", produce(side, good[:-3])),
        ("header only", produce(side, good[:61])), ("less than a header", produce(side, good[:20])),
        ("length too small", produce(side, batch(length=5))), ("length negative", produce(side, batch(length=-1))),
        ("length too large", produce(side, batch(length=1 << 20))), ("two batches", produce(side, good + good)),
        ("base offset 9", produce(side, batch(base_offset=9))),
        ("control", produce(side, batch(attributes=0x20))), ("transactional", produce(side, batch(attributes=0x10))),
        ("codec 5", produce(side, batch(attributes=5))), ("codec 7", produce(side, batch(attributes=7))),
        ("zstd that is not", produce(side, batch(attributes=4))), ("gzip that is not", produce(side, batch(attributes=1))),
        ("unknown attributes", produce(side, batch(attributes=0x100))),
        ("log append time", produce(side, batch(attributes=8))),
        ("far future", produce(side, batch(time=T0 + 40 * 365 * 86_400_000))), ("no time", produce(side, batch(time=-1))),
        ("afterwards", produce(side, good)),
    ]


@case("Produce", topics=[("one", 1)])
def produce_too_large(side, version):
    return [("", produce(side, batch(random.Random(1).randbytes(1_100_000))))]


@case("Produce", topics=[("one", 1), ("two", 1)])
def produce_many_topics(side, version):
    request = produce(side, batch())
    request["TopicData"] += produce(side, batch(), topic="two")["TopicData"]
    request["TopicData"] += produce(side, batch(), name="absent-topic")["TopicData"]
    return [("", request)]


@case("Produce", topics=[("one", 1)])
def produce_idempotent(side, version):
    def as_producer(sequence, epoch=0, count=2):
        values = [b"x"] * count
        return produce(side, batch(*values, producer=(side.producer_id, epoch, sequence)))
    return [("first", as_producer(0)), ("second", as_producer(2)), ("second again", as_producer(2)),
            ("first again", as_producer(0)), ("gap", as_producer(9)), ("third", as_producer(4)),
            ("newer epoch at 3", as_producer(3, 1)), ("newer epoch", as_producer(0, 1)), ("older epoch", as_producer(6)),
            ("no epoch", as_producer(0, -1)), ("no sequence", as_producer(-1, 1))]


@case("Produce", topics=[("one", 1)])
def produce_transactional(side, version):
    request = produce(side, batch(attributes=0x10, producer=(side.producer_id, 0, 0)))
    return [("", dict(request, TransactionalId="differential"))]


# ---- Fetch

def fetch(side, version, *parts, session=(0, -1), forgotten=(), **more):
    """`parts` are `(topic, partition, offset)` with more fields of the partition after them."""
    topics = []
    for topic, partition, offset, *fields in parts:
        one = {"Partition": partition, "FetchOffset": offset, "PartitionMaxBytes": 1 << 20, **(fields[0] if fields else {})}
        topics.append(dict(side.named(topic, version, 13), Partitions=[one]))
    return dict({"MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1 << 24, "ReplicaId": -1, "SessionId": session[0],
                 "SessionEpoch": session[1], "Topics": topics, "ForgottenTopicsData": [
                     dict(side.named(topic, version, 13), Partitions=[partition]) for topic, partition in forgotten]}, **more)


@case("Fetch")
def fetch_good(side, version):
    return [("start", fetch(side, version, ("data", 0, 0))), ("inside a batch", fetch(side, version, ("data", 0, 12))),
            ("end", fetch(side, version, ("data", 0, 30))), ("empty", fetch(side, version, ("data", 1, 0))),
            ("committed", fetch(side, version, ("data", 0, 0), IsolationLevel=1)),
            ("two", fetch(side, version, ("data", 0, 20), ("other", 0, 0)))]


@case("Fetch")
def fetch_sizes(side, version):
    return [("first batch whole", fetch(side, version, ("data", 0, 0, {"PartitionMaxBytes": 1}))),
            ("max bytes", fetch(side, version, ("data", 0, 0), MaxBytes=1)),
            ("two batches", fetch(side, version, ("data", 0, 0, {"PartitionMaxBytes": 700}))),
            ("second partition none", fetch(side, version, ("data", 0, 0), ("other", 0, 0), MaxBytes=1)),
            ("partition 0 bytes", fetch(side, version, ("data", 0, 0, {"PartitionMaxBytes": 0}))),
            ("negative", fetch(side, version, ("data", 0, 0, {"PartitionMaxBytes": -1}))),
            ("min bytes unmet", fetch(side, version, ("data", 0, 30), MinBytes=1, MaxWaitMs=50))]


@case("Fetch")
def fetch_bad(side, version):
    return [("beyond", fetch(side, version, ("data", 0, 31))), ("far", fetch(side, version, ("data", 0, 1 << 40))),
            ("negative", fetch(side, version, ("data", 0, -1))), ("partition", fetch(side, version, ("data", 9, 0))),
            ("topic", fetch(side, version, ("absent", 0, 0))), ("nothing", fetch(side, version)),
            ("isolation 7", fetch(side, version, ("data", 0, 0), IsolationLevel=7))]


@case("Fetch", "9+")
def fetch_epochs(side, version):
    return [("right", fetch(side, version, ("data", 0, 0, {"CurrentLeaderEpoch": 0}))),
            ("newer", fetch(side, version, ("data", 0, 0, {"CurrentLeaderEpoch": 9}))),
            ("below none", fetch(side, version, ("data", 0, 0, {"CurrentLeaderEpoch": -5})))]


@case("Fetch", "12+")
def fetch_last_epoch(side, version):
    return [("right", fetch(side, version, ("data", 0, 30, {"LastFetchedEpoch": 0}))),
            ("newer", fetch(side, version, ("data", 0, 30, {"LastFetchedEpoch": 3})))]


@case("Fetch", "7+")
def fetch_sessions(side, version):
    def incremental(epoch, *parts, **more):
        return lambda answers: fetch(side, version, *parts, session=(answers[0]["SessionId"], epoch), **more)
    return [("open", fetch(side, version, ("data", 0, 0), ("other", 0, 0), session=(0, 0))),
            ("nothing new", incremental(1)), ("one moved", incremental(2, ("data", 0, 20))),
            ("one forgotten", incremental(3, forgotten=[("other", 0)])), ("back at start", incremental(4, ("data", 0, 0))),
            ("wrong epoch", incremental(9)), ("bad partition added", incremental(5, ("data", 9, 0))),
            ("close", incremental(-1)), ("closed", incremental(6)),
            ("unknown", fetch(side, version, ("data", 0, 0), session=(12345, 1))),
            ("epoch without session", fetch(side, version, ("data", 0, 0), session=(0, 5)))]


# ---- ListOffsets, OffsetForLeaderEpoch

def list_offsets(side, at, topic="data", partition=0, **fields):
    return {"ReplicaId": -1, "Topics": [{"Name": side.topic(topic), "Partitions": [
        {"PartitionIndex": partition, "Timestamp": at, **fields}]}]}


@case("ListOffsets")
def list_offsets_good(side, version):
    return [(str(at), list_offsets(side, at)) for at in (-2, -1, 0, T0, T0 + 5, T0 + 15, T0 + 10_000, 1 << 60)] + [
        (f"empty {at}", list_offsets(side, at, partition=1)) for at in (-2, -1, T0)]


@case("ListOffsets", "7+")
def list_offsets_max(side, version):
    return [("", list_offsets(side, -3)), ("empty", list_offsets(side, -3, partition=1))]


@case("ListOffsets", "8+")
def list_offsets_local(side, version):
    return [("earliest local", list_offsets(side, -4))]


@case("ListOffsets", "9+")
def list_offsets_tiered(side, version):
    return [("latest tiered", list_offsets(side, -5))]


@case("ListOffsets")
def list_offsets_bad(side, version):
    return [("topic", list_offsets(side, -1, topic="absent")), ("partition", list_offsets(side, -1, partition=9)),
            ("time -7", list_offsets(side, -7)), ("none", {"ReplicaId": -1, "Topics": []})]


@case("ListOffsets", "2+")
def list_offsets_committed(side, version):
    return [("", dict(list_offsets(side, -1), IsolationLevel=1))]


@case("ListOffsets", "4+")
def list_offsets_epochs(side, version):
    return [("right", list_offsets(side, -1, CurrentLeaderEpoch=0)), ("newer", list_offsets(side, -1, CurrentLeaderEpoch=4))]


@case("OffsetForLeaderEpoch")
def leader_epoch(side, version):
    def ask(epoch, topic="data", partition=0, current=-1):
        return {"ReplicaId": -1, "Topics": [{"Topic": side.topic(topic), "Partitions": [
            {"Partition": partition, "CurrentLeaderEpoch": current, "LeaderEpoch": epoch}]}]}
    return [("0", ask(0)), ("newer", ask(5)), ("none", ask(-1)), ("partition", ask(0, partition=9)),
            ("topic", ask(0, topic="absent")), ("current newer", ask(0, current=5)), ("current right", ask(0, current=0))]


@case("InitProducerId")
def init_producer_id(side, version):
    return [("", {"TransactionalId": None, "TransactionTimeoutMs": 60000}),
            ("empty name", {"TransactionalId": "", "TransactionTimeoutMs": 60000})]


@case("InitProducerId", "3+")
def init_producer_id_known(side, version):
    return [("0 and 0", {"TransactionalId": None, "TransactionTimeoutMs": 1, "ProducerId": 0, "ProducerEpoch": 0}),
            ("own", {"TransactionalId": None, "TransactionTimeoutMs": 1, "ProducerId": side.producer_id, "ProducerEpoch": 0}),
            ("id alone", {"TransactionalId": None, "TransactionTimeoutMs": 1, "ProducerId": 7, "ProducerEpoch": -1}),
            ("epoch alone", {"TransactionalId": None, "TransactionTimeoutMs": 1, "ProducerId": -1, "ProducerEpoch": 7})]
