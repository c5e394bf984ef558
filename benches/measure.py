#!/usr/bin/env python3
"""The figures Highwater is held to, measured as ratios within one run wherever a ratio says more than a time.

    cargo build --release -p highwater -p highwater-benches
    benches/measure.py --highwater target/release/highwater --data-dir DIR [FIGURE ...] [--quick]

Without figures, all of them. Prints one JSON object per figure: raw numbers, target, whether it was met.
`docs/measurements.md` says what each means and how it is taken. Exits 0 unless something broke; a target that is missed is a result. DIR is for
scratch data on the disk that is to be measured; whatever is put there is removed again.
"""
import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager

from bench_common import Broker, children_cpu_seconds, cpu_seconds, disk_mib, maps_count, rss_mib, run_json, total_cpu, warm

MIB, GIB = 1 << 20, 1 << 30


class Setup:
    """Where the programs are and where data may go."""

    def __init__(self, args):
        self.args = args
        self.quick = args.quick
        self.highwater = os.path.abspath(args.highwater)
        self.tools = os.path.abspath(args.tools or os.path.dirname(self.highwater))
        self.rounds = args.rounds or (3 if args.quick else 5)

    @contextmanager
    def folder(self):
        """A scratch folder, gone afterwards."""
        os.makedirs(self.args.data_dir, exist_ok=True)
        path = tempfile.mkdtemp(prefix="measure-", dir=self.args.data_dir)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def broker(self):
        with self.folder() as folder, Broker(self.highwater, folder) as broker:
            yield broker

    def tool(self, name, *words):
        return [os.path.join(self.tools, name), *map(str, words)]

    def warm(self):
        warm(self.args.warm_gib)


def median(values):
    return statistics.median(values)


def rounded(values, digits=1):
    return [round(value, digits) for value in values]


def result(met, target, **numbers):
    return {**numbers, "target": target, "met": met}


@contextmanager
def raw_server(setup, size):
    """The address and process id of a server of as many bytes over bare TCP."""
    server = subprocess.Popen(setup.tool("raw_tcp", "serve", "--bytes", size), stdout=subprocess.PIPE)
    try:
        yield server.stdout.readline().decode().strip(), server.pid
    finally:
        server.kill()
        server.wait()


class Pair:
    """Two ways to move the same bytes, in turns: their rates, and the CPU that both ends of each used."""

    def __init__(self, ours, theirs):
        self.runs = {"grpc": (ours, [], []), "tcp": (theirs, [], [])}

    def take_turns(self, setup):
        for turn in range(setup.rounds + 1):
            for (server_pid, command), rates, costs in self.runs.values():
                setup.warm()
                before = cpu_seconds(server_pid) + children_cpu_seconds()
                done = run_json(command)
                cpu = cpu_seconds(server_pid) + children_cpu_seconds() - before
                if turn > 0:
                    rates.append(done["mb_s"])
                    costs.append(cpu * 1e9 / done["bytes"])
        return self

    def figures(self):
        (grpc, grpc_cost), (tcp, tcp_cost) = (run[1:] for run in self.runs.values())
        return {"ratio": round(median(grpc) / median(tcp), 2), "grpc_mb_s": rounded(grpc, 0), "tcp_mb_s": rounded(tcp, 0),
                "grpc_cpu_s_per_gb": round(median(grpc_cost), 2), "tcp_cpu_s_per_gb": round(median(tcp_cost), 2)}


def grpc_fetch_vs_tcp(setup):
    """Old data on one connection, beside the same number of bytes over a bare one."""
    records = (256 if setup.quick else 1024) << 10
    size = records << 10
    with setup.broker() as broker, raw_server(setup, size) as (address, pid):
        filled = broker.bench("produce", "--records", records, "--keep", "--warmup", "0s")
        ours = broker.command("bench", "consume", "--topic", filled["topic"])
        theirs = setup.tool("raw_tcp", "fetch", "--addr", address, "--bytes", size)
        figures = Pair((broker.pid, ours), (pid, theirs)).take_turns(setup).figures()
    return result(figures["ratio"] >= 0.8, "ratio >= 0.8", **figures)


def grpc_produce_replicated_vs_tcp(setup):
    """Producing into a topic that does not wait for the disk, beside the bare connection, for two sizes of records."""
    size = 256 * MIB if setup.quick else GIB
    figures = {}
    for record_size in (1024, 16384):
        with setup.broker() as broker, raw_server(setup, MIB) as (address, pid):
            ours = broker.command("bench", "produce", "--records", size // record_size, "--record-size", record_size,
                                  "--warmup", "0s", "--config", "durability=replicated")
            theirs = setup.tool("raw_tcp", "produce", "--addr", address, "--bytes", size)
            figures[f"records_of_{record_size}"] = Pair((broker.pid, ours), (pid, theirs)).take_turns(setup).figures()
    met = all(figure["ratio"] >= 0.6 for figure in figures.values())
    return result(met, "ratio >= 0.6", **figures)


def group_commit(setup):
    """Many tasks that wait for each record's fsynced acknowledgement, beside one. They share a client's producer, as the
    library advises; or each has its own with its own connection, where every record costs both sides a wake-up."""
    seconds = 2 if setup.quick else 4
    figures = {}
    with setup.broker() as broker:
        for name, partitions, more in (("shared_producer", 1, ["--shared", 1]), ("own_connections", 1, []),
                                       ("own_connections_eight_partitions", 8, [])):
            broker.run("topic", "create", name, "--partitions", partitions)
            command = setup.tool("sync_producers", "--addr", broker.address, "--topic", name, "--partitions", partitions,
                                 "--seconds", seconds, *more, "--producers")
            runs, costs = {1: [], 64: []}, []
            for _ in range(max(setup.rounds // 2, 2)):
                for producers in (1, 64):
                    before = cpu_seconds(broker.pid) + children_cpu_seconds()
                    done = run_json(command + [str(producers)])
                    runs[producers].append(done)
                    if producers == 64:
                        cpu = cpu_seconds(broker.pid) + children_cpu_seconds() - before
                        costs.append(cpu * 1e6 / done["records"])
            one, many = (median(run["records_s"] for run in runs[count]) for count in (1, 64))
            figures[name] = {"ratio": round(many / one, 1), "one_records_s": one, "sixty_four_records_s": many,
                             "one_p50_us": median(run["p50_us"] for run in runs[1]),
                             "sixty_four_p50_us": median(run["p50_us"] for run in runs[64]),
                             "sixty_four_cpu_us_per_record": round(median(costs), 1)}
    return result(figures["shared_producer"]["ratio"] >= 20, "shared_producer.ratio >= 20", **figures)


def latency(setup):
    """From the moment a record is due to the moment a consumer holds it, at a steady 5,000 a second, each fsynced."""
    limits = {"p50_us": 450, "p99_us": 2000, "p999_us": 8000}
    runs = []
    with setup.broker() as broker:
        for _ in range(3):
            setup.warm()
            runs.append(broker.bench("latency", "--rate", 5000, "--record-size", 1024, "--duration",
                                     "5s" if setup.quick else "20s"))
    medians = {name: round(median(run[name] for run in runs)) for name in limits}
    met = all(medians[name] <= limit for name, limit in limits.items())
    every = [{name: round(run[name]) for name in limits} for run in runs]
    return result(met, limits, **medians, runs=every)


def restart(setup):
    """From exec to the ready line and to a record of every partition, after kill -9 under load, by the data on disk."""
    small, large = 200 * MIB, (GIB if setup.quick else setup.args.large_gib * GIB)
    figures = {}
    for size in (small, large):
        with setup.folder() as folder:
            if shutil.disk_usage(folder).free < size * 1.2 + 4 * GIB:
                return {"skipped": f"{size >> 20} MiB do not fit on the disk of {folder}"}
            figures[f"mib_{size >> 20}"] = restart_after(setup, folder, size)
    base, grown = figures.values()
    ratio = max(grown[name] / base[name] for name in ("ready_ms", "all_served_ms"))
    met = grown["all_served_ms"] < 1000 and ratio <= 2
    return result(met, "all served in < 1000 ms, within 2x of the small one", ratio=round(ratio, 2), **figures)


def restart_after(setup, folder, size):
    broker = Broker(setup.highwater, folder)
    load = None
    try:
        filled = broker.bench("produce", "--records", size >> 10, "--partitions", 8, "--keep", "--warmup", "0s")
        topic, runs = filled["topic"], []
        for _ in range(setup.rounds):
            # Steady, so that what the small run has on disk stays small.
            load = subprocess.Popen(broker.command("bench", "produce", "--topic", topic, "--rate", 20_000, "--warmup", "0s",
                                                   "--duration", "60s"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(1.5)
            broker.kill()
            load.kill()
            load.wait()
            setup.warm()
            broker = Broker(setup.highwater, folder)
            served = run_json(setup.tool("partitions", "fetch", "--addr", broker.address, "--topic", topic))
            all_served_ms = (time.monotonic() - broker.started) * 1e3
            runs.append({"ready_ms": broker.ready_ms, "all_served_ms": all_served_ms, "fetch_ms": served["ms"]})
        return {name: round(median(run[name] for run in runs), 1) for name in runs[0]} | {
            "worst_all_served_ms": round(max(run["all_served_ms"] for run in runs), 1), "disk_mib": disk_mib(folder)}
    finally:
        if load and load.poll() is None:
            load.kill()
            load.wait()
        broker.kill()


def start(setup):
    """A broker with no set-up: exec to the ready line, and what it holds when nothing happens."""
    times = []
    for _ in range(20):
        with Broker(setup.highwater) as broker:
            times.append(broker.ready_ms)
    with Broker(setup.highwater) as broker:
        time.sleep(5)
        memory = rss_mib(broker.pid)
    met = median(times) < 100 and memory["rss_mib"] < 32
    return result(met, "ready < 100 ms, idle < 32 MiB", ready_ms=round(median(times), 1), worst_ms=round(max(times), 1), **memory)


def partitions_10k(setup):
    """Ten thousand partitions as one topic and as a thousand: time, disk, memory, maps; empty, and with a record in each."""
    with open("/proc/sys/vm/max_map_count") as count:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        figures, met = {"vm_max_map_count": int(count.read()), "open_files_soft_hard": limit}, True
    for topics, partitions in ((1, 10_000), (1_000, 10)):
        with setup.folder() as folder, Broker(setup.highwater, folder) as broker:
            tool = lambda mode, *words: run_json(setup.tool("partitions", mode, "--addr", broker.address, *words))
            look = lambda: {"disk_mib": disk_mib(folder), "maps": maps_count(broker.pid), **rss_mib(broker.pid)}
            created = tool("create", "--prefix", "t", "--topics", topics, "--partitions", partitions)
            described = tool("describe")
            empty = {"create_s": round(created["ms"] / 1e3, 2), "describe_s": round(described["ms"] / 1e3, 2), **look()}
            met &= empty["create_s"] < 30 and empty["disk_mib"] < 1024 and empty["rss_mib"] < 300
            met &= empty["maps"] < figures["vm_max_map_count"] / 4
            with_record = {}
            try:
                with_record["fill_s"] = round(tool("fill")["ms"] / 1e3, 2)
            except RuntimeError as error:  # no target stands on it: report how far the broker came
                with_record["fill_error"] = str(error)[-300:]
            with_record |= {**look(), "open_files": len(os.listdir(f"/proc/{broker.pid}/fd"))}
            stopping = time.monotonic()
            broker.stop(300)
            with_record["stop_s"] = round(time.monotonic() - stopping, 2)
            with Broker(setup.highwater, folder) as again:
                with_record["ready_again_ms"] = round(again.ready_ms, 1)
            figures[f"{topics}_topics"] = {"empty": empty, "one_record_each": with_record}
    return result(met, "empty: created < 30 s, disk < 1 GiB, rss < 300 MiB, maps < a quarter of the limit", **figures)


def catch_up(setup):
    """Old data to new replicas in a cluster of three, beside the bare connection, and beside a copy of as much to the same disk."""
    size = (512 if setup.quick else 2048) * MIB
    figures, ratios = {}, []
    with raw_server(setup, size) as (address, _), setup.folder() as folder:
        fetch = setup.tool("raw_tcp", "fetch", "--addr", address, "--bytes", size)
        for partitions in (1, 4):
            caught_up, tcp, copied, cost = [], [], [], []
            for _ in range(2 if setup.quick else 3):
                setup.warm()
                tcp.append(run_json(fetch)["mb_s"])
                copied.append(copy_mb_s(folder, size))
                with setup.folder() as data, Broker(setup.highwater, data, brokers=3) as broker:
                    rate, cpu = add_replicas(setup, broker, partitions, size)
                caught_up.append(rate)
                cost.append(cpu)
            ratios.append(median(caught_up) / median(tcp))
            figures[f"partitions_{partitions}"] = {
                "ratio": round(ratios[-1], 2), "mb_s": rounded(caught_up, 0), "tcp_mb_s": rounded(tcp, 0),
                "copy_to_disk_mb_s": rounded(copied, 0), "of_copy": round(median(caught_up) / median(copied), 2),
                "cpu_s_per_gb": rounded(cost, 2)}
    return result(min(ratios) >= 0.7, "ratio >= 0.7", **figures)


def add_replicas(setup, broker, partitions, size):
    """MB/s of user data from the first request until every new replica is in sync, and CPU of all brokers in s/GB."""
    broker.run("topic", "create", "old", "--partitions", partitions, "--replication-factor", 2)
    broker.run("bench", "produce", "--topic", "old", "--keep", "--records", size >> 10, "--warmup", "0s")
    topic = broker.run("topic", "describe", "old")
    size = sum(partition["size_bytes"] for partition in topic["partitions"])
    setup.warm()
    began, before = time.monotonic(), sum(map(cpu_seconds, broker.pids))
    for partition in topic["partitions"]:
        replicas = ",".join(map(str, [*partition["replicas"], *{1, 2, 3}.difference(partition["replicas"])]))
        broker.run("reassign", "--topic", "old", "--partition", partition["partition"], "--replicas", replicas)
    while any(len(partition["isr"]) < 3 for partition in broker.run("topic", "describe", "old")["partitions"]):
        time.sleep(0.02)
    seconds = time.monotonic() - began
    return size / seconds / 1e6, (sum(map(cpu_seconds, broker.pids)) - before) * 1e9 / size


def copy_mb_s(folder, size):
    """Pages of zeros to a new file, and its flush: what the disk takes."""
    path, piece = os.path.join(folder, "copy"), bytes(MIB)
    began = time.monotonic()
    with open(path, "wb", buffering=0) as file:
        for _ in range(size // MIB):
            file.write(piece)
        os.fdatasync(file.fileno())
    seconds = time.monotonic() - began
    os.remove(path)
    return size / seconds / 1e6


def append_vs_bare(setup):
    """64 KiB batches through the log, beside a loop of the same sum and pwrite into a recycled file."""
    return vs_bare(setup, "append", 0.8)


def read_vs_bare(setup):
    """1 MiB slices from memory through the log, beside a walk over the map; both go over the bytes once."""
    return vs_bare(setup, "read", 0.9)


def vs_bare(setup, mode, target):
    setup.warm()
    with setup.folder() as folder:
        numbers = run_json(setup.tool("vs_bare", mode, "--dir", folder, "--rounds", 4 * setup.rounds + 1))
    return result(numbers["ratio"] >= target, f"ratio >= {target}", **numbers)


FIGURES = [append_vs_bare, read_vs_bare, grpc_fetch_vs_tcp, grpc_produce_replicated_vs_tcp, group_commit, latency, restart,
           start, partitions_10k, catch_up]


def measured(figure, setup):
    """A figure with its name, and how much of the machine was busy meanwhile, the measured programs included."""
    busy, total = total_cpu()
    began = time.monotonic()
    numbers = figure(setup)
    busy, total = (after - before for after, before in zip(total_cpu(), (busy, total)))
    return {"figure": figure.__name__, **numbers, "took_s": round(time.monotonic() - began, 1),
            "load_average": os.getloadavg()[0], "cpu_busy_share": round(busy / max(total, 1), 2)}


def main():
    names = [figure.__name__ for figure in FIGURES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=", ".join(names))
    parser.add_argument("--highwater", default="target/release/highwater")
    parser.add_argument("--tools", help="folder of raw_tcp and the others; beside highwater unless given")
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--rounds", type=int, help="5, or 3 with --quick")
    parser.add_argument("--warm-gib", type=int, default=3)
    parser.add_argument("--large-gib", type=int, default=20, help="what `restart` compares with 200 MiB")
    parser.add_argument("--quick", action="store_true", help="less data and shorter runs: to try the script, not for figures")
    args = parser.parse_args()
    unknown = set(args.figures) - set(names)
    if unknown:
        parser.error(f"no figure is called {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    setup, broken = Setup(args), False
    for figure in FIGURES:
        if args.figures and figure.__name__ not in args.figures:
            continue
        try:
            print(json.dumps(measured(figure, setup)), flush=True)
        except Exception:
            broken = True
            traceback.print_exc()
            print(json.dumps({"figure": figure.__name__, "broken": True}), flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
