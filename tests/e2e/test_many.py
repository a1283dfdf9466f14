"""Many connections at once, and many that never become one."""

import errno
import itertools

import pytest

from tests.support import agent, daemon, netns, rawhost, wait

HELD = 20000
FLOOD = 100000
# Buffers that a core keeps at hand for frames of its own making.
AT_HAND = 64


@pytest.fixture
def lb(balancer, sink_hosts):
    with balancer(daemon.pool("mqtt", sink_hosts),
                  "set closing-timeout 1\nset snat-quarantine 1\n") as started:
        yield started


@pytest.fixture
def load_processes(topology):
    """Four processes for clients: open files per process are limited."""
    agents = [agent.Agent(topology.clients[n % 2], "tests.support.load") for n in range(4)]
    yield agents
    for each in agents:
        each.close()


def test_20000_connections_held_and_closed(lb, sinks, load_processes):
    each = HELD // len(load_processes)
    for number, load in enumerate(load_processes):
        addresses = netns.client_addresses(1 + number % 2)
        load.start("open", destination=[netns.VIP, 1883], clients=[
            [f"held-{number}-{i}", addresses[i % len(addresses)], 0] for i in range(each)])
    for load in load_processes:
        answers = load.result(timeout=150)
        assert [a for a in answers if a[0] != 0] == []
    assert lb.flows_in_use() == HELD
    assert sum(sink.call("count") for sink in sinks) == HELD
    snat = lb.show("snat")
    assert sum(row["in_use"] for row in snat) == HELD

    for load in load_processes:
        load.start("echo")
    assert sum(load.result(timeout=120) for load in load_processes) == HELD

    # Every way to end, also of the peers' addresses.
    for load, how in zip(load_processes, ("disconnect", "fin", "reset", "disconnect")):
        load.call("close", how=how)
    lb.idle(timeout=60)
    assert lb.buffers_in_use() <= AT_HAND
    wait.until(lambda: sum(sink.call("count") for sink in sinks) == 0, 10, "brokers without client")


def test_100000_syns_without_ack(lb, topology, sinks, loads, steady):
    """A flood costs no memory, and clients come through it."""
    with rawhost.RawHost(topology.clients[1], netns.unowned_addresses()[0]) as host:
        sources = netns.unowned_addresses()[1:101]
        frames = list(rawhost.syn_frames(host.mac, host.peer_mac, sources, range(2000, 3000)))
        assert len(frames) == FLOOD
        # The first flood touches all that is allocated once: buffers and tables.
        memory = None
        for _ in range(2):
            memory = lb.resident_kib()
            # TCP repeats what is lost; that takes long where the machine is busy.
            with steady(worst=20):
                loads[0].start("open", destination=[netns.VIP, 1883], window=20, clients=[
                    [f"flooded-{i}", netns.client_addresses(1)[0], 0] for i in range(500)])
                flood(lb, host.sock, frames)
                assert [a for a in loads[0].result(timeout=60) if a[0] != 0] == []
            loads[0].call("close")
            lb.idle()
        assert lb.resident_kib() - memory < 1024


def flood(lb, sock, frames):
    """Sends until the balancer has answered as many SYNs: AF_PACKET loses some of a flood."""
    goal = answered(lb) + len(frames)
    batch = 2000
    batches = itertools.cycle(range(0, len(frames), batch))

    def send_more():
        first = next(batches)
        for frame in frames[first:first + batch]:
            try:
                sock.send(frame)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
        return answered(lb) >= goal

    wait.until(send_more, 60, f"{len(frames)} SYNs answered", interval=0)


def answered(lb):
    return lb.counters()["event", "syn-answered"]
