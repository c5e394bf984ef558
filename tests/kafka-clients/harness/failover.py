"""Three brokers, a client that writes steadily with idempotence, and what befalls the leader meanwhile.

What must hold: no record fails, every acknowledged one is there exactly once, at the offset that was acknowledged, in the
order in which it was written. The longest time between two acknowledgements of the leader's partition is told.
"""
import base64
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time

import wire

PARTITIONS, RATE = 3, 600
BEFORE, AFTER = 2.0, 4.0


class Brokers:
    """Three brokers as processes of their own, with data folders of their own."""

    def __init__(self, binary, racks=("a", "b", "c")):
        self.binary, self.racks = binary, racks
        self.folder = tempfile.TemporaryDirectory(prefix="highwater-cluster-")
        self.processes, self.ports = {}, {}
        for broker in (1, 2, 3):
            self.ports[broker] = {name: free_port() for name in ("peer", "grpc", "admin", "kafka")}
        for broker in (1, 2, 3):
            self.start(broker)
        for broker in (1, 2, 3):
            self.wait_ready(broker)
        self.bootstrap = ",".join(f"127.0.0.1:{ports['kafka']}" for ports in self.ports.values())

    def start(self, broker):
        voters = ",".join(f"{one}@127.0.0.1:{ports['peer']}" for one, ports in self.ports.items())
        command = [self.binary, "broker", "--output", "json", "--data-dir", os.path.join(self.folder.name, str(broker))]
        settings = {"broker.id": broker, "cluster.voters": voters, "broker.rack": self.racks[broker - 1],
                    **{f"listener.{name}": f"127.0.0.1:{port}" for name, port in self.ports[broker].items()}}
        for name, value in settings.items():
            command += ["--set", f"{name}={value}"]
        log = open(os.path.join(self.folder.name, f"{broker}.log"), "ab")
        self.processes[broker] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        log.close()

    def wait_ready(self, broker):
        if not self.processes[broker].stdout.readline():
            raise SystemExit(f"broker {broker} did not start: {self.log_tail(broker)}")

    def log_tail(self, broker, count=2000):
        with open(os.path.join(self.folder.name, f"{broker}.log"), "rb") as log:
            return log.read()[-count:].decode(errors="replace")

    def ask(self, api, version, body):
        """The answer of the first broker that gives one."""
        problem = None
        for broker, process in self.processes.items():
            if process.poll() is not None:
                continue
            try:
                with wire.Connection(f"127.0.0.1:{self.ports[broker]['kafka']}") as connection:
                    return connection.call(api, version, body)
            except (OSError, wire.WireError) as error:
                problem = error
        raise wire.WireError(f"nobody answers {api}: {problem}")

    def partitions(self, topic):
        answer = self.ask("Metadata", 4, {"Topics": [{"Name": topic}], "AllowAutoTopicCreation": False})
        return {one["PartitionIndex"]: one for one in answer["Topics"][0]["Partitions"]}

    def wait_for(self, topic, what, holds, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            seen = self.partitions(topic)
            if seen and all(holds(one) for one in seen.values()):
                return seen
            time.sleep(0.05)
        raise AssertionError(f"waited {seconds} s for {what}: {seen}")

    def wait_for_records(self, topic, leader):
        """Until the writer writes: its runtime may take its time to start."""
        deadline, body = time.monotonic() + 30, {"ReplicaId": -1, "IsolationLevel": 0, "Topics": [
            {"Name": topic, "Partitions": [{"PartitionIndex": 0, "CurrentLeaderEpoch": -1, "Timestamp": -1}]}]}
        with wire.Connection(f"127.0.0.1:{self.ports[leader]['kafka']}") as connection:
            while connection.call("ListOffsets", 4, body)["Topics"][0]["Partitions"][0]["Offset"] < RATE // 10:
                assert time.monotonic() < deadline, "the writer wrote nothing in 30 s"
                time.sleep(0.05)

    def create_topic(self, name, partitions=PARTITIONS, replicas=3):
        topic = {"Name": name, "NumPartitions": partitions, "ReplicationFactor": replicas}
        answer = self.ask("CreateTopics", 5, {"Topics": [topic], "timeoutMs": 10000})["Topics"][0]
        assert answer["ErrorCode"] == 0, answer
        self.wait_for(name, "leaders", lambda one: one["LeaderId"] >= 0 and len(one["IsrNodes"]) == replicas)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
        self.folder.cleanup()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def kill(brokers, leader):
    """The leader's process is killed, and started again after 3 s."""
    brokers.processes[leader].kill()
    brokers.processes[leader].wait()
    time.sleep(3)
    brokers.start(leader)
    brokers.wait_ready(leader)


def stop(brokers, leader):
    """The leader stands still for 3 s."""
    brokers.processes[leader].send_signal(signal.SIGSTOP)
    time.sleep(3)
    brokers.processes[leader].send_signal(signal.SIGCONT)


def restart(brokers, leader):
    """The leader is stopped in order and started again."""
    brokers.processes[leader].terminate()
    brokers.processes[leader].wait(30)
    brokers.start(leader)
    brokers.wait_ready(leader)


FAULTS = {"kill": kill, "stop": stop, "restart": restart}


def endure(brokers, command, consume, topic, fault):
    """One client through one fault. Returns what is worth telling."""
    brokers.create_topic(topic)
    leader = brokers.partitions(topic)[0]["LeaderId"]
    writer = subprocess.Popen([*map(str, command), brokers.bootstrap, topic, str(PARTITIONS), str(RATE)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said = []
    listeners = [threading.Thread(target=lambda: said.append(writer.stdout.read())),
                 threading.Thread(target=writer.stderr.read)]
    for listener in listeners:
        listener.start()
    brokers.wait_for_records(topic, leader)
    time.sleep(BEFORE)
    struck = time.time() * 1000
    FAULTS[fault](brokers, leader)
    time.sleep(AFTER)
    writer.stdin.close()
    try:
        writer.wait(90)
    except subprocess.TimeoutExpired:
        writer.kill()
        raise AssertionError("the writer did not end") from None
    for listener in listeners:
        listener.join()
    report = json.loads(said[0] or b'{"written": 0, "left": 0, "acked": [], "errors": [["", "", "it died"]]}')
    brokers.wait_for(topic, "all replicas to be in sync", lambda one: len(one["IsrNodes"]) == 3)
    return judge(report, consume, topic, struck)


def judge(report, consume, topic, struck):
    acked = report["acked"]
    assert not report["errors"], f"{len(report['errors'])} records failed: {report['errors'][:3]}"
    assert report["left"] == 0 and len(acked) == report["written"] > RATE, \
        f"{len(acked)} of {report['written']} acknowledged"
    assert any(when > struck + 1000 for *_, when in acked), "nothing was acknowledged after the fault"
    for partition in range(PARTITIONS):
        wanted = sorted((sequence, offset) for where, sequence, offset, _ in acked if where == partition)
        records = consume(topic, partition, len(wanted))
        found = [(int(base64.b64decode(one["value"])), one["offset"]) for one in records]
        assert len(found) == len(wanted), f"partition {partition}: {len(found)} of {len(wanted)} records"
        assert found == wanted, f"partition {partition}: not as acknowledged: " \
            f"{next((got, due) for got, due in zip(found, wanted) if got != due)}"
    times = sorted(when for where, *_, when in acked if where == 0)
    gaps = [later - earlier for earlier, later in zip(times, times[1:]) if later > struck - 500]
    return {"records": len(acked), "pause_ms": max(gaps)}
