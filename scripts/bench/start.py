"""The whole daemon with room for 100,000 flows: how soon it is ready, and its memory, then and
with so many connections."""

import contextlib
import statistics
import time

from scripts.bench import candidates, load, measure, network
from scripts.bench.tables import number

FLOWS = 100_000
_QUICK_FLOWS = 500
# No process of clients or of a broker has more files than this.
_OF_ONE_LOAD = 16_000
_BROKER_PORTS = (1883, 1884)


class _Mqlb(candidates.MqlbAfPacket):
    """With more brokers than the comparison has, so that no one of them has too many files."""

    def listeners(self):
        return [f"{a}:{port}" for a in network.broker_addresses() for port in _BROKER_PORTS]


class _One:
    """Of a candidate's brokers one."""

    def __init__(self, candidate, listener):
        self.net, self._listener = candidate.net, listener

    def listeners(self):
        return [self._listener]


def _resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        values = dict(line.split(":", 1) for line in f)
    return int(values["VmRSS"].split()[0]) * 1024


def _connect(candidate, flows):
    """That many idle connections; returns the clients, which keep them until they go."""
    clients = []
    for first in range(0, flows, _OF_ONE_LOAD):
        clients.append(load.Load(candidate, "idle", connections=min(_OF_ONE_LOAD, flows - first),
                                 window=64, prefix=f"i{first}-"))
    return clients


def one_run(flows):
    """Seconds until "mqlb: ready", and bytes that are resident then and with `flows` flows."""
    with network.Network() as net, measure.MemoryGroup(net.prefix) as group:
        begin = time.monotonic()
        with _Mqlb(net, group, FLOWS) as candidate:
            ready = time.monotonic() - begin
            pid = candidate.process.pid
            empty = _resident(pid)
            with contextlib.ExitStack() as stack:
                sinks = [stack.enter_context(load.Sinks(_One(candidate, broker)))
                         for broker in candidate.listeners()]
                clients = _connect(candidate, flows)
                full = _resident(pid)
                for each in clients:
                    each.go()
                connections = sum(r["connections"] for sink in sinks for r in sink.stop())
    if connections != flows:
        raise RuntimeError(f"start: {connections} of {flows} connections came to a broker")
    return ready, empty, full


def tables(quick, command):
    flows = _QUICK_FLOWS if quick else FLOWS
    runs = [one_run(flows) for _ in range(1 if quick else 3)]
    row = [f"{FLOWS:,} flows, --no-huge"]
    for scale, values in zip((1, 1e6, 1e6), zip(*runs)):
        row.append(" / ".join(number(f(values) / scale)
                              for f in (min, statistics.median, max)))
    return [{
        "name": "start", "title": f"A daemon with `max-flows` {FLOWS:,}", "command": command,
        "columns": ["daemon", "ready in s", "resident MB, no flow", "resident MB, full"],
        "rows": [row],
        "notes": [f"Least / median / most of {len(runs)} runs. MB: 1,000,000 bytes. One data core, "
                  "two ports (AF_PACKET on veth); of its `-m 512` only what is used is resident.",
                  "Ready: from the start of the process until it says `mqlb: ready`. Full: with "
                  f"{flows:,} MQTT connections through it to {len(_BROKER_PORTS) * 4} brokers, all "
                  "open at once."]}]
