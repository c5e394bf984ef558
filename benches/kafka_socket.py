#!/usr/bin/env python3
"""What one Kafka connection costs: old data by bare socket beside a bare `sendfile`, idle connections, an idle session.

    benches/kafka_socket.py --highwater target/release/highwater --data-dir DIR [--gib 4] [--connections 5000]

- `fetch`: a connection that asks for 1 MiB of old data at a time and looks at nothing but lengths, and beside it the same
  reader fed by a loop of `sendfile` from a file of the same size (`bare`). In turns, medians of the rounds.
- `idle`: anonymous memory of the broker per connection that has said who it is and waits.
- `session`: CPU of the broker while one reader keeps a fetch session over 1,000 partitions in which nothing happens.
Prints one JSON object.
"""
import argparse
import json
import os
import resource
import socket
import statistics
import struct
import sys
import tempfile
import time
import zlib

from bench_common import Broker, cpu_seconds, rss_mib, warm

MIB = 1 << 20


# ---- the protocol, as little of it as is needed

def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def request(key, version, body, correlation=1):
    payload = struct.pack(">hhi", key, version, correlation) + text("bench") + body
    return struct.pack(">i", len(payload)) + payload


def fetch_request(parts, max_bytes, session=(0, -1), wait_ms=0, min_bytes=0):
    """Fetch v11 of `(topic, [(partition, offset)])`."""
    body = struct.pack(">iiiibii", -1, wait_ms, min_bytes, max_bytes, 0, *session) + struct.pack(">i", len(parts))
    for topic, partitions in parts:
        body += text(topic) + struct.pack(">i", len(partitions))
        body += b"".join(struct.pack(">iiqqi", partition, -1, offset, -1, max_bytes) for partition, offset in partitions)
    return request(1, 11, body + struct.pack(">i", 0) + text(""))


def connect(address):
    host, _, port = address.rpartition(":")
    made = socket.create_connection((host, int(port)), 30)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def receive_into(connection, view, count):
    at = 0
    while at < count:
        got = connection.recv_into(view[at:count])
        if not got:
            sys.exit("the connection was closed")
        at += got


def receive_frame(connection, view):
    receive_into(connection, view, 4)
    length = struct.unpack_from(">i", view)[0]
    receive_into(connection, view, length)
    return length


# ---- fetch beside sendfile

def fill(broker, topic, gib):
    """Old data in one partition, in batches of about 256 KiB."""
    broker.run("topic", "create", topic, "--partitions", 1)
    broker.run("bench", "produce", "--topic", topic, "--records", gib << 20, "--record-size", 1024, "--partitions", 1)


def fetch_all(address, pid, topic, gib):
    """Reads the whole partition; the offset after a batch is in its header, the last batch's found from the front."""
    view = memoryview(bytearray(4 * MIB))
    offset, total, before = 0, 0, cpu_seconds(pid)
    with connect(address) as connection:
        began = time.monotonic()
        while total < gib << 30:
            connection.sendall(fetch_request([(topic, [(0, offset)])], MIB))
            length = receive_frame(connection, view)
            at = 4 + 4 + 2 + 4 + 4 + 2 + len(topic) + 4 + 4 + 2 + 8 + 8 + 8
            aborted = struct.unpack_from(">i", view, at)[0]
            at += 4 + 16 * max(0, aborted) + 4
            size = struct.unpack_from(">i", view, at)[0]
            at += 4
            if size <= 0:
                break
            total += size
            end = min(at + size, length)
            while at + 61 <= end:
                base, batch_length = struct.unpack_from(">qi", view, at)
                if at + 12 + batch_length > end:
                    break
                offset = base + struct.unpack_from(">i", view, at + 23)[0] + 1
                at += 12 + batch_length
        seconds = time.monotonic() - began
    return {"gb_s": total / 1e9 / seconds, "server_cpu_s_per_gb": (cpu_seconds(pid) - before) / (total / 1e9)}


def serve_file(path, listener):
    """The least a server can do: a byte asks for the next MiB."""
    connection, _ = listener.accept()
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        offset = 0
        while connection.recv(1):
            left = MIB
            while left:
                left -= os.sendfile(connection.fileno(), file.fileno(), offset + MIB - left, left)
            offset = (offset + MIB) % size
    os._exit(0)


def bare(path):
    listener = socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if child == 0:
        serve_file(path, listener)
    view, size = memoryview(bytearray(4 * MIB)), os.path.getsize(path)
    with connect("127.0.0.1:%d" % listener.getsockname()[1]) as connection:
        began = time.monotonic()
        for _ in range(size // MIB):
            connection.sendall(b"x")
            receive_into(connection, view, MIB)
        seconds, spent = time.monotonic() - began, cpu_seconds(child)
    os.waitpid(child, 0)
    return {"gb_s": size / 1e9 / seconds, "server_cpu_s_per_gb": spent / (size / 1e9)}


def bench_fetch(broker, args):
    fill(broker, "old", args.gib)
    rounds = {"fetch": [], "bare": []}
    with tempfile.NamedTemporaryFile(dir=args.data_dir) as file:
        block = zlib.compress(os.urandom(MIB), 0)[:MIB]
        for _ in range(args.gib << 10):
            file.write(block)
        file.flush()
        for _ in range(args.rounds):
            rounds["bare"].append(bare(file.name))
            rounds["fetch"].append(fetch_all(broker.ready["kafka"], broker.pid, "old", args.gib))
    told = {name: {figure: round(statistics.median(one[figure] for one in all_of), 3) for figure in all_of[0]}
            for name, all_of in rounds.items()}
    told["fetch_to_bare"] = round(told["fetch"]["gb_s"] / told["bare"]["gb_s"], 3)
    return told


# ---- idle connections and an idle session

def bench_idle(broker, count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 500), hard))
    view, before = memoryview(bytearray(1 << 16)), rss_mib(broker.pid)["anonymous_mib"]
    opened = []
    for _ in range(count):
        connection = connect(broker.ready["kafka"])
        connection.sendall(request(18, 0, b""))
        receive_frame(connection, view)
        opened.append(connection)
    grown = rss_mib(broker.pid)["anonymous_mib"] - before
    cpu, began = cpu_seconds(broker.pid), time.monotonic()
    time.sleep(5)
    cores = (cpu_seconds(broker.pid) - cpu) / (time.monotonic() - began)
    answered = 0
    for connection in opened:
        connection.sendall(request(18, 0, b""))
        receive_frame(connection, view)
        answered += 1
        connection.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return {"connections": answered, "kib_per_connection": round(grown * 1024 / count, 2), "cores_while_idle": round(cores, 4)}


def bench_session(broker, partitions=1000, seconds=10):
    broker.run("topic", "create", "many", "--partitions", partitions)
    view = memoryview(bytearray(4 * MIB))
    with connect(broker.ready["kafka"]) as connection:
        connection.sendall(fetch_request([("many", [(index, 0) for index in range(partitions)])], MIB, (0, 0)))
        receive_frame(connection, view)
        error, session = struct.unpack_from(">hi", view, 8)
        if error or not session:
            sys.exit(f"no session: error {error}")
        cpu, began, turns = cpu_seconds(broker.pid), time.monotonic(), 0
        while time.monotonic() - began < seconds:
            turns += 1
            connection.sendall(fetch_request([], MIB, (session, turns), 500, 1))
            receive_frame(connection, view)
            if struct.unpack_from(">h", view, 8)[0]:
                sys.exit("the session ended")
        cores = (cpu_seconds(broker.pid) - cpu) / (time.monotonic() - began)
    return {"partitions": partitions, "fetches": turns, "broker_cores": round(cores, 5)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--highwater", default="target/release/highwater")
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--gib", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--warm-gib", type=int, default=3)
    parser.add_argument("--only", default="fetch,idle,session")
    args = parser.parse_args()
    found = {}
    os.makedirs(args.data_dir, exist_ok=True)
    with Broker(args.highwater, os.path.join(args.data_dir, "broker")) as broker:
        warm(args.warm_gib)
        if "fetch" in args.only:
            found["fetch"] = bench_fetch(broker, args)
        if "idle" in args.only:
            found["idle"] = bench_idle(broker, args.connections)
        if "session" in args.only:
            found["session"] = bench_session(broker)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
