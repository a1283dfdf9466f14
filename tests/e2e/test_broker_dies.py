"""One of three brokers is killed under thousands of clients, and comes back.

Its clients, and only they, move to the other two, evenly, and at once: they do not wait for its
checks to fail. With slow start they come back little by little. The counts are printed as a table.
"""

import time

import pytest

from tests.support import agent, daemon, netns, wait

POOL = "mqtt"
PORT = 1887
CLIENTS = 5000
INTERVAL, TIMEOUT, RISE, FALL = 500, 300, 2, 2
SLOW_START = 6  # seconds
DOWN_WITHIN = (INTERVAL * FALL + TIMEOUT) / 1000 + 1.0
BATCH = 200  # clients that reconnect together


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


def reconnect_at_once(lb, loads, victim, number):
    """Clients come again as soon as they see their end, until `number` have.

    Returns their IDs, the seconds until the victim is down, how many were connected again by then,
    and the seconds until all were.
    """
    began = time.monotonic()
    lost, waiting, again = set(), [], 0
    down_after = all_after = early = None
    while down_after is None or all_after is None:
        if down_after is None and row(lb, victim.name)["state"] == "down":
            down_after, early = time.monotonic() - began, again
        new = ended(loads)
        assert not new & lost  # once is enough
        lost |= new
        waiting += sorted(new)
        batch, waiting = waiting[:BATCH], waiting[BATCH:]
        connect(loads, batch)
        again += len(batch)
        if again >= number and all_after is None:
            all_after = time.monotonic() - began
        assert time.monotonic() - began <= DOWN_WITHIN + 10, f"{again} of {number} are back"
    return lost, down_after, early, all_after


class SlowStart:
    """Waits until a broker is up; then tells which share it takes, and that it keeps to the time.

    All of it after 0.8 to 1.3 of the set time, however seldom it is asked.
    """

    def __init__(self, lb, name):
        self._lb, self._name = lb, name
        asked = [time.monotonic()]

        def is_up():
            asked.append(time.monotonic())
            return row(lb, name)["state"] == "up"
        wait.until(is_up, 10, "it is up")
        self._was_down, self._is_up = asked[-2], time.monotonic()

    def seconds(self):
        return time.monotonic() - self._is_up

    def percent(self):
        least = 100 * self.seconds() / (1.3 * SLOW_START)
        taking = row(self._lb, self._name)["taking_percent"]
        most = 100 * (time.monotonic() - self._was_down) / (0.8 * SLOW_START)
        assert min(least - 2, 100) <= taking <= most
        return taking


def reconnect_some(lb, loads, victim, others, away, ids):
    """Some of a returning broker's clients connect anew: where they are then is what is shown.

    Returns those that it has now.
    """
    held = {b.name: b.clients() for b in others}
    before = lb.routes(ids, POOL)
    for load in loads:
        load.call("close", client_ids=ids)
    wait.until(lambda: not any(b.clients() & set(ids) for b in others), 10, "brokers know")
    connect(loads, ids)
    after = lb.routes(ids, POOL)  # it took more of them meanwhile
    at_victim = victim.clients()
    assert {i for i in ids if before[i] == victim.name} <= at_victim
    assert at_victim <= {i for i in ids if after[i] == victim.name}
    for b in others:
        assert b.clients() == held[b.name] - at_victim
        assert all(away[i] == b.name for i in b.clients())
    return at_victim


class Table:
    def __init__(self, names):
        self.lines = ["| when | " + " | ".join(names) + " | moved of others |",
                      "| --- |" + " ---: |" * (len(names) + 1)]

    def add(self, when, counts, moved):
        self.lines.append(f"| {when} | " + " | ".join(str(n) for n in counts) + f" | {moved} |")


def test_a_broker_dies_and_returns(balancer, topology, killable, loads, capsys):
    names = [b.name for b in killable]
    # Clients come to a broker that counts as up until its checks say otherwise.
    text = daemon.pool(
        POOL, killable, f"pool set {POOL} check mqtt", f"pool set {POOL} check-interval {INTERVAL}",
        f"pool set {POOL} check-timeout {TIMEOUT}", f"pool set {POOL} check-rise {RISE}",
        f"pool set {POOL} check-fall {FALL}", f"pool set {POOL} max-fails 0",
        f"pool set {POOL} slow-start {SLOW_START}")
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
        lost, down_after, early, all_after = reconnect_at_once(lb, loads, victim, len(own))
        assert lost == own  # and only they
        assert down_after <= DOWN_WITHIN
        assert row(lb, victim.name)["connect_failures"] >= early > 0
        now = {b.name: b.clients() for b in others}
        gained = [len(now[b.name]) - len(before[b.name]) for b in others]
        assert all(before[b.name] <= now[b.name] for b in others)
        assert sum(gained) == len(own)
        assert all(0.8 * len(own) / 2 <= n <= 1.2 * len(own) / 2 for n in gained), gained
        table.add(f"{victim.name} killed: down after {down_after:.1f} s, {early} clients connected "
                  f"again by then, all after {all_after:.1f} s",
                  [0] + [len(now[b.name]) for b in others], 0)

        # It comes back: its IDs return over the set time, from where they are.
        killable[0] = victim = Broker(topology, 1)
        start = SlowStart(lb, victim.name)
        away = {i: b.name for b in others for i in now[b.name]}
        back, there, most = set(), set(), 0
        for percent in (0, 20, 40, 60, 80, 100):
            if percent < most and percent not in (20, 100):
                continue  # a busy machine was too slow for it
            least = wait.until(lambda p=percent: (t := start.percent()) >= p and t + 1,
                               1.5 * SLOW_START, f"it takes {percent} %") - 1
            if percent == 20:
                some = sorted(own)[:300]
                there = reconnect_some(lb, loads, victim, others, away, some)
                assert 0.1 * len(some) < len(there) < len(some)
                table.add(f"{len(some)} of its clients connect anew, from {least} % on: where all "
                          "are", [len(there)] + [len(b.clients()) for b in others], 0)
            seconds = start.seconds()
            at = lb.routes(ids, POOL)
            most = start.percent()
            returned = {i for i in ids if at[i] == victim.name}
            moved = sum(at[i] != away[i] for i in ids if i not in returned)
            assert moved == 0 and back <= returned <= own
            assert least - 5 <= 100 * len(returned) / len(own) <= most + 5
            back = returned
            table.add(f"returning, {seconds:.1f} s after up: new clients of each, at {least} % to "
                      f"{most} %",
                      [len(returned)] + [sum(at[i] == b.name for i in ids) for b in others], moved)
        assert back == own
        # Who did not connect anew stayed.
        assert victim.clients() == there
        assert ended(loads) == set()
        # Nothing is left behind that would go on closing while the next balancer runs.
        for load in loads:
            load.call("close", how="reset")
        lb.idle(timeout=60)
    with capsys.disabled():
        print("\n" + "\n".join(table.lines))
