"""A client host played packet by packet: what no kernel would send, and what comes back.

It lives on a client host's interface under addresses that the kernel there does not have, so the
kernel answers nothing in its name. Frames are Scapy's; the socket is our own, as it has to be in
the namespace.
"""

import select
import socket
import struct
import time

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from tests.support import netns

_ETH_P_ALL = 3
_PACKET_OUTGOING = 4
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


class RawHost:
    """One address; answers ARP for it while it waits for packets."""

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
        request = Ether(src=self.mac, dst="ff:ff:ff:ff:ff:ff") / ARP(
            op="who-has", hwsrc=self.mac, psrc=self.address, pdst=address)
        self.sock.send(bytes(request))
        answer = self.receive(lambda p: ARP in p and p[ARP].op == 2 and p[ARP].psrc == address)
        assert answer, f"nobody answers ARP for {address}"
        return answer[ARP].hwsrc

    def ether(self):
        return Ether(src=self.mac, dst=self.peer_mac)

    def ip(self, **fields):
        return IP(src=self.address, dst=netns.VIP, **fields)

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
            if wanted(frame):
                return frame

    def _answer_arp(self, request):
        self.send(Ether(src=self.mac, dst=request.hwsrc) / ARP(
            op="is-at", hwsrc=self.mac, psrc=self.address,
            hwdst=request.hwsrc, pdst=request.psrc))

    def receive_tcp(self, port, timeout=5):
        """The next TCP segment to our address and port, as (IP packet, TCP segment)."""
        frame = self.receive(lambda p: TCP in p and p[IP].dst == self.address
                             and p[TCP].dport == port, timeout)
        return (frame[IP], frame[TCP]) if frame else (None, None)


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


def syn_frames(source_mac, peer_mac, sources, ports, destination=netns.VIP, destination_port=1883):
    """Frames of one SYN for each source address and port, built at once: Scapy is too slow here."""
    link = bytes.fromhex((peer_mac + source_mac).replace(":", "")) + b"\x08\x00"
    to = socket.inet_aton(destination)
    for source in sources:
        address = socket.inet_aton(source)
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 44, 0, 0x4000, 64, 6, 0, address, to)
        ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
        pseudo = address + to + struct.pack("!BBH", 0, 6, 24)
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
