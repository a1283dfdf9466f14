"""Whom listeners let in: limits, lists, and Client IDs that connect too often."""

import json
import subprocess
import sys
import threading
import time

import pytest

from tests.support import daemon, mqtt, netns, wait

POOL = "mqtt"


@pytest.fixture
def lb(balancer, sink_hosts):
    with balancer(daemon.pool(POOL, sink_hosts), "set closing-timeout 1\n"
                  "set snat-quarantine 0\nset idle-floor 5\n") as started:
        yield started
        started.idle()


def row(lb):
    (found,) = lb.show("listeners")
    return found


def limit(lb, *settings):
    """The tests' IPv6 sources are of one /64, which is one source unless told otherwise."""
    settings = ("source-prefix 32 128", *settings)
    lb.commands(*(f"listener set {POOL} {s}" for s in settings))


def dial(topology, host=0, source=None, version=mqtt.V311, timeout=10):
    return mqtt.Client(topology.clients[host].connect((netns.VIP, 1883), source, timeout), version)


@pytest.fixture
def hundred_sources(topology):
    """Addresses of the first client host."""
    addresses = netns.unowned_addresses()[:100]
    topology.clients[0].ip(*(f"addr add {a}/{netns.CLIENTS.length} dev eth0" for a in addresses))
    yield addresses
    topology.clients[0].ip(*(f"addr del {a}/{netns.CLIENTS.length} dev eth0" for a in addresses))


def test_one_source_does_not_hinder_a_hundred(lb, topology, sinks, loads, hundred_sources):
    """It connects as fast as the machine can, and may 100 times a second."""
    limit(lb, "source-rate 100")
    flooder = netns.client_addresses(2)[0]
    seconds = 8
    flood = topology.clients[1].popen(
        [sys.executable, "-m", "tests.support.flood", flooder, netns.VIP, "1883", str(seconds)],
        cwd=netns.ROOT, stdout=subprocess.PIPE, text=True)
    began, opened = time.monotonic(), 0
    wait.until(lambda: row(lb)["over_source_limit"] > 100, 5, "the source is over its limit")
    while time.monotonic() < began + seconds - 2:
        ids = [[f"other-{opened + n}", a, 0] for n, a in enumerate(hundred_sources)]
        answers = loads[0].call("open", destination=[netns.VIP, 1883], clients=ids,
                                keep_alive=2, timeout=30)
        assert [a for a in answers if a[0] != 0] == []
        opened += len(ids)
        loads[0].call("close", how="reset")
    assert opened >= 300
    out, _ = flood.communicate(timeout=30)
    report = json.loads(out)
    print(f"tried {report['tried'] / report['seconds']:.0f}/s, let in {report['accepted']}; "
          f"others {opened} of {opened}")
    assert report["tried"] > 1000 * seconds
    # A second's worth may come at once.
    assert 50 * seconds < report["accepted"] <= 100 * (report["seconds"] + 1)
    assert lb.counters()["drop", "source-rate"] > report["tried"] / 2
    shown = row(lb)
    assert shown["over_source_limit"] == lb.counters()["drop", "source-rate"]
    assert shown["over_limit"] == shown["denied"] == 0
    worst, *_ = lb.show("sources")
    assert (worst["listener"], worst["source"], worst["reason"]) == (
        POOL, netns.alone(flooder), "rate")
    assert worst["refused"] == worst["rate"] == shown["over_source_limit"]
    assert worst["last_minute"] > 1000 and worst["ago_seconds"] < worst["since_seconds"] < 60


def test_connections_of_a_source_and_a_listener(lb, topology, sinks):
    limit(lb, "source-connections 2", "max-connections 5", "refuse reset")
    addresses = netns.client_addresses(1)
    held = []
    for n, source in enumerate([addresses[0], addresses[0], addresses[1], addresses[1]]):
        held.append(dial(topology, source=(source, 0)))
        assert held[-1].connect(f"holder-{n}") == 0
    with pytest.raises(ConnectionRefusedError):
        dial(topology, source=(addresses[0], 0))
    assert row(lb)["over_source_limit"] == 1
    held.append(dial(topology, source=(addresses[2], 0)))
    assert held[-1].connect("holder-4") == 0
    with pytest.raises(ConnectionRefusedError):
        dial(topology, source=(addresses[3], 0))
    assert row(lb)["over_limit"] == 1
    # Who leaves makes room at once.
    held.pop(0).sock.close()

    def comes_in():
        try:
            held.append(dial(topology, source=(addresses[0], 0)))
            return True
        except ConnectionRefusedError:
            return False

    wait.until(comes_in, 5, "room")
    assert held[-1].connect("comes in") == 0
    for client in held:
        client.send(mqtt.pingreq())
        client.expect(mqtt.PINGRESP)
        client.sock.close()


def test_lists(lb, topology, sinks, steady):
    addresses = netns.client_addresses(1)
    with steady(client_id="stays"):
        own = netns.alone(addresses[1])
        lb.commands(f"deny add {POOL} {own}", f"listener set {POOL} refuse reset")
        with pytest.raises(ConnectionRefusedError):
            dial(topology, source=(addresses[1], 0))
        with dial(topology, source=(addresses[2], 0)) as client:
            assert client.connect("not denied") == 0
        lb.commands(f"allow add {POOL} {own}")
        for source in addresses[:3]:
            with pytest.raises(ConnectionRefusedError):
                dial(topology, source=(source, 0))
        lb.commands(f"deny remove {POOL} {own}", f"listener set {POOL} refuse silent")
        with dial(topology, source=(addresses[1], 0)) as client:
            assert client.connect("allowed") == 0
        with pytest.raises(TimeoutError):
            dial(topology, source=(addresses[2], 0), timeout=0.5)
        assert row(lb)["denied"] >= 5
        lines = lb.ctl("show", "config").splitlines()
        assert f"allow add {POOL} {own}" in lines
        lb.commands(f"allow remove {POOL} {own}")
        with dial(topology, source=(addresses[2], 0)) as client:
            assert client.connect("all are allowed") == 0


class Twin(threading.Thread):
    """A device that connects again whenever it is thrown out."""

    def __init__(self, topology, source, version):
        super().__init__(daemon=True)
        self._topology, self._source, self._version = topology, source, version
        self.over = threading.Event()
        self.codes = []
        self.start()

    def run(self):
        while not self.over.is_set():
            try:
                with dial(self._topology, source=(self._source, 0), version=self._version) as c:
                    self.codes.append(c.connect("twin"))
                    c.sock.settimeout(0.2)
                    while not self.over.is_set():
                        try:
                            if c.receive() is None:
                                break
                        except TimeoutError:
                            pass
            except (OSError, AssertionError):
                pass
            self.over.wait(0.2)


@pytest.mark.parametrize("version, code", [(mqtt.V311, 3), (mqtt.V5, 0x9F)])
def test_two_that_fight_over_a_client_id_are_named(balancer, topology, mosquittos, version, code):
    """The broker throws one out for the other; the rate ends that."""
    sources = netns.client_addresses(1)[1:3]
    with balancer(daemon.pool(POOL, mosquittos), "set closing-timeout 1\n") as lb:
        with dial(topology) as quiet:
            assert quiet.connect("quiet") == 0
            twins = [Twin(topology, s, version) for s in sources]
            try:
                def named():
                    return [r for r in lb.show("client-ids") if r["state"] == "fight"]

                (fight,) = wait.until(named, 15, "a fight")
                assert (fight["listener"], fight["client_id"]) == (POOL, "twin")
                assert fight["sources"] == 2 and fight["switches"] >= 3
                assert {fight["last_source"], fight["other_source"]} == set(sources)
                assert lb.counters()["event", "client-id-contested"] > 0
                line = f'mqlb: clients fight over Client ID "twin" of listener {POOL}: '
                wait.until(lambda: line in lb.errors(), 6, "the line that names them")
                said, = (s for s in lb.errors().splitlines() if s.startswith(line))
                assert set(said.removeprefix(line).split(" and ")) == set(sources)
                limit(lb, "client-id-rate 1 per 60")
                wait.until(lambda: all(code in t.codes for t in twins) or
                           sum(t.codes.count(code) for t in twins) >= 5, 15, "refusals")
                (fight,) = wait.until(lambda: [r for r in named() if r["refused"] >= 5], 10,
                                      "the count")
                assert row(lb)["over_client_id_rate"] >= 5
                assert {c for t in twins for c in t.codes} <= {0, code}
            finally:
                for twin in twins:
                    twin.over.set()
                for twin in twins:
                    twin.join(timeout=20)
            assert "quiet" not in [r["client_id"] for r in lb.show("client-ids")]
            assert lb.errors().count("clients fight over") == 1
