"""The receiving side of the PROXY protocol, versions 1 and 2, as brokers have it."""

import ipaddress
import re
import struct
from dataclasses import dataclass, field

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
_V1 = re.compile(rb"PROXY TCP([46]) (\S+) (\S+) (\d+) (\d+)\r\n")


@dataclass
class Header:
    version: int
    size: int
    source: tuple = None
    destination: tuple = None
    tlvs: dict = field(default_factory=dict)


def parse(data):
    """A Header; None if more bytes are needed; size 0 if there is no PROXY header."""
    if data[:1] == b"P":
        return _parse_v1(data)
    if data[:1] == b"\r":
        return _parse_v2(data)
    return Header(0, 0) if data else None


def _parse_v1(data):
    if b"\r\n" not in data:
        if len(data) > 107:
            raise ValueError("PROXY v1 line over 107 bytes")
        return None
    match = _V1.match(data)
    if not match:
        raise ValueError(f"not a PROXY v1 line: {data[:107]!r}")
    source, destination = (str(ipaddress.ip_address(g.decode())) for g in match.groups()[1:3])
    return Header(1, match.end(), (source, int(match[4])), (destination, int(match[5])))


def _parse_v2(data):
    if len(data) < 16:
        return None
    if data[:12] != SIGNATURE or data[12] != 0x21:
        raise ValueError(f"not a PROXY v2 header: {data[:16].hex()}")
    size = 16 + struct.unpack_from("!H", data, 14)[0]
    if len(data) < size:
        return None
    width = {0x11: 4, 0x21: 16}[data[13]]
    source, destination = (str(ipaddress.ip_address(data[16 + i * width:16 + (i + 1) * width]))
                           for i in (0, 1))
    ports = struct.unpack_from("!HH", data, 16 + 2 * width)
    tlvs, position = {}, 20 + 2 * width
    while position < size:
        kind, length = struct.unpack_from("!BH", data, position)
        tlvs[kind] = data[position + 3:position + 3 + length].hex()
        position += 3 + length
    return Header(2, size, (source, ports[0]), (destination, ports[1]), tlvs)
