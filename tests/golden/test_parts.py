"""What the golden suite is made of: files, their text form, decoded lines, scenarios."""

import os
import random
import socket
import struct

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr,
                                ICMPv6NDOptSrcLLAddr, IPv6)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

import scripts.scenarios  # noqa: F401  (enters the scenarios)
from scripts import capture_text
from scripts.scenario import catalogue, conversation
from tests.golden.rows import ROWS
from tests.support import capture_file, decode, mqtt, proxy_header

A, B = "198.18.0.21", "198.18.0.10"


def ip(payload, **fields):
    return bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
                 / IP(src=A, dst=B, id=1, **fields) / payload)


def tcp(flags="A", payload=b"", **fields):
    segment = TCP(**{"sport": 4000, "dport": 1883, "seq": 7, "ack": 9, "window": 5, **fields},
                  flags=flags)
    return ip(segment / Raw(payload) if payload else segment)


def spoilt(frame, at):
    return frame[:at] + bytes([frame[at] ^ 0xFF]) + frame[at + 1:]


ENDS = f"{A}:4000 > {B}:1883"
V2 = bytes.fromhex("0d0a0d0a000d0a515549540a2111000cc0000201c63364029c40075b")
CONNECT = mqtt.Connect("me").encode()

LINES = [
    (tcp(), f"{ENDS} A seq 7 ack 9 win 5"),
    (tcp("S", ack=0, options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 2)), ("NOP", None),
                              ("WScale", 7)]),
     f"{ENDS} S seq 7 win 5 mss 1460 sackok ts 1 2 scale 7"),
    (tcp(options=[("NOP", None), ("NOP", None), ("SAck", (10, 20, 30, 40))]),
     f"{ENDS} A seq 7 ack 9 win 5 sack 10-20,30-40"),
    (tcp("PA", CONNECT), f"{ENDS} PA seq 7+{len(CONNECT)} ack 9 win 5 | CONNECT"),
    (tcp("PA", CONNECT[:10]), f"{ENDS} PA seq 7+10 ack 9 win 5 | CONNECT..."),
    (tcp("PA", CONNECT[5:]), f"{ENDS} PA seq 7+{len(CONNECT) - 5} ack 9 win 5"),
    (tcp("PA", V2 + CONNECT), f"{ENDS} PA seq 7+{len(V2 + CONNECT)} ack 9 win 5 | "
                              "PROXY v2 192.0.2.1:40000 198.51.100.2:1883 CONNECT"),
    (tcp("PA", b"PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n"),
     f"{ENDS} PA seq 7+33 ack 9 win 5 | PROXY v1 1.2.3.4:9 5.6.7.8:10"),
    (tcp("PA", mqtt.connack(mqtt.V311, 5)), f"{ENDS} PA seq 7+4 ack 9 win 5 | CONNACK(5)"),
    (tcp("PA", mqtt.publish("a", b"x") * 2 + mqtt.pingreq()),
     f"{ENDS} PA seq 7+14 ack 9 win 5 | PUBLISH x2 PINGREQ"),
    (spoilt(tcp(payload=b"xy"), 55), f"{ENDS} A seq 7+2 ack 9 win 5 BAD TCP CHECKSUM"),
    (spoilt(tcp(), 19), f"{ENDS} A seq 7 ack 9 win 5 BAD IP CHECKSUM"),
    (tcp(dataofs=4), f"{ENDS} A seq 7 TCP HEADER OF 16"),
    (tcp()[:40], f"{A} > {B} CUT tcp of 6 bytes TOTAL 40 OF 26"),
    (tcp()[:20], "CUT ipv4 of 6 bytes"),
    (ip(UDP(sport=1, dport=2) / b"x"), f"{A} > {B} udp of 9 bytes"),
    (ip(TCP(), flags="MF"), f"{A} > {B} fragment 0+20 protocol 6"),
    (ip(ICMP(type=8, id=1, seq=2) / b"abc"), f"{A} > {B} echo-request id 1 seq 2 of 3 bytes"),
    (ip(ICMP(type=3, code=4, nexthopmtu=1000) / Raw(tcp()[14:])),
     f"{A} > {B} unreachable/4 mtu 1000 about {ENDS} seq 7 of 40 bytes"),
    (bytes(Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff")
           / ARP(op=1, hwsrc="02:00:00:00:00:01", psrc=A, pdst=B)),
     f"02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff arp who-has {B} from {A} at 02:00:00:00:00:01"),
    (b"\x01" * 12 + b"\x86\xdd" + bytes(40), "to 01:01:01:01:01:01 ethertype 86dd of 40 bytes"),
    (b"short", "CUT ethernet of 5 bytes"),
]


@pytest.mark.parametrize("frame,line", LINES, ids=lambda value: value[:40] if isinstance(value, str)
                         else "")
def test_line(frame, line):
    assert decode.line(frame).rsplit(" | ", 1)[0] == line


A6, B6 = "2001:db8::21", "2001:db8::10"
ENDS6 = f"[{A6}]:4000 > [{B6}]:1883"
MAC = "02:00:00:00:00:01"
HEADER6 = proxy_header.SIGNATURE + bytes.fromhex("21210024") + socket.inet_pton(
    socket.AF_INET6, A6) + socket.inet_pton(socket.AF_INET6, B6) + bytes.fromhex("0fa0075b")


def ip6(payload, **fields):
    return bytes(Ether(src=MAC, dst="02:00:00:00:00:02")
                 / IPv6(**{"src": A6, "dst": B6, "hlim": 255, **fields}) / payload)


def tcp6(payload=b""):
    segment = TCP(sport=4000, dport=1883, seq=7, ack=9, window=5, flags="A")
    return ip6(segment / Raw(payload) if payload else segment)


LINES_OF_IPV6 = [
    (tcp6(), f"{ENDS6} A seq 7 ack 9 win 5"),
    (tcp6(HEADER6 + CONNECT), f"{ENDS6} A seq 7+{len(HEADER6 + CONNECT)} ack 9 win 5 | "
                              f"PROXY v2 [{A6}]:4000 [{B6}]:1883 CONNECT"),
    (spoilt(tcp6(b"xy"), 75), f"{ENDS6} A seq 7+2 ack 9 win 5 BAD TCP CHECKSUM"),
    (tcp6()[:60], f"{A6} > {B6} CUT tcp of 6 bytes LENGTH 20 OF 6"),
    (tcp6()[:50], "CUT ipv6 of 36 bytes"),
    (ip6(ICMPv6ND_NS(tgt=B6) / ICMPv6NDOptSrcLLAddr(lladdr=MAC)),
     f"{A6} > {B6} who-has {B6} at {MAC}"),
    (ip6(ICMPv6ND_NS(tgt=B6), hlim=64), f"{A6} > {B6} who-has {B6} HOP LIMIT 64"),
    (ip6(ICMPv6ND_NA(tgt=A6, R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=MAC)),
     f"{A6} > {B6} is-at {A6} at {MAC} solicited override"),
    (spoilt(ip6(ICMPv6ND_NS(tgt=B6)), 56),
     f"{A6} > {B6} who-has {B6} BAD ICMP CHECKSUM"),
    (ip6(ICMPv6EchoRequest(id=1, seq=2)), f"{A6} > {B6} icmpv6 128 of 8 bytes"),
    (ip6(UDP(sport=1, dport=2) / b"x"), f"{A6} > {B6} udp of 9 bytes"),
]


@pytest.mark.parametrize("frame,line", LINES_OF_IPV6,
                         ids=lambda value: value[:60] if isinstance(value, str) else "")
def test_line_of_ipv6(frame, line):
    assert decode.line(frame, ipv6=True).rsplit(" | ", 1)[0] == line
    assert decode.line(frame).startswith(f"ethertype 86dd of {len(frame) - 14} bytes | ")


def test_line_tells_all_frames_apart():
    """Every byte counts, by the digest at the end."""
    frame = tcp(payload=b"payload")
    lines = {decode.line(spoilt(frame, at)).rsplit(" | ", 1)[1] for at in range(len(frame))}
    assert len(lines) == len(frame)


def test_line_of_anything():
    """No bytes are so wrong that there is no line for them."""
    chance = random.Random(1)
    for frame, _ in LINES + LINES_OF_IPV6:
        for end in range(len(frame)):
            decode.line(frame[:end], ipv6=True)
        for _ in range(200):
            at = chance.randrange(len(frame))
            decode.line(frame[:at] + chance.randbytes(3) + frame[at + 3:], ipv6=True)


CAPTURE = capture_file.Capture([capture_file.Interface()], [
    capture_file.Packet(1_700_000_000_123_456_789, tcp(), 54),
    capture_file.Packet(1_700_000_001_000_000_000, tcp()[:20], 54),
    capture_file.Packet(1_700_000_001_000_000_000, b"", 0),
])


@pytest.mark.parametrize("kind,unit", [("pcap", 1), ("pcap-us", 1000), ("pcap-be", 1000),
                                       ("pcapng", 1)])
def test_capture_file(kind, unit):
    read = capture_file.parse(capture_file.encode(CAPTURE, kind))
    assert [(p.time, p.data, p.original_length) for p in read.packets] == [
        (p.time // unit * unit, p.data, p.original_length) for p in CAPTURE.packets]
    assert read.interfaces[0].link_type == capture_file.ETHERNET


def test_pcapng_interfaces_and_directions():
    two = capture_file.Capture(
        [capture_file.Interface(name="a"), capture_file.Interface(name="bcd")],
        [capture_file.Packet(n, b"x" * n, n, n % 2, 1 + n % 2) for n in range(5)])
    read = capture_file.parse(capture_file.encode(two, "pcapng"))
    assert [i.name for i in read.interfaces] == ["a", "bcd"]
    assert read.packets == two.packets


@pytest.mark.parametrize("data", [b"", b"x" * 40, capture_file.encode(CAPTURE)[:-5],
                                  capture_file.encode(CAPTURE, "pcapng")[:-5]])
def test_no_capture(data):
    with pytest.raises(capture_file.BadCapture):
        capture_file.parse(data)


def test_capture_text_there_and_back():
    text = capture_text.encode(CAPTURE, "a comment\nof two lines")
    read = capture_text.decode(text)
    assert capture_text.encode(read, "a comment\nof two lines") == text
    # A length that says nothing is not written.
    assert [(p.time, p.data, max(p.original_length, len(p.data))) for p in read.packets] == [
        (p.time, p.data, p.original_length) for p in CAPTURE.packets]


@pytest.mark.parametrize("text,line", [("", 1), ("capture x", 1), ("capture 1\n 00", 2),
                                       ("capture 1\n5\n zz", 3), ("capture 1\nsoon", 2)])
def test_no_capture_text(text, line):
    with pytest.raises(capture_text.BadText, match=f"^line {line}:"):
        capture_text.decode(text)


@pytest.mark.parametrize("name", catalogue.SCENARIOS)
def test_scenario_is_the_same_each_time(name, tmp_path):
    files = [os.path.join(tmp_path, n) for n in ("first", "second")]
    for path in files:
        catalogue.write(name, path)
    first, second = (open(path, "rb").read() for path in files)
    assert first == second
    packets = capture_file.parse(first).packets
    assert packets and [p.time for p in packets] == sorted(p.time for p in packets)


def test_scenarios_are_played():
    played = {name for row in ROWS for name in row.captures}
    assert not set(catalogue.SCENARIOS) - played


def test_conversation_acknowledges_what_arrived():
    """Losses, reordering and repetition show in what the other side says."""
    recorder = catalogue.Recorder()
    talk = conversation.Conversation(recorder, client_iss=(1 << 32) - 2).handshake()
    first, second, third, fourth = talk.client.cut(b"abcdefgh", 2)
    said = []

    def answer():
        talk.server.ack()
        said.append(TCP(recorder.frames[-1][1][34:]))

    for piece, options in ((first, {}), (second, {"captured": False, "arrives": False}),
                           (fourth, {}), (third, {}), (second, {}), (second, {})):
        talk.client.put(piece, **options)
        answer()
    assert [segment.ack for segment in said] == [1, 1, 1, 1, 7, 7]
    sacks = [dict(segment.options).get("SAck") for segment in said]
    assert sacks == [None, None, (5, 7), (3, 7), None, (1, 3)]
    sent = [TCP(frame[34:]) for _, frame, _ in recorder.frames]
    data = [segment.seq for segment in sent if segment.dport == 1883 and len(segment.payload)]
    assert data == [(1 << 32) - 1, 5, 3, 1, 1]
    assert [struct.unpack_from("!H", bytes(s), 14)[0] for s in sent[:2]] == [64256, 64256]
