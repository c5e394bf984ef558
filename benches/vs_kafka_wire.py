#!/usr/bin/env python3
"""The same librdkafka client against Apache Kafka (as shipped, not fsynced) and Highwater (fsynced), in one run.

    apt-get install librdkafka-dev gcc
    benches/vs_kafka_wire.py --kafka 127.0.0.1:19092 --kafka-pid PID --highwater target/release/highwater --data-dir DIR
                             [--only 1,4,latency] [--rounds 3] [--brokers 3]

Kafka must be running already, warmed for a minute: one broker, or with `--brokers 3` three of them (`--kafka` and
`--kafka-pid` then name all, with commas), whose topics have three replicas, `min.insync.replicas=2`. Highwater is started here, over
DIR; of a cluster both durabilities are measured, `fsync` and `replicated`. The load is `rdkafka_load.c`,
compiled here. The two take turns; memory is faulted in before every timed run. Prints the medians of the rounds, the
brokers' CPU seconds per GB, the clients' own CPU (so that a saturated client shows), and the ratios, as JSON. Only ratios
within one run mean anything on a shared machine.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from bench_common import Broker, cpu_seconds, warm

PARTITIONS, SIZE = 4, 1024
STAGES = ["produce1", "fetch1", "produce4", "fetch4", "latency"]


class Subject:
    """Brokers under load: their Kafka addresses, their processes, and what their topics are made with."""

    def __init__(self, name, bootstrap, pids, replicas, settings=()):
        self.name, self.bootstrap, self.pids, self.made = name, bootstrap, pids, 0
        self.replicas, self.settings = replicas, settings

    def topic(self, load, partitions):
        self.made += 1
        topic = f"wire-{self.name.replace(' ', '-')}-{os.getpid()}-{self.made}"
        load.run("create", self.bootstrap, topic, partitions, self.replicas, *self.settings)
        time.sleep(1)
        return topic

    def cpu_seconds(self):
        return sum(cpu_seconds(pid) for pid in self.pids)


class Load:
    """The compiled client."""

    def __init__(self, folder):
        self.binary = os.path.join(folder, "rdkafka_load")
        source = pathlib.Path(__file__).with_name("rdkafka_load.c")
        subprocess.run(["cc", "-O2", "-o", self.binary, source, "-lrdkafka", "-lpthread"], check=True)

    def run(self, *words):
        done = subprocess.run([self.binary, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=180)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, words))}: {done.stderr.decode()[-500:]}")
        return json.loads(done.stdout) if done.stdout else {}

    def side_by_side(self, *commands):
        """Runs them at once: their answers, and the seconds until the last ended."""
        began = time.monotonic()
        with ThreadPoolExecutor(len(commands)) as pool:
            answers = list(pool.map(lambda words: self.run(*words), commands))
        return answers, time.monotonic() - began


def measured(subject, records, run):
    """Rates by the slowest client's own clock; CPU of the broker and of the clients per GB."""
    before = subject.cpu_seconds()
    answers, _ = run()
    spent = subject.cpu_seconds() - before
    seconds, gb = max(answer["seconds"] for answer in answers), records * SIZE / 1e9
    client = sum(answer["cpu_seconds"] for answer in answers)
    return {"mb_s": gb * 1000 / seconds, "broker_cpu_s_per_gb": spent / gb if subject.pids else None,
            "client_cpu_s_per_gb": client / gb, "client_cores": client / seconds}


def round_of(stage, subject, load, args):
    # What the one before left in memory unwritten is not to be paid for by this one.
    os.sync()
    if stage == "latency":
        topic = subject.topic(load, 1)
        before, began = subject.cpu_seconds(), time.monotonic()
        found = load.run("latency", subject.bootstrap, topic, args.rate, args.seconds, SIZE)
        if subject.pids:
            found["broker_cores"] = (subject.cpu_seconds() - before) / (time.monotonic() - began)
        load.run("delete", subject.bootstrap, topic)
        return {stage: found}
    clients = int(stage[-1])
    topic = subject.topic(load, PARTITIONS)
    warm(args.warm_gib)
    produce = [("produce", subject.bootstrap, topic, args.records // clients, SIZE)] * clients
    found = {f"produce{clients}": measured(subject, args.records, lambda: load.side_by_side(*produce))}
    step = PARTITIONS // clients
    fetch = [("fetch", subject.bootstrap, topic, first, first + step) for first in range(0, PARTITIONS, step)]
    found[f"fetch{clients}"] = measured(subject, args.records, lambda: load.side_by_side(*fetch))
    load.run("delete", subject.bootstrap, topic)
    return found


def medians(rounds):
    """`{stage: {figure: median}}` of a list of rounds."""
    return {stage: {figure: round(statistics.median(one[stage][figure] for one in rounds if stage in one), 3)
                    for figure, value in next(one[stage] for one in rounds if stage in one).items() if value is not None}
            for stage in STAGES if any(stage in one for one in rounds)}


def subjects_of(args, broker):
    """Kafka, and Highwater as its topics are made."""
    pids = [int(pid) for pid in (args.kafka_pid or "").split(",") if pid]
    kafka = Subject("kafka", args.kafka, pids, args.brokers)
    if args.brokers == 1:
        return [kafka, Subject("highwater", broker.kafka, broker.pids, 1)]
    kinds = [Subject(f"highwater {durability}", broker.kafka, broker.pids, args.brokers,
                     (f"durability={durability}", "min.insync.replicas=2")) for durability in ("fsync", "replicated")]
    return [kafka, *kinds]


def ratios(kafka, highwater):
    return {stage: {figure: round(highwater[stage][figure] / value, 3) for figure, value in figures.items() if value}
            for stage, figures in kafka.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--kafka-pid", help="for its CPU; several with commas")
    parser.add_argument("--brokers", type=int, default=1)
    parser.add_argument("--highwater", default="target/release/highwater")
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=5000, help="records a second of the latency stage")
    parser.add_argument("--seconds", type=int, default=10, help="length of the latency stage")
    parser.add_argument("--warm-gib", type=int, default=3)
    parser.add_argument("--only", help="stages, with commas: 1, 4 (produce and fetch by so many clients), latency")
    args = parser.parse_args()
    stages = args.only.split(",") if args.only else ["1", "4", "latency"]
    with tempfile.TemporaryDirectory() as folder, Broker(args.highwater, args.data_dir, args.brokers) as broker:
        load = Load(folder)
        subjects = subjects_of(args, broker)
        rounds = {subject.name: [] for subject in subjects}
        for number in range(args.rounds):
            for stage in stages:
                for subject in subjects if number % 2 == 0 else subjects[::-1]:
                    found = round_of(f"produce{stage}" if stage.isdigit() else stage, subject, load, args)
                    rounds[subject.name].append(found)
                    print(subject.name, json.dumps(found), file=sys.stderr, flush=True)
    figures = {name: medians(of_it) for name, of_it in rounds.items()}
    against = {f"{name} to kafka": ratios(figures["kafka"], it) for name, it in figures.items() if name != "kafka"}
    print(json.dumps({**figures, **against}, indent=1))


if __name__ == "__main__":
    main()
