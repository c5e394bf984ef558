"""What is asked of every client, and what the answers must be. Each scenario has a fresh program and topics of its own.

A scenario raises AssertionError where an answer is wrong, Unsupported where the client has no such function, and returns
a remark for the table, or None.
"""
import time

import corpus
import wire
from driver import ClientError, Unsupported

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
CODEC_BITS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}

UNKNOWN_TOPIC, TOO_LARGE, INVALID_TOPIC, TOPIC_EXISTS, INVALID_PARTITIONS, INVALID_CONFIG = 3, 10, 17, 36, 37, 40
OUT_OF_RANGE = 1


class Context:
    """What a scenario works with: the client's program, the broker's address, names for topics."""

    def __init__(self, driver, cluster, prefix):
        self.driver, self.cluster, self.prefix, self.topics = driver, cluster, prefix, 0
        hello = driver.call("hello")
        self.cannot, self.cannot_tell = hello["cannot"], hello.get("cannot_tell", [])
        self.quirks = hello.get("quirks", [])

    def name(self):
        self.topics += 1
        return f"{self.prefix}-{self.topics}"

    def topic(self, partitions=1, **configs):
        name = self.name()
        self.cluster.create_topic(name, partitions, configs)
        return name

    def fit(self, records):
        return corpus.fit(records, self.cannot)

    def produce(self, topic, partition, records, **how):
        return self.driver.call("produce", topic=topic, partition=partition, records=records, **how)["offsets"]

    def consume(self, topic, partition, offset, count):
        return self.driver.call("consume", topic=topic, partition=partition, offset=offset, count=count)["records"]

    def expect(self, topic, partition, records, offset=0):
        """Reads `records` back, from `offset` on."""
        if "consume" in self.cannot_tell:
            found = self.cluster.reader(topic, partition, offset, len(records))
            wrong = corpus.difference(records, found)
        else:
            found = self.consume(topic, partition, offset, len(records))
            wrong = corpus.difference(records, found, self.cannot_tell)
        assert not wrong, f"{topic}-{partition} from {offset}: {wrong}"

    def fails(self, code, verb, **arguments):
        """The call must be refused, with this code where the client tells codes."""
        try:
            answer = self.driver.call(verb, **arguments)
        except ClientError as error:
            assert error.code in (code, None), f"{verb}: {error} instead of code {code}"
            return
        raise AssertionError(f"{verb} {arguments.get('name', '')} succeeded ({corpus.short(answer)}) instead of code {code}")

    def until(self, what, found):
        """Waits until `found` is true: brokers may tell of a change a moment later."""
        deadline = time.monotonic() + 10
        while True:
            last = found()
            if last is True:
                return
            assert time.monotonic() < deadline, f"{what}: still {corpus.short(last)}"
            time.sleep(0.05)


def placed(records, start=0):
    return [dict(one, offset=start + index) for index, one in enumerate(records)]


def roundtrip(context):
    topic, records = context.topic(2), context.fit(corpus.corpus())
    offsets = context.produce(topic, 1, records)
    assert offsets in (list(range(len(records))), [None] * len(records)), f"offsets {offsets}"
    context.expect(topic, 1, placed(records))
    everything = len(corpus.corpus())
    return None if len(records) == everything else f"{len(records)} of {everything} records: no {', '.join(context.cannot)}"


def codecs(context):
    topic, missing = context.topic(len(CODECS)), []
    for partition, codec in enumerate(CODECS):
        records = context.fit(corpus.corpus())
        try:
            context.produce(topic, partition, records, codec=codec)
        except Unsupported as reason:
            missing.append(f"no {codec}: {reason}")
            continue
        context.expect(topic, partition, placed(records))
        used = {header["attributes"] & 7 for header in wire.fetch_batches(context.cluster.bootstrap, topic, partition)}
        # A client may send a batch as it is that compression would not make smaller.
        assert CODEC_BITS[codec] in used <= {0, CODEC_BITS[codec]}, f"{codec}: the batches on the wire have codecs {used}"
    if len(missing) == len(CODECS):
        raise Unsupported("; ".join(missing))
    return "; ".join(missing) or None


def acks(context):
    topic, records = context.topic(3), context.fit(corpus.numbered(30))
    for partition, level in enumerate((1, 0, -1)):
        context.produce(topic, partition, records, acks=level)
        context.expect(topic, partition, placed(records))


def idempotent(context):
    topic, records = context.topic(), context.fit(corpus.numbered(500))
    context.produce(topic, 0, records[:250], idempotent=True)
    context.produce(topic, 0, records[250:], idempotent=True)
    context.expect(topic, 0, placed(records))
    sequences = {}
    for header in wire.fetch_batches(context.cluster.bootstrap, topic, 0):
        assert header["producer_id"] >= 0, "a batch without a producer id"
        assert header["base_sequence"] == sequences.get(header["producer_id"], 0), f"sequence: {header}"
        sequences[header["producer_id"]] = header["base_sequence"] + header["count"]


def mid_batch(context):
    topic, records = context.topic(), context.fit(corpus.numbered(200))
    context.produce(topic, 0, records, codec=context.driver.call("hello").get("mid_batch_codec", "gzip"))
    largest = max(header["count"] for header in wire.fetch_batches(context.cluster.bootstrap, topic, 0))
    assert largest > 1, "no batch of several records came to be"
    for offset in (1, 7, 100, 198, 199):
        context.expect(topic, 0, placed(records)[offset:], offset)


def list_offsets(context):
    topic, records = context.topic(2), context.fit(corpus.numbered(20))
    context.produce(topic, 0, records)
    timed = records[0]["timestamp"] is not None

    def at(when, partition=0):
        return context.driver.call("list_offsets", topic=topic, partition=partition, at=when)["offset"]

    assert at("earliest") == 0, f"earliest {at('earliest')}"
    assert at("latest") == 20, f"latest {at('latest')}"
    assert at("earliest", 1) == 0 and at("latest", 1) == 0, "offsets of an empty partition"
    remarks = []
    try:
        found = at(corpus.BASE_MS + 7 if timed else 1)
        assert found == (7 if timed else 0), f"the offset of time +7 is {found}"
        found = at(corpus.BASE_MS + 7_200_000)
        assert found in (-1, None, 20), f"the offset of a later time is {found}"
    except Unsupported as reason:
        remarks.append(f"by timestamp: {reason}")
    try:
        found = at("max-timestamp")
        assert found == 19 or not timed, f"the offset of the largest time is {found}"
    except Unsupported:
        remarks.append("no max-timestamp")
    return "; ".join(remarks) or None


def topics(context):
    call, name = context.driver.call, context.name()
    call("create_topic", name=name, partitions=3, configs={"retention.ms": "3600000"})

    def partitions():
        try:
            return call("describe_topic", name=name)["partitions"]
        except ClientError as error:
            return error.code

    context.until("three partitions", lambda: partitions() == 3 or partitions())
    call("create_partitions", name=name, count=5)
    context.until("five partitions", lambda: partitions() == 5 or partitions())
    context.expect(name, 4, [])
    remark = None
    try:
        unmade = context.name()
        call("create_topic", name=unmade, partitions=1, validate_only=True)
        context.fails(UNKNOWN_TOPIC, "describe_topic", name=unmade)
    except Unsupported as reason:
        remark = f"validate-only: {reason}"
    call("delete_topic", name=name)
    context.until("deleted", lambda: partitions() == UNKNOWN_TOPIC or partitions() is None or partitions())
    context.fails(UNKNOWN_TOPIC, "delete_topic", name=name)
    return remark


def configs(context):
    call, topic, remarks = context.driver.call, context.topic(**{"segment.bytes": "20000000"}), []

    def value(key):
        return call("describe_configs", name=topic).get(key, {}).get("value")

    described = call("describe_configs", name=topic)
    assert described["retention.ms"]["value"] == "604800000", f"retention.ms {described['retention.ms']}"
    assert described["segment.bytes"]["value"] == "20000000", f"segment.bytes {described['segment.bytes']}"
    assert described["retention.ms"].get("default") in (True, None), "retention.ms is not told to be a default"
    assert described["segment.bytes"].get("default") in (False, None), "segment.bytes is told to be a default"
    try:
        call("alter_configs", name=topic, changes={"retention.ms": "7200000", "cleanup.policy": "compact"})
        context.until("incremental", lambda: value("retention.ms") == "7200000" or value("retention.ms"))
        assert value("cleanup.policy") == "compact" and value("segment.bytes") == "20000000", "other settings moved"
        call("alter_configs", name=topic, changes={"retention.ms": None})
        context.until("default again", lambda: value("retention.ms") == "604800000" or value("retention.ms"))
    except Unsupported as reason:
        remarks.append(f"incremental: {reason}")
    try:
        call("alter_configs", name=topic, changes={"max.message.bytes": "2000000"}, incremental=False)
        context.until("altered", lambda: value("max.message.bytes") == "2000000" or value("max.message.bytes"))
        if "a whole alter keeps the other settings" not in context.quirks:
            context.until("others unset", lambda: value("segment.bytes") == "1073741824" or value("segment.bytes"))
    except Unsupported as reason:
        remarks.append(f"whole: {reason}")
    return "; ".join(remarks) or None


def delete_records(context):
    topic, records = context.topic(), context.fit(corpus.numbered(20))
    context.cluster.writer(topic, 0, records)
    answer = context.driver.call("delete_records", topic=topic, partition=0, before=7)
    assert answer.get("low_watermark", 7) in (7, None), f"low watermark {answer}"
    try:
        found = context.driver.call("list_offsets", topic=topic, partition=0, at="earliest")["offset"]
        assert found == 7, f"earliest is {found}"
    except Unsupported:
        pass
    context.expect(topic, 0, placed(records)[7:], 7)
    context.fails(OUT_OF_RANGE, "delete_records", topic=topic, partition=0, before=21)


def errors(context):
    topic, missing = context.topic(2), []
    tried = [
        ("describe of an unknown topic", UNKNOWN_TOPIC, "describe_topic", {"name": context.name()}),
        ("create of a topic that is there", TOPIC_EXISTS, "create_topic", {"name": topic}),
        ("bad config value", INVALID_CONFIG, "create_topic",
         {"name": context.name(), "configs": {"retention.ms": "soon"}}),
        ("unknown config", INVALID_CONFIG, "create_topic", {"name": context.name(), "configs": {"retention.mz": "1"}}),
        ("bad topic name", INVALID_TOPIC, "create_topic", {"name": "no spaces"}),
        ("no partitions", INVALID_PARTITIONS, "create_topic", {"name": context.name(), "partitions": 0}),
        ("fewer partitions", INVALID_PARTITIONS, "create_partitions", {"name": topic, "count": 1}),
        ("alter to a bad value", INVALID_CONFIG, "alter_configs",
         {"name": topic, "changes": {"cleanup.policy": "burn"}}),
        ("record too large", TOO_LARGE, "produce", {
            "topic": topic, "partition": 0, "records": context.fit([corpus.incompressible(1_500_000)]) or
            context.fit([corpus.record(b"large", b"x" * 1_500_000)]), "max_request": 4_000_000}),
    ]
    for what, code, verb, arguments in tried:
        try:
            context.fails(code, verb, **arguments)
        except Unsupported:
            if verb == "alter_configs":
                context.fails(code, verb, **arguments, incremental=False)
            else:
                missing.append(what)
        except AssertionError as wrong:
            raise AssertionError(f"{what}: {wrong}") from None
    if len(missing) == len(tried):
        raise Unsupported("nothing of it")
    return f"not tried: {', '.join(missing)}" if missing else None


def large(context):
    topic = context.topic()
    records = context.fit([corpus.incompressible(1_048_400)]) or context.fit([corpus.record(b"large", b"x" * 1_048_400)])
    context.produce(topic, 0, records, max_request=4_000_000)
    context.expect(topic, 0, placed(records))


def cluster(context):
    answer = context.driver.call("describe_cluster")
    assert answer["nodes"] == 1, f"nodes {answer['nodes']}"
    assert answer.get("cluster_id", "x"), "no cluster id"


SCENARIOS = [roundtrip, codecs, acks, idempotent, mid_batch, large, list_offsets, topics, configs, delete_records, errors,
             cluster]
NAMES = {function.__name__.replace("_", "-"): function for function in SCENARIOS}
