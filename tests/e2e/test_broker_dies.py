"""One of three brokers is killed under thousands of clients, and comes back.

Its clients, and only they, move to the other two, evenly; with slow start they come back little by
little. The counts are printed as a table (pytest -rP shows it).
"""

import json
import re
import subprocess
import time

import pytest

from tests.support import agent, daemon, netns, wait

POOL = "mqtt"
PORT = 1887
CLIENTS = 5000
INTERVAL, TIMEOUT, RISE, FALL = 500, 300, 2, 2
SLOW_START = 6  # seconds


class Broker(agent.Agent):
    """A sink in a process of its own, which can be killed."""

    def __init__(self, topology, host):
        super().__init__(topology.brokers[host - 1], "tests.support.sink")
        self.name, self.address, self.port = f"broker{host}", netns.broker_address(host), PORT
        self.call("listen", address=self.address, port=PORT)

    def clients(self):
        return {r["client_id"] for r in self.call("records")
                if r["client_id"] and r["client_id"].startswith("device-") and r["end"] is None}

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def killable(topology):
    nodes = [Broker(topology, host) for host in (1, 2, 3)]
    yield nodes
    for node in nodes:
        if node.process.poll() is None:
            node.close()


def route_all(lb, ids):
    """{id: backend} as the balancer would have it now; one mqlbctl for all."""
    lines = "".join(f"show json route pool {POOL} client-id {i}\n" for i in ids)
    done = subprocess.run([daemon.program("mqlbctl"), "--socket", lb.socket], input=lines,
                          capture_output=True, text=True, timeout=60, check=True)
    tables = re.findall(r"^\[.*?^\]", done.stdout, re.DOTALL | re.MULTILINE)
    assert len(tables) == len(ids)
    return {i: json.loads(t)[0]["backend"] for i, t in zip(ids, tables)}


def row(lb, name):
    (found,) = (r for r in lb.show("backends") if r["backend"] == name)
    return found


def connect(loads, ids):
    halves = [ids[0::2], ids[1::2]]
    for number, (load, half) in enumerate(zip(loads, halves)):
        addresses = netns.client_addresses(1 + number)
        load.start("open", destination=[netns.VIP, 1883], clients=[
            [i, addresses[n % len(addresses)], 0] for n, i in enumerate(half)])
    for load in loads:
        assert [a for a in load.result(timeout=120) if a[0] != 0] == []


def ended(loads):
    """Client IDs whose connection ended since the last call."""
    return {i for load in loads for i in load.call("forget_ended")}


class Table:
    def __init__(self, names):
        self.lines = ["| when | " + " | ".join(names) + " | moved of others |",
                      "| --- |" + " ---: |" * (len(names) + 1)]

    def add(self, when, counts, moved):
        self.lines.append(f"| {when} | " + " | ".join(str(n) for n in counts) + f" | {moved} |")


def test_a_broker_dies_and_returns(balancer, topology, killable, loads):
    names = [b.name for b in killable]
    text = daemon.pool(
        POOL, killable, f"pool set {POOL} check mqtt", f"pool set {POOL} check-interval {INTERVAL}",
        f"pool set {POOL} check-timeout {TIMEOUT}", f"pool set {POOL} check-rise {RISE}",
        f"pool set {POOL} check-fall {FALL}", f"pool set {POOL} slow-start {SLOW_START}")
    text += "set closing-timeout 1\nset snat-quarantine 0\n"
    ids = [f"device-{n}" for n in range(CLIENTS)]
    table = Table(names)
    with balancer(text) as lb:
        connect(loads, ids)
        before = {b.name: b.clients() for b in killable}
        assert sum(len(c) for c in before.values()) == CLIENTS
        table.add("all are up", [len(before[n]) for n in names], 0)
        victim, others = killable[0], killable[1:]
        own = before[victim.name]

        victim.kill()
        killed = time.monotonic()
        wait.until(lambda: row(lb, victim.name)["state"] == "down", 10, "it is down")
        seconds = time.monotonic() - killed
        assert seconds <= (INTERVAL * FALL + TIMEOUT) / 1000 + 1.0
        lost = set()
        wait.until(lambda: lost.update(ended(loads)) or len(lost) >= len(own), 10,
                   "its clients know")
        assert lost == own  # and only they
        connect(loads, sorted(own))
        now = {b.name: b.clients() for b in others}
        gained = [len(now[b.name]) - len(before[b.name]) for b in others]
        assert all(before[b.name] <= now[b.name] for b in others)
        assert sum(gained) == len(own)
        assert all(0.8 * len(own) / 2 <= n <= 1.2 * len(own) / 2 for n in gained), gained
        table.add(f"{victim.name} killed, down after {seconds:.1f} s",
                  [0] + [len(now[b.name]) for b in others], 0)

        # It comes back: its IDs return over the set time, from where they are.
        killable[0] = victim = Broker(topology, 1)
        wait.until(lambda: row(lb, victim.name)["state"] == "up", 10, "it is up")
        away = {i: b.name for b in others for i in now[b.name]}
        back = set()
        for percent in (0, 20, 40, 60, 80, 100):
            least = wait.until(lambda p=percent: (t := row(lb, victim.name)["taking_percent"]) >= p
                               and t + 1, SLOW_START, f"it takes {percent} %") - 1
            at = route_all(lb, ids)
            most = row(lb, victim.name)["taking_percent"]
            returned = {i for i in ids if at[i] == victim.name}
            moved = sum(at[i] != away[i] for i in ids if i not in returned)
            assert moved == 0 and back <= returned <= own
            assert least - 5 <= 100 * len(returned) / len(own) <= most + 5
            back = returned
            table.add(f"returning, takes {least} % to {most} %",
                      [len(returned)] + [sum(at[i] == b.name for i in ids) for b in others], moved)
        assert back == own
        assert ended(loads) == set()
        # Nothing is left behind that would go on closing while the next balancer runs.
        for load in loads:
            load.call("close", how="reset")
        lb.idle(timeout=60)
    print("\n".join(table.lines))
