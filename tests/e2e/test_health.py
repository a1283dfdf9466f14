"""Active health checks against real brokers, and against those that a test breaks."""

import os
import re

import pytest

from tests.support import daemon, wait

INTERVAL = 200  # milliseconds


def health(lb):
    """{(pool, backend): row}"""
    return {(row["pool"], row["backend"]): row for row in lb.show("health")}


def await_checks(lb, more, timeout=20):
    """Waits until each backend was checked so many times more, and returns the rows."""
    before = {key: row["checks"] for key, row in health(lb).items()}

    def done():
        rows = health(lb)
        return rows if all(row["checks"] >= before.get(key, 0) + more
                           for key, row in rows.items()) else None
    return wait.until(done, timeout, f"{more} more checks")


def checked_pool(name, nodes, version, port, kind):
    return daemon.pool(name, nodes, f"pool set {name} check {kind}",
                       f"pool set {name} check-interval {INTERVAL}",
                       port=port, proxy_protocol=version)


class Logs:
    """What brokers have logged since this was made."""

    def __init__(self, *paths):
        self._from = {path: os.path.getsize(path) for path in paths}

    def lines(self):
        for path, begin in self._from.items():
            with open(path, encoding="utf-8", errors="replace") as f:
                f.seek(begin)
                for line in f:
                    yield f"{os.path.basename(path)}: {line.rstrip()}"

    def complaints(self):
        return [line for line in self.lines()
                if re.search(r"error|warning|alert|crit|malformed|invalid|closed while|"
                             r"socket|protocol", line, re.IGNORECASE)]


@pytest.mark.parametrize("kind", ["mqtt", "tcp"])
def test_real_brokers(balancer, rabbits, mosquittos, kind):
    logs = Logs(*(os.path.join(n.directory, "log", f"{n.name}@localhost.log") for n in rabbits),
                *(n.haproxy_log for n in mosquittos),
                *(n.mosquitto_log for n in mosquittos))
    parts = [checked_pool(f"{what}-{version}", nodes, version, port, kind)
             for what, nodes, version, port in [("rabbit", rabbits, "v1", 1883),
                                                ("rabbit", rabbits, "v2", 1884),
                                                ("mosquitto", mosquittos, "v1", 1885),
                                                ("mosquitto", mosquittos, "v2", 1886)]]
    with balancer(*parts) as lb:
        rows = await_checks(lb, 10)
        print(lb.ctl("show health"))
        for row in rows.values():
            assert (row["state"], row["last"], row["fails"]) == ("up", "passed", 0), row
            assert row["took_ms"] < 1000
    print("\n".join(list(logs.lines())[-60:]))
    assert logs.complaints() == []
