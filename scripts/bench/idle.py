"""What an idle mqlb costs, and how fast it wakes.

    idle.py [--runs N] [--only NAME,...] [--quick] [--json FILE]

For each driver (afpacket, afxdp) one daemon, in turn with `poll adaptive` (the default) and `poll
busy` (the floor of latency): first the time that all threads of the daemon used, without any
traffic; then SYNs, each after a pause that lets the data core fall asleep, from a packet socket at
the other end of the veth to the SYN-ACK there. docs/bench.md says how to read it.
"""

import argparse
import json
import os
import random
import signal
import socket
import statistics
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from scripts.bench import candidates, measure, network, peers, phases, tables  # noqa: E402
from tests.support import rawhost  # noqa: E402


class AfXdp(candidates.MqlbAfXdp):
    """Without kernel threads for the receiving: it is done where the frame is sent."""

    def start(self):
        super(candidates.MqlbAfXdp, self).start()


KINDS = {"afpacket": candidates.MqlbAfPacket, "afxdp": AfXdp}
MODES = ("adaptive", "busy")
GOALS = {"cpu": 5, "latency": 100}
_SOURCE = "198.18.0.200"  # nobody's: no kernel answers the SYN-ACK
_PAUSES = (0.005, 0.025)  # seconds; more than any spinning of an idle core
TIMEOUT = 0.2
_ETH_P_ALL = 3
_SO_TIMESTAMPNS = 35


class Sizes:
    """How much is measured in each run."""

    def __init__(self, quick):
        self.seconds = 0.3 if quick else 10
        self.probes = 20 if quick else 400


def cpu_seconds(pid):
    """Exact user and system time of all threads of a process."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as f:
            total += int(f.read().split()[0])
    return total / 1e9


def idle_cpu(pid, seconds):
    """Percent of one core."""
    begin, before = time.monotonic(), cpu_seconds(pid)
    time.sleep(seconds)
    return 100 * (cpu_seconds(pid) - before) / (time.monotonic() - begin)


def receive_where_sent(net):
    """No steering: a frame is in the balancer's ring before send() returns, and its arrival needs
    no interrupt between the CPUs, which would be most of what is measured in a virtual machine."""
    for namespace, interface in ((net.clients, "eth0"), (net.balancer, network.LB_CLIENTS)):
        network.write_sys(namespace, f"class/net/{interface}/queues/rx-0/rps_cpus", "0")


class Prober:
    """Sends SYNs from a packet socket. Another one at the same interface sees them leave and the
    SYN-ACKs arrive, with the kernel's time of both, so no wake-up of this program is measured."""

    def __init__(self, net):
        self._host = rawhost.RawHost(net.clients, _SOURCE)
        with net.clients:
            self._monitor = socket.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                          socket.htons(_ETH_P_ALL))
            self._monitor.bind(("eth0", _ETH_P_ALL))
        self._monitor.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        ports = list(range(1024, 65536))
        random.Random(1).shuffle(ports)
        self._ports = iter(ports)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._monitor.close()
        self._host.sock.close()

    def probe(self):
        """Seconds from the SYN to its SYN-ACK; None if there is none in time."""
        port = next(self._ports)
        (frame,) = rawhost.syn_frames(self._host.mac, self._host.peer_mac, [_SOURCE], [port])
        self._forget()
        sought = port.to_bytes(2, "big")
        end = time.monotonic() + TIMEOUT
        self._host.sock.send(frame)
        sent = None
        while (left := end - time.monotonic()) > 0:
            self._monitor.settimeout(left)
            try:
                seen, control, _, _ = self._monitor.recvmsg(2048, 256)
            except TimeoutError:
                return None
            if seen == frame:
                sent = when(control)
            elif sent and seen[36:38] == sought and seen[47] == rawhost.SYN | rawhost.ACK:
                return when(control) - sent
        return None

    def _forget(self):
        """What is waiting in the host's own queue; nobody reads it."""
        self._host.sock.setblocking(False)
        try:
            while True:
                self._host.sock.recv(2048)
        except BlockingIOError:
            self._host.sock.setblocking(True)


class PipeProber:
    """What the machine alone takes to wake a process on the balancer's CPU, which tells when it
    woke: nothing that sleeps can answer sooner."""

    _SLEEPER = """import os, time
while os.read(0, 1):
    os.write(1, time.monotonic_ns().to_bytes(8, "big"))
"""

    def __init__(self):
        self._process = subprocess.Popen(
            candidates.on_cpus(network.BALANCER_CPU) + [sys.executable, "-c", self._SLEEPER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.probe()  # it has started

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate()

    def probe(self):
        begin = time.monotonic_ns()
        self._process.stdin.write(b"1")
        return (int.from_bytes(self._process.stdout.read(8), "big") - begin) / 1e9


def when(control):
    """The kernel's time of a frame, seconds."""
    (data,) = (d for level, kind, d in control
               if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS))
    seconds, nanoseconds = struct.unpack("qq", data)
    # Of one clock within a probe; whole seconds do not fit a float beside nanoseconds.
    return seconds % 10**6 + nanoseconds / 1e9


def wake_ups(prober, count):
    """Microseconds of each probe, sorted."""
    times, pauses = [], random.Random(2)
    for _ in range(count):
        time.sleep(pauses.uniform(*_PAUSES))
        times.append(prober.probe())
    answered = sorted(1e6 * t for t in times if t is not None)
    if len(answered) < count * 0.99:
        raise RuntimeError(f"{count - len(answered)} of {count} SYNs were not answered")
    return answered


def percentile(values, share):
    return values[min(len(values) - 1, int(share * len(values)))]


def share_over(values, limit):
    """Percent."""
    return 100 * sum(v > limit for v in values) / len(values)


def latency(times):
    return {"p50": percentile(times, 0.5), "p99": percentile(times, 0.99),
            "over": share_over(times, GOALS["latency"])}


def run_one(kind, sizes):
    """{mode: {cpu, p50, p99, over}} of one daemon; and of the machine alone."""
    results = {}
    with PipeProber() as prober:
        results["machine"] = latency(wake_ups(prober, sizes.probes))
    with network.Network() as net, measure.MemoryGroup(net.prefix) as group:
        receive_where_sent(net)
        with kind(net, group) as candidate, Prober(net) as prober:
            for mode in MODES:
                candidate.set_poll(mode)
                time.sleep(0.05)
                cpu = idle_cpu(candidate.process.pid, sizes.seconds)
                times = wake_ups(prober, sizes.probes)
                results[mode] = {"cpu": cpu, **latency(times)}
    return results


def run_all(options):
    """[{name: {mode: figures}}], one for each run."""
    sizes = Sizes(options.quick)
    runs = []
    for number in range(options.runs):
        run = {}
        first = number % len(options.only)
        for name in options.only[first:] + options.only[:first]:
            run[name] = run_one(KINDS[name], sizes)
            peers.say(f"run {number + 1}/{options.runs} {name}: " + ", ".join(
                "{}: CPU {cpu:.1f} %, p50/p99 {p50:.0f}/{p99:.0f} us".format(mode, **figures)
                for mode, figures in run[name].items() if mode in MODES) +
                ", machine {p50:.0f}/{p99:.0f} us".format(**run[name]["machine"]))
        runs.append(run)
    return runs


def verdict(values, goal):
    return "yes" if statistics.median(values) <= goal else "no"


def make(runs, options):
    """The table, for the terminal and as JSON."""
    rows = []
    machine = [[run[name]["machine"][figure] for run in runs for name in options.only]
               for figure in ("p50", "p99", "over")]
    rows.append(["(a process woken by a pipe)", "-", "-", "-", tables.spread(machine[0]),
                 tables.spread(machine[1]), "-", tables.spread(machine[2]), "-"])
    for name in options.only:
        for mode in MODES:
            cpu, p50, p99, over = ([run[name][mode][figure] for run in runs]
                                   for figure in ("cpu", "p50", "p99", "over"))
            added = [run[name][mode]["p99"] - run[name]["busy"]["p99"] for run in runs]
            idle = mode == "adaptive"
            rows.append([KINDS[name].title, mode, tables.spread(cpu),
                         verdict(cpu, GOALS["cpu"]) if idle else "-", tables.spread(p50),
                         tables.spread(p99), verdict(p99, GOALS["latency"]) if idle else "-",
                         tables.spread(over), tables.spread(added) if idle else "-"])
    sizes = Sizes(options.quick)
    command = f"scripts/bench-idle.sh --runs {options.runs}"
    if options.only != list(KINDS):
        command += " --only " + ",".join(options.only)
    return {
        "name": "idle", "title": "An idle daemon: CPU of all its threads, and wake-up",
        "command": command + (" --quick" if options.quick else ""),
        "columns": ["ports", "poll", "CPU, % of a core", f"at most {GOALS['cpu']} %",
                    "p50 us", "p99 us", f"p99 at most {GOALS['latency']} us",
                    f"% over {GOALS['latency']} us", "p99 above busy, us"],
        "rows": rows,
        "notes": [
            f"Min / median / max of {options.runs} runs; goals are compared with the median. "
            f"{phases.machine()}.",
            f"CPU: what the scheduler charged to all threads of the daemon (control and one data "
            f"core) in {sizes.seconds:g} s without traffic.",
            f"Wake-up: {sizes.probes} SYNs a run, each after a pause of {1000 * _PAUSES[0]:.0f} to "
            f"{1000 * _PAUSES[1]:.0f} ms, from a packet socket in the clients' namespace until it "
            "gets the SYN-ACK, by the kernel's time stamps there: both ways over the veth are part "
            "of it. Busy is the same without falling asleep: the floor.",
            "A process woken by a pipe: as often and after the same pauses, on the balancer's CPU, "
            "from the write until it runs: what sleeping costs on this machine whoever sleeps."]}


def arguments():
    parser = argparse.ArgumentParser(
        prog="bench-idle.sh", description="CPU and wake-up of an idle mqlb; see docs/bench.md")
    parser.add_argument("--runs", type=int, default=5, help="of everything (default 5)")
    parser.add_argument("--only", type=peers.words(list(KINDS)), default=list(KINDS),
                        metavar="NAME,...", help=", ".join(KINDS))
    parser.add_argument("--quick", action="store_true",
                        help="one run of a few probes: shows only that all works")
    parser.add_argument("--json", metavar="FILE", help="writes the table there too")
    parsed = parser.parse_args()
    if parsed.quick:
        parsed.runs = 1
    return parsed


def main():
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    if os.cpu_count() < 2:
        print("bench-idle: one CPU is for the balancer, another for all else", file=sys.stderr)
        return 1
    os.sched_setaffinity(0, {network.LOAD_CPU})
    try:
        made = make(run_all(options), options)
    except KeyboardInterrupt:
        return 130
    except (AssertionError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"bench-idle: {error}", file=sys.stderr)
        return 1
    print(tables.text([made]))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump([made], f, indent=1, ensure_ascii=False)
            f.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
