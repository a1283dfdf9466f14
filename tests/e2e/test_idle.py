"""How the data core spends its time when there is nothing to do."""

import time

import pytest

from tests.support import daemon, netns, rawhost

SOURCE = netns.unowned_addresses()[0]
# A second of sleeping by frames: 500 loops for timers, and some thousand after `show cores` itself.
# Sleeping by time takes twice as many at least, polling some hundred thousand.
MOST_LOOPS = 5000


def loops_of_a_second(lb):
    (before,) = lb.show("cores")
    time.sleep(1)
    (after,) = lb.show("cores")
    return after["loops"] - before["loops"]


@pytest.fixture
def lb(balancer, sinks):
    with balancer(daemon.pool("mqtt", sinks)) as started:
        yield started


def test_an_idle_core_sleeps_unless_it_is_told_to_poll(lb):
    assert loops_of_a_second(lb) < MOST_LOOPS
    lb.ctl("set poll busy")
    assert loops_of_a_second(lb) > 10 * MOST_LOOPS
    lb.ctl("set poll adaptive")
    assert loops_of_a_second(lb) < MOST_LOOPS


def test_an_interface_that_is_down_does_not_keep_the_core_awake(lb, topology):
    topology.balancer.ip(f"link set {netns.LB_CLIENTS} down")
    try:
        assert loops_of_a_second(lb) < MOST_LOOPS
    finally:
        topology.balancer.ip(f"link set {netns.LB_CLIENTS} up")
    assert loops_of_a_second(lb) < MOST_LOOPS
    with rawhost.RawHost(topology.clients[0], SOURCE) as host:
        rawhost.RawConnection(host, 40000).handshake()


def test_a_frame_wakes_the_core_at_once(lb, topology):
    """Not only when it gets up for its timers, each 2 ms: that would be 1 ms on average."""
    times = []
    with rawhost.RawHost(topology.clients[0], SOURCE) as host:
        for port in range(41000, 41100):
            (frame,) = rawhost.syn_frames(host.mac, host.peer_mac, [SOURCE], [port])
            time.sleep(0.005)  # it falls asleep
            begin = time.monotonic()
            host.send(frame)
            while host.sock.recv(2048)[36:38] != port.to_bytes(2, "big"):
                pass
            times.append(time.monotonic() - begin)
    assert sorted(times)[len(times) // 4] < 0.0004
