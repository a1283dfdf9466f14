"""Single frames that belong to no connection: what a network, a scanner or an attacker sends.

They are meant to be played as they are (--verbatim) to a balancer that owns 198.18.0.1, the
listener's address 198.18.0.10 and the SNAT address 198.18.1.100. Each scenario that is no flood
ends with a good session: what came before it changed nothing.
"""

import struct

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from scripts.scenario import words
from scripts.scenario.catalogue import scenario
from scripts.scenario.conversation import Conversation
from tests.support import mqtt

CLIENT, LISTENER, OWN, SNAT = "198.18.0.66", "198.18.0.10", "198.18.0.1", "198.18.1.100"
_STATION, _BALANCER = "02:00:00:00:00:66", "02:00:00:00:00:10"
_PAUSE = 1_000_000  # nanoseconds


def _ether(destination=_BALANCER, **fields):
    return Ether(src=_STATION, dst=destination, **fields)


def _ip(source=CLIENT, destination=LISTENER, **fields):
    return _ether() / IP(src=source, dst=destination, **{"id": 7, **fields})


def _tcp(flags, **fields):
    return TCP(**{"sport": 5000, "dport": 1883, "seq": 1000, "flags": flags, "window": 1024,
                  **fields})


def _syn(source=CLIENT, destination=LISTENER, **fields):
    return _ip(source, destination) / _tcp(**{"flags": "S", "options": [("MSS", 1460)], **fields})


def _play(recorder, *frames, session=True):
    time = 0
    for frame in frames:
        recorder.record(time, frame)
        time += _PAUSE
    if session:
        talk = Conversation(recorder, at=time / 1e9 + 0.01)
        words.begin(talk.handshake(), "afterwards")
        talk.close(mqtt.disconnect())


@scenario()
def unknown_flow(recorder):
    """ACK, data, FIN, SYN-ACK and RST of connections that nobody knows."""
    _play(recorder, *(
        _ip() / _tcp(flags, sport=5000 + n, ack=0x55AA0000 + n) / Raw(data)
        for n, (flags, data) in enumerate((("A", b""), ("PA", b"\xc0\0"), ("FA", b""), ("SA", b""),
                                           ("R", b""), ("RA", b"")))))


@scenario()
def syn_flood(recorder):
    """200 SYNs from as many addresses, a millisecond apart; a client comes in their midst."""
    frames = [_syn(f"198.18.0.{50 + n}", seq=n * 7919, sport=1024 + n) for n in range(200)]
    _play(recorder, *frames[:100])
    for n, frame in enumerate(frames[100:], 100):
        recorder.record(n * _PAUSE + 11_000_000, frame)


@scenario()
def unknown_flow_flood(recorder):
    """60 ACKs of unknown flows at once: RSTs are rationed where the configuration says so."""
    for n in range(60):
        recorder.record(n * 1000, _ip() / _tcp("A", sport=6000 + n, ack=1 + n))


@scenario()
def senseless_flags(recorder):
    """Control bits that no host sends: none, all, SYN+FIN, SYN+RST, FIN alone, FIN+PSH+URG."""
    _play(recorder, *(_ip() / _tcp(flags) for flags in (0, "FSRPAU", "SF", "SR", "F", "FPU")))


@scenario()
def ecn_and_reserved_flags(recorder):
    """A SYN that offers ECN, and one with the reserved bits set; both are good SYNs."""
    _play(recorder, _syn(flags="SEC"), _ip() / _tcp("S", sport=5001, reserved=7))


@scenario()
def bad_checksums(recorder):
    """Wrong checksums of IP, of TCP and of ICMP; one that a card was to complete."""
    good = bytes(_syn())
    partial = struct.pack("!4s4sBBH", good[26:30], good[30:34], 0, 6, len(good) - 34)
    words16 = sum(struct.unpack("!6H", partial))
    words16 = (words16 & 0xFFFF) + (words16 >> 16)
    _play(recorder, good[:24] + b"\xab\xcd" + good[26:],
          good[:50] + b"\xab\xcd" + good[52:], good[:50] + struct.pack("!H", words16) + good[52:],
          _ip() / ICMP(type=8, id=1, seq=1, chksum=0x1234) / Raw(b"ping"))


@scenario()
def ip_options(recorder):
    """A SYN with a record-route option, and one with a router alert."""
    _play(recorder,
          _ip(options=[IPOption(b"\x07\x07\x04\0\0\0\0\0")]) / _tcp("S"),
          _ip(options=[IPOption(b"\x94\x04\0\0")]) / _tcp("S"))


@scenario()
def ip_fragments(recorder):
    """A SYN in two fragments, and an overlapping third."""
    segment = bytes(_syn(options=[("MSS", 1460), ("NOP", None), ("NOP", None)])[TCP])
    _play(recorder, _ip(flags="MF", proto=6) / Raw(segment[:24]),
          _ip(frag=3, proto=6) / Raw(segment[24:] + b"\0" * 8),
          _ip(frag=1, proto=6) / Raw(segment[8:24]))


@scenario()
def bad_ip_headers(recorder):
    """Version 6 in an IPv4 frame, a header of 16 bytes, a total length below the header's."""
    good = bytes(_syn())
    _play(recorder, good[:14] + b"\x65" + good[15:], good[:14] + b"\x44" + good[15:],
          _ip(len=19) / _tcp("S"))


@scenario()
def other_network_layers(recorder):
    """IPv6, a VLAN tag, LLDP and a length where the type should be."""
    _play(recorder, _ether() / IPv6(src="2001:db8::1", dst="2001:db8::2") / _tcp("S"),
          _ether() / Dot1Q(vlan=5) / IP(src=CLIENT, dst=LISTENER, id=7) / _tcp("S"),
          _ether("01:80:c2:00:00:0e", type=0x88CC) / Raw(b"\x02\x07\x04" + bytes(40)),
          _ether(type=46) / Raw(b"\x42\x42\x03" + bytes(43)))


@scenario()
def other_transports(recorder):
    """UDP, SCTP, GRE and IGMP to the listener's address."""
    _play(recorder, _ip() / UDP(sport=5000, dport=1883) / Raw(b"mqtt-sn"),
          *(_ip(proto=proto) / Raw(bytes(16)) for proto in (132, 47, 2)))


@scenario()
def arp_requests(recorder):
    """Who has: the listener's address, the port's own, one of the network, a foreign one."""
    everyone = "ff:ff:ff:ff:ff:ff"
    _play(recorder, *(_ether(everyone) / ARP(op=1, hwsrc=_STATION, psrc=CLIENT, pdst=target)
                      for target in (LISTENER, OWN, "198.18.0.200", "10.0.0.1")),
          _ether() / ARP(op=1, hwsrc=_STATION, psrc=CLIENT, hwdst=_BALANCER, pdst=LISTENER))


@scenario()
def arp_probe_and_announcement(recorder):
    """A probe with source 0.0.0.0 (RFC 5227), an announcement, and one of our own address."""
    everyone = "ff:ff:ff:ff:ff:ff"
    _play(recorder, *(_ether(everyone) / ARP(op=op, hwsrc=_STATION, psrc=source, pdst=target)
                      for op, source, target in ((1, "0.0.0.0", LISTENER), (1, CLIENT, CLIENT),
                                                 (2, CLIENT, CLIENT), (1, LISTENER, LISTENER))))


@scenario()
def arp_replies(recorder):
    """Replies that nobody asked for: to us, to everyone, about the listener's address."""
    _play(recorder,
          _ether() / ARP(op=2, hwsrc=_STATION, psrc=CLIENT, hwdst=_BALANCER, pdst=OWN),
          _ether("ff:ff:ff:ff:ff:ff") / ARP(op=2, hwsrc=_STATION, psrc=CLIENT, pdst=CLIENT),
          _ether() / ARP(op=2, hwsrc=_STATION, psrc=LISTENER, hwdst=_BALANCER, pdst=OWN))


@scenario()
def arp_broken(recorder):
    """ARP of another hardware, protocol, length or operation; of a multicast sender; cut."""
    good = bytes(_ether() / ARP(op=1, hwsrc=_STATION, psrc=CLIENT, pdst=LISTENER))
    changes = ((14, b"\0\x06"), (16, b"\x86\xdd"), (18, b"\x08"), (19, b"\x10"), (20, b"\0\x09"),
               (22, b"\x01\0\x5e\0\0\x01"))
    _play(recorder, *(good[:at] + value + good[at + len(value):] for at, value in changes),
          good[:30])


@scenario()
def echo_requests(recorder):
    """Pings of the listener's address and the port's own, with 0 to 1,400 bytes, and of others."""
    _play(recorder, *(_ip(destination=target) / ICMP(type=8, id=77, seq=n) / Raw(b"p" * size)
                      for n, (target, size) in enumerate(((LISTENER, 0), (OWN, 56), (OWN, 1400),
                                                          ("198.18.0.200", 8), (SNAT, 8)))),
          _ip() / ICMP(type=0, id=77, seq=9))


def _error(quoted, kind, code, **fields):
    return _ip("198.18.0.254") / ICMP(type=kind, code=code, **fields) / Raw(bytes(quoted))


@scenario()
def icmp_errors_of_unknown_flows(recorder):
    """Fragmentation needed, unreachable and time exceeded about flows that are not ours; quotes
    that are cut or hold something else than TCP."""
    quoted = IP(src=LISTENER, dst=CLIENT, id=7) / TCP(sport=1883, dport=5000, seq=1, flags="A")
    foreign = IP(src="10.0.0.1", dst="10.0.0.2", id=7) / UDP(sport=1, dport=2)
    _play(recorder, _error(quoted, 3, 4, nexthopmtu=1000), _error(bytes(quoted)[:28], 3, 3),
          _error(quoted, 11, 0), _error(bytes(quoted)[:20], 3, 1), _error(foreign, 3, 1),
          _error(b"", 3, 1), _error(quoted, 5, 1, gw="198.18.0.66"))


@scenario()
def truncated_frames(recorder):
    """A SYN cut within Ethernet, IP and TCP; one byte short; and one with padding behind it."""
    good = bytes(_syn())
    _play(recorder, *(good[:length] for length in (1, 13, 14, 20, 34, 40, len(good) - 1)),
          good + bytes(60 - len(good)))


@scenario()
def bad_tcp_headers(recorder):
    """A TCP header of 16 bytes, one beyond the packet; options of length 0, 1 and too many."""
    _play(recorder, _ip() / _tcp("S", dataofs=4), _ip() / _tcp("S", dataofs=15),
          *(_ip() / _tcp("S", dataofs=6, sport=5001 + n) / Raw(options)
            for n, options in enumerate((b"\x02\0\x05\xb4", b"\x02\x01\x05\xb4",
                                         b"\x02\x28\x05\xb4", b"\x03\x04\x0e\0"))))


@scenario()
def oversized_frames(recorder):
    """A segment of 1,501 bytes and one of 9,000, as a sender's segmentation offload leaves them."""
    _play(recorder, *(_ip() / _tcp("A", ack=1) / Raw(b"x" * (size - 40)) for size in (1501, 9000)))


@scenario()
def impossible_sources(recorder):
    """SYNs from multicast, broadcast, 0.0.0.0, loopback and the balancer's own addresses."""
    _play(recorder, *(_syn(source) for source in
                      ("224.0.0.1", "255.255.255.255", "0.0.0.0", "127.0.0.1", "240.0.0.1",
                       LISTENER, OWN, SNAT)))


@scenario()
def land(recorder):
    """A SYN from the listener's address and port to itself."""
    _play(recorder, _syn(LISTENER, sport=1883), session=False)


@scenario()
def port_zero(recorder):
    """SYNs from port 0 and to port 0."""
    _play(recorder, _syn(sport=0), _syn(dport=0))


@scenario()
def no_listener(recorder):
    """SYN, ACK and FIN to our addresses where nothing listens, and to foreign addresses."""
    _play(recorder, _syn(dport=8883), _syn(destination=OWN, dport=22), _syn(destination=OWN),
          _ip() / _tcp("A", dport=8883, ack=9), _ip() / _tcp("FA", dport=8883, ack=9),
          _syn(destination="198.18.0.200"), _syn(destination="10.0.0.1"), _syn(destination=SNAT))


@scenario()
def ip_to_everyone(recorder):
    """SYNs in broadcast and multicast frames (RFC 1122, section 3.3.6)."""
    everyone = _ether("ff:ff:ff:ff:ff:ff")
    _play(recorder, everyone / _syn()[IP], _ether("01:00:5e:00:00:01") / _syn()[IP],
          everyone / _syn(destination="255.255.255.255")[IP])
