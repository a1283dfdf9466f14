"""Brokers that refuse, say nothing or are gone: the next one is tried, or MQTT says so."""

import time

import pytest

from tests.support import daemon, mqtt, netns

# What the balancer waits for one broker, in milliseconds.
PATIENCE = 300


@pytest.fixture(scope="module")
def lb(balancer, sink_hosts):
    # Without max-fails each connection finds out for itself.
    with balancer(daemon.pool("mqtt", sink_hosts,
                              f"pool set mqtt connect-timeout {PATIENCE}",
                              "pool set mqtt max-fails 0")) as started:
        yield started


def refuse(sink):
    """The broker's host answers SYN with RST."""
    sink.call("refuse")


def stay_silent(sink):
    """The broker's host gets the SYN, and its answer is lost."""
    sink.namespace.ip(*(f"route add blackhole {address}/32" for address in netns.SNAT[:2]))


def go_down(sink):
    """The broker's host is off: nobody answers for its address."""
    sink.namespace.ip("link set eth0 down")


def repair(sink, how):
    if how is refuse:
        sink.listen()
    elif how is stay_silent:
        sink.namespace.ip(*(f"route del blackhole {a}/32" for a in netns.SNAT[:2]))
    else:
        sink.namespace.ip("link set eth0 up", f"route add 198.18.0.0/24 via {netns.BROKER_GATEWAY}")


class Breakage:
    """Broken sinks, each repaired at the latest when the test ends."""

    def __init__(self):
        self._broken = []

    def __call__(self, how, *which):
        for sink in which:
            how(sink)
            self._broken.append((sink, how))

    def repair(self):
        while self._broken:
            repair(*self._broken.pop())


@pytest.fixture
def broken(sinks):
    breakage = Breakage()
    yield breakage
    breakage.repair()


HOWS = pytest.mark.parametrize("how", [refuse, stay_silent, go_down], ids=lambda f: f.__name__)


def dial(topology, version=mqtt.V311):
    return mqtt.Client(topology.clients[0].connect((netns.VIP, 1883)), version)


def ids_routed_to(lb, name, count):
    candidates = (f"client {n}" for n in range(1000))
    return [c for c, _ in zip((c for c in candidates if lb.route(c, "mqtt") == name),
                              range(count))]


@HOWS
def test_next_broker_is_tried(lb, topology, sinks, broken, steady, how):
    victim = sinks[0]
    ids = ids_routed_to(lb, victim.name, 5)
    survivor_id = ids_routed_to(lb, sinks[1].name, 1)[0]
    with steady(client_id=survivor_id):
        broken(how, victim)
        for client_id in ids:
            expected = lb.route_row(client_id, "mqtt")["next"].split()[0]
            began = time.monotonic()
            with dial(topology) as client:
                assert client.connect(client_id) == 0
                client.echo(b"served")
                assert time.monotonic() - began < 10 * PATIENCE / 1000
                at = [s.name for s in sinks
                      if any(r["client_id"] == client_id for r in s.call("records"))]
                assert at == [expected]


@HOWS
def test_clients_return_when_the_broker_does(lb, topology, sinks, broken, how):
    victim = sinks[1]
    client_id = ids_routed_to(lb, victim.name, 1)[0]
    broken(how, victim)
    with dial(topology) as client:
        assert client.connect(client_id) == 0
    broken.repair()
    with dial(topology) as client:
        assert client.connect(client_id) == 0
        assert [r["client_id"] for r in victim.call("records")] == [client_id]


@pytest.mark.parametrize("version", mqtt.VERSIONS)
@HOWS
def test_all_brokers_gone_is_said_in_mqtt(lb, topology, sinks, broken, how, version):
    broken(how, *sinks)
    with dial(topology, version) as client:
        client.send(mqtt.Connect("nowhere", version).encode())
        data = b""
        while part := client.sock.recv(100):
            data += part
        assert data == mqtt.unavailable(version)


def test_pool_without_brokers(lb, topology, sinks):
    lb.commands("pool add empty snat outside", f"listener add empty {netns.VIP}:1899 pool empty")
    client = mqtt.Client(topology.clients[0].connect((netns.VIP, 1899)))
    assert client.connect("nobody") == 3
    assert client.receive() is None
    client.sock.close()
    lb.commands("listener remove empty", "pool remove empty")


@pytest.mark.parametrize("mode", ["close", "reset"])
def test_broker_that_closes_after_accept(lb, topology, sinks, mode):
    """The connection was made: its end is passed on, no other broker is tried."""
    for sink in sinks:
        sink.call("set", mode=mode)
    with dial(topology) as client:
        try:
            client.send(mqtt.Connect("unwanted").encode())
            assert client.receive() is None
        except ConnectionResetError:
            pass  # also an orderly close ends so where unread bytes were waiting
    assert sum(len(sink.call("records")) for sink in sinks) == 1


def test_broker_that_never_answers_connect_keeps_its_clients(lb, topology, sinks):
    """A slow broker is not the balancer's business: the connection stays."""
    for sink in sinks:
        sink.call("set", mode="silent")
    with dial(topology) as client:
        client.send(mqtt.Connect("patient").encode())
        client.sock.settimeout(4 * PATIENCE / 1000)
        with pytest.raises(TimeoutError):
            client.receive()
    assert sum(len(sink.call("records")) for sink in sinks) == 1
