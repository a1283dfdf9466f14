"""Neighbours on the clients' link: who asks for our addresses is answered, and all are told."""

import time

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from tests.support import capture, daemon, mqtt, netns, rawhost, wait
from tests.support.rawhost import answered_address

OURS = (netns.VIP, netns.CLIENT_GATEWAY)
needs_ipv6 = pytest.mark.skipif(not rawhost.IS_IPV6, reason="a matter of IPv6")


@pytest.fixture
def lb(balancer, sinks):
    with balancer(daemon.pool("mqtt", sinks)) as started:
        yield started


@pytest.fixture
def host(lb, topology):
    with rawhost.RawHost(topology.clients[1], netns.unowned_addresses()[0]) as raw:
        yield raw


def announced(frame):
    """The address that a frame announces to all, or None."""
    if ICMPv6ND_NA in frame and frame[IPv6].dst == "ff02::1":
        return frame[ICMPv6ND_NA].tgt
    if ARP in frame and frame[ARP].psrc == frame[ARP].pdst:
        return frame[ARP].psrc
    return None


def test_addresses_are_announced_at_the_start(balancer, topology, sinks):
    with capture.Recorder(topology.clients[1]) as recorder:
        with balancer(daemon.pool("mqtt", sinks)):
            frames = []

            def told():
                frames.extend(recorder.so_far())
                return set(OURS) <= {announced(f) for f in frames}
            wait.until(told, 5, "announcements")
    # Those of the other side stay there.
    assert {a for a in map(announced, frames) if a} == set(OURS)


def ask(host, address):
    """The answer to a question of the host's; announcements are none."""
    host.send(host.question(address))
    answer = host.receive(lambda f: answered_address(f) == address and announced(f) is None)
    assert answer is not None
    return answer


@pytest.mark.parametrize("address", OURS)
def test_questions_are_answered(host, topology, address):
    answer = ask(host, address)
    mac = answer[ARP].hwsrc if ARP in answer else answer[ICMPv6NDOptDstLLAddr].lladdr
    assert mac == topology.balancer.mac(netns.LB_CLIENTS)
    assert (answer[Ether].src, answer[Ether].dst) == (mac, host.mac)


def test_a_removed_listener_is_ours_until_its_last_flow_ends(lb, topology, host):
    """Then somebody else may have its address."""
    address = netns.unowned_addresses()[5]
    lb.commands("set closing-timeout 1",
                f"listener add other {netns.endpoint(address, 1884)} pool mqtt")
    client = mqtt.Client(topology.clients[0].connect((address, 1884)))
    assert client.connect("stays") == 0
    lb.commands("listener remove other")

    def is_answered():
        host.send(host.question(address))
        return host.receive(lambda f: answered_address(f) == address, timeout=0.3) is not None

    # A removed entry is forgotten within a second or two.
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert is_answered()
    client.echo(b"served")
    client.sock.close()
    wait.until(lambda: not is_answered(), 20, "its address is free")


@needs_ipv6
def test_answer_to_a_question(host):
    answer = ask(host, netns.VIP)
    message, header = answer[ICMPv6ND_NA], answer[IPv6]
    assert (message.R, message.S, message.O) == (0, 1, 1)
    assert (header.src, header.dst, header.hlim) == (netns.VIP, host.address, 255)


@needs_ipv6
def test_duplicate_address_detection_is_answered_to_all(lb, host):
    """Somebody is about to take our address (RFC 4862 section 5.4.2)."""
    before = lb.counters()["event", "neighbour-answered"]
    host.send(host.question(src="::"))
    answer = host.receive(lambda f: announced(f) == netns.VIP)
    assert answer is not None
    # It looks like an announcement, of which there are some in these seconds.
    wait.until(lambda: lb.counters()["event", "neighbour-answered"] > before, 2, "an answer")
    assert (answer[Ether].dst, answer[ICMPv6ND_NA].S) == ("33:33:00:00:00:01", 0)


def test_silence_for_addresses_of_others(host):
    for address in (netns.CLIENTS.address(250), netns.SNAT[0]):
        if (":" in address) == rawhost.IS_IPV6:
            host.send(host.question(address))
    host.send(host.ping(7))
    seen = []
    assert host.receive(lambda f: rawhost.pong(f) == 7 or seen.append(f))
    assert not [f for f in seen if answered_address(f) not in (None, *OURS)]


def test_the_kernels_neighbour_table_agrees(lb, topology):
    """A kernel that knows nothing of us finds us and is served; brokers' kernels too."""
    host = topology.clients[0]
    host.ip("neigh flush dev eth0")
    with mqtt.Client(host.connect((netns.VIP, 1883))) as client:
        assert client.connect("neighbour") == 0
    found = host.run(["ip", "neigh", "show", netns.VIP], capture_output=True, text=True).stdout
    assert topology.balancer.mac(netns.LB_CLIENTS) in found
    assert {row["state"] for row in lb.show("neighbours")} == {"resolved"}
