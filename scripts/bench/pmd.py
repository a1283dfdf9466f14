"""Programs on DPDK's software ports, without any network: dpdk-testpmd, and mqlb."""

import os
import re
import shutil
import subprocess
import tempfile
import time

from scripts.bench import candidates
from scripts.bench.network import BALANCER_CPU as DATA_CPU, LOAD_CPU
from tests.support import daemon, wait

program = daemon.program
_TESTPMD = "dpdk-testpmd"
_WORKER = f"(rte|lcore)-worker-{DATA_CPU}"  # by DPDK's version


def memory(huge, mebibytes):
    """EAL arguments; hugepages are taken as they are needed."""
    return ["--in-memory"] if huge else ["--no-huge", "--no-shconf", "-m", str(mebibytes)]


def eal(huge, mebibytes, prefix, devices):
    return [*memory(huge, mebibytes), "--no-pci", "--no-telemetry", "--file-prefix", prefix,
            "--lcores", f"0@{LOAD_CPU},{DATA_CPU}@{DATA_CPU}",
            *(word for device in devices for word in ("--vdev", device))]


def thread_cpu(pid, thread):
    """Seconds that a thread ran, as the scheduler counts them."""
    with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as f:
        return int(f.read().split()[0]) / 1e9


def thread_demand(pid, thread):
    """Seconds that a thread ran or waited for its CPU, which others had."""
    with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as f:
        return sum(map(int, f.read().split()[:2])) / 1e9


def worker(pid):
    (thread,) = candidates.tasks_named(_WORKER, f"/proc/{pid}/task")
    return thread


class Place:
    """A directory for one program, with what daemon.Daemon asks of a topology; a context."""

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="mqlb-ports-")
        self.prefix = os.path.basename(self.directory)
        self.balancer = self
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.directory)

    def path(self, name):
        return os.path.join(self.directory, name)

    @staticmethod
    def popen(argv, **options):
        return subprocess.Popen(argv, start_new_session=True, **options)


def testpmd(devices, mode, seconds, huge, first=False):
    """(packets forwarded, CPU seconds) of one forwarding core. first: frames that then go round."""
    argv = ["stdbuf", "-oL", _TESTPMD,
            *eal(huge, 256, f"mqlb-testpmd{os.getpid()}", devices),
            "--", "-i", f"--forward-mode={mode}", "--total-num-mbufs=8192"]
    with tempfile.TemporaryFile("w+") as log, Place.popen(
            argv, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, text=True) as run:
        try:
            cpu = _forward(run, log, "start tx_first 32" if first else "start", seconds)
            run.communicate("quit\n", timeout=20)
        finally:
            if run.poll() is None:
                run.kill()
        text = _text(log)
    totals = text.partition("Accumulated forward statistics")[2]
    sent = re.search(r"TX-packets:\s*(\d+)", totals)
    if run.returncode != 0 or not sent or not int(sent[1]):
        raise RuntimeError(f"{_TESTPMD} {mode}, status {run.returncode}: {text[-2000:]}")
    return int(sent[1]), cpu


def _text(log):
    log.seek(0)
    return log.read()


def _said(run, log, words):
    """Whether it has printed this."""
    if run.poll() is not None:
        raise RuntimeError(f"{_TESTPMD} ended with status {run.returncode}: {_text(log)[-2000:]}")
    return words in os.pread(log.fileno(), 1 << 20, 0).decode(errors="replace")


def _forward(run, log, start, seconds):
    wait.until(lambda: _said(run, log, "testpmd>"), 20, f"{_TESTPMD}'s prompt")
    thread = worker(run.pid)
    before = thread_cpu(run.pid, thread)
    for words in (start, "stop"):
        run.stdin.write(words + "\n")
        run.stdin.flush()
        if words != "stop":
            time.sleep(seconds)
    wait.until(lambda: _said(run, log, "Accumulated"), 20, f"{_TESTPMD}'s statistics")
    return thread_cpu(run.pid, thread) - before


def bare(devices):
    """A start-up file with nobody to balance for; so it sends no frames of its own."""
    names = [device.split(",")[0] for device in devices]
    return f"""\
port add clients device {names[0]} role client
port add brokers device {names[1]} role backend
"""


def balancer(devices):
    """Clients on the first device, brokers on the second."""
    return bare(devices) + """\
address add clients 198.18.0.1/24
address add brokers 198.18.1.1/24
snat add outside range 198.18.1.100 198.18.1.103
pool add brokers snat outside
pool set brokers proxy-protocol v2
backend add brokers broker0 198.18.1.31:1883
backend add brokers broker1 198.18.1.32:1883
listener add mqtt 198.18.0.10:1883 pool brokers
"""


class Daemon(daemon.Daemon):
    """mqlb with its control thread beside the load and its data thread on a CPU of its own."""

    def __init__(self, place, text, devices, huge):
        super().__init__(place, text)
        self._devices, self._huge = devices, huge

    def command(self):
        return [program("mqlb"), *eal(self._huge, 512, self.name, self._devices),
                "--", "--config", self.config, "--socket", self.socket]

    def start(self, timeout=30):
        # What it was started from is on the load's CPU.
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {LOAD_CPU, DATA_CPU})
        try:
            return super().start(timeout)
        finally:
            os.sched_setaffinity(0, allowed)

    def sample(self):
        """What the data core has done so far."""
        (row,) = self.show("cores")
        return {"time": time.monotonic(), "packets": row["rx_packets"], "loops": row["loops"],
                "idle": row["idle_loops"],
                "cpu": thread_cpu(self.process.pid, worker(self.process.pid))}

    def over(self, seconds):
        """The difference of two samples."""
        before = self.sample()
        time.sleep(seconds)
        after = self.sample()
        return {key: after[key] - before[key] for key in after}
