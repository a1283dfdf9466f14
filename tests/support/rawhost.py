"""A client host played packet by packet: what no kernel would send, and what comes back.

It lives on a client host's interface under addresses that the kernel there does not have, so the
kernel answers nothing in its name. Frames are Scapy's; the socket is our own, as it has to be in
the namespace.
"""

import select
import socket
import struct
import time

from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import (ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS,
                                ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from tests.support import netns

_ETH_P_ALL = 3
_PACKET_OUTGOING = 4
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
# The IP header of the client side, its length, and who tells neighbours' link addresses.
IS_IPV6 = netns.CLIENTS.is_ipv6
Network, HEADER = (IPv6, 40) if IS_IPV6 else (IP, 20)
_FAMILY = netns.family_of(netns.VIP)


class RawHost:
    """One address; answers neighbours that ask for it while it waits for packets."""

    def __init__(self, namespace, address, interface="eth0"):
        self.address = address
        self.mac = namespace.mac(interface)
        with namespace:
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            self.sock.bind((interface, _ETH_P_ALL))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.peer_mac = None
        self.peer_mac = self._resolve(netns.VIP)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def _resolve(self, address):
        self.send(self.question(address))
        answer = self.receive(lambda p: answered_address(p) == address)
        assert answer, f"nobody answers for {address}"
        return answer[ARP].hwsrc if ARP in answer else answer[ICMPv6NDOptDstLLAddr].lladdr

    def question(self, address=netns.VIP, **fields):
        """Asks for a link address: ARP, or a neighbour solicitation."""
        if not IS_IPV6:
            return Ether(src=self.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(
                op="who-has", hwsrc=self.mac, psrc=self.address, pdst=address, **fields)
        fields = {"src": self.address, "dst": solicited_node(address), "hlim": 255, **fields}
        asked = Ether(src=self.mac, dst=multicast_mac(fields["dst"])) / IPv6(**fields) / \
            ICMPv6ND_NS(tgt=address)
        # Who looks for a duplicate of its address has none (RFC 4861 section 4.3).
        nobody = fields["src"] == "::"
        return asked if nobody else asked / ICMPv6NDOptSrcLLAddr(lladdr=self.mac)

    def ether(self):
        return Ether(src=self.mac, dst=self.peer_mac)

    def ip(self, **fields):
        return Network(**{"src": self.address, "dst": netns.VIP, **fields})

    def ping(self, number, payload=b""):
        echo = ICMPv6EchoRequest(seq=number, data=payload) if IS_IPV6 else \
            ICMP(seq=number) / payload
        return self.ether() / self.ip() / echo

    def send(self, frame):
        self.sock.send(bytes(frame))

    def receive(self, wanted, timeout=5):
        """The next frame for us of which wanted(frame) is true; None if there is none in time."""
        end = time.monotonic() + timeout
        while True:
            ready, _, _ = select.select([self.sock], [], [], max(0, end - time.monotonic()))
            if not ready:
                return None
            data, origin = self.sock.recvfrom(65536)
            if origin[2] == _PACKET_OUTGOING:
                continue
            frame = Ether(data)
            if ARP in frame and frame[ARP].op == 1 and frame[ARP].pdst == self.address:
                self._answer_arp(frame[ARP])
            if ICMPv6ND_NS in frame and frame[ICMPv6ND_NS].tgt == self.address:
                self._answer_solicitation(frame)
            if wanted(frame):
                return frame

    def _answer_arp(self, request):
        self.send(Ether(src=self.mac, dst=request.hwsrc) / ARP(
            op="is-at", hwsrc=self.mac, psrc=self.address,
            hwdst=request.hwsrc, pdst=request.psrc))

    def _answer_solicitation(self, frame):
        self.send(Ether(src=self.mac, dst=frame.src) / IPv6(
            src=self.address, dst=frame[IPv6].src, hlim=255) / ICMPv6ND_NA(
                R=0, S=1, O=1, tgt=self.address) / ICMPv6NDOptDstLLAddr(lladdr=self.mac))

    def is_mine(self, frame):
        return Network in frame and frame[Network].dst == self.address

    def receive_tcp(self, port, timeout=5):
        """The next TCP segment to our address and port, as (IP packet, TCP segment)."""
        frame = self.receive(lambda p: TCP in p and self.is_mine(p) and p[TCP].dport == port,
                             timeout)
        return (frame[Network], frame[TCP]) if frame else (None, None)


class RawConnection:
    """A TCP connection of a RawHost: no retransmission, nothing of its own accord."""

    def __init__(self, host, port, sequence=1000, destination_port=1883):
        self.host, self.port, self.destination_port = host, port, destination_port
        self.seq, self.ack = sequence, 0

    def segment(self, flags, payload=b"", **fields):
        fields = {"seq": self.seq % (1 << 32), "ack": self.ack, "window": 65535, **fields}
        tcp = TCP(sport=self.port, dport=self.destination_port, flags=flags, **fields)
        return tcp / Raw(payload) if payload else tcp

    def send(self, flags, payload=b"", **fields):
        self.host.send(self.host.ether() / self.host.ip() / self.segment(flags, payload, **fields))
        self.seq += len(payload) + bool(flags & (SYN | FIN))

    def receive(self, timeout=5):
        return self.host.receive_tcp(self.port, timeout)[1]

    def handshake(self, options=(("MSS", 1460),)):
        self.send(SYN, options=list(options))
        answer = self.receive()
        assert answer is not None and int(answer.flags) == SYN | ACK, f"no SYN-ACK: {answer!r}"
        assert answer.ack == self.seq % (1 << 32)
        self.ack = (answer.seq + 1) % (1 << 32)
        self.send(ACK)
        return self


def pong(frame):
    """The number of the echo request that this answers, or None."""
    if ICMPv6EchoReply in frame:
        return frame[ICMPv6EchoReply].seq
    return frame[ICMP].seq if ICMP in frame and frame[ICMP].type == 0 else None


def answered_address(frame):
    """The address that an answer to question() is about, or None."""
    if ICMPv6ND_NA in frame:
        return frame[ICMPv6ND_NA].tgt
    return frame[ARP].psrc if ARP in frame and frame[ARP].op == 2 else None


def solicited_node(address):
    """RFC 4291 section 2.7.1."""
    last = socket.inet_pton(socket.AF_INET6, address)[-3:]
    return socket.inet_ntop(socket.AF_INET6, bytes.fromhex("ff0200000000000000000001ff") + last)


def multicast_mac(group):
    """RFC 2464 section 7; other addresses are not asked for."""
    return "33:33:" + socket.inet_pton(socket.AF_INET6, group)[-4:].hex(":")


def syn_frames(source_mac, peer_mac, sources, ports, destination=netns.VIP, destination_port=1883):
    """Frames of one SYN for each source address and port, built at once: Scapy is too slow here."""
    link = bytes.fromhex((peer_mac + source_mac).replace(":", ""))
    link += b"\x86\xdd" if IS_IPV6 else b"\x08\x00"
    to = socket.inet_pton(_FAMILY, destination)
    for source in sources:
        address = socket.inet_pton(_FAMILY, source)
        if IS_IPV6:
            ip = struct.pack("!IHBB16s16s", 6 << 28, 24, 6, 64, address, to)
        else:
            ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 44, 0, 0x4000, 64, 6, 0, address, to)
            ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        pseudo = address + to + struct.pack("!HH", 6, 24)
        for port in ports:
            tcp = struct.pack("!HHIIBBHHHBBH", port, destination_port, port * 7919, 0, 0x60, SYN,
                              65535, 0, 0, 2, 4, 1460)
            tcp = tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]
            yield link + ip + tcp


def checksum(data):
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
