"""Highwater's own command line over gRPC: the other side of every exchange with a Kafka client.

    highwater_cli.py BINARY GRPC-ADDRESS KAFKA-ADDRESS
"""
import base64
import json
import subprocess
import sys
import tempfile

from driver_common import Failure, Unsupported, serve, told, unb64

BINARY, GRPC = sys.argv[1:3]


def highwater(*arguments):
    done = subprocess.run([BINARY, "--bootstrap", GRPC, *map(str, arguments)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=40)
    if done.returncode:
        raise Failure(None, f"exit code {done.returncode}", done.stderr.decode(errors="replace")[-500:])
    return done.stdout


def hello():
    text = subprocess.run([BINARY, "--version"], stdout=subprocess.PIPE).stdout.decode()
    return {"client": "highwater", "version": text.split()[-1], "cannot": [
        "headers", "timestamp", "null-key", "null-value", "null-record", "empty", "binary"]}


def produce(topic, partition, records, codec="none", acks=-1, idempotent=False, max_request=None):
    if idempotent:
        raise Unsupported("always so")
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"".join(unb64(one["key"]) + b"\x1f" + unb64(one["value"]) + b"\n" for one in records))
        file.flush()
        highwater("produce", topic, "--partition", partition, "--acks", "all" if acks == -1 else acks, "--compression",
                  codec, "--key-separator", "\x1f", "--linger-ms", 50, "--file", file.name)
    return {"offsets": [None] * len(records)}


def consume(topic, partition, offset, count):
    if count == 0:
        return {"records": []}
    lines = highwater("consume", topic, "--partition", partition, "--offset", offset, "--max-messages", count,
                      "--format", "json").decode().splitlines()
    found = []
    for one in map(json.loads, lines):
        key, value = data_of(one, "key"), data_of(one, "value")
        headers = [(header["key"], data_of(header, "value")) for header in one["headers"]]
        found.append(told(one["offset"], one["timestamp_ms"], key, value, headers))
    return {"records": found}


def data_of(holder, name):
    if holder.get(f"{name}_base64") is not None:
        return base64.b64decode(holder[f"{name}_base64"])
    return None if holder[name] is None else holder[name].encode()


if __name__ == "__main__":
    serve({function.__name__: function for function in (hello, produce, consume)})
