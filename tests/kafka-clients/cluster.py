"""Real clients through fail-overs of three brokers, and Kafka's own tools on a cluster.

    run.sh cluster --highwater PATH [CLIENT...] [--fault kill|stop|restart]

Each client writes steadily with idempotence while the leader is killed, stands still or is restarted, then reads everything
back; see harness/failover.py. Skipped by name where a client's runtime is missing.
"""
import argparse
import contextlib
import json
import pathlib
import secrets
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "harness"))
import clients as registry
import cluster_tools
import failover
from cluster import Cluster
from driver import Driver

# A writer's command, and the client whose driver reads back.
WRITERS = {
    "confluent-kafka": lambda: [sys.executable, registry.DRIVERS / "steady_confluent.py"],
    "java": lambda: registry.java("Steady")(None),
    "franz-go": lambda: [registry.CACHE / "go/steady/driver"],
}
INSTALLS = {"franz-go": lambda: registry.install_go("steady")()}


def reader(client, brokers):
    """Reads a partition from its beginning, one record more than it should have."""
    def consume(topic, partition, count):
        with Driver([str(word) for word in client.command(None)], brokers.bootstrap.split(",")[0],
                    time.monotonic() + 60) as driver:
            latest = driver.call("list_offsets", topic=topic, partition=partition, at="latest")["offset"]
            assert latest == count, f"partition {partition} ends at {latest}, and {count} were acknowledged"
            return driver.call("consume", topic=topic, partition=partition, offset=0, count=count)["records"]
    return consume


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clients", nargs="*", help="only these; java-tools are Kafka's own command-line tools")
    parser.add_argument("--highwater", required=True, help="the binary")
    parser.add_argument("--fault", action="append", choices=failover.FAULTS, help="only these")
    parser.add_argument("--results", type=pathlib.Path, default=registry.CACHE / "cluster.json")
    args = parser.parse_args()
    known, results, failed = {one.name: one for one in registry.CLIENTS}, [], 0
    for name in args.clients or [*WRITERS, "java-tools"]:
        for question, answer in questions(name, known, args):
            began = time.monotonic()
            try:
                told = answer()
                results.append({"client": name, "question": question, "outcome": "pass", **(told or {})})
            except registry.Missing as reason:
                results.append({"client": name, "question": question, "outcome": "skipped", "remark": str(reason)})
                print(f"!!! SKIPPED: {name}: {reason}", flush=True)
            except Exception as error:  # whatever went wrong is said, and the rest goes on
                failed += 1
                text = f"{type(error).__name__}: {error}"[:1500]
                results.append({"client": name, "question": question, "outcome": "fail", "remark": text})
            print(f"{json.dumps(results[-1])} ({time.monotonic() - began:.1f} s)", flush=True)
    args.results.write_text(json.dumps(results, indent=1))
    print(f"cluster: {sum(one['outcome'] == 'pass' for one in results)} passed, {failed} failed")
    return 1 if failed else 0


def questions(name, known, args):
    if name == "java-tools":
        yield "tools", lambda: tools(known["java"], args.highwater)
        return
    client, run_id = known[name], secrets.token_hex(3)
    for fault in args.fault or failover.FAULTS:
        yield fault, lambda fault=fault: one(client, name, args.highwater, f"{name}-{fault}-{run_id}", fault)


def one(client, name, binary, topic, fault):
    client.install()
    INSTALLS.get(name, lambda: None)()
    with failover.Brokers(binary) as brokers:
        return failover.endure(brokers, WRITERS[name](), reader(client, brokers), topic, fault)


def tools(java, binary):
    java.install()
    with contextlib.ExitStack() as stack:
        brokers = stack.enter_context(failover.Brokers(binary))
        cluster_tools.run(brokers, Cluster(brokers.bootstrap))


if __name__ == "__main__":
    sys.exit(main())
