"""What a balancer costs: time on its CPU, memory of its processes and of the kernel for them."""

import os
import time

from scripts.bench import candidates
from scripts.bench.network import BALANCER_CPU, LOAD_CPU

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_ALL_TASKS = "/sys/fs/cgroup/cpuacct/cpuacct.usage_percpu"
_KINDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def _read(path):
    with open(path, encoding="ascii") as f:
        return f.read()


class Sampler:
    """Which files tell the use of the CPUs, and what two readings of them say.

    What is charged to a balancer is all time that its CPU was not idle, less that of threads which
    are neither the balancer's nor the kernel's for the network. The kernel counts idle time and
    threads' time exactly; the kinds (user, system, softirq) it samples at each tick.
    """

    def __init__(self, candidate):
        self._threads = candidate.threads()
        kernel = [(t, t) for t in candidates.tasks_named(f"ksoftirqd/{BALANCER_CPU}")]
        self.files = ["/proc/stat", _ALL_TASKS,
                      *(f"/proc/{p}/task/{t}/schedstat" for p, t in self._threads + kernel)]

    def read(self):
        return time.monotonic(), [_read(f) if os.path.exists(f) else None for f in self.files]

    def use(self, seconds, before, after):
        """Dictionary of seconds: `charged`, `own` (the balancer's threads), kinds, `foreign`."""
        kinds = self._cpu(BALANCER_CPU, before, after)
        idle = kinds["idle"] + kinds["iowait"] + kinds["steal"]
        busy = max(seconds - idle, 0)
        ran = [(int(b.split()[0]) - int(a.split()[0])) / 1e9
               for a, b in zip(before[2:], after[2:])]
        foreign = 0
        if before[1] is not None:
            first, last = (int(text[1].split()[BALANCER_CPU]) for text in (before, after))
            foreign = max((last - first) / 1e9 - sum(ran), 0)
        load = self._cpu(LOAD_CPU, before, after)
        load_idle = load["idle"] + load["iowait"]
        return {"charged": max(busy - foreign, 0), "own": sum(ran[:len(self._threads)]),
                "foreign": foreign, "user": kinds["user"] + kinds["nice"],
                "system": kinds["system"], "softirq": kinds["softirq"] + kinds["irq"],
                "load_busy": min(max(1 - load_idle / seconds, 0), 1), "seconds": seconds}

    @staticmethod
    def _cpu(cpu, before, after):
        def row(text):
            line = next(x for x in text.splitlines() if x.startswith(f"cpu{cpu} "))
            return [int(x) for x in line.split()[1:9]]
        return {kind: (b - a) * _TICK
                for kind, a, b in zip(_KINDS, row(before[0]), row(after[0]))}

    def over(self, seconds):
        """The use of the CPUs while nothing is asked of the balancer."""
        begin, before = self.read()
        time.sleep(seconds)
        end, after = self.read()
        return self.use(end - begin, before, after)


def empty_poll_cost(candidate, sampler):
    """Seconds of the balancer's CPU for one loop that finds nothing, by making it poll always."""
    candidate.set_poll("busy")
    first, _ = candidate.loops()
    use = sampler.over(0.3)
    last, _ = candidate.loops()
    candidate.set_poll("adaptive")
    return use["charged"] / max(last - first, 1)


class MemoryGroup:
    """A memory control group for a balancer's processes: the kernel charges to it what it takes for
    them, sockets, files and page tables among it. Version 1 or 2 of the interface, or neither."""

    _ROOTS = (("/sys/fs/cgroup/memory", "memory.kmem.usage_in_bytes"),
              ("/sys/fs/cgroup", "memory.stat"))

    def __init__(self, name):
        self._directory = self._file = None
        for root, file in self._ROOTS:
            directory = os.path.join(root, name)
            try:
                os.mkdir(directory)
            except OSError:
                continue
            if os.path.exists(os.path.join(directory, file)):
                self._directory, self._file = directory, os.path.join(directory, file)
                break
            os.rmdir(directory)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self._directory:
            return
        end = time.monotonic() + 5
        while True:
            try:
                os.rmdir(self._directory)
                return
            except OSError:  # its last process is still on its way out
                if time.monotonic() > end:
                    raise
            time.sleep(0.02)

    def prefix(self):
        """In front of a command that is to run in the group."""
        if not self._directory:
            return []
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', self._directory + "/cgroup.procs"]

    def kernel_bytes(self):
        """None where the kernel does not tell."""
        if not self._directory:
            return None
        text = _read(self._file)
        if "stat" not in self._file:
            return int(text)
        values = dict(line.split() for line in text.splitlines())
        return int(values["kernel"]) if "kernel" in values else None


def user_bytes(pids):
    """Proportional share of what the processes have in memory."""
    total = 0
    for pid in pids:
        for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def slab_bytes():
    """The kernel's small objects, of the whole machine."""
    return next(int(line.split()[1]) * 1024 for line in _read("/proc/meminfo").splitlines()
                if line.startswith("Slab:"))
