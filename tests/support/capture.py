"""Capture files: recorded from an interface as they are made, and written from frames."""

import select
import socket
import struct

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

_ETH_P_ALL = 3
_SO_TIMESTAMPNS = 35
_FIN, _RST = 1, 4


class Recorder:
    """What passes an interface of a namespace while the context is open, both directions."""

    def __init__(self, namespace, interface="eth0"):
        with namespace:
            self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            self._sock.bind((interface, _ETH_P_ALL))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._sock.close()

    def so_far(self):
        """The frames since the last call; at most as many as the socket's buffer holds."""
        frames = []
        while True:
            try:
                frames.append(Ether(self._sock.recv(65536, socket.MSG_DONTWAIT)))
            except BlockingIOError:
                return frames

    def until_closed(self, port, timeout=10):
        """Reads until both sides of the connection from this client port have closed, or one has
        reset it, and the last acknowledgement has passed. Returns the frames of that connection."""
        fins, acks, found = {}, {}, []  # by source port
        while len(fins) < 2 or any(acks[peer] != fins[own] for own, peer in (tuple(fins),
                                                                            tuple(fins)[::-1])):
            ready, _, _ = select.select([self._sock], [], [], timeout)
            assert ready, f"the connection from port {port} does not end"
            data, ancillary, _, _ = self._sock.recvmsg(65536, 64)
            frame = Ether(data)
            if TCP not in frame or port not in (frame[TCP].sport, frame[TCP].dport):
                continue
            found.append((_time_of(ancillary), data))
            tcp = frame[TCP]
            if tcp.flags & _RST:
                break
            acks[tcp.sport] = tcp.ack
            if tcp.flags & _FIN:
                size = _ip_payload(frame) - tcp.dataofs * 4
                fins[tcp.sport] = (tcp.seq + size + 1) % 2**32
        return found


def _ip_payload(frame):
    return frame[IP].len - frame[IP].ihl * 4 if IP in frame else frame[IPv6].plen


def _time_of(ancillary):
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("qq", data)
            return seconds * 1_000_000_000 + nanoseconds
    raise AssertionError("a frame without its time")


def write(path, frames, snaplen=262144):
    """A pcap file with nanoseconds; frames are (nanoseconds, bytes)."""
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, snaplen, 1))
        for time, data in frames:
            kept = data[:snaplen]
            f.write(struct.pack("<IIII", *divmod(time, 1_000_000_000), len(kept), len(data)) + kept)
    return str(path)
