"""kcat, librdkafka's command line. It sends lines, so records that are not printable text are not asked of it."""
import itertools
import os
import re
import subprocess
import sys
import tempfile

from driver_common import Failure, Unsupported, serve, told, unb64

BOOTSTRAP = sys.argv[1]
RECORD_END, KEY_END = b"\x1e", b"\x1f"


def kcat(*arguments, data=None):
    done = subprocess.run(["kcat", "-b", BOOTSTRAP, "-X", "allow.auto.create.topics=false", *map(str, arguments)],
                          input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
    if done.returncode:
        raise Failure(None, f"exit code {done.returncode}", done.stderr.decode(errors="replace")[-500:])
    return done.stdout


def hello():
    text = subprocess.run(["kcat", "-V"], stdout=subprocess.PIPE).stdout.decode()
    version = re.search(r"Version (\S+).*librdkafka (\S+)", text)
    return {"client": "kcat", "version": f"{version[1]} (librdkafka {version[2]})", "cannot": [
        "timestamp", "empty-header-name", "null-value", "null-record", "empty", "binary"],
        "cannot_tell": ["headers"]}


def produce(topic, partition, records, codec="none", acks=-1, idempotent=False, max_request=None):
    settings = [f"acks={acks}", "linger.ms=50", f"enable.idempotence={'true' if idempotent else 'false'}"]
    if max_request:
        settings.append(f"message.max.bytes={max_request}")
    options = [word for setting in settings for word in ("-X", setting)]
    for headers, group in itertools.groupby(records, lambda one: one["headers"]):
        for name, value in headers:
            options_of = name if value is None else f"{name}={unb64(value).decode()}"
            options = options + ["-H", options_of]
        lines = [(b"" if one["key"] is None else unb64(one["key"]) + KEY_END) + unb64(one["value"]) for one in group]
        with tempfile.NamedTemporaryFile() as file:
            file.write(RECORD_END.join(lines))
            file.flush()
            kcat("-P", "-t", topic, "-p", partition, "-z", codec, "-D", "\\x1e", "-K", "\\x1f", *options, "-l", file.name)
        options = [word for setting in settings for word in ("-X", setting)]
    return {"offsets": [None] * len(records)}


def consume(topic, partition, offset, count):
    if count == 0:
        return {"records": []}
    end = os.urandom(12).hex()
    output = kcat("-C", "-t", topic, "-p", partition, "-o", offset, "-c", count, "-e", "-q", "-f",
                  f"%o %T %K %S %k%s{end}")
    found = []
    for piece in output.split(end.encode())[:-1]:
        at, timestamp, key, value, data = piece.split(b" ", 4)
        key_length = max(0, int(key))
        found.append(told(int(at), int(timestamp), None if int(key) < 0 else data[:key_length],
                          None if int(value) < 0 else data[key_length:], []))
    return {"records": found}


def list_offsets(topic, partition, at):
    if at == "max-timestamp":
        raise Unsupported("kcat does not ask for it")
    when = {"earliest": -2, "latest": -1}.get(at, at)
    return {"offset": int(kcat("-Q", "-t", f"{topic}:{partition}:{when}").decode().rsplit(" ", 1)[1])}


if __name__ == "__main__":
    serve({function.__name__: function for function in (hello, produce, consume, list_offsets)})
