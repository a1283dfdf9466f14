#!/usr/bin/python3
"""Captures as text, which a tree of sources can hold and a diff can show; nothing is lost.

    scripts/capture_text.py TEXT CAPTURE      text to capture
    scripts/capture_text.py CAPTURE TEXT      capture (pcap or pcapng) to text

Text begins with a line `capture LINK-TYPE`, perhaps followed by lines of comment (#). Then, packet
by packet, `TIME`, in nanoseconds, and if it was snapped `of LENGTH`; and its bytes in lines of hex,
32 in each. pcapng's interfaces have to have one link type; their names are lost.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tests.support import capture_file  # noqa: E402

_MAGIC = "capture "
_BYTES = 32


class BadText(Exception):
    """Not such a text; names the line."""


def encode(capture, comment=""):
    (link_type,) = {interface.link_type for interface in capture.interfaces}
    lines = [f"{_MAGIC}{link_type}", *(f"# {line}" for line in comment.splitlines())]
    for packet in capture.packets:
        snapped = packet.original_length > len(packet.data)
        lines.append(str(packet.time) + (f" of {packet.original_length}" if snapped else ""))
        for at in range(0, len(packet.data), _BYTES):
            lines.append(" " + packet.data[at:at + _BYTES].hex())
    return "\n".join(lines) + "\n"


def decode(text):
    lines = text.splitlines()
    if not lines or not lines[0].startswith(_MAGIC):
        raise BadText(f"line 1: not '{_MAGIC}LINK-TYPE'")
    capture = capture_file.Capture([capture_file.Interface(_number(lines[0].split()[1], 1))])
    for number, line in enumerate(lines[1:], 2):
        if line.startswith("#"):
            continue
        if line.startswith(" "):
            _add_bytes(capture, line, number)
        else:
            words = line.split()
            length = _number(words[2], number) if words[1:2] == ["of"] and words[2:] else 0
            capture.packets.append(capture_file.Packet(_number(words[0], number), b"", length))
    return capture


def _number(word, line):
    if not word.isdigit():
        raise BadText(f"line {line}: '{word}' is no number")
    return int(word)


def _add_bytes(capture, line, number):
    try:
        capture.packets[-1].data += bytes.fromhex(line)
    except (ValueError, IndexError) as error:
        raise BadText(f"line {number}: no bytes of a packet") from error


def to_capture(text_path, capture_path):
    with open(text_path, encoding="ascii") as f:
        capture_file.write(capture_path, decode(f.read()))


def to_text(capture_path, text_path, comment=""):
    with open(text_path, "w", encoding="ascii") as f:
        f.write(encode(capture_file.read(capture_path), comment))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("source", metavar="FROM")
    parser.add_argument("destination", metavar="TO")
    arguments = parser.parse_args()
    try:
        with open(arguments.source, "rb") as f:
            is_text = f.read(len(_MAGIC)) == _MAGIC.encode()
        (to_capture if is_text else to_text)(arguments.source, arguments.destination)
    except (OSError, BadText, capture_file.BadCapture) as error:
        print(f"capture_text: {arguments.source}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
