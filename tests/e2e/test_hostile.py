"""Hostile packets: each gets the right answer, the right counter rises by exactly the right number,
and a client beside them is not disturbed.
"""

import time

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (ICMPv6EchoRequest, ICMPv6PacketTooBig, ICMPv6Unknown, IPv6,
                                IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.support import daemon, mqtt, netns, rawhost, steady, wait
from tests.support.rawhost import ACK, FIN, PSH, RST, SYN

DEADLINE = 400  # for a complete CONNECT, milliseconds
COPIES = 5
# Frames that any host may send at any time and that say nothing about the case at hand.
BACKGROUND = {"ipv6-group", "neighbour-consumed"} if rawhost.IS_IPV6 else {"arp-consumed"}


@pytest.fixture(scope="module")
def lb(balancer, sink_hosts):
    with balancer(daemon.pool("mqtt", sink_hosts,
                              f"listener set mqtt connect-deadline {DEADLINE}"),
                  "set closing-timeout 1\n") as started:
        yield started


@pytest.fixture
def host(lb, topology):
    with rawhost.RawHost(topology.clients[1], netns.unowned_addresses()[0]) as raw:
        yield raw


@pytest.fixture(scope="module")
def companion(lb, topology):
    """The one client that is connected all the time."""
    with steady.Steady(topology.clients[0]) as client:
        yield client


@pytest.fixture
def undisturbed(companion):
    before = companion.exchanged
    yield
    wait.until(lambda: companion.exchanged >= before + 10 or companion.error, 5, "messages")
    assert companion.error is None


class Counted:
    """A context that asserts which drop and end counters rise within it, and by how much."""

    def __init__(self, lb, **expected):
        self._lb = lb
        self._expected = {name.replace("_", "-"): n for name, n in expected.items()}

    def _read(self):
        return {(g, n): v for (g, n), v in self._lb.counters().items()
                if g in ("drop", "end") and n not in BACKGROUND}

    def _rise(self):
        now = self._read()
        return {n: now[g, n] - v for (g, n), v in self._before.items() if now[g, n] != v}

    def __enter__(self):
        self._before = self._read()

    def __exit__(self, kind, *_):
        if kind is None:
            try:
                wait.until(lambda: self._rise() == self._expected, 3, "counters")
            except wait.TimedOut:
                assert self._rise() == self._expected


def answers(host):
    """Every TCP or ICMP frame for the host until the replies to two last pings: all that came.

    The second ping leaves when the first is answered. One would not do: the test network has two
    cores, which may put frames that follow each other closely into another order.
    """
    seen = []
    for number in (1, 2):
        def is_marker(frame, number=number):
            if not host.is_mine(frame):
                return False
            if rawhost.pong(frame) == number:
                return True
            seen.append(frame)
            return False

        host.send(host.ping(number, b"marker"))
        assert host.receive(is_marker), "no answer to a ping"
    return seen


CONNECT = mqtt.Connect("x")
# What follows the length of a CONNECT that may become long: a will, a user and a password.
LONG = mqtt.string("MQTT") + b"\x04\xc6\x00\x3c\xff\xff" + 100 * b"x"


def connect(version=mqtt.V311, client_id="x", **override):
    return mqtt.Connect(client_id, version, override=override).encode()


MALFORMED = [
    ("http", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "malformed-not-connect"),
    ("tls", bytes.fromhex("16030100c8010000c40303") + bytes(194),
     "malformed-fixed-header-flags"),  # 0x16 is a CONNECT with flags
    ("ssh", b"SSH-2.0-OpenSSH_9.2\r\n", "malformed-not-connect"),
    ("zeros", bytes(100), "malformed-not-connect"),
    ("publish first", mqtt.publish("a", b"b"), "malformed-not-connect"),
    ("connack", mqtt.connack(mqtt.V311), "malformed-not-connect"),
    ("flags of the first byte", b"\x11" + CONNECT.encode()[1:], "malformed-fixed-header-flags"),
    ("length of five bytes", b"\x10\xff\xff\xff\xff\x01", "malformed-remaining-length"),
    ("length too small", b"\x10\x03\x00\x04M", "malformed-remaining-length"),
    ("name", connect(name=mqtt.string("MQTX")), "malformed-protocol-name"),
    ("name of lower case", connect(name=mqtt.string("mqtt")), "malformed-protocol-name"),
    ("empty name", connect(client_id=b"x" * 9, name=mqtt.string("")), "malformed-protocol-name"),
    ("level 6", connect(level=b"\x06"), "malformed-protocol-version"),
    ("level 0", connect(level=b"\x00"), "malformed-protocol-version"),
    ("level of 3.1 under the new name", connect(level=b"\x03"), "malformed-protocol-version"),
    ("level of 3.1.1 under the old name", connect(mqtt.V31, level=b"\x04"),
     "malformed-protocol-version"),
    ("reserved flag", connect(flags=b"\x03"), "malformed-connect-flags"),
    ("will QoS 3", connect(flags=b"\x1e", tail=mqtt.string("t") + mqtt.string("p")),
     "malformed-connect-flags"),
    ("will QoS without will", connect(flags=b"\x0a"), "malformed-connect-flags"),
    ("will retain without will", connect(flags=b"\x22"), "malformed-connect-flags"),
    ("password without user", connect(flags=b"\x42", tail=mqtt.string("p")),
     "malformed-connect-flags"),
    ("unknown property", connect(mqtt.V5, properties=b"\x02\x7f\x00"), "malformed-properties"),
    ("property twice", connect(mqtt.V5, properties=b"\x06\x21\x00\x05\x21\x00\x05"),
     "malformed-properties"),
    ("property cut", connect(mqtt.V5, properties=b"\x02\x11\x00"), "malformed-properties"),
    ("ill-formed UTF-8", connect(client_id=b"\xc3\x28"), "malformed-string"),
    ("U+0000", connect(client_id=b"a\x00b"), "malformed-string"),
    ("surrogate", connect(client_id=b"\xed\xa0\x80"), "malformed-string"),
    ("no ID and no clean session", mqtt.Connect("", clean=False).encode(),
     "malformed-client-id"),
    ("ID past the packet", CONNECT.encode()[:-3] + b"\x00\x63x", "malformed-truncated"),
    ("bytes behind the last field", connect(tail=b"more"), "malformed-trailing-bytes"),
    ("announced too long", b"\x10" + mqtt.varint(100000) + LONG, "connect-too-long"),
    ("longest length", b"\x10\xff\xff\xff\x7f" + LONG, "connect-too-long"),
]


@pytest.mark.parametrize("data, reason", [m[1:] for m in MALFORMED], ids=[m[0] for m in MALFORMED])
def test_malformed_connect_is_closed(lb, host, undisturbed, data, reason):
    with Counted(lb, **{reason: 1, "handshake-consumed": 2}):
        connection = rawhost.RawConnection(host, 5000).handshake()
        connection.send(PSH | ACK, data)
        answer = connection.receive()
        assert answer is not None and int(answer.flags) & RST, f"{answer!r}"
        assert answer.seq == connection.ack
        assert answers(host) == []


def test_never_completing_connect_meets_the_deadline(lb, host, undisturbed):
    packet = CONNECT.encode()
    for sent in (b"", packet[:1], packet[:-1]):
        with Counted(lb, connect_timeout=1, handshake_consumed=1 + bool(sent)):
            connection = rawhost.RawConnection(host, 5001).handshake()
            if sent:
                connection.send(PSH | ACK, sent)
            answer = connection.receive()
            while answer is not None and not int(answer.flags) & RST:
                assert answer.ack == connection.seq and len(answer.payload) == 0
                answer = connection.receive()
            assert answer is not None, "no RST"


def test_client_that_leaves_before_connect(lb, host, undisturbed):
    with Counted(lb, client_left=1, handshake_consumed=2):
        connection = rawhost.RawConnection(host, 5002).handshake()
        connection.send(RST)
    with Counted(lb, client_left=1, handshake_consumed=2):
        connection = rawhost.RawConnection(host, 5003).handshake()
        connection.send(FIN | ACK)
        assert int(connection.receive().flags) & RST


def tcp_frame(host, flags=SYN, payload=b"", ip=None, **fields):
    """With a timestamp that is none of the balancer's: without one, a chance acknowledgement
    number looks like an answer to it once in some hundred times."""
    fields = {"sport": 6000, "dport": 1883, "seq": 7, "ack": 9, "window": 1000,
              "options": [("Timestamp", (7, 9))], **fields}
    packet = host.ether() / host.ip(**(ip or {})) / TCP(flags=flags, **fields)
    return packet / Raw(payload) if payload else packet


def rewritten(frame, offset, data):
    """The frame's bytes with some replaced, checksums left as they were."""
    raw = bytearray(bytes(frame))
    raw[offset:offset + len(data)] = data
    return bytes(raw)


def cut(frame, size):
    return bytes(frame)[:size]


def wrong_mac(host):
    frame = tcp_frame(host)
    frame[Ether].dst = "02:00:00:00:00:99"
    return frame


ETHER = 14  # header length

# No IP fragments: the kernel puts them together before DPDK's AF_PACKET driver sees them.
OF_IPV4 = [
    ("IP checksum", "bad-ip-checksum", lambda h: tcp_frame(h, ip={"chksum": 0x1234})),
    ("IP header length", "bad-ip-header", lambda h: rewritten(tcp_frame(h), ETHER, b"\x44")),
    ("IP version", "bad-ip-header", lambda h: rewritten(tcp_frame(h), ETHER, b"\x65")),
    ("IP options", "ip-options",
     lambda h: h.ether() / h.ip(options=b"\x01\x01\x01\x00") / TCP(sport=6000, dport=1883)),
    ("source multicast", "bad-source-address",
     lambda h: h.ether() / IP(src="224.0.0.1", dst=netns.VIP) / TCP(dport=1883)),
    ("source unspecified", "bad-source-address",
     lambda h: h.ether() / IP(src="0.0.0.0", dst=netns.VIP) / TCP(dport=1883)),
    ("source is the VIP", "bad-source-address",
     lambda h: h.ether() / IP(src=netns.VIP, dst=netns.VIP) / TCP(dport=1883)),
    ("foreign destination", "foreign-address",
     lambda h: h.ether() / IP(src=h.address, dst="198.18.0.250") / TCP(dport=1883)),
    ("UDP", "unknown-protocol", lambda h: h.ether() / h.ip() / UDP(dport=1883)),
    ("ICMP checksum", "bad-icmp", lambda h: h.ether() / h.ip() / ICMP(chksum=1)),
    ("ICMP type", "icmp-ignored", lambda h: h.ether() / h.ip() / ICMP(type=13)),
    ("ICMP error about nothing", "icmp-unknown-flow",
     lambda h: h.ether() / h.ip() / ICMP(type=3, code=4, nexthopmtu=1200)
     / IP(src=netns.VIP, dst=h.address) / TCP(sport=1883, dport=6000)),
    ("ICMP error without quote", "bad-icmp",
     lambda h: h.ether() / h.ip() / ICMP(type=3, code=4, nexthopmtu=1200)),
    ("IPv6 from nobody", "bad-source-address",
     lambda h: Ether(src=h.mac, dst=h.peer_mac, type=0x86dd) / (b"\x60" + bytes(59))),
    ("ARP hardware type", "bad-arp", lambda h: h.question(hwtype=6)),
    ("ARP cut", "truncated-frame", lambda h: cut(h.question(), ETHER + 20)),
]

OF_BOTH = [
    ("TCP checksum", "bad-tcp-checksum", lambda h: tcp_frame(h, chksum=0x4321)),
    ("TCP header length", "bad-tcp-header", lambda h: tcp_frame(h, dataofs=4)),
    ("TCP header past the segment", "bad-tcp-header", lambda h: tcp_frame(h, dataofs=15)),
    ("no TCP flags", "bad-tcp-flags", lambda h: tcp_frame(h, flags=0)),
    ("SYN and FIN", "bad-tcp-flags", lambda h: tcp_frame(h, flags=SYN | FIN)),
    ("SYN and RST", "bad-tcp-flags", lambda h: tcp_frame(h, flags=SYN | RST)),
    ("all TCP flags", "bad-tcp-flags", lambda h: tcp_frame(h, flags=0x3f)),
    ("RST of no flow", "unknown-flow-quiet", lambda h: tcp_frame(h, flags=RST)),
    ("frame cut in Ethernet", "truncated-frame", lambda h: cut(tcp_frame(h), ETHER)),
    ("frame cut in IP", "truncated-frame", lambda h: cut(tcp_frame(h), ETHER + 10)),
    ("frame cut in TCP", "truncated-frame", lambda h: cut(tcp_frame(h), ETHER + rawhost.HEADER + 10)),
    ("frame cut in data", "truncated-frame", lambda h: cut(tcp_frame(h, payload=bytes(99)), 100)),
    ("other station", "foreign-mac", wrong_mac),
    ("EtherType", "unknown-ethertype",
     lambda h: Ether(src=h.mac, dst=h.peer_mac, type=0x88b5) / bytes(50)),
]

SEGMENT = TCP(sport=6000, dport=1883)


def to_group(host):
    frame = tcp_frame(host)
    frame[Ether].dst = rawhost.multicast_mac(netns.VIP)
    return frame


# Fragments as above; of extension headers the kernel leaves all as they are.
OF_IPV6 = [
    ("IP version", "bad-ip-header", lambda h: rewritten(tcp_frame(h), ETHER, b"\x45")),
    ("payload length", "truncated-frame", lambda h: rewritten(tcp_frame(h), ETHER + 4, b"\x05")),
    ("source multicast", "bad-source-address",
     lambda h: h.ether() / IPv6(src="ff02::1", dst=netns.VIP) / SEGMENT),
    ("source unspecified", "bad-source-address",
     lambda h: h.ether() / IPv6(src="::", dst=netns.VIP) / SEGMENT),
    ("source loopback", "bad-source-address",
     lambda h: h.ether() / IPv6(src="::1", dst=netns.VIP) / SEGMENT),
    ("source mapped", "bad-source-address",
     lambda h: h.ether() / IPv6(src="::ffff:198.18.0.21", dst=netns.VIP) / SEGMENT),
    ("source is the VIP", "bad-source-address",
     lambda h: h.ether() / IPv6(src=netns.VIP, dst=netns.VIP) / SEGMENT),
    ("foreign destination", "foreign-address",
     lambda h: h.ether() / IPv6(src=h.address, dst=netns.CLIENTS.address("fa")) / SEGMENT),
    ("mapped destination", "foreign-address",
     lambda h: h.ether() / IPv6(src=h.address, dst="::ffff:198.18.0.10") / SEGMENT),
    ("TCP to a group's station", "foreign-mac", to_group),
    ("hop by hop", "ipv6-extension",
     lambda h: h.ether() / h.ip() / IPv6ExtHdrHopByHop() / SEGMENT),
    ("routing", "ipv6-extension",
     lambda h: h.ether() / h.ip() / IPv6ExtHdrRouting(addresses=[netns.VIP]) / SEGMENT),
    ("destination options", "ipv6-extension",
     lambda h: h.ether() / h.ip() / IPv6ExtHdrDestOpt() / SEGMENT),
    ("UDP", "unknown-protocol", lambda h: h.ether() / h.ip() / UDP(dport=1883)),
    ("ICMP checksum", "bad-icmp", lambda h: h.ether() / h.ip() / ICMPv6EchoRequest(cksum=1)),
    ("ICMP type", "icmp-ignored",
     lambda h: h.ether() / h.ip() / ICMPv6Unknown(type=200, msgbody=bytes(4))),
    ("ICMP error about nothing", "icmp-unknown-flow",
     lambda h: h.ether() / h.ip() / ICMPv6PacketTooBig(mtu=1300)
     / IPv6(src=netns.VIP, dst=h.address) / TCP(sport=1883, dport=6000)),
    ("ICMP error without quote", "bad-icmp",
     lambda h: h.ether() / h.ip() / ICMPv6PacketTooBig(mtu=1300)),
    ("solicitation from beyond a router", "bad-neighbour", lambda h: h.question(hlim=64)),
]

DROPPED = OF_BOTH + (OF_IPV6 if rawhost.IS_IPV6 else OF_IPV4)


@pytest.mark.parametrize("reason, build", [d[1:] for d in DROPPED], ids=[d[0] for d in DROPPED])
def test_frame_is_dropped_silently(lb, host, undisturbed, reason, build):
    frame = bytes(build(host))
    with Counted(lb, **{reason: COPIES}):
        for _ in range(COPIES):
            host.send(frame)
        assert answers(host) == []


def test_frame_over_the_mtu_is_dropped(lb, topology, host, undisturbed):
    links = ((topology.switch, "c2"), (topology.switch, "lbc"), (topology.switch, "br-clients"),
             (topology.clients[1], "eth0"), (topology.balancer, netns.LB_CLIENTS))
    for namespace, name in links:
        namespace.ip(f"link set {name} mtu 1700")
    try:
        with Counted(lb, over_mtu=COPIES):
            for _ in range(COPIES):
                host.send(tcp_frame(host, flags=ACK, payload=bytes(1461)))
            assert answers(host) == []
    finally:
        for namespace, name in links:
            namespace.ip(f"link set {name} mtu 1500")


# What a closed port answers to each kind of segment (RFC 9293 section 3.10.7.1): flags, the
# segment's length as acknowledged, the reset's sequence number.
@pytest.mark.parametrize("flags, payload, reason, port, reset", [
    (ACK, b"", "unknown-flow", 1883, (RST, 9, None)),
    (PSH | ACK, b"12345", "unknown-flow", 1883, (RST, 9, None)),
    (FIN | ACK, b"", "unknown-flow", 1883, (RST, 9, None)),
    (SYN | ACK, b"", "unknown-flow", 1883, (RST, 9, None)),
    (SYN, b"", "no-listener", 1884, (RST | ACK, 0, 8)),
    (ACK, b"", "no-listener", 1884, (RST, 9, None)),
])
def test_segment_of_no_flow_is_reset(lb, host, undisturbed, flags, payload, reason, port, reset):
    with Counted(lb, **{reason: 1}):
        host.send(tcp_frame(host, flags=flags, payload=payload, dport=port))
        (frame,) = answers(host)
    segment = frame[TCP]
    expected_flags, seq, ack = reset
    assert (int(segment.flags), segment.seq) == (expected_flags, seq)
    assert ack is None or segment.ack == ack
    assert (segment.sport, segment.dport) == (port, 6000)


def test_resets_are_limited(lb, host, undisturbed):
    limit, burst, segments = 10, 8, 200
    # One segment in some hundreds looks as if it had overtaken the end of its handshake.
    names = ("unknown-flow", "unknown-flow-quiet", "early-segment")
    lb.ctl(f"set rst-per-second {limit}")
    try:
        before, began = lb.counters(), time.monotonic()

        def rise(*names):
            now = lb.counters()
            return [now["drop", name] - before["drop", name] for name in names]

        # A few at a time: AF_PACKET loses frames that come faster than they are read.
        for first in range(0, segments, 20):
            for n in range(first, first + 20):
                host.send(tcp_frame(host, flags=ACK, sport=7000 + n))
            wait.until(lambda: sum(rise(*names)) >= first + 20, 5, "segments counted")
        resets = len(answers(host))
        seconds = time.monotonic() - began
    finally:
        lb.ctl("set rst-per-second 1000")
    assert 1 <= resets <= burst + limit * seconds + 1
    unknown, quiet, early = rise(*names)
    assert (unknown, quiet + early) == (resets, segments - resets)
    assert early <= 5


def test_blind_segments_do_not_end_a_live_flow(lb, host, companion, undisturbed):
    """RST, FIN, SYN and data in the client's name, with numbers that are far from right."""
    address, port = companion.local
    for flags, payload in ((RST, b""), (RST | ACK, b""), (FIN | ACK, b""), (SYN, b""),
                           (ACK, b"evil"), (PSH | ACK, bytes(4))):
        spoofed = host.ether() / host.ip(src=address) / TCP(
            sport=port, dport=1883, flags=flags, seq=0x12345678, ack=0x9abcdef0) / payload
        host.send(spoofed)
    # Longer than a flow stays that an RST has ended.
    before = companion.exchanged
    wait.until(lambda: companion.exchanged >= before + 400 or companion.error, 20, "messages")
    assert lb.flows_in_use() == 1
