#!/usr/bin/python3
"""Writes captures of scenarios: what clients, servers and attackers may do, packet by packet.

    scripts/scenarios.py --list              names, with a line about each
    scripts/scenarios.py NAME FILE           one
    scripts/scenarios.py --all DIRECTORY     all, as DIRECTORY/NAME.pcap

The same scenario gives the same file at any time.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from scripts.scenario import (  # noqa: E402, F401  (they enter what they have)
    clients, connects, ends, frames, hostile, links, losses, sessions)
from scripts.scenario.catalogue import SCENARIOS, write  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--list", action="store_true", help="names, with a line about each")
    parser.add_argument("--all", metavar="DIRECTORY", help="write all of them there")
    parser.add_argument("name", nargs="?", metavar="NAME")
    parser.add_argument("file", nargs="?", metavar="FILE")
    arguments = parser.parse_args()
    if arguments.list:
        for name, entry in SCENARIOS.items():
            print(f"{name:32} {entry.text}")
    elif arguments.all:
        os.makedirs(arguments.all, exist_ok=True)
        for name in SCENARIOS:
            write(name, os.path.join(arguments.all, name + ".pcap"))
    elif arguments.file is None:
        parser.error("a NAME and a FILE are needed")
    elif arguments.name not in SCENARIOS:
        parser.error(f"no scenario {arguments.name}; --list tells all")
    else:
        write(arguments.name, arguments.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
