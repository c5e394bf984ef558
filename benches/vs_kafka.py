#!/usr/bin/env python3
"""Highwater (fsynced) beside Apache Kafka (as shipped, not fsynced), on one machine, in one run.

    pip install confluent-kafka
    benches/vs_kafka.py --kafka 127.0.0.1:19092 --highwater target/release/highwater --data-dir DIR [--rounds 3]

Kafka must be running already, warmed for a minute, with its defaults. Highwater is started here, over DIR. The two take
turns, and memory is faulted in before every timed run, because on a virtual machine the first touch of a page that the
host took back costs several times the work itself. Prints the medians and their ratio as JSON. Only ratios within one run
mean anything on a shared machine.
"""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from bench_common import cpu_seconds, warm

RECORD = (b'{"user":"alice","action":"viewed","page":"/catalogue/items/1234567","ms":187,"note":"' * 13)[:1024]


def kafka_produce(bootstrap, topic, records):
    from confluent_kafka import Producer

    producer = Producer({
        "bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 5, "batch.size": 1 << 20,
        "queue.buffering.max.messages": 200_000, "queue.buffering.max.kbytes": 1 << 18,
    })
    for _ in range(records):
        while True:
            try:
                producer.produce(topic, RECORD)
                break
            except BufferError:
                producer.poll(0.005)
        producer.poll(0)
    if producer.flush(60):
        sys.exit("kafka: records were left over")


def kafka_round(args, clients):
    """librdkafka, one process per client, as Python holds one lock per process."""
    before, began = (cpu_seconds(args.kafka_pid) if args.kafka_pid else 0), time.monotonic()
    code = f"import sys; sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r}); import vs_kafka; " \
           f"vs_kafka.kafka_produce({args.kafka!r}, 'bench', {args.records // clients})"
    with ThreadPoolExecutor(clients) as pool:
        for done in pool.map(lambda _: subprocess.run([sys.executable, "-c", code], check=True), range(clients)):
            assert done.returncode == 0
    seconds, gb = time.monotonic() - began, args.records * 1024 / 1e9
    cpu = (cpu_seconds(args.kafka_pid) - before) / gb if args.kafka_pid else None
    return {"mb_s": gb * 1000 / seconds, "server_cpu_s_per_gb": cpu}


def highwater_round(args, ready, clients):
    command = [args.highwater, "--bootstrap", ready["grpc"], "--output", "json", "bench", "produce", "--server-pid",
               str(ready["pid"]), "--records", str(args.records), "--record-size", "1024", "--partitions", "4",
               "--clients", str(clients)] + args.bench_args.split()
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--kafka-pid", type=int, help="for its CPU per GB")
    parser.add_argument("--highwater", default="target/release/highwater")
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--warm-gib", type=int, default=6)
    parser.add_argument("--bench-args", default="", help="more arguments for `highwater bench produce`")
    args = parser.parse_args()
    broker = subprocess.Popen([args.highwater, "dev", "--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--kafka", "127.0.0.1:0", "--output",
                               "json", "--data-dir", args.data_dir], stdout=subprocess.PIPE)
    try:
        ready = json.loads(broker.stdout.readline())
        highwater_round(args, ready, 1)
        report = {}
        for clients in (1, 4):
            ours, theirs = [], []
            for _ in range(args.rounds):
                warm(args.warm_gib)
                theirs.append(kafka_round(args, clients))
                warm(args.warm_gib)
                ours.append(highwater_round(args, ready, clients))
            median = lambda rounds, key: statistics.median(r[key] for r in rounds if r.get(key) is not None)
            report[f"{clients}_clients"] = {
                "highwater_mb_s": round(median(ours, "mb_s")), "kafka_mb_s": round(median(theirs, "mb_s")),
                "ratio": round(median(ours, "mb_s") / median(theirs, "mb_s"), 2),
                "highwater_cpu_s_per_gb": round(median(ours, "server_cpu_s_per_gb"), 2),
                "kafka_cpu_s_per_gb": round(median(theirs, "server_cpu_s_per_gb"), 2) if args.kafka_pid else None,
            }
        print(json.dumps(report, indent=2))
    finally:
        broker.send_signal(signal.SIGTERM)
        broker.wait(30)


if __name__ == "__main__":
    main()
