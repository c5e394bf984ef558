"""What one client wrote every other reads: a topic for each codec, in it a partition for each writer."""
import corpus
import scenarios
from driver import Unsupported


def run(report, clients, cluster, run_id, pool, open_driver):
    writers = [client for client in clients if "write" in client.interop]
    readers = [client for client in clients if "read" in client.interop]
    topics = {codec: f"interop-{codec}-{run_id}" for codec in scenarios.CODECS}
    for topic in topics.values():
        cluster.create_topic(topic, len(writers))
    written = {}

    def write(partition, client):
        def all_codecs():
            missing = []
            with open_driver(client, cluster) as driver:
                cannot = driver.call("hello")["cannot"]
                records = corpus.fit(corpus.corpus(), cannot)
                for codec, topic in topics.items():
                    try:
                        driver.call("produce", topic=topic, partition=partition, records=records, codec=codec)
                        written[client.name, codec] = (partition, records)
                    except Unsupported:
                        missing.append(codec)
            return f"not {', '.join(missing)}" if missing else None
        report.timed(client.name, "interop-write", all_codecs)

    def read(client):
        def all_partitions():
            wrong, count = [], 0
            with open_driver(client, cluster) as driver:
                cannot_tell = driver.call("hello").get("cannot_tell", [])
                for (writer, codec), (partition, records) in written.items():
                    found = driver.call("consume", topic=topics[codec], partition=partition, offset=0,
                                        count=len(records))["records"]
                    difference = corpus.difference(scenarios.placed(records), found, cannot_tell)
                    count += 1
                    if difference:
                        wrong.append(f"{codec} by {writer}: {difference}")
            assert not wrong, "; ".join(wrong)
            return f"{count} partitions of {len({writer for writer, _ in written})} writers"
        report.timed(client.name, "interop-read", all_partitions)

    for job in [pool.submit(write, partition, client) for partition, client in enumerate(writers)]:
        job.result()
    for job in [pool.submit(read, client) for client in readers]:
        job.result()
