"""The balancer under test: its configuration, its start and end, and its operator's shell."""

import json
import os
import re
import select
import signal
import subprocess
import time

from tests.support import netns, wait

# Both cores of a small machine serve every thread: clients and brokers run on them as well.
_CPUS = "@(0-1)"

_BASE = f"""\
port add clients device net_af_packet0 role client
port add brokers device net_af_packet1 role backend
address add clients {netns.CLIENT_GATEWAY}/{netns.CLIENTS.length}
address add brokers {netns.BROKER_GATEWAY}/{netns.BROKERS.length}
snat add outside range {netns.SNAT[0]} {netns.SNAT[1]}
"""


def build_directory():
    """Where the programs are: MQLB_BUILD, else `build` in the tree."""
    return os.path.abspath(os.environ.get("MQLB_BUILD", os.path.join(netns.ROOT, "build")))


def program(name):
    return os.path.join(build_directory(), "app", name, name)


def backend_line(pool_name, node):
    return f"backend add {pool_name} {node.name} {netns.endpoint(node.address, node.port)}"


def pool(name, nodes, *settings, port=1883, proxy_protocol="v2"):
    """Lines for a pool of brokers and a listener on the VIP before it.

    A node is anything with a name, an address and a port.
    """
    return "\n".join([
        f"pool add {name} snat outside",
        f"pool set {name} proxy-protocol {proxy_protocol}",
        *(backend_line(name, node) for node in nodes),
        f"listener add {name} {netns.endpoint(netns.VIP, port)} pool {name}",
        *settings,
    ]) + "\n"


def config(*parts):
    return _BASE + "".join(parts)


class CommandFailed(Exception):
    """mqlbctl ended with a status other than 0; what it printed is the message."""

    def __init__(self, status, output):
        super().__init__(f"status {status}: {output}")
        self.status, self.output = status, output


class Daemon:
    """mqlb in the balancer's namespace, as a context. Leaving it asserts an orderly end."""

    _count = 0

    def __init__(self, topology, text, data_cores=1, queues=1):
        Daemon._count += 1
        self.topology = topology
        self.name = f"{topology.prefix}-lb{Daemon._count}"
        self.socket = topology.path(f"mqlb{Daemon._count}.sock")
        self.config = topology.path(f"mqlb{Daemon._count}.conf")
        self.log = topology.path(f"mqlb{Daemon._count}.log")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(text)
        self._lcores = ",".join(f"{n}{_CPUS}" for n in range(data_cores + 1))
        self._queues = queues
        self.process = None

    def command(self):
        return [program("mqlb"), "--no-shconf", "--no-huge", "-m", "512", "--no-pci",
                "--no-telemetry", "--file-prefix", self.name,
                "--lcores", self._lcores,
                "--vdev", f"net_af_packet0,iface={netns.LB_CLIENTS},qpairs={self._queues}",
                "--vdev", f"net_af_packet1,iface={netns.LB_BROKERS},qpairs={self._queues}",
                "--", "--config", self.config, "--socket", self.socket]

    def start(self, timeout=30):
        # Two daemons would both answer for the same addresses.
        assert getattr(self.topology, "daemon", None) is None, "another daemon is still running"
        environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0",
                       "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
                       # Where the EAL keeps the directory that it makes for each process.
                       "RUNTIME_DIRECTORY": self.topology.directory}
        with open(self.log, "ab") as log:
            self.process = self.topology.balancer.popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                env=environment)
        self.topology.daemon = self
        end = time.monotonic() + timeout
        seen = b""
        fd = self.process.stdout.fileno()
        while b"mqlb: ready\n" not in seen:
            ready, _, _ = select.select([fd], [], [], max(0, end - time.monotonic()))
            data = os.read(fd, 4096) if ready else b""
            if not data:
                self._kill()
                raise RuntimeError(f"mqlb did not become ready:\n{self.errors()[-4000:]}")
            seen += data
        return self

    def errors(self):
        """What the daemon wrote to standard error so far."""
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self, number=signal.SIGTERM, timeout=20):
        """Ends the daemon and returns its status; negative: ended by that signal."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            self._kill()
            status = "none: it had to be killed"
        self.process.stdout.close()
        self.topology.daemon = None
        return status

    def _kill(self):
        self.process.kill()
        self.process.wait()
        self.topology.daemon = None

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        status = self.stop()
        if kind is None:
            assert status == 0, f"mqlb ended with status {status}:\n{self.errors()[-4000:]}"

    def ctl(self, *words, timeout=20):
        """Runs one command line through mqlbctl and returns what it printed."""
        done = subprocess.run([program("mqlbctl"), "--socket", self.socket,
                               *" ".join(words).split()],
                              capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode != 0:
            raise CommandFailed(done.returncode, done.stdout + done.stderr)
        return done.stdout

    def commands(self, *lines):
        for line in lines:
            self.ctl(line)

    def show(self, *words):
        """The JSON form of a `show` command, decoded."""
        return json.loads(self.ctl("show json", *words))

    def counters(self):
        """{(group, name): value} of all counters."""
        return {(row["group"], row["name"]): row["value"] for row in self.show("counters all")}

    def route(self, client_id, pool_name):
        """The name of the backend that a Client ID goes to now."""
        return self.route_row(client_id, pool_name)["backend"]

    def route_row(self, client_id, pool_name):
        """Also whom it would be sent to after that, in `next`."""
        (row,) = self.show(f"route pool {pool_name} client-id {client_id}")
        return row

    def routes(self, client_ids, pool_name):
        """{Client ID: backend} of many, by one mqlbctl for all."""
        lines = "".join(f"show json route pool {pool_name} client-id {i}\n" for i in client_ids)
        done = subprocess.run([program("mqlbctl"), "--socket", self.socket], input=lines,
                              capture_output=True, text=True, timeout=60, check=True)
        tables = re.findall(r"^\[.*?^\]", done.stdout, re.DOTALL | re.MULTILINE)
        assert len(tables) == len(client_ids)
        return {i: json.loads(t)[0]["backend"] for i, t in zip(client_ids, tables)}

    def flows_in_use(self):
        return sum(row["flows"] for row in self.show("backends"))

    def snat_in_use(self):
        """SNAT ports in use or in quarantine."""
        return sum(row["in_use"] + row["quarantined"] for row in self.show("snat"))

    def buffers_in_use(self):
        """Packet buffers that are not in their pool."""
        return sum(row["in_use"] for row in self.show("buffers"))

    def resident_kib(self):
        """Resident memory of the daemon's process."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return int(next(line for line in f if line.startswith("VmRSS")).split()[1])

    def idle(self, timeout=30):
        """Waits until the balancer holds no flow and no SNAT port."""
        wait.until(lambda: self.flows_in_use() == 0 and self.snat_in_use() == 0, timeout,
                   "no flow and no SNAT port in use", interval=0.1)
