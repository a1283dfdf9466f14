"""The list of scenarios, and how one becomes a file."""

import dataclasses
import struct

from tests.support import capture_file

BEGINNING = 1_700_000_000 * 10**9  # of all captures, nanoseconds since 1970


@dataclasses.dataclass
class Scenario:
    name: str
    text: str
    make: object
    kind: str
    link: str


SCENARIOS = {}


def scenario(kind="pcap", link="ethernet"):
    """Enters a function that fills a Recorder; its name is the scenario's, with dashes.

    kind: of the file, see capture_file.encode(). link: ethernet, vlan, qinq, cooked, cooked2, raw.
    """
    def enter(make):
        name = make.__name__.replace("_", "-")
        assert name not in SCENARIOS, name
        text = " ".join(make.__doc__.split())
        SCENARIOS[name] = Scenario(name, text, make, kind, link)
        return make
    return enter


class Recorder:
    """Where a scenario puts its frames; several conversations may share one."""

    def __init__(self):
        self.frames = []  # (nanoseconds since the beginning, Ethernet frame, length on the wire)

    def record(self, time, frame, original_length=0):
        self.frames.append((time, bytes(frame), original_length))


def write(name, path):
    entry = SCENARIOS[name]
    recorder = Recorder()
    entry.make(recorder)
    link_type, convert = _LINKS[entry.link]
    capture = capture_file.Capture([capture_file.Interface(link_type)])
    for time, frame, length in sorted(recorder.frames, key=lambda item: item[0]):
        capture.packets.append(capture_file.Packet(BEGINNING + time, convert(frame), length))
    capture_file.write(path, capture, entry.kind)


def _tagged(*tags):
    header = b"".join(struct.pack("!HH", protocol, number) for protocol, number in tags)
    return lambda frame: frame[:12] + header + frame[12:]


def _cooked(frame):
    # As tcpdump -i any has it: packet type 0, Ethernet, the sender's address.
    return struct.pack("!HHH8s", 0, 1, 6, frame[6:12] + b"\0\0") + frame[12:]


def _cooked2(frame):
    return frame[12:14] + struct.pack("!HIHBB8s", 0, 2, 1, 0, 6, frame[6:12] + b"\0\0") + frame[14:]


_LINKS = {
    "ethernet": (capture_file.ETHERNET, lambda frame: frame),
    "vlan": (capture_file.ETHERNET, _tagged((0x8100, 42))),
    "qinq": (capture_file.ETHERNET, _tagged((0x88A8, 7), (0x8100, 42))),
    "cooked": (capture_file.COOKED, _cooked),
    "cooked2": (capture_file.COOKED2, _cooked2),
    "raw": (capture_file.RAW, lambda frame: frame[14:]),
}
