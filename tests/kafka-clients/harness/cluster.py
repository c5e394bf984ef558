"""The broker under test: Highwater started here, or whatever serves at an address; topics are made by the raw protocol."""
import base64
import json
import os
import signal
import subprocess
import tempfile
import time

import wire
from capture import Capture


class Cluster:
    """`bootstrap` is the Kafka address, `grpc` Highwater's own, or None beside another broker."""

    def __init__(self, bootstrap, grpc=None, binary=None, pid=None):
        self.bootstrap, self.grpc, self.binary, self.pid = bootstrap, grpc, binary, pid

    def create_topic(self, name, partitions=1, configs=None):
        """By the protocol itself, so that no client's administration is needed for the others to be tested."""
        topic = {"Name": name, "NumPartitions": partitions, "ReplicationFactor": 1,
                 "Configs": [{"Name": key, "Value": value} for key, value in (configs or {}).items()]}
        with wire.Connection(self.bootstrap) as connection:
            answer = connection.call("CreateTopics", 4, {"Topics": [topic], "timeoutMs": 10000})["Topics"][0]
            if answer["ErrorCode"]:
                raise wire.WireError(f"CreateTopics {name}: {answer}")
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                seen = connection.call("Metadata", 4, {"Topics": [{"Name": name}], "AllowAutoTopicCreation": False})
                leaders = [part["LeaderId"] >= 0 for part in seen["Topics"][0]["Partitions"]]
                if len(leaders) == partitions and all(leaders):
                    return
                time.sleep(0.02)
        raise wire.WireError(f"{name} has no leaders")

    def writer(self, topic, partition, records):
        """Writes simple records by the raw protocol, a batch for each, for clients that only administrate."""
        with wire.Connection(self.bootstrap) as connection:
            for one in records:
                key, value = (None if one[part] is None else base64.b64decode(one[part]) for part in ("key", "value"))
                data = wire.batch([(key, value)], one["timestamp"] or int(time.time() * 1000))
                answer = connection.call("Produce", 8, {"Acks": -1, "TimeoutMs": 5000, "TopicData": [
                    {"Name": topic, "PartitionData": [{"Index": partition, "Records": data}]}]})
                code = answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"]
                if code:
                    raise wire.WireError(f"Produce to {topic}: error {code}")

    def reader(self, topic, partition, offset, count):
        """What is there, read by kafka-python, for clients that only write."""
        import kafka
        consumer = kafka.KafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False, group_id=None)
        where = kafka.TopicPartition(topic, partition)
        consumer.assign([where])
        consumer.seek(where, offset)
        found, deadline = [], time.monotonic() + 15
        while len(found) < count and time.monotonic() < deadline:
            for record in consumer.poll(200).get(where, []):
                found.append({"offset": record.offset, "timestamp": record.timestamp, "headers": [
                    [name, None if value is None else base64.b64encode(value).decode()]
                    for name, value in record.headers],
                    **{part: None if data is None else base64.b64encode(data).decode()
                       for part, data in (("key", record.key), ("value", record.value))}})
        consumer.close()
        return found[:count]


class Highwater(Cluster):
    """`highwater dev` with a data folder of its own, stopped in order at the end.

    With `capture`, a folder, clients are told a proxy's address, and it keeps what they send.
    """

    def __init__(self, binary, capture=None):
        self.folder = tempfile.TemporaryDirectory(prefix="highwater-clients-")
        self.log = open(os.path.join(self.folder.name, "log"), "wb+")
        command = [binary, "dev", "--kafka", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0",
                   "--output", "json", "--data-dir", os.path.join(self.folder.name, "data")]
        proxy = Capture(capture) if capture else None
        if proxy:
            addresses = {f"listener.{name}": "127.0.0.1:0" for name in ("kafka", "grpc", "admin")}
            command = [binary, "broker", "--output", "json", "--data-dir", os.path.join(self.folder.name, "data"), *(
                word for name, value in {**addresses, "advertised.kafka": proxy.address}.items()
                for word in ("--set", f"{name}={value}"))]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log)
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise SystemExit(f"highwater did not start: {self.log_tail()}")
        ready = json.loads(line)
        if proxy:
            proxy.start(ready["kafka"])
        super().__init__(proxy.address if proxy else ready["kafka"], ready["grpc"], binary, self.process.pid)

    def create_topic(self, name, partitions=1, configs=None):
        """By Highwater's own command line, over its other protocol."""
        command = [self.binary, "--bootstrap", self.grpc, "topic", "create", name, "--partitions", str(partitions)]
        for key, value in (configs or {}).items():
            command += ["--config", f"{key}={value}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
        if done.returncode:
            raise RuntimeError(f"topic create {name}: {done.stdout.decode(errors='replace')}")

    def log_tail(self, count=3000):
        with open(self.log.name, "rb") as log:
            return log.read()[-count:].decode(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.log.close()
        self.folder.cleanup()
