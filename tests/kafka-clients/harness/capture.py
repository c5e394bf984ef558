"""A proxy that keeps what real clients send, as seeds for the fuzzers: request bodies, a few of each API and version, and
what whole connections sent, one of each set of APIs and versions."""
import pathlib
import socket
import struct
import threading

import wire

EACH_MAX, BYTES_MAX = 4, 1024
CONNECTION_BYTES_MAX = 6 * 1024


class Capture:
    """Listens at `address`; `folder` gets `kafka_request/KEY-vVERSION-N.bin`, bodies without their headers, and
    `kafka_connection/N.bin`, whole frames from a connection's beginning."""

    def __init__(self, folder):
        self.folder, self.target = pathlib.Path(folder), None
        for target in ("kafka_request", "kafka_connection"):
            (self.folder / target).mkdir(parents=True, exist_ok=True)
        self.names, self.kept, self.lock = wire.api_names(), {}, threading.Lock()
        self.connections = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]

    def start(self, target):
        """Begins to pass everything on to `target`."""
        self.target = target
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            host, _, port = self.target.rpartition(":")
            broker = socket.create_connection((host, int(port)))
            for one in (client, broker):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.pump, args=(client, broker, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(broker, client, False), daemon=True).start()

    def pump(self, source, sink, keep):
        buffered, beginning = b"", b""
        try:
            while True:
                data = source.recv(1 << 18)
                if not data:
                    break
                sink.sendall(data)
                if keep:
                    buffered = self.take(buffered + data)
                    beginning += data[:CONNECTION_BYTES_MAX - len(beginning)]
        except OSError:
            pass
        finally:
            if keep:
                self.keep_connection(beginning)
            for one in (source, sink):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def take(self, data):
        """Keeps the whole frames at the front; the rest is returned."""
        while len(data) >= 4:
            length = struct.unpack_from(">i", data)[0]
            if len(data) < 4 + length:
                break
            self.keep(data[4:4 + length])
            data = data[4 + length:]
        return data

    def keep(self, payload):
        reader = wire.Reader(payload)
        key, version = reader.unpack("h"), reader.unpack("h")
        if key not in self.names or len(payload) > BYTES_MAX:
            return
        reader.unpack("i")
        reader.take(max(0, reader.unpack("h")))
        if wire.api(self.names[key]).flexible(version):
            for _ in range(reader.uvarint()):
                reader.uvarint()
                reader.take(reader.uvarint())
        body = payload[reader.at:]
        with self.lock:
            kept = self.kept.setdefault((key, version), set())
            # One of each length says more than many that differ in a name.
            if len(kept) < EACH_MAX and len(body) not in kept:
                (self.folder / "kafka_request" / f"{key}-v{version}-{len(kept)}.bin").write_bytes(body)
                kept.add(len(body))

    def keep_connection(self, beginning):
        at, apis = 0, set()
        while at + 8 <= len(beginning):
            size, key, version = struct.unpack_from(">ihh", beginning, at)
            if at + 4 + size > len(beginning):
                break
            apis.add((key, version))
            at += 4 + size
        with self.lock:
            # What is asked tells connections apart; how often it is asked does not.
            if apis and frozenset(apis) not in self.connections:
                name = f"{len(self.connections):03}.bin"
                self.connections.add(frozenset(apis))
                (self.folder / "kafka_connection" / name).write_bytes(beginning[:at])
