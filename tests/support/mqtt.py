"""MQTT 3.1, 3.1.1 and 5.0 packets for clients that need every byte in their hands.

Encoders return bytes; Parser cuts a byte stream into (type, flags, body). Nothing is validated:
tests also make packets that are wrong.
"""

import struct
from dataclasses import dataclass, field

CONNECT, CONNACK, PUBLISH, PUBACK = 1, 2, 3, 4
SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 8, 9, 12, 13, 14

V31, V311, V5 = 3, 4, 5
VERSIONS = (V31, V311, V5)
PROTOCOL_NAME = {V31: b"MQIsdp", V311: b"MQTT", V5: b"MQTT"}


def varint(n):
    """Variable byte integer (MQTT 5.0, section 1.5.5)."""
    out = bytearray()
    while True:
        n, low = divmod(n, 128)
        out.append(low | (0x80 if n else 0))
        if not n:
            return bytes(out)


def string(data):
    if isinstance(data, str):
        data = data.encode()
    return struct.pack("!H", len(data)) + data


def packet(kind, body=b"", flags=0):
    return bytes([kind << 4 | flags]) + varint(len(body)) + body


@dataclass
class Will:
    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


@dataclass
class Connect:
    """A CONNECT packet; `override` replaces encoded parts by name for malformed ones."""

    client_id: object = ""
    version: int = V311
    clean: bool = True
    keep_alive: int = 60
    user: object = None
    password: object = None
    will: Will = None
    properties: bytes = b""
    override: dict = field(default_factory=dict)

    def flags(self):
        bits = 0x02 if self.clean else 0
        if self.will:
            bits |= 0x04 | self.will.qos << 3 | (0x20 if self.will.retain else 0)
        bits |= 0x40 if self.password is not None else 0
        bits |= 0x80 if self.user is not None else 0
        return bits

    def encode(self):
        parts = {
            "name": string(PROTOCOL_NAME.get(self.version, b"MQTT")),
            "level": bytes([self.version]),
            "flags": bytes([self.flags()]),
            "keep_alive": struct.pack("!H", self.keep_alive),
        }
        if self.version == V5:
            parts["properties"] = varint(len(self.properties)) + self.properties
        parts["client_id"] = string(self.client_id)
        if self.will:
            if self.version == V5:
                parts["will_properties"] = varint(0)
            parts["will"] = string(self.will.topic) + string(self.will.payload)
        if self.user is not None:
            parts["user"] = string(self.user)
        if self.password is not None:
            parts["password"] = string(self.password)
        parts["tail"] = b""
        parts.update(self.override)
        body = b"".join(parts.values())
        return packet(CONNECT, body)


def publish(topic, payload, qos=0, packet_id=1, version=V311, retain=False):
    body = string(topic) + (struct.pack("!H", packet_id) if qos else b"")
    body += varint(0) if version == V5 else b""
    return packet(PUBLISH, body + bytes(payload), qos << 1 | retain)


def subscribe(topic, qos=0, packet_id=1, version=V311):
    body = struct.pack("!H", packet_id) + (varint(0) if version == V5 else b"")
    return packet(SUBSCRIBE, body + string(topic) + bytes([qos]), 2)


def pingreq():
    return packet(PINGREQ)


def disconnect():
    return packet(DISCONNECT)


def connack(version, code=0):
    return packet(CONNACK, bytes([0, code]) + (varint(0) if version == V5 else b""))


def unavailable(version):
    """What the balancer says when no broker can take the client."""
    return bytes.fromhex("2003008800") if version == V5 else bytes.fromhex("20020003")


class Incomplete(Exception):
    """The bytes at hand end within the packet."""


def read_varint(data, position):
    """Returns (value, next position)."""
    value = 0
    for i in range(4):
        if position + i >= len(data):
            raise Incomplete
        value |= (data[position + i] & 0x7F) << (7 * i)
        if data[position + i] < 0x80:
            return value, position + i + 1
    raise ValueError("variable byte integer over four bytes")


def read_string(data, position):
    """Returns (bytes, next position)."""
    if position + 2 > len(data):
        raise Incomplete
    end = position + 2 + struct.unpack_from("!H", data, position)[0]
    if end > len(data):
        raise Incomplete
    return bytes(data[position + 2:end]), end


@dataclass
class Packet:
    kind: int
    flags: int
    body: bytes

    def publication(self, version=V311):
        """(topic, payload) of a PUBLISH."""
        topic, position = read_string(self.body, 0)
        if self.flags & 6:
            position += 2
        if version == V5:
            length, position = read_varint(self.body, position)
            position += length
        return topic.decode(), self.body[position:]

    def connect(self):
        """(version, client id) of a CONNECT."""
        _, position = read_string(self.body, 0)
        version = self.body[position]
        position += 4
        if version == V5:
            length, position = read_varint(self.body, position)
            position += length
        return version, read_string(self.body, position)[0]

    def code(self):
        """The return or reason code of a CONNACK."""
        return self.body[1]


class Parser:
    """Cuts a stream into packets; what is left over is in `rest`."""

    def __init__(self):
        self.rest = b""

    def feed(self, data):
        """Cuts off the packets one by one: `rest` is exact behind each."""
        self.rest += data
        while (cut := self._next()) is not None:
            yield cut

    def _next(self):
        try:
            length, position = read_varint(self.rest, 1)
        except Incomplete:
            return None
        if len(self.rest) < position + length:
            return None
        first, body = self.rest[0], self.rest[position:position + length]
        self.rest = self.rest[position + length:]
        return Packet(first >> 4, first & 15, body)


class Client:
    """A blocking client on a connected socket."""

    def __init__(self, sock, version=V311):
        self.sock = sock
        self.version = version
        self._parser = Parser()
        self._queue = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def receive(self):
        """The next packet, or None at the end of the stream."""
        while not self._queue:
            data = self.sock.recv(65536)
            if not data:
                return None
            self._queue = list(self._parser.feed(data))
        return self._queue.pop(0)

    def expect(self, kind):
        got = self.receive()
        assert got is not None, f"connection ended where packet type {kind} was expected"
        assert got.kind == kind, f"packet type {got.kind} where {kind} was expected"
        return got

    def connect(self, client_id, **options):
        """Sends CONNECT and returns the CONNACK's code."""
        self.send(Connect(client_id, self.version, **options).encode())
        return self.expect(CONNACK).code()

    def echo(self, payload, topic="echo"):
        """One message to itself by way of the broker: it echoes, or the client is subscribed."""
        self.send(publish(topic, payload, version=self.version))
        got = self.expect(PUBLISH).publication(self.version)
        assert got == (topic, payload), f"sent {payload!r}, got {got!r}"
