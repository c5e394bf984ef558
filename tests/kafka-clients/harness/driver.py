"""A client's program, spoken to over its standard input and output: one JSON object a line each way.

A request is `{"verb": …, arguments}`, an answer `{"ok": …}`, `{"error": {"code", "name", "message"}}` where `code` is the
protocol's own number when the client tells it, or `{"unsupported": reason}`. A program that does not answer in time is
killed. The verbs are in tests/kafka-clients/README.md.
"""
import json
import os
import selectors
import subprocess
import tempfile
import time


class Unsupported(Exception):
    """The client has no such function; the reason is for people."""


class ClientError(Exception):
    """What the client reported; `code` is the protocol's, or None."""

    def __init__(self, error):
        super().__init__(f"{error.get('name')} (code {error.get('code')}): {error.get('message')}")
        self.code, self.name = error.get("code"), error.get("name")


class DriverDied(Exception):
    """The program ended, or did not answer in time."""


class Driver:
    def __init__(self, command, bootstrap, deadline, env=None):
        self.deadline = deadline
        self.stderr = tempfile.TemporaryFile()
        self.process = subprocess.Popen([*command, bootstrap], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.stderr, env=dict(os.environ, **(env or {})), start_new_session=True)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        self.buffered = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.process.stdin.close()
            self.process.wait(3)
        except (OSError, subprocess.TimeoutExpired):
            pass
        self.kill()

    def kill(self):
        """Ends the program and what it started; all of them are in a session of their own."""
        try:
            os.killpg(self.process.pid, 9)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process.stdout.close()

    def error_tail(self):
        size = self.stderr.seek(0, os.SEEK_END)
        self.stderr.seek(max(0, size - 1500))
        return self.stderr.read().decode(errors="replace").strip()

    def call(self, verb, **arguments):
        try:
            self.process.stdin.write(json.dumps(dict(arguments, verb=verb)).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise DriverDied(f"{verb}: the program ended: {self.error_tail()}") from None
        answer = json.loads(self.line(verb))
        if "unsupported" in answer:
            raise Unsupported(answer["unsupported"])
        if "error" in answer:
            raise ClientError(answer["error"])
        return answer["ok"]

    def line(self, verb):
        while b"\n" not in self.buffered:
            left = self.deadline - time.monotonic()
            if left <= 0 or not self.selector.select(left):
                raise DriverDied(f"{verb}: no answer in time; {self.error_tail()}")
            piece = os.read(self.process.stdout.fileno(), 1 << 20)
            if not piece:
                raise DriverDied(f"{verb}: the program ended: {self.error_tail()}")
            self.buffered += piece
        line, _, self.buffered = self.buffered.partition(b"\n")
        return line
