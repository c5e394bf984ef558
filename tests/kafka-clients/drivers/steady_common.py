"""What the steady writers in Python share."""
import json
import sys
import time


def arguments():
    """The topic, how many partitions it has and how many records a second are written, from the command line."""
    return sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


class Report:
    """What was acknowledged and when; one JSON object at the end."""

    def __init__(self):
        self.acks, self.errors = [], []

    def acked(self, partition, sequence, offset):
        self.acks.append((partition, sequence, offset, round(time.time() * 1000)))

    def error(self, partition, sequence, text):
        self.errors.append((partition, sequence, text))

    def end(self, written, left):
        print(json.dumps({"written": written, "left": left, "acked": self.acks, "errors": self.errors}), flush=True)
