"""How the data core spends its time when there is nothing to do."""

import time

import pytest

from tests.support import daemon, netns, rawhost

SOURCE = netns.unowned_addresses()[0]
# In a second of sleeping by frames: 500 for timers. Sleeping by time takes some ten thousand,
# polling some hundred thousand.
MOST_LOOPS = 4000
LOOPS_OF_A_FRAME = 2001  # a core that had work looks so often for more


def looked_and_moved(lb):
    """The data core's loops, and frames received or sent, by whomever on the network."""
    (core,) = lb.show("cores")
    return core["loops"], sum(port["rx_packets"] + port["tx_packets"] for port in lb.show("ports"))


def loops_of_a_second(lb):
    """Without those that follow a frame, or `show cores`."""
    loops, frames = looked_and_moved(lb)
    time.sleep(1)
    more_loops, more_frames = looked_and_moved(lb)
    return more_loops - loops - LOOPS_OF_A_FRAME * (more_frames - frames + 1)


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
    to_port = 14 + rawhost.HEADER + 2
    with rawhost.RawHost(topology.clients[0], SOURCE) as host:
        for port in range(41000, 41100):
            (frame,) = rawhost.syn_frames(host.mac, host.peer_mac, [SOURCE], [port])
            time.sleep(0.005)  # it falls asleep
            begin = time.monotonic()
            host.send(frame)
            while host.sock.recv(2048)[to_port:to_port + 2] != port.to_bytes(2, "big"):
                pass
            times.append(time.monotonic() - begin)
    assert sorted(times)[len(times) // 4] < 0.0004
