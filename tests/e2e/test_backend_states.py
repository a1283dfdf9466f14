"""Backends that drain, are in maintenance, full or kept for later: who moves, and how fast."""

import collections
import time

import pytest

from tests.support import daemon, mqtt, netns, wait

POOL = "mqtt"


@pytest.fixture
def lb(balancer, sink_hosts):
    with balancer(daemon.pool(POOL, sink_hosts), "set closing-timeout 1\n"
                  "set snat-quarantine 0\n") as started:
        yield started
        # Thousands of sockets that close after their balancer is gone would trouble the next one.
        started.idle()


def row(lb, name):
    (found,) = (r for r in lb.show("backends") if r["backend"] == name)
    return found


def homes(lb, ids):
    return lb.routes(ids, POOL)


def connect(load, ids, address, port=1883):
    load.start("open", destination=[netns.VIP, port], clients=[[i, address, 0] for i in ids])
    assert [a for a in load.result(timeout=60) if a[0] != 0] == []


def at(sink):
    return {r["client_id"] for r in sink.call("records") if r["end"] is None}


def test_drain_lets_clients_stay_and_takes_none(lb, topology, sinks, loads, steady):
    victim, others = sinks[0], sinks[1:]
    ids = [f"drain-{i}" for i in range(60)]
    before = homes(lb, ids)
    own = [i for i in ids if before[i] == victim.name]
    assert own
    connect(loads[0], ids[:30], netns.client_addresses(1)[0])
    held = at(victim)
    assert held == {i for i in ids[:30] if before[i] == victim.name}
    with steady(client_id=own[0] + "x"):
        lb.commands(f"backend set {POOL} {victim.name} state drain")
        connect(loads[0], ids[30:], netns.client_addresses(1)[0])
        assert at(victim) == held
    # Only its clients go elsewhere, and the answer says why.
    now = homes(lb, ids)
    assert {i for i in ids if now[i] != before[i]} == set(own)
    answer = lb.route_row(own[0], POOL)
    assert answer["passed_over"] == f"{victim.name}: drain"
    assert answer["because"] == "takes it"
    assert 0 <= answer["slot"] < 65537
    state = row(lb, victim.name)
    assert (state["state"], state["why"], state["closed"]) == ("drain", "by command", 0)
    assert state["flows"] == len(held)
    # Where all others are gone, it takes clients again.
    lb.commands(*(f"backend set {POOL} {s.name} state maintenance" for s in others))
    answer = lb.route_row("last resort", POOL)
    assert (answer["backend"], answer["because"]) == (victim.name, "drain")
    assert sorted(answer["passed_over"].split("; ")) == sorted(
        f"{s.name}: maintenance" for s in others)
    with mqtt.Client(topology.clients[0].connect((netns.VIP, 1883))) as client:
        assert client.connect("last resort") == 0
        assert "last resort" in at(victim)
    lb.commands(f"backend set {POOL} {victim.name} state maintenance")
    assert mqtt.Client(topology.clients[0].connect((netns.VIP, 1883))).connect("nobody") == 3
    lb.commands(*(f"backend set {POOL} {s.name} state up" for s in sinks))
    assert homes(lb, ids) == before


class Ends:
    """Counts the connections of an agent that end, as its clients see them."""

    def __init__(self, load):
        self._load = load
        self.client_ids = []
        self._first = self._last = None  # (when, how many until then)

    def new(self):
        """The Client IDs of those that ended since the last call."""
        ids = self._load.call("forget_ended")
        if ids:
            self.client_ids += ids
            self._last = time.monotonic(), len(self.client_ids)
            self._first = self._first or self._last
        return ids

    def pace(self):
        """How many a second, from the first that was seen to the last."""
        return (self._last[1] - self._first[1]) / (self._last[0] - self._first[0])


def test_pace_of_a_drain(lb, sinks, loads):
    """500 a second, within a tenth, and none comes back: they connect again as soon as they end."""
    victim = sinks[1]
    ids = [f"paced-{i}" for i in range(4500)]
    connect(loads[0], ids, netns.client_addresses(1)[0])
    own = at(victim)
    state = row(lb, victim.name)
    held, selected = state["flows"], state["selected"]
    assert held == len(own) > 1200
    others = sum(row(lb, s.name)["flows"] for s in sinks if s is not victim)
    lb.commands(f"backend set {POOL} {victim.name} state drain rate 500")
    ends = Ends(loads[0])
    first = wait.until(lambda: row(lb, victim.name)["closed"], 5, "the first is closed")
    began = time.monotonic()
    last = pace = 0
    while len(ends.client_ids) < held:
        connect(loads[1], ends.new(), netns.client_addresses(2)[0])
        if last <= first + 750:
            last = row(lb, victim.name)["closed"]
            pace = (last - first) / (time.monotonic() - began)
        assert time.monotonic() - began <= 10
    assert 450 <= pace <= 550
    assert 450 <= ends.pace() <= 550
    assert set(ends.client_ids) == own and len(ends.client_ids) == held
    wait.until(lambda: row(lb, victim.name)["flows"] == 0, 10, "all are closed")
    state = row(lb, victim.name)
    assert (state["state"], state["closed"]) == ("drain", held)
    assert lb.counters()["end", "backend-closed"] == held
    wait.until(lambda: not at(victim), 10, "its broker knows")
    assert state["selected"] == selected
    assert sum(row(lb, s.name)["flows"] for s in sinks if s is not victim) == others + held
    assert loads[0].call("ended") == loads[1].call("ended") == []


def test_clients_of_a_host_that_is_off(balancer, sinks, loads):
    """They end at close-rate, seen by them; by a pool with close-on-down off, they do not."""
    victim, stays = sinks[0], "stays"
    checks = ["check mqtt", "check-interval 200", "check-timeout 300", "check-fall 2"]
    with balancer(
            daemon.pool(POOL, sinks, *(f"pool set {POOL} {c}" for c in checks),
                        f"pool set {POOL} close-rate 100"),
            daemon.pool(stays, sinks, *(f"pool set {stays} {c}" for c in checks),
                        f"pool set {stays} close-rate 100", f"pool set {stays} close-on-down off",
                        port=1884),
            "set closing-timeout 1\nset snat-quarantine 0\n") as lb:
        ids = [f"off-{i}" for i in range(600)]
        own = {i for i, home in homes(lb, ids).items() if home == victim.name}
        connect(loads[0], ids, netns.client_addresses(1)[0])
        connect(loads[1], ids, netns.client_addresses(2)[0], port=1884)

        def rows():
            return {r["pool"]: r for r in lb.show("backends") if r["backend"] == victim.name}
        assert [r["flows"] for r in rows().values()] == [len(own), len(own)]
        netns.link_down(victim.namespace)
        try:
            wait.until(lambda: all(r["state"] == "down" for r in rows().values()), 5, "it is down")
            down = time.monotonic()
            ends = Ends(loads[0])
            while len(ends.client_ids) < len(own):
                ends.new()
                assert time.monotonic() - down <= len(own) / 100 * 1.1 + 0.5
            assert 90 <= ends.pace() <= 110
            assert set(ends.client_ids) == own
            assert rows()[POOL]["closed"] == len(own)
            assert (rows()[stays]["flows"], rows()[stays]["closed"]) == (len(own), 0)
            assert loads[0].call("ended") == loads[1].call("ended") == []
        finally:
            netns.link_up(victim.namespace)
        # Its host was only out of reach, so those connections go on.
        assert loads[1].call("echo") == len(ids)
        for load in loads:
            load.call("close", how="reset")
        lb.idle()


def test_maintenance_closes_at_the_pools_rate(lb, sinks, loads):
    lb.commands(f"pool set {POOL} close-rate 200")
    connect(loads[0], [f"maintained-{i}" for i in range(900)], netns.client_addresses(1)[0])
    victim = sinks[2]
    held = row(lb, victim.name)["flows"]
    began = time.monotonic()
    lb.commands(f"backend set {POOL} {victim.name} state maintenance")
    wait.until(lambda: row(lb, victim.name)["flows"] == 0, 20, "all are closed")
    assert held / 200 * 0.9 - 0.2 <= time.monotonic() - began <= held / 200 * 1.1 + 0.5
    assert lb.flows_in_use() == 900 - held


def test_full_backends(lb, topology, sinks):
    """Over its max-connections a broker passes clients on; when all are full MQTT says so."""
    lb.commands(*(f"backend set {POOL} {s.name} max-connections 2" for s in sinks))
    clients = [mqtt.Client(topology.clients[0].connect((netns.VIP, 1883))) for _ in range(7)]
    codes = [c.connect(f"full-{n}") for n, c in enumerate(clients)]
    assert codes == [0] * 6 + [3]
    with mqtt.Client(topology.clients[0].connect((netns.VIP, 1883)), mqtt.V5) as client:
        assert client.connect("full-5.0") == 0x89
    wait.until(lambda: lb.counters()["end", "backends-full"] == 2, 5, "both are counted")
    assert [row(lb, s.name)["flows"] for s in sinks] == [2, 2, 2]
    why = lb.route_row("full-7", POOL)
    assert (why["backend"], why["because"]) == ("", "")
    assert sorted(why["passed_over"].split("; ")) == sorted(
        f"{s.name}: max-connections" for s in sinks)
    clients[0].sock.close()
    wait.until(lambda: sum(row(lb, s.name)["flows"] for s in sinks) == 5, 5, "one has left")
    with mqtt.Client(topology.clients[0].connect((netns.VIP, 1883))) as client:
        assert client.connect("full-8") == 0
    for client in clients[1:]:
        client.sock.close()


def test_backup_waits_for_all_others_to_go(lb, topology, sinks):
    backup = sinks[0]
    lb.commands(f"backend set {POOL} {backup.name} backup on")
    ids = [f"backup-{i}" for i in range(40)]
    assert backup.name not in homes(lb, ids).values()
    lb.commands(f"backend set {POOL} {sinks[1].name} state drain")
    assert set(homes(lb, ids).values()) == {sinks[2].name}
    lb.commands(f"backend set {POOL} {sinks[2].name} state drain")
    assert set(homes(lb, ids).values()) == {backup.name}
    answer = lb.route_row(ids[0], POOL)
    assert answer["because"] == "backup"
    assert backup.name not in answer["passed_over"]
    with mqtt.Client(topology.clients[0].connect((netns.VIP, 1883))) as client:
        assert client.connect(ids[0]) == 0
        assert at(backup) == {ids[0]}


@pytest.mark.parametrize("gone", ["maintenance", "down"])
def test_slow_start_brings_its_clients_back_and_moves_no_other(lb, sinks, gone):
    seconds = 4
    lb.commands(f"pool set {POOL} slow-start {seconds}")
    ids = [f"slow-{i}" for i in range(60)]
    before = homes(lb, ids)
    victim = sinks[0].name
    lb.commands(f"backend set {POOL} {victim} state {gone}")
    assert (row(lb, victim)["state"], row(lb, victim)["why"]) == (gone, "by command")
    away = homes(lb, ids)
    assert {i for i in ids if away[i] != before[i]} == {i for i in ids if before[i] == victim}
    began = time.monotonic()
    lb.commands(f"backend set {POOL} {victim} state up")
    back, taking = 0, 0
    while taking < 100:
        assert time.monotonic() - began <= 1.3 * seconds
        taking = row(lb, victim)["taking_percent"]
        assert taking <= 100 * (time.monotonic() - began) / (0.8 * seconds)
        now = homes(lb, ids)
        for i in ids:
            assert now[i] in (before[i], away[i])
        returned = sum(now[i] == victim for i in ids)
        assert returned >= back
        back = returned
    assert homes(lb, ids) == before


def test_slow_start_of_an_added_backend_moves_clients_to_it_only(balancer, sink_hosts, sinks):
    with balancer(daemon.pool(POOL, sink_hosts[:-1])) as lb:
        lb.commands(f"pool set {POOL} slow-start 4")
        ids = [f"added-{i}" for i in range(60)]
        last = homes(lb, ids)
        added = sinks[-1].name
        lb.commands(daemon.backend_line(POOL, sink_hosts[-1]))
        taking = 0
        while taking < 100:
            taking = row(lb, added)["taking_percent"]
            now = homes(lb, ids)
            moved = {i for i in ids if now[i] != last[i]}
            assert {now[i] for i in moved} <= {added}
            last = now
            lb.commands(f"pool set {POOL} close-rate {500 + taking}")  # a snapshot of its own
        assert added in last.values()


def test_failed_connections_take_a_broker_out_for_a_time(balancer, sink_hosts, topology, sinks):
    with balancer(daemon.pool(POOL, sink_hosts, f"pool set {POOL} fail-timeout 2000")) as lb:
        victim = sinks[0]
        ids = [f"passive-{i}" for i in range(100)]
        own = [i for i, home in homes(lb, ids).items() if home == victim.name]
        victim.call("refuse")
        try:
            with mqtt.Client(topology.clients[0].connect((netns.VIP, 1883))) as client:
                assert client.connect(own[0]) == 0
            state = wait.until(lambda: (lambda r: r if r["state"] == "down" else None)(
                row(lb, victim.name)), 5, "it is down")
            assert state["why"] == "connections failed"
            tried = state["selected"]
            for i in own[1:4]:
                with mqtt.Client(topology.clients[0].connect((netns.VIP, 1883))) as client:
                    assert client.connect(i) == 0
            assert row(lb, victim.name)["selected"] == tried
        finally:
            victim.listen()
        wait.until(lambda: row(lb, victim.name)["state"] == "up", 5, "it is up again")
        with mqtt.Client(topology.clients[0].connect((netns.VIP, 1883))) as client:
            assert client.connect(own[0]) == 0
            assert own[0] in at(victim)


def test_who_hangs_up_alone_is_blamed(balancer, sink_hosts, topology, sinks):
    """A client that every broker sends away is no fault of theirs."""
    def try_once(client_id):
        with mqtt.Client(topology.clients[0].connect((netns.VIP, 1883))) as client:
            return client.connect(client_id)

    with balancer(daemon.pool(POOL, sink_hosts, f"pool set {POOL} fail-timeout 60000")) as lb:
        for sink in sinks:
            sink.call("set", mode="drop")
        assert try_once("unwelcome everywhere") == 3
        assert [row(lb, s.name)["connect_failures"] for s in sinks] == [1, 1, 1]
        for sink in sinks[1:]:
            sink.call("set", mode="serve")
        own = next(i for i in map(str, range(100)) if lb.route(i, POOL) == sinks[0].name)
        assert try_once(own) == 0
        wait.until(lambda: row(lb, sinks[0].name)["state"] == "down", 5, "the blame")
        assert [row(lb, s.name)["state"] for s in sinks[1:]] == ["up", "up"]


@pytest.mark.parametrize("policy", ["round-robin", "least-connections"])
def test_even_policies(lb, sinks, loads, policy):
    lb.commands(f"pool set {POOL} key {policy}")
    connect(loads[0], ["same"] * 30, netns.client_addresses(1)[0])
    assert [row(lb, s.name)["flows"] for s in sinks] == [10, 10, 10]


@pytest.mark.parametrize("policy", ["round-robin", "least-connections", "spread"])
def test_fallback_policies_for_empty_client_ids(lb, topology, sinks, policy):
    lb.commands(f"pool set {POOL} fallback {policy}")
    clients = [mqtt.Client(topology.clients[0].connect((netns.VIP, 1883))) for _ in range(30)]
    assert [c.connect("") for c in clients] == [0] * 30
    flows = collections.Counter({s.name: row(lb, s.name)["flows"] for s in sinks})
    assert min(flows.values()) >= (1 if policy == "spread" else 10)
    for client in clients:
        client.sock.close()


def test_a_bounded_load_passes_clients_on(lb, sinks, loads):
    lb.commands(f"pool set {POOL} load-factor 110")
    connect(loads[0], [f"bounded-{i}" for i in range(900)], netns.client_addresses(1)[0])
    assert max(row(lb, s.name)["flows"] for s in sinks) <= 345
