"""A router on the clients' side that cannot pass what brokers send: they learn of it and cut it."""

import pytest
from scapy.layers.inet import ICMP
from scapy.layers.inet6 import ICMPv6PacketTooBig

from tests.support import daemon, mqtt, netns, rawhost
from tests.support.rawhost import ACK, PSH

pytestmark = pytest.mark.mixed

MTU = 1300
# What the broker is told: its headers may be shorter than the client's, or longer (RFC 7915).
LONGEST_PAYLOAD = MTU - rawhost.HEADER - 20
BYTES = 5000


def too_big(host, packet):
    """What a router says of the packet; it quotes as much as a router must at least."""
    if rawhost.IS_IPV6:
        error, least = ICMPv6PacketTooBig(mtu=MTU), 1232
    else:
        error, least = ICMP(type=3, code=4, nexthopmtu=MTU), rawhost.HEADER + 8
    return host.ether() / host.ip(src=netns.CLIENTS.address(99)) / error / bytes(packet)[:least]


@pytest.fixture
def lb(balancer, sinks):
    with balancer(daemon.pool("mqtt", sinks), "set closing-timeout 1\n") as started:
        yield started


def test_brokers_learn_of_a_narrow_path(lb, topology):
    with rawhost.RawHost(topology.clients[1], netns.unowned_addresses()[0]) as host:
        client = rawhost.RawConnection(host, 5000).handshake([("MSS", 1480 - rawhost.HEADER)])

        def receive():
            """The next segment with payload."""
            while True:
                packet, segment = host.receive_tcp(client.port)
                assert packet is not None, "nothing comes"
                if len(segment.payload) > 0:
                    return packet, segment

        def take(segment):
            client.ack = (segment.seq + len(segment.payload)) % (1 << 32)

        client.send(PSH | ACK, mqtt.Connect("narrow").encode())
        take(receive()[1])  # CONNACK
        client.send(PSH | ACK, mqtt.publish("sink/send", b"%d" % BYTES))
        first, segment = receive()
        assert len(segment.payload) > LONGEST_PAYLOAD
        begin = segment.seq
        host.send(too_big(host, first))
        # It comes again, in pieces that the path takes. What was under way before is as it was.
        while segment.seq != begin or len(segment.payload) > LONGEST_PAYLOAD:
            _, segment = receive()
        got = 0
        while got < BYTES:
            assert len(segment.payload) <= LONGEST_PAYLOAD
            if segment.seq == (begin + got) % (1 << 32):
                got += len(segment.payload)
                take(segment)
                client.send(ACK)
            if got < BYTES:
                _, segment = receive()
        client.send(rawhost.RST | ACK)
    assert lb.counters()["event", "icmp-translated"] == 1
