"""Bytes that no client sends: each is refused or its connection closed, memory stays bounded, others notice nothing.

    run.sh hostile --highwater PATH

A second connection produces and fetches all the while; it must never fail. The broker's anonymous memory is sampled all
the while; it must never grow by more than MEMORY_MIB_MAX.
"""
import argparse
import gzip
import pathlib
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "harness"))
import wire
from cluster import Highwater

MEMORY_MIB_MAX = 192
CASES = []


def case(function):
    CASES.append(function)
    return function


def connect(cluster, timeout=10):
    return wire.Connection(cluster.bootstrap, timeout)


def outcome(connection):
    """`closed`, or the bytes of an answer."""
    try:
        return connection.receive_frame()
    except TimeoutError:
        raise AssertionError("neither an answer nor an end") from None
    except (OSError, wire.WireError):
        return "closed"


def is_closed(cluster, data):
    with connect(cluster) as connection:
        connection.send(data)
        found = outcome(connection)
        assert found == "closed", f"answered with {found[:40]!r} to {data[:24]!r}"


def is_served(cluster):
    with connect(cluster) as connection:
        assert connection.call("Metadata", 4, {"Topics": []})["Brokers"], "no broker in the metadata"


# ---- frames

@case
def lengths_that_no_frame_has(cluster):
    for length in (-1, -(1 << 31), (1 << 31) - 1, 1 << 30, 0, 3):
        is_closed(cluster, struct.pack(">i", length) + b"\x00" * 3)


@case
def other_protocols(cluster):
    for data in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 600,
                 b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\xff" * 64):
        is_closed(cluster, data)


@case
def large_frames_that_never_come(cluster):
    """A hundred connections announce 90 MiB each and send a little of it."""
    opened = []
    for _ in range(100):
        connection = connect(cluster)
        connection.send(struct.pack(">i", 90 << 20) + wire.request_header(0, 9, 1, True) + b"\x00" * 4096)
        opened.append(connection)
    is_served(cluster)
    time.sleep(0.5)
    for connection in opened:
        connection.socket.close()


@case
def half_frames(cluster):
    whole = wire.request_frame("Metadata", 9, {"Topics": []})
    opened = [connect(cluster) for _ in range(300)]
    for index, connection in enumerate(opened):
        connection.send(whole[:index % len(whole)])
    is_served(cluster)
    for connection in opened:
        connection.socket.close()


@case
def a_byte_at_a_time(cluster):
    with connect(cluster) as connection:
        for byte in wire.request_frame("ApiVersions", 3, {"ClientSoftwareName": "slow", "ClientSoftwareVersion": "1"}, 7):
            connection.send(bytes([byte]))
        correlation, answer = wire.decode_response("ApiVersions", 3, connection.receive_frame())
        assert correlation == 7 and answer["ErrorCode"] == 0, answer


@case
def unknown_keys_and_versions(cluster):
    for key, version in ((999, 0), (-1, 0), (32767, 32767), (3, 99), (3, -1), (0, 2), (1, 3), (4, 0)):
        payload = wire.request_header(key, version, 1, False) + b"\x00" * 8
        is_closed(cluster, struct.pack(">i", len(payload)) + payload)
    with connect(cluster) as connection:
        payload = wire.request_header(18, 99, 5, True) + b"\x00" * 3
        connection.send(struct.pack(">i", len(payload)) + payload)
        correlation, answer = wire.decode_response("ApiVersions", 0, connection.receive_frame())
        assert correlation == 5 and answer["ErrorCode"] == 35, answer
        assert any(one["ApiKey"] == 18 for one in answer["ApiKeys"]), "the range of ApiVersions is not told"


# ---- bodies

def served(cluster):
    names = wire.api_names()
    with connect(cluster) as connection:
        answer = connection.call("ApiVersions", 0)
    for one in answer["ApiKeys"]:
        if one["ApiKey"] in names:
            known = wire.api(names[one["ApiKey"]])
            for version in range(one["MinVersion"], one["MaxVersion"] + 1):
                if version in known.versions:
                    yield known, version


@case
def lying_counts_everywhere(cluster):
    """Every API at every version: a body that is all high counts, one that is all ones, one that is cut, one too long."""
    for known, version in served(cluster):
        flexible = known.flexible(version)
        head = wire.request_header(known.key, version, 1, flexible)
        try:
            body = wire.Codec(known.request, version).encode({})
        except (wire.WireError, struct.error, AttributeError):
            body = b""
        highest = b"\xff\xff\xff\xff\x0f" if flexible else b"\x7f\xff\xff\xff"
        for hostile in (highest * 8, b"\xff" * 40, b"\x7f" * 40, body[:len(body) // 2], body + b"\x00" * 9,
                        body[:1] + highest + body[1:], b""):
            with connect(cluster) as connection:
                connection.send(struct.pack(">i", len(head + hostile)) + head + hostile)
                # A half body may still be a whole request, and such are answered; nothing may hang or go down.
                if not (known.name == "Produce" or known.name == "Fetch"):
                    outcome(connection)
    is_served(cluster)


@case
def many_elements(cluster):
    """A frame that keeps its promise: a million empty names, then the same tag a million times."""
    names = struct.pack(">i", 1_000_001) + b"\x00\x00" * 1_000_001
    is_answered_or_closed(cluster, wire.request_header(3, 1, 1, False) + names)
    tags = b"\x00" + wire.uvarint(1_000_000) + b"".join(wire.uvarint(tag) + b"\x00" for tag in range(1_000_000))
    is_answered_or_closed(cluster, wire.request_header(3, 9, 1, True) + tags)


def is_answered_or_closed(cluster, payload):
    with connect(cluster, 20) as connection:
        try:
            connection.send(struct.pack(">i", len(payload)) + payload)
        except OSError:
            return
        outcome(connection)


def produce_code(cluster, data, topic="hostile"):
    with connect(cluster) as connection:
        answer = connection.call("Produce", 9, {"Acks": -1, "TimeoutMs": 5000, "TopicData": [
            {"Name": topic, "PartitionData": [{"Index": 0, "Records": data}]}]})
        return answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"]


@case
def batches_that_lie(cluster):
    now = int(time.time() * 1000)
    for wrong in ({"crc": 1}, {"magic": 0}, {"magic": 1}, {"magic": 9}, {"count": 1 << 30}, {"count": -1}, {"count": 0},
                  {"length": 1 << 30}, {"length": -5}, {"length": 49}, {"last_delta": 1 << 30}, {"attributes": 7}):
        code = produce_code(cluster, wire.batch([(b"k", b"v")], now, **wrong))
        assert code not in (0, -1), f"{wrong}: error {code}"
    assert produce_code(cluster, None) not in (0, -1), "null records"
    assert produce_code(cluster, wire.batch([(b"k", b"v")], now)) == 0, "a good batch after the bad ones"


@case
def a_compression_bomb(cluster):
    """A batch of half a megabyte that is half a gigabyte of records, if one believes it."""
    zeros = gzip.compress(bytes(512 << 20), 9)
    checked = struct.pack(">hiqqqhii", 1, 0, int(time.time() * 1000), int(time.time() * 1000), -1, -1, -1, 1) + zeros
    inner = struct.pack(">ibI", 0, 2, wire.crc32c(checked)) + checked
    code = produce_code(cluster, struct.pack(">qi", 0, len(inner)) + inner)
    assert code != 0, "accepted"


@case
def followers_on_the_client_port(cluster):
    for version, who in ((4, {"ReplicaId": 2}), (11, {"ReplicaId": 0}), (12, {"ReplicaId": 1})):
        request = {"MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1 << 20, "SessionEpoch": -1, "Topics": [
            {"Topic": "hostile", "Partitions": [{"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1 << 20}]}], **who}
        with connect(cluster) as connection:
            connection.send(wire.request_frame("Fetch", version, request))
            found = outcome(connection)
            if found != "closed":
                answer = wire.decode_response("Fetch", version, found)[1]
                codes = {part["ErrorCode"] for topic in answer["Responses"] for part in topic["Partitions"]}
                assert answer.get("ErrorCode") or 0 not in codes, f"v{version}: served as a follower: {codes}"


@case
def senders_that_never_read(cluster):
    """Twenty connections ask for a megabyte a thousand times each and read nothing."""
    request = wire.request_frame("Fetch", 11, {"MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1 << 20, "SessionEpoch": -1,
                                               "Topics": [{"Topic": "large", "Partitions": [{
                                                   "Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1 << 20}]}]})
    opened = []
    for _ in range(20):
        connection = connect(cluster)
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.socket.setblocking(False)
        try:
            for _ in range(1000):
                connection.socket.send(request)
        except BlockingIOError:
            pass
        opened.append(connection)
    for _ in range(20):
        is_served(cluster)
        time.sleep(0.1)
    for connection in opened:
        connection.socket.close()


# ---- the run

class Bystander(threading.Thread):
    """Produces and fetches on a connection of its own; whatever disturbs it is kept."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.ending, self.fault, self.turns, self.worst_ms = cluster, False, None, 0, 0.0

    def run(self):
        try:
            with connect(self.cluster, 30) as connection:
                while not self.ending:
                    self.turn(connection)
                    time.sleep(0.01)
        except Exception as error:  # kept for the verdict
            self.fault = f"{type(error).__name__}: {error}"

    def turn(self, connection):
        began, value = time.monotonic(), b"%d" % self.turns
        answer = connection.call("Produce", 9, {"Acks": -1, "TimeoutMs": 5000, "TopicData": [
            {"Name": "bystander", "PartitionData": [
                {"Index": 0, "Records": wire.batch([(b"k", value)], int(time.time() * 1000))}]}]})
        told = answer["Responses"][0]["PartitionResponses"][0]
        assert told["ErrorCode"] == 0 and told["BaseOffset"] == self.turns, told
        answer = connection.call("Fetch", 11, {"MaxWaitMs": 1000, "MinBytes": 1, "MaxBytes": 1 << 20, "SessionEpoch": -1,
                                               "Topics": [{"Topic": "bystander", "Partitions": [{
                                                   "Partition": 0, "FetchOffset": self.turns,
                                                   "PartitionMaxBytes": 1 << 20}]}]})
        part = answer["Responses"][0]["Partitions"][0]
        assert part["ErrorCode"] == 0 and value in part["Records"], part
        self.turns += 1
        self.worst_ms = max(self.worst_ms, (time.monotonic() - began) * 1e3)


class Memory(threading.Thread):
    """The peak of the broker's anonymous memory."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.ending = pid, 0, False
        self.start_mib = self.now()

    def now(self):
        with open(f"/proc/{self.pid}/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

    def run(self):
        while not self.ending:
            self.peak = max(self.peak, self.now())
            time.sleep(0.01)


def prepare(cluster):
    for topic in ("hostile", "bystander", "large"):
        cluster.create_topic(topic)
    data = wire.batch([(b"k", bytes(1_000_000))], int(time.time() * 1000))
    for _ in range(20):
        assert produce_code(cluster, data, "large") == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--highwater", required=True)
    parser.add_argument("cases", nargs="*", help="only these")
    args = parser.parse_args()
    failed = 0
    with Highwater(args.highwater) as cluster:
        prepare(cluster)
        bystander = Bystander(cluster)
        bystander.start()
        chosen = [one for one in CASES if not args.cases or one.__name__ in args.cases]
        for one in chosen:
            memory, began = Memory(cluster.pid), time.monotonic()
            memory.start()
            wrong = attempt(one, cluster)
            memory.ending = True
            memory.join()
            grown = memory.peak - memory.start_mib
            if not wrong and grown > MEMORY_MIB_MAX:
                wrong = f"memory grew by {grown:.0f} MiB, more than {MEMORY_MIB_MAX}"
            failed += bool(wrong)
            print(f"{'FAIL' if wrong else 'pass'} {one.__name__} ({time.monotonic() - began:.1f} s, "
                  f"memory +{grown:.0f} MiB){': ' + wrong if wrong else ''}", flush=True)
        bystander.ending = True
        bystander.join(30)
        if bystander.fault or not bystander.turns:
            failed += 1
            print(f"FAIL the bystander: {bystander.fault or 'no turn at all'}")
        print(f"the bystander: {bystander.turns} turns, the slowest {bystander.worst_ms:.0f} ms")
        log = cluster.log_tail(1 << 20)
        refusals = [line for line in log.splitlines() if " WARN " in line or " INFO " in line]
        print(f"the broker's log has {len(refusals)} lines; the last: {refusals[-1][:200] if refusals else 'none'}")
        if "panicked" in log:
            failed += 1
            print(f"FAIL the broker panicked: {log[log.index('panicked') - 200:][:800]}")
    print(f"hostile: {len(chosen) + 1 - failed} passed, {failed} failed")
    return 1 if failed else 0


def attempt(one, cluster):
    """None, or what was wrong."""
    try:
        one(cluster)
    except (AssertionError, OSError, wire.WireError) as error:
        return f"{type(error).__name__}: {error}"[:600]
    return None if cluster.process.poll() is None else f"the broker ended: {cluster.log_tail(600)}"


if __name__ == "__main__":
    sys.exit(main())
