"""librdkafka (confluent-kafka), writing steadily: see harness/failover.py."""
import sys
import threading
import time

from confluent_kafka import Producer
from steady_common import Report, arguments

topic, partitions, rate = arguments()
producer = Producer({"bootstrap.servers": sys.argv[1], "enable.idempotence": True, "acks": "all", "linger.ms": 1,
                     "message.timeout.ms": 60000})
report, stop = Report(), threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
number, began = 0, time.monotonic()
while not stop.is_set():
    while number < (time.monotonic() - began) * rate:
        partition, sequence = number % partitions, number // partitions

        def delivered(error, message, partition=partition, sequence=sequence):
            if error:
                report.error(partition, sequence, str(error))
            else:
                report.acked(partition, sequence, message.offset())
        try:
            producer.produce(topic, str(sequence).encode(), partition=partition, on_delivery=delivered)
        except BufferError:
            break
        number += 1
    producer.poll(0.001)
left = producer.flush(60)
report.end(number, left)
