"""Brokers that refuse, say nothing or are gone: the next one is tried, or MQTT says so."""

import hashlib
import time

import pytest

from tests.support import daemon, mqtt, netns

pytestmark = pytest.mark.mixed

# What the balancer waits for one broker, in milliseconds.
PATIENCE = 300
# What a busy machine may take beyond it, in seconds.
SLACK = 1


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
    sink.namespace.ip(*(f"route add blackhole {netns.alone(a)}" for a in netns.SNAT[:2]))


def go_down(sink):
    """The broker's host is off: nobody answers for its address."""
    netns.link_down(sink.namespace)


def accept_and_reset(sink):
    """The broker takes the connection, and resets it before it reads anything."""
    sink.call("set", mode="reset")


def accept_and_close(sink):
    """The same in order, with FIN."""
    sink.call("set", mode="close")


def reset_on_connect(sink):
    """The broker acknowledges the CONNECT, and then resets."""
    sink.call("set", mode="drop")


def repair(sink, how):
    if how is refuse:
        sink.listen()
    elif how in (accept_and_reset, accept_and_close, reset_on_connect):
        sink.call("set", mode="serve")
    elif how is stay_silent:
        sink.namespace.ip(*(f"route del blackhole {netns.alone(a)}" for a in netns.SNAT[:2]))
    else:
        netns.link_up(sink.namespace)


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


HOWS = pytest.mark.parametrize("how", [refuse, stay_silent, go_down, accept_and_reset,
                                       accept_and_close, reset_on_connect],
                               ids=lambda f: f.__name__)


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
                assert time.monotonic() - began < PATIENCE / 1000 + SLACK
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
        heard = [r["client_id"] for r in victim.call("records") if r["client_id"]]
        assert heard == [client_id]


@pytest.mark.parametrize("version", mqtt.VERSIONS)
@HOWS
def test_all_brokers_gone_is_said_in_mqtt(lb, topology, sinks, broken, how, version):
    broken(how, *sinks)
    began = time.monotonic()
    with dial(topology, version) as client:
        client.send(mqtt.Connect("nowhere", version).encode())
        data = b""
        while part := client.sock.recv(100):
            data += part
        assert data == mqtt.unavailable(version)
        assert time.monotonic() - began < len(sinks) * PATIENCE / 1000 + SLACK


def test_pool_without_brokers(lb, topology, sinks):
    lb.commands("pool add empty snat outside", f"listener add empty {netns.endpoint(netns.VIP, 1899)} pool empty")
    client = mqtt.Client(topology.clients[0].connect((netns.VIP, 1899)))
    assert client.connect("nobody") == 3
    assert client.receive() is None
    client.sock.close()
    lb.commands("listener remove empty", "pool remove empty")


def test_a_broker_over_its_limit(lb, topology, sinks):
    """It accepts, then resets: its first clients are its own, all others find another broker."""
    victim, limit, count = sinks[0], 3, 12
    victim.call("set", limit=limit)
    clients = [dial(topology) for _ in range(count)]
    for client, client_id in zip(clients, ids_routed_to(lb, victim.name, count)):
        assert client.connect(client_id) == 0
    assert victim.call("count") == limit
    assert sum(sink.call("count") for sink in sinks[1:]) == count - limit
    for client in clients:
        client.echo(b"served")
        client.sock.close()


@pytest.mark.parametrize("size", [300, 5000, 16_000])
def test_what_the_client_said_is_said_again(lb, topology, sinks, size):
    """Also a CONNECT in many segments, and what follows it before any answer."""
    victim = sinks[0]
    victim.call("set", mode="drop")
    client_id = ids_routed_to(lb, victim.name, 1)[0]
    said = mqtt.Connect(client_id, user="u", password="p" * size).encode()
    said += mqtt.publish("sink/early", b"early" * 200)
    with dial(topology) as client:
        client.send(said)
        assert client.receive().body[1] == 0
        assert client.receive().publication(client.version) == ("sink/early", b"early" * 200)
        (record,) = (r for sink in sinks[1:] for r in sink.call("records"))
        assert (record["bytes"], record["sha256"]) == (len(said), hashlib.sha256(said).hexdigest())
    assert len(victim.call("records")) == 1


def test_a_broker_that_does_not_answer_in_time(lb, topology, sinks):
    lb.commands(f"pool set mqtt answer-timeout {PATIENCE}")
    victim = sinks[0]
    victim.call("set", mode="silent")
    began = time.monotonic()
    with dial(topology) as client:
        assert client.connect(ids_routed_to(lb, victim.name, 1)[0]) == 0
        assert PATIENCE / 1000 <= time.monotonic() - began < PATIENCE / 1000 + SLACK
        client.echo(b"served")
    lb.commands("pool set mqtt answer-timeout 0")


def test_broker_that_never_answers_connect_keeps_its_clients(lb, topology, sinks):
    """A slow broker is not the balancer's business: the connection stays."""
    for sink in sinks:
        sink.call("set", mode="silent")
    began = time.monotonic()
    with dial(topology) as client:
        client.send(mqtt.Connect("patient").encode())
        client.sock.settimeout(4 * PATIENCE / 1000)
        with pytest.raises(TimeoutError):
            client.receive()
    assert sum(r["opened"] > began for sink in sinks for r in sink.call("records")) == 1
