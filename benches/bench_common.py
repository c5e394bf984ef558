"""What the measuring scripts share: a broker of their own, memory that is warm, and what a process costs."""
import json
import mmap
import os
import resource
import signal
import subprocess
import tempfile
import time


def warm(gib):
    """Touches and frees memory, so that nobody who is timed next pays for pages that the host took back."""
    if gib <= 0:
        return
    with mmap.mmap(-1, gib << 30) as memory:
        for offset in range(0, gib << 30, 4096):
            memory[offset] = 1


def cpu_seconds(pid):
    """User and system time of a process."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_cpu_seconds():
    """User and system time of all programs that this one ran and waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def rss_mib(pid):
    """Resident memory, and the part of it that is not pages of mapped files."""
    with open(f"/proc/{pid}/status") as status:
        kib = {line.split(":")[0]: int(line.split()[1]) for line in status if line.startswith(("VmRSS", "RssAnon"))}
    return {"rss_mib": round(kib["VmRSS"] / 1024, 1), "anonymous_mib": round(kib["RssAnon"] / 1024, 1)}


def maps_count(pid):
    """Lines of /proc/PID/maps, which `vm.max_map_count` bounds."""
    with open(f"/proc/{pid}/maps") as maps:
        return sum(1 for _ in maps)


def disk_mib(folder):
    """What `du` says of a folder."""
    done = subprocess.run(["du", "-s", "--block-size=1", folder], check=True, stdout=subprocess.PIPE)
    return round(int(done.stdout.split()[0]) / (1 << 20), 1)


def total_cpu():
    """Ticks that all processors were busy, and ticks in all, since the machine started."""
    with open("/proc/stat") as stat:
        ticks = [int(word) for word in stat.readline().split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


class Broker:
    """`highwater dev` on ports of its own, one broker or a cluster. As a context it is stopped in order at the end."""

    def __init__(self, binary, data_dir=None, brokers=1):
        command = [binary, "dev", "--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--kafka", "127.0.0.1:0", "--output", "json"]
        if data_dir:
            command += ["--data-dir", data_dir]
        if brokers > 1:
            command += ["--brokers", str(brokers)]
        environment = dict(os.environ, HIGHWATER_LOG="warn")
        self.binary = binary
        self.started = time.monotonic()
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, env=environment)
        line = self.process.stdout.readline()
        self.ready_ms = (time.monotonic() - self.started) * 1e3
        if not line:
            raise RuntimeError(f"the broker did not start: exit code {self.process.wait()}: {self.log_tail()}")
        self.ready = json.loads(line)
        self.pid = self.process.pid
        self.pids = [broker["pid"] for broker in self.ready["brokers"]] if brokers > 1 else [self.pid]
        self.address = ",".join(self.ready["grpc"]) if brokers > 1 else self.ready["grpc"]
        self.kafka = ",".join(self.ready["kafka"]) if brokers > 1 else self.ready["kafka"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def log_tail(self):
        """The end of what the broker wrote to standard error."""
        size = self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, size - 2000))
        return self.log.read().decode(errors="replace")

    def stop(self, seconds=60):
        """In order, as SIGTERM asks for it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise

    def kill(self):
        self.process.kill()
        self.process.wait()

    def command(self, *words):
        """A command of the same binary against this broker."""
        return [self.binary, "--bootstrap", self.address, "--output", "json", *map(str, words)]

    def run(self, *words):
        """Runs it, and returns what it printed."""
        return run_json(self.command(*words))

    def bench(self, *words):
        return self.run("bench", *words, "--server-pid", self.pid)


def run_json(command):
    """Runs a program whose output is one JSON object."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}: {done.stderr.decode()[-800:]}")
    return json.loads(done.stdout)
