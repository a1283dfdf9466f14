"""A TCP connection between a client and a server, told step by step on virtual time.

    talk = Conversation(recorder)
    talk.handshake()
    first, second = talk.client.cut(connect, 20)
    talk.client.put(second, first)          # reordered
    talk.server.ack()
    talk.server.send(connack, captured=False, arrives=False)    # lost where nobody saw it
    talk.wait(0.2)
    talk.server.again()

Nothing happens of its own accord: no segment is acknowledged or repeated unless the scenario says
so. What a side acknowledges, echoes and selectively acknowledges follows from what reached it.
"""

import itertools
from dataclasses import dataclass

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
_WRAP = 1 << 32
_MICROSECOND = 1000


@dataclass
class Options:
    """What a side's SYN offers; None or False: not at all."""

    mss: int = 1460
    window_scale: int = 7
    sack: bool = True
    timestamps: bool = True

    def both(self, other):
        """What the two have agreed on, with this one's values."""
        scaled = self.window_scale is not None and other.window_scale is not None
        return Options(self.mss, self.window_scale if scaled else None,
                       self.sack and other.sack, self.timestamps and other.timestamps)


@dataclass
class Piece:
    """Bytes that a side has to send, with their place. Sequence numbers here do not wrap."""

    seq: int
    data: bytes = b""
    flags: int = ACK

    @property
    def end(self):
        return self.seq + len(self.data) + bool(self.flags & SYN) + bool(self.flags & FIN)


class Side:
    """One end. Times are the conversation's; `iss` may be near the wrap."""

    def __init__(self, talk, endpoint, mac, iss, options, reaction):
        self.talk, self.mac, self.options = talk, mac, options
        self.address, self.port = endpoint
        self.reaction = reaction  # nanoseconds after the other side's last segment
        self.iss = self.next = self.sent = iss
        self.window = 64256
        self.clock = iss % 999_999_937  # of its timestamps, milliseconds
        self.identification = iss % 60000
        self.peer = None
        self.agreed = options
        self.expects = None  # the next sequence number it awaits of the other side
        self._ahead = []  # [left, right) that arrived beyond it, the latest first
        self._twice = None  # what arrived though it was there already (RFC 2883)
        self._echo = 0
        self._last = []

    # What a side says.

    def syn(self, data=b"", **fate):
        """The SYN, or the server's SYN-ACK."""
        if self.expects is None and self is self.talk.server:
            raise AssertionError("a SYN-ACK without a SYN")
        flags = SYN if self.expects is None else SYN | ACK
        if flags & ACK:
            self.agreed = self.options.both(self.peer.options)
            self.peer.agreed = self.peer.options.both(self.options)
        self.next = self.iss + 1 + len(data)
        self.put(Piece(self.iss, data, flags), **fate)

    def cut(self, data, size=None):
        """What comes next in pieces of `size` bytes, or of these sizes and the rest; not sent."""
        if isinstance(size, list):
            sizes = [*size, len(data)]
        else:
            sizes = itertools.repeat(size or self.segment_size())
        pieces = []
        for most in sizes:
            if data:
                part, data = data[:most], data[most:]
                pieces.append(Piece(self.next, part, ACK if data else ACK | PSH))
                self.next += len(part)
            else:
                break
        return pieces

    @staticmethod
    def join(first, second):
        """One piece of two that follow each other."""
        assert first.end == second.seq
        return Piece(first.seq, first.data + second.data, second.flags)

    def segment_size(self):
        mss = 536 if self.peer.options.mss is None else self.peer.options.mss  # RFC 9293, 3.7.1
        return mss - (12 if self.agreed.timestamps else 0)

    def put(self, *pieces, captured=True, arrives=True, gap=None):
        """Sends pieces in this order. captured: the capture has them; arrives: the peer too."""
        for piece in pieces:
            self.talk.advance(self, gap)
            if not piece.flags & RST:
                self.sent = max(self.sent, piece.end)
            frame = self._frame(piece)
            if captured:
                self.talk.recorder.record(self.talk.now, frame)
            if arrives:
                self.peer.take(piece, self._timestamp())
        self._last = list(pieces)

    def send(self, data, size=None, **fate):
        self.put(*self.cut(data, size), **fate)

    def again(self, **fate):
        """Repeats what was sent last."""
        self.put(*self._last, **fate)

    def ack(self, **fate):
        last = self._last
        self.put(Piece(self.sent), **fate)
        self._last = last

    def fin(self, data=b"", **fate):
        piece = Piece(self.next, data, FIN | ACK | (PSH if data else 0))
        self.next = piece.end
        self.put(piece, **fate)

    def rst(self, seq=None, with_ack=True, **fate):
        self.put(Piece(self.sent if seq is None else seq, b"", RST | (ACK if with_ack else 0)),
                 **fate)

    def probe(self, data=b"", **fate):
        """A keepalive: one byte below what is next (RFC 9293 section 3.8.4)."""
        self.put(Piece(self.sent - 1, data), **fate)

    def open_window(self, size, **fate):
        """Says what it can take; 0 closes the window."""
        self.window = size
        self.ack(**fate)

    # What a side has seen.

    def take(self, piece, timestamp):
        if piece.flags & RST:
            return
        if self.expects is None:
            self.expects = piece.seq
        if self.agreed.timestamps and timestamp is not None and piece.seq <= self.expects:
            self._echo = timestamp
        if piece.end <= self.expects and piece.data:
            self._twice = (piece.seq, piece.end)
        elif piece.end > piece.seq:
            self._ahead.insert(0, (piece.seq, piece.end))
            self._merge()

    def _merge(self):
        merged = True
        while merged:
            merged = False
            for block in list(self._ahead):
                if block[0] <= self.expects:
                    self.expects = max(self.expects, block[1])
                    self._ahead.remove(block)
                    merged = True
        joined = []
        for left, right in self._ahead:
            for other in list(joined):
                if left <= other[1] and other[0] <= right:
                    joined.remove(other)
                    left, right = min(left, other[0]), max(right, other[1])
                    joined.insert(0, (left, right))
                    break
            else:
                joined.append((left, right))
        self._ahead = joined

    # How it looks on the wire.

    def _timestamp(self):
        return (self.clock + self.talk.now // 1_000_000) % _WRAP if self.agreed.timestamps else None

    def _tcp_options(self, flags):
        if flags & SYN:
            return self._syn_options(flags)
        found = []
        if self.agreed.timestamps and not flags & RST:
            found += [("NOP", None), ("NOP", None), ("Timestamp", (self._timestamp(), self._echo))]
        blocks = ([self._twice] if self._twice else []) + self._ahead
        if self.agreed.sack and blocks and not flags & RST:
            edges = [edge % _WRAP for block in blocks[:3] for edge in block]
            found += [("NOP", None), ("NOP", None), ("SAck", tuple(edges))]
        self._twice = None
        return found

    def _syn_options(self, flags):
        offered, found = self.agreed, []
        if offered.mss is not None:
            found.append(("MSS", offered.mss))
        if offered.sack:
            found.append(("SAckOK", b""))
        if offered.timestamps:
            found.append(("Timestamp", (self._timestamp(), self._echo if flags & ACK else 0)))
        if offered.window_scale is not None:
            found += [("NOP", None), ("WScale", offered.window_scale)]
        return found

    def _frame(self, piece):
        self.identification = (self.identification + 1) % 65536
        shift = self.agreed.window_scale if not piece.flags & SYN else 0
        tcp = TCP(sport=self.port, dport=self.peer.port, seq=piece.seq % _WRAP,
                  ack=(self.expects or 0) % _WRAP if piece.flags & ACK else 0, flags=piece.flags,
                  window=min(self.window >> (shift or 0), 65535),
                  options=self._tcp_options(piece.flags))
        if ":" in self.address:
            ip = IPv6(src=self.address, dst=self.peer.address, hlim=64)
        else:
            ip = IP(src=self.address, dst=self.peer.address, id=self.identification, flags="DF")
        frame = Ether(src=self.mac, dst=self.peer.mac) / ip / tcp
        return bytes(frame / Raw(piece.data) if piece.data else frame)


class Conversation:
    """Both sides and their time, which begins `at` seconds after the capture does."""

    def __init__(self, recorder, client=("198.18.0.21", 40001), server=("198.18.0.10", 1883),
                 at=0.0, client_iss=1_000_000, server_iss=3_000_000_000, client_options=None,
                 server_options=None):
        self.recorder = recorder
        self.now = round(at * 1e9)
        self.pace = 12 * _MICROSECOND  # between segments of one side
        self._speaker = None
        self.client = Side(self, client, _mac(client[0]), client_iss,
                           client_options or Options(), 60 * _MICROSECOND)
        self.server = Side(self, server, _mac(server[0]), server_iss,
                           server_options or Options(), 400 * _MICROSECOND)
        self.client.peer, self.server.peer = self.server, self.client

    def advance(self, side, gap=None):
        """Time until this side's next segment; gap: seconds, instead of the usual."""
        if gap is not None:
            self.now += round(gap * 1e9)
        elif self._speaker is not None:
            self.now += self.pace if self._speaker is side else side.reaction
        self._speaker = side

    def wait(self, seconds):
        self.now += round(seconds * 1e9)

    def handshake(self, third_ack=True):
        self.client.syn()
        self.server.syn()
        if third_ack:
            self.client.ack()
        return self

    def ask(self, question, answer, size=None):
        """The client says something, the server acknowledges it with its answer."""
        self.client.send(question, size)
        self.server.send(answer)
        self.client.ack()

    def close(self, last=b""):
        """The client has a last word and closes, the server follows."""
        self.client.fin(last)
        self.server.fin()
        self.client.ack()


def _mac(address):
    """A link address that tells whose it is."""
    if ":" in address:
        return "02:00:00:00:06:%02x" % (int(address.rsplit(":", 1)[1] or "0", 16) & 255)
    return "02:00:%02x:%02x:%02x:%02x" % tuple(int(part) for part in address.split("."))
