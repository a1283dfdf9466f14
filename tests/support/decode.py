"""A frame as one line: small and readable in a diff, and exact by a digest of all its bytes.

    198.18.0.21:40001 > 198.18.0.10:1883 PA seq 101+25 ack 51 win 502 ts 7 3 | CONNECT | 3f2a9c1b
    [2001:db8::21]:40001 > [2001:db8::10]:1883 A seq 126 ack 55 win 502 | 8e01c7d3

What a frame should not have is said in capitals: checksums that are wrong, headers that are cut.
"""

import hashlib
import ipaddress
import re
import struct

from tests.support import mqtt, proxy_header

_FLAGS = "FSRPAUEC"
_MQTT = {1: "CONNECT", 2: "CONNACK", 3: "PUBLISH", 4: "PUBACK", 5: "PUBREC", 6: "PUBREL",
         7: "PUBCOMP", 8: "SUBSCRIBE", 9: "SUBACK", 10: "UNSUBSCRIBE", 11: "UNSUBACK",
         12: "PINGREQ", 13: "PINGRESP", 14: "DISCONNECT", 15: "AUTH"}
_FLAGS_OF_TWO = (6, 8, 10)  # PUBREL, SUBSCRIBE, UNSUBSCRIBE
_ICMP = {0: "echo-reply", 3: "unreachable", 5: "redirect", 8: "echo-request", 11: "time-exceeded"}
_ARP = {1: "who-has", 2: "is-at"}
_NEIGHBOUR = {135: "who-has", 136: "is-at"}
_NEIGHBOUR_FLAGS = {0x80: "router", 0x40: "solicited", 0x20: "override"}
_PROTOCOLS = {2: "igmp", 17: "udp", 47: "gre", 132: "sctp"}
_PSEUDO, _PSEUDO_IPV6 = struct.Struct("!4s4sBBH"), struct.Struct("!16s16sII")


def line(frame, ipv6=False):
    """The whole of it. ipv6: takes IPv6 apart too; elsewhere it is one of the foreign kinds."""
    digest = hashlib.sha256(frame).hexdigest()[:8]
    return f"{_ethernet(frame, ipv6)} | {digest}"


def checksum(data):
    """The Internet checksum (RFC 1071) of any number of bytes."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _address(raw):
    return str(ipaddress.ip_address(raw))


def _endpoint(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _mac(raw):
    return raw.hex(":")


def _ethernet(frame, ipv6):
    if len(frame) < 14:
        return f"CUT ethernet of {len(frame)} bytes"
    kind, body = struct.unpack_from("!H", frame, 12)[0], frame[14:]
    if kind == 0x0800:
        text = _ipv4(body)
    elif kind == 0x0806:
        return f"{_mac(frame[6:12])} > {_mac(frame[:6])} {_arp(body)}"
    elif kind == 0x86DD and ipv6:
        text = _ipv6(body)
    else:
        text = f"ethertype {kind:04x} of {len(body)} bytes"
    # Group addresses are worth a word; others follow from the interface.
    return f"to {_mac(frame[:6])} {text}" if frame[0] & 1 else text


def _arp(body):
    if len(body) < 28:
        return f"CUT arp of {len(body)} bytes"
    hardware, protocol, sizes, operation = struct.unpack_from("!HHHH", body)
    if (hardware, protocol, sizes) != (1, 0x0800, 0x0604):
        return f"arp hardware {hardware} protocol {protocol:04x} sizes {sizes:04x} op {operation}"
    name = _ARP.get(operation, f"op {operation}")
    return (f"arp {name} {_address(body[24:28])} from {_address(body[14:18])} at "
            f"{_mac(body[8:14])}")


def _ipv4(body):
    if len(body) < 20:
        return f"CUT ipv4 of {len(body)} bytes"
    size, total = (body[0] & 15) * 4, struct.unpack_from("!H", body, 2)[0]
    source, destination = _address(body[12:16]), _address(body[16:20])
    fragment, protocol = struct.unpack_from("!H", body, 6)[0], body[9]
    wrong = _ip_oddities(body, size, total)
    if fragment & 0x3FFF or wrong and size < 20:
        place = f" fragment {(fragment & 0x1FFF) * 8}+{total - size}" if fragment & 0x3FFF else ""
        return f"{source} > {destination}{place} protocol {protocol}{wrong}"
    payload = body[size:total]
    if protocol == 6:
        pseudo = _PSEUDO.pack(body[12:16], body[16:20], 0, 6, len(payload))
        return _tcp(source, destination, pseudo, payload) + wrong
    if protocol == 1:
        return f"{source} > {destination} {_icmp(payload)}{wrong}"
    name = _PROTOCOLS.get(protocol, f"protocol {protocol}")
    return f"{source} > {destination} {name} of {len(payload)} bytes{wrong}"


def _ip_oddities(body, size, total):
    wrong = ""
    if body[0] >> 4 != 4 or size < 20:
        return f" VERSION AND SIZE {body[0]:02x}"
    if total < size or total > len(body):
        wrong += f" TOTAL {total} OF {len(body)}"
    if checksum(body[:size]) != 0:
        wrong += " BAD IP CHECKSUM"
    if size > 20:
        wrong += f" OPTIONS {body[20:size].hex()}"
    return wrong


def _ipv6(body):
    if len(body) < 40:
        return f"CUT ipv6 of {len(body)} bytes"
    size, protocol, hops = struct.unpack_from("!HBB", body, 4)
    source, destination = _address(body[8:24]), _address(body[24:40])
    payload = body[40:40 + size]
    wrong = "" if body[0] >> 4 == 6 else f" VERSION {body[0] >> 4}"
    if size > len(payload):
        wrong += f" LENGTH {size} OF {len(payload)}"
    pseudo = _PSEUDO_IPV6.pack(body[8:24], body[24:40], len(payload), protocol)
    if protocol == 6:
        return _tcp(source, destination, pseudo, payload) + wrong
    if protocol == 58:
        wrong += "" if checksum(pseudo + payload) == 0 else " BAD ICMP CHECKSUM"
        return f"{source} > {destination} {_icmpv6(payload, hops)}{wrong}"
    name = _PROTOCOLS.get(protocol, f"protocol {protocol}")
    return f"{source} > {destination} {name} of {len(payload)} bytes{wrong}"


def _icmpv6(body, hops):
    if len(body) < 24 or body[0] not in _NEIGHBOUR:
        return f"icmpv6 {body[0] if body else 'CUT'} of {len(body)} bytes"
    flags = "".join(f" {name}" for bit, name in _NEIGHBOUR_FLAGS.items() if body[4] & bit)
    # One option, the link address of who sends it, is all that is used here.
    told = _mac(body[26:32]) if len(body) == 32 and body[24] in (1, 2) else body[24:].hex()
    return (f"{_NEIGHBOUR[body[0]]} {_address(body[8:24])}{f' at {told}' if told else ''}{flags}"
            f"{'' if hops == 255 else f' HOP LIMIT {hops}'}")


def _icmp(body):
    if len(body) < 8:
        return f"CUT icmp of {len(body)} bytes"
    kind, code, _, first, second = struct.unpack_from("!BBHHH", body)
    name = _ICMP.get(kind, f"icmp {kind}")
    wrong = "" if checksum(body) == 0 else " BAD ICMP CHECKSUM"
    if kind in (0, 8):
        return f"{name} id {first} seq {second} of {len(body) - 8} bytes{wrong}"
    quoted = body[8:]
    about = ""
    if len(quoted) >= 28 and quoted[9] == 6:
        ports = struct.unpack_from("!HHI", quoted, 20)
        about = (f" about {_address(quoted[12:16])}:{ports[0]} > {_address(quoted[16:20])}:"
                 f"{ports[1]} seq {ports[2]}")
    mtu = f" mtu {second}" if (kind, code) == (3, 4) else ""
    return f"{name}/{code}{mtu}{about} of {len(quoted)} bytes{wrong}"


def _tcp(source, destination, pseudo, segment):
    if len(segment) < 20:
        return f"{source} > {destination} CUT tcp of {len(segment)} bytes"
    sport, dport, seq, ack, offset, bits, window = struct.unpack_from("!HHIIBBH", segment)
    size = (offset >> 4) * 4
    flags = "".join(letter for i, letter in enumerate(_FLAGS) if bits >> i & 1) or "none"
    text = f"{_endpoint(source, sport)} > {_endpoint(destination, dport)} {flags} seq {seq}"
    if size < 20 or size > len(segment):
        return f"{text} TCP HEADER OF {size}"
    payload = segment[size:]
    text += f"+{len(payload)}" if payload else ""
    text += f" ack {ack}" if bits & 16 or ack else ""
    text += f" win {window}{_options(segment[20:size])}"
    text += f" reserved {offset & 15}" if offset & 15 else ""
    if checksum(pseudo + segment) != 0:
        text += " BAD TCP CHECKSUM"
    said = packets(payload)
    return f"{text} | {said}" if said else text


def _options(raw):
    text, position = "", 0
    while position < len(raw):
        kind = raw[position]
        if kind == 0:
            break
        if kind == 1:
            position += 1
            continue
        length = raw[position + 1] if position + 1 < len(raw) else 0
        if length < 2 or position + length > len(raw):
            return f"{text} OPTIONS {raw[position:].hex()}"
        text += _option(kind, raw[position + 2:position + length])
        position += length
    return text


def _option(kind, value):
    if kind == 2 and len(value) == 2:
        return f" mss {struct.unpack('!H', value)[0]}"
    if kind == 3 and len(value) == 1:
        return f" scale {value[0]}"
    if kind == 4 and not value:
        return " sackok"
    if kind == 5 and value and len(value) % 8 == 0:
        edges = struct.unpack(f"!{len(value) // 4}I", value)
        return " sack " + ",".join(f"{a}-{b}" for a, b in zip(edges[::2], edges[1::2]))
    if kind == 8 and len(value) == 8:
        return " ts {} {}".format(*struct.unpack("!II", value))
    return f" option {kind} {value.hex()}"


def packets(payload):
    """The names of the MQTT packets that a segment's payload begins with, a PROXY header's too.

    Without the stream before it that is a guess: what does not look like whole packets, or like the
    beginning of a CONNECT or PUBLISH, has no name.
    """
    proxy, rest = _take_proxy_header(payload)
    names = []
    while rest:
        name, rest = _next_packet(rest)
        if name is None:
            names = []
            break
        names.append(name)
    return " ".join(([proxy] if proxy else []) + _grouped(names))


def _take_proxy_header(payload):
    """(its text, what follows); no text if there is none."""
    if payload[:5] != b"PROXY" and payload[:12] != proxy_header.SIGNATURE:
        return "", payload
    try:
        header = proxy_header.parse(payload)
    except (ValueError, KeyError, struct.error):
        return "WRONG PROXY HEADER", b""
    if header is None:
        return "PROXY...", b""
    tlvs = "".join(f" tlv {kind} {value}" for kind, value in header.tlvs.items())
    ends = f"{_endpoint(*header.source)} {_endpoint(*header.destination)}"
    return f"PROXY v{header.version} {ends}{tlvs}", payload[header.size:]


def _grouped(names):
    """PUBLISH PUBLISH PUBLISH: PUBLISH x3."""
    groups = []
    for name in names:
        if groups and groups[-1][0] == name:
            groups[-1][1] += 1
        else:
            groups.append([name, 1])
    return [name if count == 1 else f"{name} x{count}" for name, count in groups]


def _next_packet(data):
    """(name, what follows), or (None, data) if this is no packet."""
    kind, flags = data[0] >> 4, data[0] & 15
    try:
        length, position = mqtt.read_varint(data, 1)
    except (mqtt.Incomplete, ValueError):
        return None, data
    body = data[position:position + length]
    if kind not in _MQTT or not _flags_fit(kind, flags):
        return None, data
    if position + length > len(data):
        return (_MQTT[kind] + "...", b"") if _begins(kind, body, length) else (None, data)
    if length > 2 and not _begins(kind, body, length):
        return None, data
    code = f"({body[1]})" if kind == mqtt.CONNACK and len(body) > 1 and body[1] else ""
    return _MQTT[kind] + code, data[position + length:]


def _flags_fit(kind, flags):
    if kind == mqtt.PUBLISH:
        return flags & 6 != 6
    return flags == (2 if kind in _FLAGS_OF_TWO else 0)


def _begins(kind, body, length):
    """Whether this may be the beginning of such a packet's body."""
    if kind == mqtt.CONNECT:
        return re.match(rb"\0\x04MQTT|\0\x06MQIsdp", body) is not None
    if kind == mqtt.PUBLISH:
        if len(body) < 2:
            return False
        size = struct.unpack_from("!H", body)[0]
        topic = body[2:2 + size]
        return size + 2 <= length and all(32 <= byte < 127 for byte in topic)
    return len(body) == length and length < 2000
