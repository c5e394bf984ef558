"""The same requests to Apache Kafka and to Highwater, at every version both serve; the answers compared field by field.

    run.sh differential --highwater PATH [--kafka HOST:PORT]     Kafka is started here unless an address is given

What may differ is in harness/differential_allowed.py, each with its reason; everything else fails. Versions and APIs that
only one of the two serves are named. Skipped loudly where there is no Java to run Kafka with.
"""
import argparse
import contextlib
import json
import pathlib
import secrets
import sys
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "harness"))
import clients as registry
import differential_admin
import differential_cases
import wire
from cluster import Cluster, Highwater
from differential_allowed import ALLOWED, allowed
from differential_compare import differences, normalised
from kafka_oracle import Kafka

CLOSED = {"the connection": "closed"}


class Side:
    """One of the two brokers, with topics of the same names on both."""

    def __init__(self, cluster, run_id):
        self.cluster, self.run_id, self.scope = cluster, run_id, "shared"
        self.connection, self.ids, self.producer_id = None, {}, -1
        with wire.Connection(cluster.bootstrap) as connection:
            answer = connection.call("ApiVersions", 3, {"ClientSoftwareName": "a", "ClientSoftwareVersion": "1"})
        self.ranges = {one["ApiKey"]: (one["MinVersion"], one["MaxVersion"]) for one in answer["ApiKeys"]}

    def topic(self, suffix):
        if suffix in ("data", "other"):
            return f"differential-{self.run_id}-{suffix}"
        return "absent-topic" if suffix == "absent" else f"differential-{self.run_id}-{self.scope}-{suffix}"

    def plain(self, text):
        """A topic's name without what tells runs, cases and versions apart."""
        return text.replace(f"differential-{self.run_id}-", "").replace(f"{self.scope}-", "")

    def topic_id(self, suffix):
        return self.ids.get(self.topic(suffix), uuid.UUID(int=7))

    def named(self, suffix, version, ids_from):
        if version >= ids_from:
            return {"TopicId": self.topic_id(suffix)}
        return {"Topic": self.topic(suffix)}

    def make(self, suffix, partitions):
        name = self.topic(suffix)
        self.cluster.create_topic(name, partitions)
        answer = self.call("Metadata", 12, {"Topics": [{"Name": name}], "AllowAutoTopicCreation": False})
        self.ids[name] = answer["Topics"][0]["TopicId"]
        # Kafka tells of a leader a moment before the leader knows.
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            answer = self.call("ListOffsets", 4, {"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": [
                {"PartitionIndex": index, "Timestamp": -1} for index in range(partitions)]}]})
            if not any(part["ErrorCode"] for part in answer["Topics"][0]["Partitions"]):
                return
            time.sleep(0.02)

    def fill(self, suffix, count, producer=False):
        """`count` batches of a record each."""
        for index in range(count):
            who = {"producer": (self.producer_id, 0, index)} if producer else {}
            data = differential_cases.batch(b"v", time=differential_cases.T0 + index, **who)
            self.call("Produce", 9, {"Acks": -1, "TimeoutMs": 5000, "TopicData": [
                {"Name": self.topic(suffix), "PartitionData": [{"Index": 0, "Records": data}]}]})

    def settled(self, request, value):
        """Waits until a described setting has this value: Kafka tells of it a moment later."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            configs = self.call("DescribeConfigs", 1, request())["Results"][0]["Configs"]
            if any(one["Value"] == value for one in configs):
                return
            time.sleep(0.02)

    def call(self, name, version, body):
        """The answer, or that the connection was closed instead."""
        if self.connection is None:
            self.connection = wire.Connection(self.cluster.bootstrap)
        try:
            return self.connection.call(name, version, body)
        except (OSError, wire.WireError) as error:
            self.connection.socket.close()
            self.connection = None
            return CLOSED if "closed" in str(error) or isinstance(error, ConnectionError) else {"unreadable": str(error)}

    def new_scope(self, scope):
        self.scope = scope
        self.producer_id = self.call("InitProducerId", 3, {
            "TransactionalId": None, "TransactionTimeoutMs": 60000}).get("ProducerId", -1)


def shared_topics(side):
    side.make("data", 2)
    side.make("other", 1)
    for suffix, batches in (("data", 3), ("other", 1)):
        for index in range(batches):
            data = wire.batch([(b"k", b"%03d" % (10 * index + i) * 10) for i in range(10)], differential_cases.T0 + 10 * index)
            side.call("Produce", 9, {"Acks": -1, "TimeoutMs": 5000, "TopicData": [
                {"Name": side.topic(suffix), "PartitionData": [{"Index": 0, "Records": data}]}]})


class Comparison:
    def __init__(self, kafka, highwater):
        self.kafka, self.highwater = kafka, highwater
        self.found, self.passed, self.used = {}, 0, {}

    def run(self, only):
        for name, title, versions, topics, function in differential_admin.CASES:
            api = wire.api(name)
            if only and name not in only:
                continue
            for version in self.common(api):
                if wire.in_versions(versions, version) or versions == "0+":
                    self.one(name, title, version, topics, function)

    def common(self, api):
        ours, theirs = self.highwater.ranges.get(api.key), self.kafka.ranges.get(api.key)
        if not ours or not theirs:
            return []
        low, high = max(ours[0], theirs[0], api.versions.start), min(ours[1], theirs[1], api.versions.stop - 1)
        return range(low, high + 1)

    def one(self, name, title, version, topics, function):
        steps, answers = [], []
        for side in (self.kafka, self.highwater):
            side.new_scope(f"{title.replace('_', '-')}-{version}")
            for suffix, partitions in topics:
                side.make(suffix, partitions)
            steps.append(function(side, version))
            answers.append([])
        for index, (label, _) in enumerate(steps[0]):
            pair = []
            for side, its_steps, its_answers in zip((self.kafka, self.highwater), steps, answers):
                body = its_steps[index][1]
                its_answers.append(side.call(name, version, body(its_answers) if callable(body) else body))
                pair.append(normalised(its_answers[-1], side))
            self.judge(name, version, title, label, *pair)

    def judge(self, name, version, title, label, theirs, ours):
        bad = 0
        for path, left, right in differences(theirs, ours):
            entry = allowed(name, version, title, label, path, left, right)
            if entry is None:
                bad += 1
                self.found.setdefault((name, title, label, path, str(left), str(right)), []).append(version)
            else:
                self.used[id(entry)] = self.used.get(id(entry), 0) + 1
        self.passed += not bad

    def ranges(self):
        """Lines that name what only one of the two serves."""
        names, lines = wire.api_names(), []
        for key in sorted(self.kafka.ranges | self.highwater.ranges):
            theirs, ours = self.kafka.ranges.get(key), self.highwater.ranges.get(key)
            known = wire.api(names[key]).versions if key in names else None
            if theirs != ours:
                lines.append(f"versions: {names.get(key, 'API')} ({key}): Kafka {theirs}, Highwater {ours}")
            elif known and ours[1] > known.stop - 1:
                lines.append(f"versions: {names[key]} ({key}): both {ours}, no definition above {known.stop - 1}")
        return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--highwater", required=True)
    parser.add_argument("--kafka", help="HOST:PORT of a Kafka that runs already, else one is started")
    parser.add_argument("apis", nargs="*", help="only these")
    args = parser.parse_args()
    began, run_id = time.monotonic(), secrets.token_hex(3)
    with contextlib.ExitStack() as stack:
        try:
            kafka = Cluster(args.kafka) if args.kafka else stack.enter_context(Kafka())
        except registry.Missing as reason:
            print(f"!!! SKIPPED: the differential test: {reason}")
            return 0
        highwater = stack.enter_context(Highwater(args.highwater))
        comparison = Comparison(Side(kafka, run_id), Side(highwater, run_id))
        for side in (comparison.kafka, comparison.highwater):
            shared_topics(side)
        comparison.run(args.apis)
    return tell(comparison, time.monotonic() - began)


def tell(comparison, seconds):
    print("\n".join(comparison.ranges()))
    for entry in ALLOWED:
        count = comparison.used.get(id(entry), 0)
        print(f"allowed: {count:4d} × {entry.reason}" + ("" if count else "  (did not occur)"))
    for (name, title, label, path, left, right), versions in comparison.found.items():
        print(f"DIFFERENT {name} v{versions[0]}-{versions[-1]} {title}, {label or 'alone'}: {path}: Kafka {left}, "
              f"Highwater {right}")
    (registry.CACHE / "differential.json").write_text(json.dumps(
        [dict(zip(("api", "case", "step", "path", "kafka", "highwater"), key), versions=versions)
         for key, versions in comparison.found.items()], indent=1))
    print(f"{seconds:.0f} s")
    print(f"differential: {comparison.passed} passed, {len(comparison.found)} failed")
    return 1 if comparison.found else 0


if __name__ == "__main__":
    sys.exit(main())
