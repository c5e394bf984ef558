"""Kafka's own command-line tools, each run as people run it, in the order of one small story."""
import json
import os
import re
import subprocess
import tempfile

import clients as registry

SECONDS_MAX = 60


class Tools:
    """Runs a tool's main class against the broker under test."""

    def __init__(self, bootstrap):
        self.bootstrap, self.folder = bootstrap, tempfile.TemporaryDirectory(prefix="kafka-tools-")
        self.jars = f"{registry.CACHE / 'java/jars'}/*"

    def file(self, name, text):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def run(self, main, *arguments, data="", fails=False):
        """What it printed on both outputs; its exit code must say what `fails` says."""
        main = main if "." in main else f"org.apache.kafka.tools.{main}"
        command = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx256m", "-cp", self.jars, main,
                   *(["--bootstrap-server", self.bootstrap] if "--bootstrap-server" not in arguments else []),
                   *map(str, arguments)]
        done = subprocess.run(command, input=data.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=SECONDS_MAX)
        text = done.stdout.decode(errors="replace")
        # Some tools say what went wrong and still exit with 0.
        failed = done.returncode != 0 or bool(re.search(r"^Error|Exception", text, re.M))
        assert failed == fails, f"{main}: exit code {done.returncode}: {text[-900:]}"
        return text


def has(text, *parts):
    for part in parts:
        assert re.search(part, text), f"no {part!r} in {text[-700:]!r}"


def topic_command(tools, topic):
    tools.run("TopicCommand", "--create", "--topic", topic, "--partitions", 2, "--config", "retention.ms=3600000")
    has(tools.run("TopicCommand", "--list"), rf"(?m)^{topic}$")
    has(tools.run("TopicCommand", "--describe", "--topic", topic), "PartitionCount: 2", "ReplicationFactor: 1",
        "retention.ms=3600000", r"Partition: 1\s+Leader: \d+\s+Replicas: \d+\s+Isr: \d+")
    tools.run("TopicCommand", "--alter", "--topic", topic, "--partitions", 3)
    has(tools.run("TopicCommand", "--describe", "--topic", topic), "PartitionCount: 3")


def topic_command_errors(tools, topic):
    has(tools.run("TopicCommand", "--create", "--topic", topic, fails=True), "TopicExistsException|exists")
    has(tools.run("TopicCommand", "--describe", "--topic", f"{topic}-absent", fails=True), "does not exist")
    has(tools.run("TopicCommand", "--create", "--topic", f"{topic}-x", "--config", "retention.ms=soon", fails=True),
        "(?i)invalid|not a number")


def console_producer(tools, topic):
    lines = "".join(f"k{index}:line {index}\n" for index in range(50))
    tools.run("ConsoleProducer", "--topic", topic, "--reader-property", "parse.key=true", "--reader-property",
              "key.separator=:", data=lines)


def console_consumer(tools, topic):
    offsets = dict(re.findall(rf"^{topic}:(\d+):(\d+)$", tools.run("GetOffsetShell", "--topic", topic), re.M))
    seen = []
    for partition, count in offsets.items():
        if int(count):
            text = tools.run("org.apache.kafka.tools.consumer.ConsoleConsumer", "--topic", topic, "--partition", partition,
                             "--offset", "earliest", "--max-messages", count, "--timeout-ms", 20000,
                             "--formatter-property", "print.key=true", "--formatter-property", "key.separator=:")
            seen += re.findall(r"^k\d+:line \d+$", text, re.M)
    expected = sorted(f"k{index}:line {index}" for index in range(50))
    assert sorted(seen) == expected, f"{len(seen)} of 50 lines: {seen[:3]}"


def get_offset_shell(tools, topic):
    def sums(*more):
        text = tools.run("GetOffsetShell", "--topic", topic, *more)
        return sum(int(offset) for offset in re.findall(rf"^{topic}:\d+:(\d+)$", text, re.M))

    assert sums() == 50, f"ends add up to {sums()}"
    assert sums("--time", "earliest") == 0, "starts are not 0"
    assert sums("--time", "1") == 0, "the time 1 is not before everything"
    has(tools.run("GetOffsetShell", "--topic", topic, "--time", "max-timestamp"), rf"{topic}:\d+:\d+")


def config_command(tools, topic):
    entity = ["--entity-type", "topics", "--entity-name", topic]
    tools.run("kafka.admin.ConfigCommand", *entity, "--alter", "--add-config", "max.message.bytes=2000000")
    has(tools.run("kafka.admin.ConfigCommand", *entity, "--describe"), "max.message.bytes=2000000",
        "DYNAMIC_TOPIC_CONFIG:max.message.bytes=2000000")
    tools.run("kafka.admin.ConfigCommand", *entity, "--alter", "--delete-config", "max.message.bytes")
    has(tools.run("kafka.admin.ConfigCommand", *entity, "--describe", "--all"), "max.message.bytes=1048588")
    has(tools.run("kafka.admin.ConfigCommand", *entity, "--alter", "--add-config", "cleanup.policy=burn", fails=True),
        "(?i)invalid")


def delete_records_command(tools, topic):
    text = tools.run("GetOffsetShell", "--topic", topic)
    partition, end = max(re.findall(rf"^{topic}:(\d+):(\d+)$", text, re.M), key=lambda pair: int(pair[1]))
    plan = {"version": 1, "partitions": [{"topic": topic, "partition": int(partition), "offset": int(end) - 1}]}
    text = tools.run("DeleteRecordsCommand", "--offset-json-file", tools.file("delete.json", json.dumps(plan)))
    has(text, rf"partition: {topic}-{partition}\s+low_watermark: {int(end) - 1}")
    text = tools.run("GetOffsetShell", "--topic", f"{topic}", "--time", "earliest")
    has(text, rf"{topic}:{partition}:{int(end) - 1}")


def log_dirs_command(tools, topic):
    text = tools.run("LogDirsCommand", "--describe", "--topic-list", topic)
    told = json.loads(next(line for line in text.splitlines() if line.startswith("{")))
    partitions = [part for broker in told["brokers"] for folder in broker["logDirs"] for part in folder["partitions"]]
    assert {part["partition"] for part in partitions} == {f"{topic}-{index}" for index in range(3)}, str(told)[:400]
    assert sum(part["size"] for part in partitions) > 0, "all sizes are 0"


def producer_performance(tools, topic):
    text = tools.run("ProducerPerformance", "--topic", topic, "--num-records", 5000, "--record-size", 200,
                     "--throughput", -1, "--producer-props", f"bootstrap.servers={tools.bootstrap}", "acks=all")
    has(text, "5000 records sent")


def broker_api_versions(tools, topic):
    text = tools.run("BrokerApiVersionsCommand")
    has(text, r"\(id: \d+ rack", r"Produce\(0\): 0 to \d+", r"Fetch\(1\): 4 to \d+")


def topic_command_delete(tools, topic):
    tools.run("TopicCommand", "--delete", "--topic", topic)
    assert not re.search(rf"(?m)^{topic}$", tools.run("TopicCommand", "--list")), "the topic is still listed"


STORY = [topic_command, topic_command_errors, console_producer, get_offset_shell, console_consumer, config_command,
         delete_records_command, log_dirs_command, producer_performance, broker_api_versions, topic_command_delete]


def run(report, cluster, run_id):
    try:
        registry.install_java()
    except registry.Missing as reason:
        report.add("java-tools", "install", "skipped", str(reason))
        return
    tools = Tools(cluster.bootstrap)
    with tools.folder:
        for step in STORY:
            report.timed("java-tools", step.__name__.replace("_", "-"), lambda: step(tools, f"java-tools-{run_id}"))
