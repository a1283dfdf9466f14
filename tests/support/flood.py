"""One source that connects as fast as it can and heeds nothing: run inside a client's namespace.

    python3 -m tests.support.flood SOURCE VIP PORT SECONDS

Each connection is given a moment; one that is there says CONNECT. All end by RST; where the flood
drowns that, soon by their keep alive. The report is a line of JSON: how many were tried, and how
many got a CONNACK 0.
"""

import collections
import json
import socket
import struct
import sys
import time

from tests.support import mqtt, netns

PATIENCE = 0.1  # seconds until the CONNACK
AT_ONCE = 2000  # sockets


class Flood:
    def __init__(self, source, destination):
        self._source, self._destination = source, destination
        self._open = collections.deque()  # (when, socket), in the order of their SYNs
        self.tried = self.accepted = 0

    def start_one(self):
        sock = socket.socket(netns.family_of(self._source))
        sock.setblocking(False)
        # RST instead of FIN: no port stays in TIME-WAIT.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.bind((self._source, 0))
        sock.connect_ex(self._destination)
        self._open.append((time.monotonic(), sock, [False]))
        self.tried += 1

    def look_at_oldest(self):
        """False if it was not worth a look yet."""
        when, sock, said = self._open[0]
        age = time.monotonic() - when
        if age < (PATIENCE if said[0] else PATIENCE / 10) and len(self._open) < AT_ONCE:
            return False
        self._open.popleft()
        try:
            if not said[0]:
                sock.send(mqtt.Connect(f"flood-{self.tried}", keep_alive=2).encode())
                said[0] = True
                self._open.append((time.monotonic(), sock, said))
                return True
            self.accepted += sock.recv(16) == mqtt.connack(mqtt.V311)
        except OSError:  # not there, or refused
            pass
        sock.close()
        return True

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.start_one()
            while self._open and self.look_at_oldest():
                pass
        while self._open:
            self.look_at_oldest()


def main():
    source, vip, port, seconds = sys.argv[1:]
    flood = Flood(source, (vip, int(port)))
    began = time.monotonic()
    flood.run(float(seconds))
    print(json.dumps({"tried": flood.tried, "accepted": flood.accepted,
                      "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main()
