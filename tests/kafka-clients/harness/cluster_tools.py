"""Kafka's own command-line tools on three brokers: describe, move replicas, elect leaders, read from a near replica."""
import json
import re
import time
import urllib.request

from java_tools import Tools, has


def run(brokers, cluster):
    tools = Tools(cluster.bootstrap)
    topic = "moved"
    tools.run("TopicCommand", "--create", "--topic", topic, "--replica-assignment", "1:2,2:3")
    has(tools.run("TopicCommand", "--describe", "--topic", topic), "PartitionCount: 2", "ReplicationFactor: 2",
        r"Partition: 0\s+Leader: 1\s+Replicas: 1,2\s+Isr: 1,2", r"Partition: 1\s+Leader: 2\s+Replicas: 2,3")
    has(tools.run("TopicCommand", "--create", "--topic", "too-many", "--replication-factor", 4, fails=True),
        "replication factor 4 .* with 3 ")
    plan = tools.file("plan.json", json.dumps({"version": 1, "partitions": [
        {"topic": topic, "partition": 0, "replicas": [3, 1]}, {"topic": topic, "partition": 1, "replicas": [2, 1]}]}))
    main = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
    has(tools.run(main, "--reassignment-json-file", plan, "--execute"), "Successfully started partition reassignments")
    deadline = time.monotonic() + 20
    while True:
        text = tools.run(main, "--reassignment-json-file", plan, "--verify")
        if text.count("is completed") == 2:
            break
        assert time.monotonic() < deadline, text
    has(tools.run("TopicCommand", "--describe", "--topic", topic), r"Partition: 0\s+Leader: \d\s+Replicas: 3,1")
    has(tools.run(main, "--list"), "No partition reassignments found")
    brokers.wait_for(topic, "both in sync", lambda one: len(one["IsrNodes"]) == 2)
    election = ["--election-type", "preferred", "--topic", topic, "--partition", 0]
    has(tools.run("LeaderElectionCommand", *election), "Successfully completed leader election|is not needed|Valid replica already")
    has(tools.run("TopicCommand", "--describe", "--topic", topic), r"Partition: 0\s+Leader: 3\s+Replicas: 3,1")
    # Broker 1 is alone on rack a and leads nothing, so a consumer on that rack reads everything from a follower.
    tools.run("ConsoleProducer", "--topic", topic, data="".join(f"line {index}\n" for index in range(20)))
    consumer = tools.file("consumer.properties", "client.rack=a\n")
    count = 0
    for partition in (0, 1):
        text = tools.run("org.apache.kafka.tools.consumer.ConsoleConsumer", "--topic", topic, "--partition", partition,
                         "--offset", "earliest", "--timeout-ms", 6000, "--command-config", consumer)
        count += text.count("line ")
    assert count == 20, f"{count} of 20 lines"
    with urllib.request.urlopen(f"http://127.0.0.1:{brokers.ports[1]['admin']}/metrics", timeout=5) as answer:
        handed_out = re.search(r"(?m)^\w*bytes_fetched\w* (\d+)", answer.read().decode())
    assert handed_out and int(handed_out[1]) > 0, "broker 1 handed nothing out"
