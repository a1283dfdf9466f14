"""The whole daemon with room for 100,000 flows: its memory, and how soon it is ready."""

import statistics
import time

from scripts.bench import network
from scripts.bench.tables import number
from tests.support import daemon

FLOWS = 100_000


class _Broker:
    name, address, port = "broker1", "198.18.1.11", network.PORT


def _resident(pid):
    """Bytes: now, and at most so far."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        values = dict(line.split(":", 1) for line in f)
    return tuple(int(values[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))


def one_run():
    """Seconds until "mqlb: ready", and what is resident then."""
    with network.Network() as net:
        text = daemon.config(f"set max-flows {FLOWS}\n", daemon.pool("mqtt", [_Broker]))
        begin = time.monotonic()
        with daemon.Daemon(net, text) as lb:
            ready = time.monotonic() - begin
            now, most = _resident(lb.process.pid)
    return ready, now / 1e6, most / 1e6


def tables(quick, command):
    runs = [one_run() for _ in range(1 if quick else 5)]
    row = [f"{FLOWS:,} flows, --no-huge"]
    for values in zip(*runs):
        row.append(" / ".join(number(f(values)) for f in (min, statistics.median, max)))
    return [{
        "name": "start", "title": "The whole daemon at its start", "command": command,
        "columns": ["daemon", "ready in s", "resident MB", "resident at most MB"], "rows": [row],
        "notes": [f"Least / median / most of {len(runs)} runs, with one data core and two ports "
                  "(AF_PACKET on veth); `-m 512`, of which only what is used is resident. MB: "
                  "1,000,000 bytes. Ready: from the start of the process until it says "
                  "`mqlb: ready`."]}]
