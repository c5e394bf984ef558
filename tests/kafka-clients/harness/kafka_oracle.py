"""Apache Kafka itself, as the oracle: one broker with a folder of its own, from the jars that the Java client came with."""
import os
import signal
import socket
import subprocess
import tempfile
import time

import clients as registry
import wire
from cluster import Cluster


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Kafka(Cluster):
    """Started as a context, stopped by its own process id at the end."""

    def __init__(self, jars=None, heap="-Xmx768m"):
        registry.install_java()
        self.jars = jars or registry.CACHE / "java/jars"
        self.folder = tempfile.TemporaryDirectory(prefix="kafka-oracle-")
        broker, controller = free_port(), free_port()
        config = os.path.join(self.folder.name, "properties")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={self.folder.name}/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
""")
        java = ["java", heap, "-XX:+UseG1GC", "-Djava.awt.headless=true", "-cp", f"{self.jars}/*"]
        subprocess.run([*java, "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", config],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
        with open(os.path.join(self.folder.name, "log"), "wb") as log:
            self.process = subprocess.Popen([*java, "kafka.Kafka", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.folder.name)
        super().__init__(f"127.0.0.1:{broker}", pid=self.process.pid)

    def __enter__(self):
        deadline = time.monotonic() + 60
        while True:
            try:
                with wire.Connection(self.bootstrap, 5) as connection:
                    if connection.call("Metadata", 4, {"Topics": []})["Brokers"]:
                        return self
            except (OSError, wire.WireError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    raise RuntimeError("Kafka did not start") from None
            time.sleep(0.2)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()
