"""Capture files, pcap and pcapng, read and written without dissecting what is in them.

Scapy's readers take each packet apart: too slow for thousands. What is written depends on the
arguments alone, so that the same packets give the same file.
"""

import struct
from dataclasses import dataclass, field

ETHERNET, RAW, COOKED, COOKED2 = 1, 101, 113, 276
IN, OUT = 1, 2  # directions, as pcapng's epb_flags have them
_SNAP = 262144

_PCAP_MAGIC = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}  # nanoseconds of the smaller time field
_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER = 0x1A2B3C4D
_IF_NAME, _IF_TSRESOL, _EPB_FLAGS = 2, 9, 2


class BadCapture(Exception):
    """Not a capture, or one that ends within a record."""


@dataclass
class Interface:
    link_type: int = ETHERNET
    name: str = ""
    resolution: int = 1000  # nanoseconds of a unit of time


@dataclass
class Packet:
    time: int  # nanoseconds
    data: bytes
    original_length: int = 0  # on the wire, if it is more than what was captured
    interface: int = 0
    direction: int = 0  # IN, OUT, or 0: not known


@dataclass
class Capture:
    interfaces: list = field(default_factory=lambda: [Interface()])
    packets: list = field(default_factory=list)


def read(path):
    with open(path, "rb") as f:
        return parse(f.read())


def parse(data):
    if len(data) < 24:
        raise BadCapture("shorter than a file header")
    if struct.unpack_from("<I", data)[0] == _SECTION:
        return _parse_pcapng(data)
    for order in "<>":
        unit = _PCAP_MAGIC.get(struct.unpack_from(order + "I", data)[0])
        if unit:
            return _parse_pcap(data, order, unit)
    raise BadCapture("neither pcap nor pcapng")


def _parse_pcap(data, order, unit):
    link_type = struct.unpack_from(order + "I", data, 20)[0]
    capture = Capture([Interface(link_type, resolution=unit)])
    header = struct.Struct(order + "IIII")
    position = 24
    while position < len(data):
        if position + header.size > len(data):
            raise BadCapture("ends within a record")
        seconds, part, length, original = header.unpack_from(data, position)
        position += header.size
        if position + length > len(data):
            raise BadCapture("ends within a record")
        capture.packets.append(Packet(seconds * 10**9 + part * unit,
                                      data[position:position + length], original))
        position += length
    return capture


def _parse_pcapng(data):
    order = "<" if struct.unpack_from("<I", data, 8)[0] == _BYTE_ORDER else ">"
    capture = Capture([])
    position = 0
    while position < len(data):
        kind, length = struct.unpack_from(order + "II", data, position)
        if length < 12 or position + length > len(data):
            raise BadCapture("ends within a block")
        body = data[position + 8:position + length - 4]
        if kind == _INTERFACE:
            capture.interfaces.append(_parse_interface(body, order))
        elif kind == _PACKET:
            capture.packets.append(_parse_packet(body, order, capture.interfaces))
        position += length
    return capture


def _options(body, position, order):
    """{code: value} of a block's options."""
    found = {}
    while position + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, position)
        if code == 0:
            break
        found[code] = body[position + 4:position + 4 + length]
        position += 4 + (length + 3) // 4 * 4
    return found


def _parse_interface(body, order):
    options = _options(body, 8, order)
    exponent = options.get(_IF_TSRESOL, b"\x06")[0]
    if not exponent <= 9:
        raise BadCapture("a resolution of time that is no power of ten down to nanoseconds")
    return Interface(struct.unpack_from(order + "H", body)[0],
                     options.get(_IF_NAME, b"").rstrip(b"\0").decode(), 10**(9 - exponent))


def _parse_packet(body, order, interfaces):
    number, high, low, length, original = struct.unpack_from(order + "IIIII", body)
    options = _options(body, 20 + (length + 3) // 4 * 4, order)
    flags = struct.unpack(order + "I", options[_EPB_FLAGS])[0] if _EPB_FLAGS in options else 0
    return Packet((high << 32 | low) * interfaces[number].resolution, body[20:20 + length],
                  original, number, flags & 3)


def write(path, capture, kind="pcap"):
    """kind: "pcap" (nanoseconds), "pcap-us", "pcap-be" (big-endian, microseconds) or "pcapng"."""
    with open(path, "wb") as f:
        f.write(encode(capture, kind))


def encode(capture, kind="pcap"):
    if kind == "pcapng":
        return _encode_pcapng(capture)
    order = ">" if kind == "pcap-be" else "<"
    unit = 1 if kind == "pcap" else 1000
    magic = next(m for m, u in _PCAP_MAGIC.items() if u == unit)
    (interface,) = capture.interfaces
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, _SNAP, interface.link_type)]
    for packet in capture.packets:
        seconds, part = divmod(packet.time, 10**9)
        parts.append(struct.pack(order + "IIII", seconds, part // unit, len(packet.data),
                                 max(packet.original_length, len(packet.data))))
        parts.append(packet.data)
    return b"".join(parts)


def _block(kind, body):
    body += b"\0" * (-len(body) % 4)
    length = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + length + body + length


def _option(code, value):
    return struct.pack("<HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def _encode_pcapng(capture):
    end = struct.pack("<I", 0)
    parts = [_block(_SECTION, struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1))]
    for interface in capture.interfaces:
        options = _option(_IF_NAME, interface.name.encode()) if interface.name else b""
        options += _option(_IF_TSRESOL, b"\x09") + end
        parts.append(_block(_INTERFACE, struct.pack("<HHI", interface.link_type, 0, 0) + options))
    for packet in capture.packets:
        body = struct.pack("<IIIII", packet.interface, packet.time >> 32,
                           packet.time & 0xFFFFFFFF, len(packet.data),
                           max(packet.original_length, len(packet.data)))
        body += packet.data + b"\0" * (-len(packet.data) % 4)
        if packet.direction:
            body += _option(_EPB_FLAGS, struct.pack("<I", packet.direction)) + end
        parts.append(_block(_PACKET, body))
    return b"".join(parts)
