"""Installs the clients, asks each of them everything, prints a line for every answer, and keeps them all as JSON."""
import argparse
import concurrent.futures
import contextlib
import json
import pathlib
import secrets
import sys
import threading
import time

import clients as registry
import docs
import interop
import java_tools
import scenarios
from cluster import Cluster, Highwater
from driver import ClientError, Driver, DriverDied, Unsupported

RESULTS = registry.CACHE / "results.json"
SECONDS_MAX = 45
ANSWERS = {"pass": "pass   ", "fail": "FAIL   ", "skipped": "skipped"}


class Report:
    """Every answer, printed as it comes."""

    def __init__(self):
        self.lock, self.results, self.versions = threading.Lock(), [], {}

    def add(self, client, scenario, outcome, remark=None, seconds=0.0):
        with self.lock:
            self.results.append({"client": client, "scenario": scenario, "outcome": outcome, "remark": remark,
                                 "seconds": round(seconds, 2)})
            tail = f": {remark}" if remark else ""
            print(f"{ANSWERS[outcome]} {client} {scenario} ({seconds:.1f} s){tail}", flush=True)

    def timed(self, client, scenario, function):
        """Runs it and adds what comes of it."""
        began = time.monotonic()
        try:
            self.add(client, scenario, "pass", function(), time.monotonic() - began)
        except Unsupported as reason:
            self.add(client, scenario, "skipped", str(reason), time.monotonic() - began)
        except (AssertionError, ClientError, DriverDied) as error:
            self.add(client, scenario, "fail", str(error)[:1200], time.monotonic() - began)
        except Exception as error:  # a fault of the harness or the broker: said, and the rest goes on
            self.add(client, scenario, "fail", f"{type(error).__name__}: {error}"[:1200], time.monotonic() - began)


def open_driver(client, cluster):
    return Driver([str(word) for word in client.command(cluster)], cluster.bootstrap, time.monotonic() + SECONDS_MAX)


def ask(report, client, cluster, name, run_id):
    if name in client.skips:
        report.add(client.name, name, "skipped", client.skips[name])
        return

    def scenario():
        with open_driver(client, cluster) as driver:
            return scenarios.NAMES[name](scenarios.Context(driver, cluster, f"{client.name}-{name}-{run_id}"))

    report.timed(client.name, name, scenario)


def install(report, wanted, cluster):
    """The clients that can run here; the others are skipped by name, and a failing install is a failure."""
    ready, problems = [], {}
    for client in wanted:
        if client.highwater_only and not cluster.grpc:
            report.add(client.name, "install", "skipped", "only beside Highwater")
            continue
        try:
            if client.install not in problems:
                client.install()
            with open_driver(client, cluster) as driver:
                hello = driver.call("hello")
            report.versions[client.name] = hello
            ready.append(client)
        except registry.Missing as reason:
            report.add(client.name, "install", "skipped", str(reason))
        except (RuntimeError, DriverDied, OSError) as error:
            report.add(client.name, "install", "fail", str(error)[:1500])
    return ready


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clients", nargs="*", help="only these; java-tools are Kafka's own command-line tools")
    parser.add_argument("--bootstrap", help="HOST:PORT of a broker that runs already")
    parser.add_argument("--highwater", help="the binary; a broker is started for this run")
    parser.add_argument("--scenario", action="append", help="only these scenarios")
    parser.add_argument("--capture", help="a folder for the requests that the clients send; with --highwater")
    parser.add_argument("--jobs", type=int, default=2, help="clients at a time")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS)
    parser.add_argument("--write-docs", action="store_true", help="only write docs/kafka-clients.md from the results")
    return parser.parse_args()


def main():
    args = arguments()
    if args.write_docs:
        docs.write(json.loads(args.results.read_text()))
        return 0
    if bool(args.bootstrap) == bool(args.highwater):
        sys.exit("one of --bootstrap and --highwater, please")
    known = {client.name: client for client in registry.CLIENTS}
    unknown = set(args.clients) - set(known) - {"java-tools", "interop"}
    if unknown:
        sys.exit(f"no such client: {', '.join(sorted(unknown))}; there are {', '.join(known)}, java-tools, interop")
    began, report, run_id = time.monotonic(), Report(), secrets.token_hex(3)
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(Highwater(args.highwater, args.capture)) if args.highwater else Cluster(args.bootstrap)
        everything(args, report, cluster, known, run_id)
        if args.highwater and cluster.process.poll() is not None:
            report.add("highwater", "alive", "fail", f"the broker ended: {cluster.log_tail()}")
        save_log(cluster)
    counts = {name: sum(1 for one in report.results if one["outcome"] == name) for name in ANSWERS}
    args.results.write_text(json.dumps({
        "broker": "highwater" if args.highwater else "other", "seconds": round(time.monotonic() - began),
        "clients": report.versions, "results": report.results}, indent=1))
    for one in report.results:
        if one["outcome"] == "skipped" and one["scenario"] == "install":
            print(f"!!! SKIPPED: {one['client']}: {one['remark']}")
    print(f"results: {args.results}; {time.monotonic() - began:.0f} s")
    print(f"kafka-clients: {counts['pass']} passed, {counts['fail']} failed, {counts['skipped']} skipped")
    return 1 if counts["fail"] else 0


def save_log(cluster):
    if isinstance(cluster, Highwater):
        (registry.CACHE / "broker.log").write_text(cluster.log_tail(1 << 20))


def everything(args, report, cluster, known, run_id):
    chosen = args.clients or [*known, "java-tools", "interop"]
    ready = install(report, [known[name] for name in known if name in chosen], cluster)
    names = args.scenario or list(scenarios.NAMES)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        jobs = [pool.submit(ask, report, client, cluster, name, run_id) for client in ready for name in names]
        if "java-tools" in chosen and not args.scenario:
            jobs.append(pool.submit(java_tools.run, report, cluster, run_id))
        for job in jobs:
            job.result()
        if "interop" in chosen and not args.scenario:
            if args.clients:
                ready = install(report, list(known.values()), cluster)
            interop.run(report, ready, cluster, run_id, pool, open_driver)


if __name__ == "__main__":
    sys.exit(main())
